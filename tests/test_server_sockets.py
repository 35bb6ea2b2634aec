"""The listening socket: whose it is, and what becomes of one that is there already."""

from __future__ import annotations

import os
import socket
import stat
import threading
from pathlib import Path

import pytest

from hashmatch.server.sockets import Listener, listen


def connects(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
    return True


def test_a_unix_socket_is_its_owners_alone_from_the_first_moment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    bind = socket.socket.bind

    def watched(self: socket.socket, place: str) -> None:
        bind(self, place)
        seen.append(stat.S_IMODE(os.stat(place).st_mode))

    before = os.umask(0)
    try:
        monkeypatch.setattr(socket.socket, "bind", watched)
        listener = listen(None, tmp_path)
        # What else the process makes is as it was.
        (tmp_path / "other").touch()
    finally:
        os.umask(before)
    assert seen == [0o600]
    assert stat.S_IMODE((tmp_path / "other").stat().st_mode) == 0o666
    assert listener.address == f"unix:{tmp_path}/hashmatch.sock"
    assert connects(tmp_path / "hashmatch.sock")
    listener.close()
    assert not (tmp_path / "hashmatch.sock").exists()


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "stale"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    listener = listen(f"unix:{path}", tmp_path)
    assert connects(path)
    listener.close()


def test_a_socket_that_is_answered_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    listener = listen(f"unix:{path}", tmp_path)
    with pytest.raises(OSError, match=f"cannot listen at {path}: another process answers there"):
        listen(f"unix:{path}", tmp_path)
    assert connects(path)
    listener.close()


def test_a_socket_whose_backlog_is_full_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "busy"
    with socket.socket(socket.AF_UNIX) as busy, socket.socket(socket.AF_UNIX) as waiting:
        busy.bind(str(path))
        busy.listen(0)
        waiting.connect(str(path))
        with pytest.raises(OSError, match="cannot listen at"):
            listen(f"unix:{path}", tmp_path)
        assert path.is_socket()


def test_the_socket_of_another_is_not_removed_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    first = listen(f"unix:{path}", tmp_path)
    path.unlink()
    second = listen(f"unix:{path}", tmp_path)
    first.close()
    assert connects(path)
    second.close()


def test_of_two_that_begin_at_the_same_time_one_listens(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    for _ in range(50):
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(str(path))
        listeners: list[Listener] = []
        barrier = threading.Barrier(4)

        def begin(barrier: threading.Barrier = barrier, made: list[Listener] = listeners) -> None:
            barrier.wait()
            try:
                made.append(listen(f"unix:{path}", tmp_path))
            except OSError as error:
                assert "another process answers there" in str(error)

        threads = [threading.Thread(target=begin) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        (listener,) = listeners
        assert connects(path)
        listener.close()


@pytest.mark.parametrize("name", ["file", "folder", "dangling"])
def test_what_is_no_socket_is_left_alone(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "file":
        path.write_text("precious")
    elif name == "folder":
        path.mkdir()
    else:
        path.symlink_to(tmp_path / "nowhere")
    with pytest.raises(OSError, match=f"cannot listen at {path}: .*no socket"):
        listen(f"unix:{path}", tmp_path)
    assert path.is_symlink() if name == "dangling" else path.exists()


@pytest.mark.parametrize(
    ("address", "fault"),
    [
        (f"unix:/tmp/{'x' * 200}", "path too long; --listen takes another"),
        ("unix:/nowhere/socket", "cannot listen at /nowhere/socket: No such file or directory"),
        ("no-such-host.invalid:80", "cannot listen at no-such-host.invalid:80: "),
        ("203.0.113.1:80", "cannot listen at 203.0.113.1:80: Cannot assign requested address"),
    ],
)
def test_where_nobody_can_listen_the_error_says_why(
    tmp_path: Path, address: str, fault: str
) -> None:
    with pytest.raises(OSError) as error:
        listen(address, tmp_path)
    assert fault in str(error.value)


def test_a_port_can_be_taken_again_at_once(tmp_path: Path) -> None:
    listener = listen("127.0.0.1:0", tmp_path)
    with socket.create_connection(listener.socket.getsockname()):
        accepted, _ = listener.socket.accept()
        # Who closes first has the connection linger.
        accepted.close()
    address = listener.address
    with pytest.raises(OSError, match=f"cannot listen at {address}: Address already in use"):
        listen(address, tmp_path)
    listener.close()
    listen(address, tmp_path).close()
    assert address.startswith("127.0.0.1:") and not address.endswith(":0")
