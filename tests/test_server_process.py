"""A sidecar as processes: they start, answer, end in order, and are replaced when they die."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Literal, TypeAlias

import httpx
import numpy as np
import pytest

import hashmatch
from hashmatch.server.children import Deaths
from serving import Server

Http: TypeAlias = Literal["granian", "uvicorn"]
ROWS = 20_000
CODES = np.random.default_rng(5).integers(0, 256, (ROWS, 32), np.uint8)
CODE = CODES[17].tobytes().hex()
LOOKUP = json.dumps({"hashes": CODE}).encode()
_JSON = "application/json"
_PACKED = "application/octet-stream"


@pytest.fixture(params=["granian", "uvicorn"])
def http(request: pytest.FixtureRequest) -> Http:
    """Each test is made with both servers."""
    name: Http = request.param
    return name


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("process") / "bank"
    with hashmatch.open(path, "c") as database:
        database.create("shared", contributor="forum")
        with database.change("shared") as change:
            change.add("pdq", CODES, refs=[f"picture-{row}" for row in range(ROWS)])
    return path


def wait_for(what: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not what():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def refs(reply: httpx.Response) -> list[str]:
    assert reply.status_code == 200, reply.text
    return [match["ref"] for match in reply.json()["matches"]]


def refuses(place: str) -> bool:
    with socket.socket(socket.AF_UNIX) as late:
        try:
            late.connect(place)
        except OSError:
            return True
    return False


def test_it_starts_answers_and_drains(path: Path, http: Http) -> None:
    with Server(path, http, workers=2, threads=1, idle_seconds=1) as server:
        place = server.url.removeprefix("unix:")
        assert stat.S_IMODE(os.stat(place).st_mode) == 0o600
        assert len(server.pids("worker")) == 2
        assert len(server.pids("writer")) == 1
        assert "sets     shared (20,000 items)" in server.log()
        assert "hashes   20,000 pdq" in server.log()
        with server.client() as client:
            assert refs(client.post("/v1/match", json={"hashes": CODE})) == ["picture-17"]
            assert client.get("/livez").headers.get("server", "granian") == "granian"
        assert _asked_by_the_example(place) == 0
        _attack_heads(place)

        # One that is not here whole, and a search that takes long: of 400 million pairs.
        with (
            _Began(place, "/v1/match", _JSON, LOOKUP) as half,
            _Began(
                place, "/v1/match?max_distance=80&fields=ids", _PACKED, CODES.tobytes()
            ) as search,
            ThreadPoolExecutor(1) as threads,
        ):
            search.send()
            half.send(10)
            ended = threads.submit(server.stop)
            wait_for(lambda: refuses(place))
            assert not ended.done()
            half.send()
            assert b'"ref":"picture-17"' in half.answer()
            answer = search.answer()
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            head = answer.partition(b"HMANSWER")[2]
            assert np.frombuffer(head[:24], np.uint64)[1] == ROWS
            assert ended.result() == 0
        assert not os.path.exists(place)
        assert server.pids() == []
        assert _asked_by_the_example(place) == 1


def _asked_by_the_example(place: str) -> int:
    example = Path(__file__).parents[1] / "examples" / "deploy" / "healthy.py"
    return subprocess.run([sys.executable, example, place], timeout=60).returncode


def _attack_heads(place: str) -> None:
    """Connections without a whole head of a request are closed, and what is too large refused."""
    whole = b"GET /livez HTTP/1.1\r\nHost: sidecar\r\n\r\n"
    with ExitStack() as stack:
        opened = [stack.enter_context(_connected(place)) for _ in range(3)]
        for connection, sent in zip(opened, (b"", whole[:20], whole), strict=True):
            connection.sendall(sent)
        assert [_until_closed(each)[9:12] for each in opened] == [b"", b"", b"200"]
    status = b""
    with _connected(place) as connection, suppress(ConnectionError):
        connection.sendall(whole[:-2] + b"X: " + b"x" * 4_000_000 + b"\r\n\r\n")
        status = _until_closed(connection)[9:12]
    assert status in (b"400", b"431", b"")


def _connected(place: str) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(60)
    connection.connect(place)
    return connection


def _until_closed(connection: socket.socket) -> bytes:
    parts = []
    while part := connection.recv(1 << 20):
        parts.append(part)
    return b"".join(parts)


class _Began:
    """A request whose body is awaited: the server has said so."""

    def __init__(self, place: str, target: str, media_type: str, body: bytes) -> None:
        self._left = memoryview(body)
        self._socket = _connected(place)
        head = (
            f"POST {target} HTTP/1.1\r\nHost: sidecar\r\nContent-Length: {len(body)}\r\n"
            f"Content-Type: {media_type}\r\nAccept: {media_type}\r\nConnection: close\r\n"
            "Expect: 100-continue\r\n\r\n"
        )
        self._socket.sendall(head.encode())
        assert self._socket.recv(65_536) == b"HTTP/1.1 100 Continue\r\n\r\n"

    def __enter__(self) -> _Began:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, size_bytes: int | None = None) -> None:
        """So much of the body, or what is left of it."""
        self._socket.sendall(self._left[:size_bytes])
        self._left = self._left[size_bytes:] if size_bytes else memoryview(b"")

    def answer(self) -> bytes:
        """All that comes until the connection is closed."""
        return _until_closed(self._socket)


def test_a_second_signal_ends_it_at_once(path: Path) -> None:
    with Server(path, drain_seconds=60, read_only=True) as server:
        place = server.url.removeprefix("unix:")
        with _Began(place, "/v1/match", _JSON, LOOKUP) as half:
            server.process.send_signal(signal.SIGINT)
            wait_for(lambda: refuses(place))
            assert server.stop(signal.SIGINT, seconds=10) == 0
            assert server.pids() == []
            with pytest.raises(OSError):
                half.send()


class _Load:
    """Clients that look a hash up, again and again, each time on a new connection or on one that
    is kept, and try again when a connection breaks.
    """

    def __init__(self, server: Server, clients: int) -> None:
        self.answered = 0
        self.broken: list[httpx.TransportError] = []
        self.wrong: list[str] = []
        self._server = server
        self._ending = threading.Event()
        self._threads = [
            threading.Thread(target=self._ask, args=[bool(number % 2)]) for number in range(clients)
        ]

    def __enter__(self) -> _Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def _ask(self, keep: bool) -> None:
        headers = {} if keep else {"connection": "close"}
        with self._server.client(headers=headers) as client:
            while not self._ending.is_set():
                try:
                    reply = client.post("/v1/match", json={"hashes": CODE})
                except httpx.TransportError as error:
                    self.broken.append(error)
                    continue
                self.answered += 1
                if reply.status_code != 200 or refs(reply) != ["picture-17"]:
                    self.wrong.append(reply.text)

    def more(self, number: int) -> None:
        """Wait for so many answers from now on."""
        begin = self.answered
        wait_for(lambda: self.answered >= begin + number)


def test_who_is_killed_is_replaced(path: Path, http: Http) -> None:
    with Server(path, http, workers=2) as server:
        (writer,) = server.pids("writer")
        with _Load(server, 2) as load:
            load.more(30)
            for _ in range(2 if http == "granian" else 1):
                killed, other = server.pids("worker")
                broken = len(load.broken)
                os.kill(killed, signal.SIGKILL)
                # The other goes on, and nothing breaks but what the dead one had to answer.
                load.more(30)
                wait_for(lambda gone=killed: _pair_without(gone, server))  # type: ignore[misc]
                assert other in server.pids("worker")
                assert len(load.broken) - broken <= 2
            assert load.wrong == []
        wait_for(lambda: "a worker was ended by SIGKILL: another takes its place" in server.log())
        assert server.pids("writer") == [writer]

        # Nobody outlives the supervisor.
        children = server.pids()
        server.process.kill()
        server.process.wait()
        wait_for(lambda: not any(map(_lives, children)))


def _pair_without(gone: int, server: Server) -> bool:
    pids = server.pids("worker")
    return len(pids) == 2 and gone not in pids


def _lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize(("http", "workers"), [("granian", 2), ("uvicorn", 1)])
def test_workers_are_replaced_in_turn_when_told_to(
    path: Path, tmp_path: Path, http: Http, workers: int
) -> None:
    config = tmp_path / "sidecar.toml"
    config.write_text(f"max_body_bytes = 1000\nworkers = {workers}\nread_only = true")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.settimeout(30)
        systemd.bind(str(tmp_path / "notify"))
        environment = {"NOTIFY_SOCKET": str(tmp_path / "notify")}
        with Server(path, http, config=config, environment=environment) as server:
            assert systemd.recv(100) == b"READY=1"
            before = server.pids("worker")
            assert len(before) == workers
            for pid in before:
                assert b"NOTIFY_SOCKET" not in Path(f"/proc/{pid}/environ").read_bytes()
            with server.client() as client, _Load(server, 2) as load:
                large = {"hashes": [CODE] * 100}
                assert client.post("/v1/match", json=large).status_code == 413
                config.write_text("max_body_bytes = 100000\nread_only = true\nworkers = 9")
                server.process.send_signal(signal.SIGHUP)
                assert systemd.recv(100).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
                assert systemd.recv(100) == b"READY=1"
                assert "hashmatch: workers stays as it was until" in server.log()
                after = server.pids("worker")
                assert len(after) == workers and set(before).isdisjoint(after)
                assert client.post("/v1/match", json=large).status_code == 200
                load.more(30)
                # Only one that was kept may be closed just as something is sent on it.
                assert len(load.broken) <= workers
                assert load.wrong == []

            config.write_text("max_body_bytes = 0")
            server.process.send_signal(signal.SIGHUP)
            assert systemd.recv(100).startswith(b"RELOADING=1")
            assert systemd.recv(100) == b"READY=1"
            assert f"the settings stay as they were: {config}: max_body_bytes must" in server.log()
            assert server.pids("worker") == after
            assert server.stop() == 0
            assert systemd.recv(100) == b"STOPPING=1"


def test_one_that_dies_again_and_again_waits_longer_and_longer() -> None:
    deaths = Deaths()
    assert [deaths.pause(0.1) for _ in range(12)] == [
        0, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 15, 15, 15, 15,
    ]  # fmt: skip
    assert deaths.pause(3600) == 0
    assert [deaths.pause(0.1) for _ in range(2)] == [0.2, 0.4]
    assert [deaths.pause(0.1) for _ in range(2000)][-1] == 15


def test_a_database_that_cannot_be_opened_ends_it(tmp_path: Path) -> None:
    (tmp_path / "catalog.db").write_text("no catalog" * 1000)
    place = f"unix:{tmp_path}/socket"
    with Server(tmp_path, ready=False, listen=place, workers=2, read_only=True) as server:
        assert server.process.wait(30) == 2
        (line,) = [line for line in server.log().splitlines() if line.startswith("hashmatch: ")]
        assert f"{tmp_path}/catalog.db: " in line
        assert server.pids() == []
        assert not (tmp_path / "socket").exists()


def test_over_tcp_a_token_is_made_and_shown_once(path: Path) -> None:
    with Server(path, listen="127.0.0.1:0", read_only=True) as server:
        with server.client() as client:
            assert refs(client.post("/v1/match", json={"hashes": CODE})) == ["picture-17"]
        with server.client(headers={}) as client:
            assert client.post("/v1/match", json={"hashes": CODE}).status_code == 401
        token = server.log().partition("  hm_")[2].split()[0]
        assert token not in (path / "tokens").read_text()
        assert stat.S_IMODE((path / "tokens").stat().st_mode) == 0o600
        assert "in the clear" not in server.log()
    with Server(path, listen="0.0.0.0:0", read_only=True) as server:
        assert "hm_" not in server.log()
        assert "are sent to 0.0.0.0:" in server.log() and "in the clear" in server.log()
