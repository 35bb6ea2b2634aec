"""An update that cannot be taken in: the last good state goes on being served, and it shows."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

import hashmatch
from hashmatch.database.catalog import Catalog
from serving import application, problem
from writers import CODE, OTHER

MATCH = {"type": "pdq", "hashes": [CODE, OTHER]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A database whose signals are all in one segment."""
    with hashmatch.open(tmp_path / "bank", "c") as database:
        database.create("a")
        with database.change("a") as change:
            change.add("pdq", [CODE], refs=["first"])
        database.compact()
    return tmp_path / "bank"


def add(path: Path, ref: str, code: str = OTHER) -> None:
    """What another process does."""
    with Catalog.open(path, "r+") as catalog, catalog.change("a") as change:
        change.add("pdq", [code], refs=[ref])


def list_damaged_segment(path: Path) -> None:
    """In place of the good one, as a fold would; its file is not as it should be."""
    with Catalog.open(path, "r+") as catalog:
        (good,) = catalog.list_segments()
        segments = path / "segments"
        bad = replace(good, file="damaged.seg")
        content = bytearray((segments / good.file).read_bytes())
        content[80] ^= 1
        (segments / bad.file).write_bytes(content)
        catalog.replace_segments([good.file], [bad])
        (segments / good.file).unlink()


def damage_page(path: Path, table: str) -> bytes:
    """Write nonsense over the first page of a table. What was there."""
    file = path / "catalog.db"
    with closing(sqlite3.connect(file)) as connection:
        (page,) = connection.execute(
            "SELECT rootpage FROM sqlite_schema WHERE name = ?", (table,)
        ).fetchone()
        (size,) = connection.execute("PRAGMA page_size").fetchone()
    return write_page(path, (page - 1) * size, b"\xa5" * size)


def write_page(path: Path, place: int, content: bytes) -> bytes:
    with open(path / "catalog.db", "r+b") as file:
        file.seek(place)
        before = file.read(len(content))
        file.seek(place)
        file.write(content)
    return before


async def status_with(
    client: httpx.AsyncClient, holds: Callable[[dict[str, Any]], bool]
) -> dict[str, Any]:
    """The status, once that holds of it."""
    deadline = time.monotonic() + 15
    while True:
        status: dict[str, Any] = (await client.get("/v1/status")).json()
        if holds(status):
            return status
        assert time.monotonic() < deadline, status
        await asyncio.sleep(0.02)


async def found(client: httpx.AsyncClient) -> tuple[int, list[str]]:
    """The generation of an answer, and the refs in it."""
    reply = await client.post("/v1/match", json=MATCH)
    answer = reply.json()
    assert reply.headers["hashmatch-generation"] == str(answer["generation"])
    return answer["generation"], [match["ref"] for match in answer["matches"]]


def serve(path: Path, use: Callable[[httpx.AsyncClient], Awaitable[None]]) -> None:
    async def run() -> None:
        async with application(path) as client:
            await use(client)

    asyncio.run(run())


def test_a_damaged_segment(path: Path) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        before = await status_with(client, lambda status: status["trouble"] is None)
        assert await found(client) == (1, ["first"])
        list_damaged_segment(path)
        add(path, "second")
        shown = await status_with(client, lambda status: status["trouble"] is not None)
        assert "damaged.seg" in shown["trouble"] and "hashmatch db repair" in shown["trouble"]
        # The age is that of what is served.
        assert (shown["generation"], shown["changed"]) == (1, before["changed"])
        assert shown["age_seconds"] > before["age_seconds"]
        for _ in range(20):
            assert await found(client) == (1, ["first"])
            await asyncio.sleep(0.02)
        newest = {"Hashmatch-Min-Generation": "2"}
        late = await client.post("/v1/match", json=MATCH, headers=newest)
        problem(late, 503, retry_after=1)
        sets = (await client.get("/v1/sets")).json()
        assert (sets["generation"], sets["sets"][0]["items"]) == (1, 1)
        # What was changed meanwhile is known.
        history = (await client.get("/v1/history")).json()
        assert [row["generation"] for row in history["changes"]] == [2, 1]
        with hashmatch.open(path, "r+") as database:
            database.repair()
        shown = await status_with(client, lambda status: status["trouble"] is None)
        assert shown["generation"] == 2 and shown["changed"] > before["changed"]
        assert await found(client) == (2, ["first", "second"])

    serve(path, use)


def test_a_damaged_page_of_the_catalog(path: Path) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        await status_with(client, lambda status: status["trouble"] is None)
        before = damage_page(path, "opinion")
        add(path, "second")
        shown = await status_with(client, lambda status: status["trouble"] is not None)
        assert "catalog.db" in shown["trouble"] and "damaged" in shown["trouble"]
        assert shown["generation"] == 1
        for _ in range(20):
            assert await found(client) == (1, ["first"])
            await asyncio.sleep(0.02)
        with closing(sqlite3.connect(path / "catalog.db")) as connection:
            (page,) = connection.execute(
                "SELECT rootpage FROM sqlite_schema WHERE name = 'opinion'"
            ).fetchone()
        write_page(path, (page - 1) * len(before), before)
        add(path, "third")
        await status_with(client, lambda status: status["trouble"] is None)
        assert await found(client) == (3, ["first", "second", "third"])

    serve(path, use)


def test_what_was_damaged_from_the_start_is_not_served(path: Path) -> None:
    list_damaged_segment(path)

    async def use(client: httpx.AsyncClient) -> None:
        for ask in ("/v1/sets", "/v1/sets/a", "/v1/status", "/v1/history"):
            reply = await client.get(ask)
            document = problem(reply, 503)
            assert "damaged.seg" in document["detail"] and document["retry_after"]
            # There is no state that it could be of.
            assert "hashmatch-generation" not in reply.headers
        with hashmatch.open(path, "r+") as database:
            database.repair()
        await status_with(client, lambda status: status.get("generation") == 1)
        assert await found(client) == (1, ["first"])

    serve(path, use)


def test_contents_that_break_off_are_not_taken_for_the_whole(path: Path) -> None:
    with Catalog.open(path, "r+") as catalog, catalog.change("a") as change:
        codes = [f"{number:064x}" for number in range(5_000)]
        change.add("pdq", codes, refs=[f"r{number}" for number in range(5_000)])

    async def use(client: httpx.AsyncClient) -> None:
        whole = await client.get("/v1/sets/a/contents")
        assert len(whole.text.splitlines()) == 5_001
        with closing(sqlite3.connect(path / "catalog.db")) as connection:
            connection.execute("UPDATE item SET signals = x'00' WHERE ref = 'r4500'")
            connection.commit()
        # A server closes the connection before the end of the reply.
        with pytest.raises(RuntimeError, match="already started"):
            await client.get("/v1/sets/a/contents")
        # It has let go of what it read.
        assert len((await client.get("/v1/sets")).json()["sets"]) == 1

    serve(path, use)
