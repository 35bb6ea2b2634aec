"""Changes as the writer makes them when the disk, or the writer itself, has a fault."""

from __future__ import annotations

import errno
import resource
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

import hashmatch
from hashmatch import Database, FormatError
from hashmatch.database.connections import SyncError
from hashmatch.server import messages
from hashmatch.server.making import Making, Unsynced
from hashmatch.server.problems import Problem
from hashmatch.server.writer import Listener, received
from writers import connected

CHANGE = {"ask": "change", "set": "a", "who": "me", "key": None}


@pytest.fixture
def making(tmp_path: Path) -> Iterator[Making]:
    path = tmp_path / "bank"
    with hashmatch.open(path, "c") as database:
        database.create("a")
    making = Making(path)
    making.start()
    while making.answer({"ask": "state"}, b"")[1] != b'{"trouble":"","tried":true}':
        time.sleep(0.01)
    yield making
    making.close(10)


def adding(count: int) -> bytes:
    rows = [{"ref": f"r{row}", "type": "pdq", "hash": f"{row:064x}"} for row in range(count)]
    return orjson.dumps({"adds": rows})


def test_a_full_disk_costs_the_change_alone(making: Making) -> None:
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, usual[1]))
    try:
        with pytest.raises(Problem, match="nothing was changed") as refused:
            making.answer(CHANGE, adding(20_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert (refused.value.status, refused.value.retry_after) == (503, 2)
    generation, _ = making.answer(CHANGE, adding(5))
    assert generation == 1


@pytest.mark.parametrize(
    ("error", "status", "words"),
    [
        (OSError(errno.ENOSPC, "full: make room", "/secret/catalog.db"), 503, "full: make room"),
        (BlockingIOError(errno.EWOULDBLOCK, "locked by another", "x"), 503, "locked by another"),
        (FormatError("catalog.db: is damaged"), 503, "is damaged"),
        (MemoryError("too little"), 503, "too little"),
        (ValueError("an item is at most 900 MB"), 400, "at most 900 MB"),
    ],
)
def test_faults_of_the_database(
    making: Making, monkeypatch: pytest.MonkeyPatch, error: Exception, status: int, words: str
) -> None:
    @contextmanager
    def failing(*_: Any, **__: Any) -> Iterator[None]:
        raise error
        yield

    monkeypatch.setattr(Database, "change", failing)
    monkeypatch.setattr(Database, "create", failing)
    with pytest.raises(Problem, match=words) as refused:
        making.answer(CHANGE, adding(1))
    assert refused.value.status == status
    assert (refused.value.retry_after is None) == (status == 400)
    assert "secret" not in refused.value.detail


def asked(place: Path, body: bytes) -> dict[str, Any]:
    """The head of the answer."""
    with connected(place) as connection:
        connection.sendall(messages.packed(CHANGE, len(body)) + body)
        head_bytes, _ = messages.sizes(received(connection, messages.PREFIX.size))
        return messages.head_of(received(connection, head_bytes))


def test_a_writer_with_faults(
    making: Making,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    listener = Listener(making, tmp_path / "writer.sock")
    serving = threading.Thread(target=listener.serve)
    serving.start()
    try:
        with monkeypatch.context() as patch:
            patch.setattr(making, "answer", lambda *_: [][len("r0 is a ref")])
            answer = asked(tmp_path / "writer.sock", adding(1))
            assert answer["problem"]["status"] == 500
            # One that was asked later is answered none the less.
        assert asked(tmp_path / "writer.sock", adding(1)) == {"generation": 1}
        said = capfd.readouterr().err
        assert "a fault, IndexError" in said and "test_server_making.py" in said
        assert "list index out of range" not in said

        # What a failed sync left on the disk is known to the next writer only.
        failed = SyncError(errno.EIO, "the disk could not be synced", "catalog.db")
        monkeypatch.setattr(Database, "change", lambda *_, **__: raising(failed))
        answer = asked(tmp_path / "writer.sock", adding(1))
        assert answer["problem"]["status"] == 503 and "Idempotency-Key" in str(answer)
        serving.join(10)
        assert not serving.is_alive() and listener.status == 1
        assert "could not be synced" in capfd.readouterr().err
        assert issubclass(Unsynced, Problem)
    finally:
        listener.end()
        serving.join()
        listener.close()
    assert not (tmp_path / "writer.sock").exists()


def raising(error: Exception) -> Any:
    raise error


def test_a_writer_takes_the_place_of_another(making: Making, tmp_path: Path) -> None:
    place = tmp_path / "writer.sock"
    first = Listener(making, place)
    second = Listener(making, place)
    # The first one's end leaves the second its place.
    first.close()
    assert place.exists()
    second.close()
    assert not place.exists()
