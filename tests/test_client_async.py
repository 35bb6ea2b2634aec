"""The client for event loops, of the application itself: it answers as a database does."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar, cast

import httpx
import pytest

import hashmatch
from database_model import TYPES, codes_near, make, random_steps
from databases import SETS, filled
from fake_server import FakeServer, Heard, found, problem
from hashmatch import AsyncClient
from hashmatch.database import Batch, Removal
from hashmatch.server import Settings, create_app
from oracle import random_codes
from served import alike, assert_same
from writers import writer_of

_R = TypeVar("_R")


@asynccontextmanager
async def client_of(path: Path, **settings: Any) -> AsyncIterator[AsyncClient]:
    app = create_app(Settings(path=path, **settings))
    await app.service.start()
    try:
        async with hashmatch.aconnect("http://sidecar") as client:
            client._http = httpx.ASGITransport(cast(Any, app))
            yield client
    finally:
        await app.service.stop()


def with_client(path: Path, use: Callable[[AsyncClient], Awaitable[_R]], **settings: Any) -> _R:
    async def run() -> _R:
        async with client_of(path, **settings) as client:
            return await use(client)

    return asyncio.run(run())


def test_lookups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    filled(tmp_path / "bank")[0].close()
    database = hashmatch.open(tmp_path / "bank")
    chance = random.Random(1)

    async def use(client: AsyncClient) -> None:
        for turn in range(60):
            most = chance.choice([2, 1_000_000])
            monkeypatch.setattr("hashmatch.client.lookups._MOST_CODES", most)
            hash_type = TYPES[turn % 4]
            queries = codes_near(hash_type, chance.choice([0, 1, 9]), turn)
            given: dict[str, Any] = {
                "sets": chance.choice([None, [], ["films"]]),
                "max_distance": chance.choice([None, 0, 12]),
                "limit": chance.choice([None, 2]),
            }
            matches = await client.match(hash_type, queries, **given)
            assert_same(matches, database.match(hash_type, queries, **given))
        with pytest.raises(ValueError, match="no set 'nowhere'"):
            await client.match("pdq", [], ["nowhere"])
        uploads = [list(cast(Any, []))]
        assert len(await client.match_videos(uploads)) == 0

    with database:
        with_client(tmp_path / "bank", use)


def test_what_there_is_and_changes(tmp_path: Path) -> None:
    filled(tmp_path / "bank")[0].close()
    twin, _ = filled(tmp_path / "twin")

    async def use(client: AsyncClient) -> None:
        for seed in range(100, 110):
            async with client.change("films") as change:
                make(cast(Any, change), random_steps(seed))
            with twin.change("films") as wanted:
                make(wanted, random_steps(seed))
            assert (change.counts, change.generation) == (wanted.counts, wanted.generation)
        codes = random_codes(3, 256)
        batches: list[Batch | Removal]
        batches = [Batch("pdq", codes, ["a", "b", "c"]), Removal(["b", "nobody"])]
        await client.create("new", contributor="owner", max_distance={"pdq": 3})
        twin.create("new", contributor="owner", max_distance={"pdq": 3})
        told: list[int] = []
        counts = await client.load("new", batches, progress=lambda done, _: told.append(done))
        assert (counts, told) == (twin.load("new", batches), [5])
        assert await client.refresh() == await client.generation() == twin.generation
        for name in (*SETS, "new"):
            assert [each async for each in client.contents(name)] == list(twin.contents(name))
        assert alike(await client.history(limit=50)) == alike(twin.history(limit=50))
        shown, held = await client.status(), twin.status()
        assert (shown.sets, shown.items) == (held.sets, held.items)
        assert [record.name for record in await client.sets()] == sorted((*SETS, "new"))
        assert (await client.match("pdq", codes)).ref == twin.match("pdq", codes).ref == ["a", "c"]
        with pytest.raises(RuntimeError):
            async with client.change("films"):
                raise RuntimeError
        assert await client.refresh() == twin.generation
        with pytest.raises(ValueError, match="no set 'nowhere'"):
            _ = [each async for each in client.contents("nowhere")]

    with twin, writer_of(tmp_path / "bank") as writer:
        with_client(tmp_path / "bank", use, writer_socket=writer.socket)


def test_many_at_once_of_a_server_without_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hashmatch.client.tries._FIRST_PAUSE_S", 0.001)
    chance = random.Random(3)

    def behave(heard: Heard) -> Any:
        yield problem(503, "busy") if chance.random() < 0.3 else found(heard)

    async def run(url: str) -> None:
        async with hashmatch.aconnect(url, retries=30) as client:
            codes = random_codes(5, 256)
            answers = await asyncio.gather(*(client.match("pdq", codes) for _ in range(100)))
            assert {tuple(answer.ref) for answer in answers} == {
                tuple(f"ref-{row}" for row in range(5))
            }

    with FakeServer(behave) as server:
        asyncio.run(run(server.url))
        assert len(server.heard) > 110


def test_a_lookup_that_is_cancelled_ends(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hashmatch.client.lookups._MOST_CODES", 10)

    async def run(url: str) -> None:
        async with hashmatch.aconnect(url) as client:
            task = asyncio.ensure_future(client.match("pdq", random_codes(1_000, 256)))
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert len(asyncio.all_tasks()) == 1
        with pytest.raises(ValueError, match="was closed"):
            await client.sets()

    def behave(heard: Heard) -> Any:
        yield problem(503, "busy", {"retry_after": "20"})

    with FakeServer(behave) as server:
        asyncio.run(run(server.url))
        assert len(server.heard) <= 4
