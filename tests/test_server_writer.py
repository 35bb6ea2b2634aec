"""The process that writes: killed, waiting for another, left by its starter, spoken to wrongly."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

import hashmatch
from hashmatch.server import messages
from serving import Server, application, problem, with_application
from writers import WriterProcess, connected, writer_of

CODES = [f"{number:064x}" for number in range(3)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with hashmatch.open(tmp_path / "bank", "c") as database:
        database.create("a")
    return tmp_path / "bank"


@pytest.fixture
def writer(path: Path) -> Iterator[WriterProcess]:
    with writer_of(path) as writer:
        yield writer


def adding(*refs: str) -> dict[str, Any]:
    """A change that adds items of three codes each."""
    return {"adds": [{"ref": ref, "type": "pdq", "hash": code} for ref in refs for code in CODES]}


def refs_in(path: Path) -> list[str]:
    with hashmatch.open(path) as database:
        assert database.check() == []
        return sorted(item.ref for item in database.contents("a"))


# Killed.


def test_killed_at_any_moment(path: Path, writer: WriterProcess) -> None:
    """What was acknowledged is there; what was not is there whole or not at all; and what is sent
    again under its key is made once.
    """
    chance = random.Random(9)
    acknowledged: list[tuple[str, str]] = []
    unknown: list[tuple[str, str]] = []
    killed = 0

    async def send(client: httpx.AsyncClient, name: str, keyed: bool) -> None:
        for number in range(25):
            refs = (f"{name} {number}", f"{name} {number} too")
            headers = {"Idempotency-Key": refs[0]} if keyed else {}
            for again in range(400):
                assert again < 399
                reply = await client.post("/v1/sets/a/changes", json=adding(*refs), headers=headers)
                if reply.status_code == 200:
                    assert reply.json()["added"] == 2
                    acknowledged.append(refs)
                    break
                assert problem(reply, 503)["retry_after"] > 0
                assert reply.headers["retry-after"]
                await asyncio.sleep(0.02)
                if not keyed:
                    unknown.append(refs)
                    break

    async def kill(senders: list[asyncio.Task[None]]) -> int:
        times = 0
        while True:
            # Some more are acknowledged, and then it is amid the next ones.
            enough = len(acknowledged) + chance.randint(3, 12)
            while len(acknowledged) < enough:
                if all(sender.done() for sender in senders):
                    return times
                await asyncio.sleep(0.001)
            await asyncio.sleep(chance.uniform(0, 0.005))
            writer.kill()
            times += 1
            writer.start()

    async def use(client: httpx.AsyncClient) -> None:
        nonlocal killed
        senders = [
            asyncio.create_task(send(client, name, name < "c")) for name in ("a", "b", "c", "d")
        ]
        killed = await kill(senders)
        await asyncio.gather(*senders)

    with_application(path, use, writer_socket=writer.socket)
    assert killed >= 3 and unknown
    writer.stop()
    there = refs_in(path)
    assert len(set(there)) == len(there)
    sent = {ref for refs in acknowledged for ref in refs}
    assert sent <= set(there)
    whole = {ref for refs in unknown for ref in refs if set(refs) <= set(there)}
    assert set(there) == sent | whole
    with hashmatch.open(path) as database:
        # Each was made once, and each made a generation.
        assert 2 * database.generation == len(there)
        assert {row.added for row in database.history(limit=1000)} == {2}


def test_told_to_end_it_finishes_what_it_is_amid(path: Path, writer: WriterProcess) -> None:
    refs = [str(number) for number in range(8_000)]

    async def use(client: httpx.AsyncClient) -> list[httpx.Response]:
        asked = asyncio.create_task(client.post("/v1/sets/a/changes", json=adding(*refs)))
        while not (path / "catalog.db-wal").exists():
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.3)
        said = await asyncio.to_thread(writer.stop)
        assert said == "writer: ready\n" and writer.process.returncode == 0
        return [await asked, await client.post("/v1/sets/a/changes", json={})]

    made, refused = with_application(path, use, writer_socket=writer.socket)
    problem(refused, 503, retry_after=1)
    # It was sent whole before the end, or it was not begun.
    assert made.status_code in (200, 503)
    assert len(refs_in(path)) == (8_000 if made.status_code == 200 else 0)
    assert not writer.socket.exists()


def test_without_a_writer_lookups_go_on(path: Path, writer: WriterProcess) -> None:
    async def use() -> None:
        async with application(path, writer_socket=writer.socket) as client:
            assert (await client.post("/v1/sets/a/changes", json=adding("x"))).status_code == 200
            writer.kill()
            away = await client.post("/v1/sets/a/changes", json=adding("y"))
            assert "the writer is away" in problem(away, 503, retry_after=1)["detail"]
            newest = {"Hashmatch-Min-Generation": "1"}
            status = (await client.get("/v1/status", headers=newest)).json()
            assert status["items"] == 1 and "the writer is away" in status["writer_trouble"]
            found = await client.post("/v1/match", json={"type": "pdq", "hashes": CODES})
            assert len(found.json()["matches"]) == 9
            assert writer.socket.exists()
            writer.start()
            while (await client.post("/v1/sets/a/changes", json=adding("y"))).status_code != 200:
                await asyncio.sleep(0.02)

    asyncio.run(use())


# Waiting.


def test_while_another_process_writes_it_says_who(path: Path) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        asked = await client.post("/v1/sets/a/changes", json=adding("x"))
        detail = problem(asked, 503, retry_after=2)["detail"]
        assert f"open for writing by process {os.getpid()} on" in detail
        status = (await client.get("/v1/status")).json()
        assert f"process {os.getpid()}" in status["writer_trouble"]
        assert f"process {os.getpid()}" in status["writer"]
        # What that process changes is found meanwhile.
        with database.change("a") as change:
            change.add("pdq", CODES[:1], refs=["theirs"])
        newest = {"Hashmatch-Min-Generation": "1"}
        assert (await client.get("/v1/sets/a", headers=newest)).json()["items"] == 1
        database.close()
        while (await client.post("/v1/sets/a/changes", json=adding("x"))).status_code != 200:
            await asyncio.sleep(0.02)

    database = hashmatch.open(path, "r+")
    with writer_of(path) as writer:
        with_application(path, use, writer_socket=writer.socket)
        said = writer.stop()
    assert said.startswith("writer: waits: the database is open for writing by process ")
    assert said.endswith("writer: ready\n")
    assert refs_in(path) == ["theirs", "x"]


def test_a_catalog_of_an_older_version_is_upgraded_before_it_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hashmatch.database import schema

    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:2])
        with hashmatch.open(tmp_path, "c") as database:
            database.create("a")

    async def use(client: httpx.AsyncClient) -> int:
        return (await client.post("/v1/sets/a/changes", json=adding("x"))).status_code

    with writer_of(tmp_path) as writer:
        assert with_application(tmp_path, use, writer_socket=writer.socket) == 200


# Its starter, and its socket.

STARTER = """
import subprocess, sys
writer = subprocess.Popen([sys.executable, "-m", "hashmatch.server.writer", *sys.argv[1:]])
print(writer.pid, flush=True)
sys.stdin.read()
"""


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_it_ends_with_its_starter(path: Path, tmp_path: Path) -> None:
    place = tmp_path / "writer.sock"
    command = [sys.executable, "-c", STARTER, str(path), "--socket", str(place)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as starter:
        assert starter.stdout
        pid = int(starter.stdout.readline())
        wait_until(place.exists)
        assert state_of(place)["tried"] in (False, True)
        os.kill(pid, signal.SIGINT)  # The terminal's keys are not for it.
        starter.kill()
    wait_until(lambda: not place.exists())
    with hashmatch.open(path, "r+"):
        pass


def test_only_its_user_can_open_the_socket(writer: WriterProcess) -> None:
    wait_until(writer.socket.exists)
    mode = writer.socket.stat().st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600
    assert [each.name for each in writer.socket.parent.iterdir()] == [writer.socket.name]


def test_a_socket_that_cannot_be_made(path: Path, tmp_path: Path) -> None:
    for place in (tmp_path / "none" / "writer.sock", tmp_path / ("x" * 120)):
        command = [sys.executable, "-m", "hashmatch.server.writer", str(path), "--socket"]
        ended = subprocess.run([*command, str(place)], capture_output=True, text=True, timeout=30)
        assert ended.returncode == 2 and "give another --socket" in ended.stderr
        assert "Traceback" not in ended.stderr


# Spoken to wrongly.


def asked(place: Path, head: Any, body: bytes = b"") -> tuple[dict[str, Any], bytes]:
    with connected(place) as connection:
        connection.sendall(messages.packed(head, len(body)) + body)
        answer = b"".join(iter(lambda: connection.recv(65_536), b""))
    size = messages.PREFIX.size
    head_bytes, body_bytes = messages.sizes(answer[:size])
    assert len(answer) == size + head_bytes + body_bytes
    return messages.head_of(answer[size : size + head_bytes]), answer[size + head_bytes :]


def state_of(place: Path) -> dict[str, Any]:
    state: dict[str, Any] = orjson.loads(asked(place, {"ask": "state"})[1])
    return state


def test_what_is_no_message_costs_nothing(path: Path, writer: WriterProcess) -> None:
    wait_until(lambda: writer.socket.exists() and state_of(writer.socket)["trouble"] == "")
    chance = random.Random(5)
    change = {"ask": "change", "set": "a", "who": "me", "key": None}
    body = orjson.dumps(adding("x"))
    good = messages.packed(change, len(body)) + body
    for number in range(200):
        message = bytearray(good)
        what = number % 4
        if what == 0:  # It dies amid the question.
            message = message[: chance.randrange(len(message))]
        elif what == 1:
            for _ in range(chance.randint(1, 4)):
                message[chance.randrange(len(message) - len(body))] = chance.randrange(256)
        elif what == 2:
            message = bytearray(chance.randbytes(chance.randrange(200)))
        else:  # It claims more than there is.
            message[:16] = struct.pack("<4sIQ", b"HMw1", chance.choice([0, 10, 2**32 - 1]), 2**40)
        with connected(writer.socket) as connection:
            connection.sendall(message)
            if number % 3:
                connection.shutdown(socket.SHUT_WR)
                # What it did not read is cut off.
                with suppress(ConnectionResetError):
                    while connection.recv(65_536):
                        pass
    for head in ({}, {"ask": 7}, {"ask": "change", "set": "a"}, {**change, "who": None}):
        answer, _ = asked(writer.socket, head)
        assert answer["problem"]["status"] == 400
    answer, document = asked(writer.socket, change, orjson.dumps(adding("y")))
    assert orjson.loads(document)["added"] == 1, answer
    said = writer.stop()
    assert said == "writer: ready\n"
    assert set(refs_in(path)) <= {"x", "y"}


def test_many_at_once_are_made_one_after_another(path: Path, writer: WriterProcess) -> None:
    wait_until(lambda: writer.socket.exists() and state_of(writer.socket)["trouble"] == "")
    made: list[int] = []

    def ask(number: int) -> None:
        head = {"ask": "change", "set": "a", "who": "me", "key": None}
        _, document = asked(writer.socket, head, orjson.dumps(adding(f"r{number}")))
        made.append(orjson.loads(document)["generation"])

    # One that sends half a question, and stays, is in nobody's way.
    with connected(writer.socket) as stalled:
        stalled.sendall(messages.packed({"ask": "change"}, 1000)[:-3])
        threads = [threading.Thread(target=ask, args=[number]) for number in range(40)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(made) == list(range(1, 41))


def test_a_sidecar_replaces_a_writer_that_was_killed(path: Path) -> None:
    with Server(path) as server, server.client() as client:
        for number in range(3):
            (pid,) = server.pids("writer")
            os.kill(pid, signal.SIGKILL)
            headers = {"Idempotency-Key": f"key {number}"}

            def made(headers: dict[str, str] = headers, ref: str = f"r{number}") -> bool:
                reply = client.post("/v1/sets/a/changes", json=adding(ref), headers=headers)
                assert reply.status_code in (200, 503)
                return reply.status_code == 200

            wait_until(made)
            assert server.pids("writer") != [pid]
        assert client.get("/v1/status").json()["writer_trouble"] is None
        assert server.stop() == 0
    assert refs_in(path) == ["r0", "r1", "r2"]
