"""Bodies that are too large, or not what their heads say: refused, and never held in memory."""

from __future__ import annotations

import gzip
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

import hashmatch
from raw_http import Answer, answer, connect, forget_peak, head, peak_bytes, send
from serving import Server, problem, with_application

CODE = "f8f8f0cee0f4a84f06370a22038f63f0b36e2ed596621e1d33e6b39c4e9c9b22"
LOOKUP = f'{{"type":"pdq","hashes":"{CODE}"}}'.encode()
MOST = 1_000_000
#: More than that a refused body may not take, whatever it claims.
GROWTH_BYTES = 16 << 20
ROUTES = ("/v1/match", "/v1/sets/shared/changes")
JSON = {"content-type": "application/json"}


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("oversize") / "bank"
    with hashmatch.open(folder, "c") as database:
        database.create("shared", contributor="forum")
        with database.change("shared") as change:
            change.add("pdq", [CODE], refs=["picture-17"])
    return folder


@pytest.fixture(scope="module", params=["granian", "uvicorn"])
def server(request: pytest.FixtureRequest, path: Path) -> Iterator[Server]:
    with Server(path, request.param, max_body_bytes=MOST, body_seconds=1) as server:
        yield server


@pytest.fixture(autouse=True)
def steady(server: Server) -> Iterator[None]:
    """The worker lives on, answers, and has not grown."""
    (worker,) = server.pids("worker")
    forget_peak(worker)
    before = peak_bytes(worker)
    yield
    assert server.pids("worker") == [worker]
    assert peak_bytes(worker) - before <= GROWTH_BYTES
    with server.client() as client:
        assert client.post("/v1/match", content=LOOKUP, headers=JSON).status_code == 200


def asked(server: Server, *sent: bytes) -> Answer:
    connection = connect(server)
    for part in sent:
        if not send(connection, part):
            break
    return answer(connection)


def chunk(content: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(content), content)


@pytest.mark.parametrize("length", [MOST + 1, 10 * 1000**3, 2**63 - 1])
@pytest.mark.parametrize("route", ROUTES)
def test_a_claim_is_refused_before_anything_is_read(
    server: Server, route: str, length: int
) -> None:
    refused = asked(server, head(route, f"Content-Length: {length}"), b"x" * 200_000)
    assert refused.status == 413 and refused.closed
    assert b"send it in parts" in refused.received


def test_who_goes_on_sending_is_cut_off(server: Server) -> None:
    connection = connect(server)
    send(connection, head("/v1/match", "Content-Length: 10000000000"))
    sent = 0
    while sent < 100_000_000 and send(connection, b"x" * 65_536):
        sent += 65_536
    assert sent < 10_000_000
    assert answer(connection).status == 413


def test_chunks_without_a_length_are_counted(server: Server) -> None:
    connection = connect(server)
    send(connection, head("/v1/match", "Transfer-Encoding: chunked"))
    sent = 0
    while sent < 100 * MOST and send(connection, chunk(b"x" * 65_536)):
        sent += 65_536
    assert sent < 10 * MOST
    assert answer(connection).status == 413


def test_chunks_of_a_byte_are_taken_or_take_too_long(server: Server) -> None:
    sent = head("/v1/match", "Transfer-Encoding: chunked", "Connection: close")
    small = asked(server, sent, *(chunk(bytes([byte])) for byte in LOOKUP), b"0\r\n\r\n")
    assert small.status == 200
    connection = connect(server)
    send(connection, sent)
    end = time.monotonic() + 8
    while time.monotonic() < end and send(connection, chunk(b" ")):
        time.sleep(0.1)
    late = answer(connection)
    assert late.status == 408 and late.closed


@pytest.mark.parametrize(
    ("lines", "sent", "statuses"),
    [
        (["Content-Length: -5"], LOOKUP, {400}),
        (["Content-Length: +5"], LOOKUP, {400}),
        (["Content-Length: 5x"], LOOKUP, {400}),
        (["Content-Length: 0x5"], LOOKUP, {400}),
        (["Content-Length: " + "9" * 30], LOOKUP, {400, 413}),
        (["Content-Length: " + "9" * 5000], LOOKUP, {400, 413}),
        (["Content-Length: 5", "Content-Length: 6"], LOOKUP, {400}),
        (["Transfer-Encoding: gzip"], chunk(LOOKUP) + b"0\r\n\r\n", {400}),
        (["Transfer-Encoding: gzip, chunked"], chunk(LOOKUP) + b"0\r\n\r\n", {400}),
        (["Transfer-Encoding: chunked"], b"zz\r\n" + LOOKUP, {400}),
        (["Transfer-Encoding: chunked"], b"-1\r\n" + LOOKUP, {400}),
        (["Transfer-Encoding: chunked"], b"f" * 40 + b"\r\n" + LOOKUP, {400, 413}),
        (["Content-Encoding: gzip", "Content-Length: 40"], gzip.compress(LOOKUP)[:40], {415}),
        (["Content-Encoding: br", "Content-Length: 4"], b"abcd", {415}),
    ],
)
def test_heads_that_cannot_be_right(
    server: Server, lines: list[str], sent: bytes, statuses: set[int]
) -> None:
    refused = asked(server, head("/v1/match", "Connection: close", *lines), sent)
    assert refused.status in statuses and refused.closed


def test_two_lengths_that_differ_are_never_two_requests(server: Server) -> None:
    """Either server takes it as chunks, or refuses it: nobody's next request is inside."""
    hidden = b"GET /livez HTTP/1.1\r\nHost: sidecar\r\n\r\n"
    both = head("/v1/match", "Content-Length: 4", "Transfer-Encoding: chunked", "Connection: close")
    got = asked(server, both, b"0\r\n\r\n" + hidden)
    assert got.status == 400 and b"alive" not in got.received


def test_a_bomb_is_not_opened(server: Server) -> None:
    bomb = gzip.compress(bytes(200_000_000), 9)
    assert len(bomb) < MOST
    with server.client() as client:
        for route in ROUTES:
            reply = client.post(route, content=bomb, headers=JSON | {"content-encoding": "gzip"})
            problem(reply, 415)


def test_a_length_that_is_false(server: Server) -> None:
    connection = connect(server)
    send(connection, head("/v1/match", "Content-Length: 500") + LOOKUP)
    late = answer(connection)
    assert late.status == 408 and late.closed
    connection = connect(server)
    send(connection, head("/v1/match", "Content-Length: 500") + LOOKUP)
    connection.shutdown(1)
    assert answer(connection).status in (0, 400)
    more = asked(server, head("/v1/match", f"Content-Length: {len(LOOKUP)}"), LOOKUP + b"more\r\n")
    # uvicorn refuses both, when both arrive at once.
    assert more.status in (200, 400) and more.received.count(b"HTTP/1.1 200") <= 1


def test_the_largest_body_is_taken_and_one_byte_more_is_not(path: Path) -> None:
    async def use(client: httpx.AsyncClient) -> list[httpx.Response]:
        return [
            await client.post("/v1/match", content=LOOKUP.ljust(most), headers=JSON)
            for most in (1000, 1001)
        ]

    taken, refused = with_application(path, use, max_body_bytes=1000)
    assert taken.status_code == 200
    assert "1,000 bytes" in problem(refused, 413)["detail"]
