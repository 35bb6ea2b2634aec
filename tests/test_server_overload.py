"""A server with more to do than it can, and with clients that stall: the others are answered."""

from __future__ import annotations

import json
import select
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import hashmatch
from hashmatch.server.tokens import add_token
from raw_http import connect, head, send
from serving import Server

CODE = "f8f8f0cee0f4a84f06370a22038f63f0b36e2ed596621e1d33e6b39c4e9c9b22"
JSON = {"content-type": "application/json"}
LOOKUP = json.dumps({"type": "pdq", "hashes": [CODE]}).encode()
#: The answer is larger than what a socket and a server hold for a caller.
LARGE = json.dumps({"type": "pdq", "hashes": [CODE] * 12_000}).encode()
#: Of each kind; there are four.
STALLED = 16
#: What a caller may take its time for.
SECONDS = 2
GOOD_REQUESTS = 150


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("overload") / "bank"
    with hashmatch.open(folder, "c") as database:
        database.create("shared", contributor="forum")
        with database.change("shared") as change:
            change.add("pdq", [CODE], refs=["picture-17"])
    return folder


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    file = tmp_path_factory.mktemp("tokens") / "tokens"
    found = {name: add_token(file, name, ["read"]) for name in ("good", "other", "stalled")}
    return found | {"file": str(file)}


@pytest.fixture(scope="module", params=["granian", "uvicorn"])
def server(request: pytest.FixtureRequest, path: Path, tokens: dict[str, str]) -> Iterator[Server]:
    with Server(
        path,
        request.param,
        tokens=tokens["file"],
        body_seconds=SECONDS,
        answer_seconds=SECONDS,
        idle_seconds=SECONDS,
        max_requests=32,
        rate=200,
    ) as server:
        yield server


def request(token: str, body: bytes) -> bytes:
    return (
        head("/v1/match", f"Authorization: Bearer {token}", f"Content-Length: {len(body)}") + body
    )


class Stalled:
    """Clients that take up room and do nothing with it. A slow reader takes a little at a time."""

    def __init__(self, server: Server, token: str) -> None:
        small, large = request(token, LOOKUP), request(token, LARGE)
        begun = {
            "half a head": small[:40],
            "half a body": small[:-40],
            "slow reader": large,
            "never sends": b"",
        }
        self.open: list[tuple[str, socket.socket]] = []
        for kind, sent in begun.items():
            for _ in range(STALLED):
                connection = connect(server)
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                send(connection, sent)
                connection.setblocking(False)
                self.open.append((kind, connection))

    def look(self) -> Counter[str]:
        """How many of each kind the server has not ended."""
        for each in list(self.open):
            kind, connection = each
            try:
                # What was sent before the end is still to be read.
                ended = connection.recv(16 if kind == "slow reader" else 65_536) == b""
            except BlockingIOError:
                ended = False
            except OSError:
                ended = True
            if kind == "slow reader" and not ended:
                ended = _hung_up(connection)
            if ended:
                connection.close()
                self.open.remove(each)
        return Counter(kind for kind, _ in self.open)


def _hung_up(connection: socket.socket) -> bool:
    """Whether the other side has closed, with something still to be read."""
    poll = select.poll()
    poll.register(connection, select.POLLRDHUP)
    return bool(poll.poll(0))


def test_good_callers_are_answered_while_others_stall_and_flood(
    server: Server, tokens: dict[str, str]
) -> None:
    """64 stalled clients, and 32 connections that ask again at once whatever they are told."""
    stalled = Stalled(server, tokens["stalled"])
    over = threading.Event()
    statuses: Counter[int] = Counter()
    good: list[int] = []

    def flood() -> None:
        with server.client(headers={"authorization": f"Bearer {tokens['other']}"}) as client:
            mine: Counter[int] = Counter()
            while not over.is_set():
                mine[client.post("/v1/match", content=LOOKUP, headers=JSON).status_code] += 1
        statuses.update(mine)

    def ask() -> None:
        with server.client(headers={"authorization": f"Bearer {tokens['good']}"}) as client:
            for _ in range(GOOD_REQUESTS // 3):
                reply = client.post("/v1/match", content=LOOKUP, headers=JSON)
                good.append(reply.status_code)
                time.sleep(0.02)  # Three of them stay below the rate.

    threads = [threading.Thread(target=flood) for _ in range(32)]
    for thread in threads:
        thread.start()
    asking = [threading.Thread(target=ask) for _ in range(3)]
    for thread in asking:
        thread.start()
    for thread in asking:
        thread.join()
    over.set()
    for thread in threads:
        thread.join()
    assert Counter(good) == {200: GOOD_REQUESTS}
    assert set(statuses) <= {200, 429, 503} and statuses[200] > 0 and statuses[429] > 0
    end = time.monotonic() + 20
    while left := stalled.look():
        assert time.monotonic() < end, left
        time.sleep(0.05)
    with server.client(headers={"authorization": f"Bearer {tokens['good']}"}) as client:
        assert client.post("/v1/match", content=LOOKUP, headers=JSON).status_code == 200
        for name in ("requests_in_work", "body_bytes"):
            # It is noted twice a second.
            while f"\nhashmatch_{name} 0.0\n" not in client.get("/metrics").text:
                assert time.monotonic() < end, name
                time.sleep(0.05)


def test_half_bodies_keep_nobody_out(server: Server, tokens: dict[str, str]) -> None:
    """More of them than requests that may be worked on, of the same caller."""
    half = request(tokens["good"], LOOKUP)[:-40]
    connections = [connect(server) for _ in range(40)]
    try:
        for connection in connections:
            send(connection, half)
        with server.client(headers={"authorization": f"Bearer {tokens['good']}"}) as client:
            for _ in range(10):
                reply = client.post("/v1/match", content=LOOKUP, headers=JSON)
                assert reply.status_code == 200
    finally:
        for connection in connections:
            connection.close()


def test_who_ignores_when_to_ask_again_makes_few_requests(
    server: Server, tokens: dict[str, str]
) -> None:
    """A refusal is held back, so that it costs a connection time, and not the server."""
    with server.client(headers={"authorization": "Bearer hm_wrong"}) as client:
        begin = time.monotonic()
        for _ in range(4):
            assert client.post("/v1/match", content=LOOKUP, headers=JSON).status_code == 401
        assert time.monotonic() - begin >= 1
