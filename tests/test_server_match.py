"""Lookups over HTTP answer what the database itself answers, in every encoding."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import hashmatch
from database_model import codes_near
from databases import filled
from hashmatch import Database
from hashmatch.hash_types import HASH_TYPES
from hashmatch.server import answers, found, matching
from hashmatch.server.tokens import add_token
from oracle import random_codes
from server_answers import ABOUT, JSON, PACKED, TYPES, answer, as_body, rows_of, with_parameters
from serving import application, problem, with_application

PARAMETERS: tuple[dict[str, Any], ...] = (
    {},
    {"max_distance": 0},
    {"max_distance": 20, "limit": 2},
    {"sets": ["films"]},
    {"sets": ["films", "empty"], "max_distance": 12},
    {"verdicts": ["positive", "none"]},
    {"verdicts": ["negative"], "sets": ["pictures"], "max_distance": 30, "limit": 1},
)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("server") / "bank"
    database, _ = filled(path, 24)
    database.close()
    return path


def test_every_encoding_answers_what_the_database_does(path: Path) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        for seed, name in enumerate(("phash", "md5", "sha1", "pdq") * 4):
            asked = {"type": name, **PARAMETERS[seed % len(PARAMETERS)]}
            codes = codes_near(name, (0, 1, 5, 40)[seed // 4], seed)
            wanted = database.match(
                name, codes, asked.get("sets"), asked.get("max_distance"), asked.get("verdicts"),
                asked.get("limit"),
            )  # fmt: skip
            joined = rows_of(wanted)
            ids = [{key: row[key] for key in ("query", "signal", "distance")} for row in joined]
            for body in TYPES:
                for accept in TYPES:
                    for fields, rows in (("joined", joined), ("ids", ids)):
                        arguments = with_parameters(
                            as_body(body, codes), asked | {"fields": fields}
                        )
                        arguments.setdefault("headers", {})
                        arguments["headers"] = arguments["headers"] | {"accept": accept}
                        reply = await client.post("/v1/match", **arguments)
                        assert reply.headers["content-type"] == accept
                        assert answer(reply) == (wanted.generation, len(codes), rows)

    with hashmatch.open(path) as database:
        assert sum(len(database.match(name, codes_near(name, 40, 3))) for name in HASH_TYPES) > 100
        with_application(path, use)


def test_one_hash_may_stand_alone(path: Path) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        code = codes_near("phash", 1, 0, 0)
        alone = await client.post(
            "/v1/match", json={"type": "phash", "hashes": code[0].tobytes().hex()}
        )
        listed = await client.post("/v1/match?type=phash", **as_body(JSON, code))
        assert answer(alone) == answer(listed)
        assert len(answer(alone)[2]) > 0

    with_application(path, use)


def test_the_set_in_the_url(path: Path) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        codes = codes_near("phash", 20, 1)
        body = with_parameters(as_body(JSON, codes), {"type": "phash"})
        named = with_parameters(body, {"sets": ["films"]})
        own = await client.post("/v1/sets/films/match", **body)
        assert answer(own) == answer(await client.post("/v1/match", **named))
        assert {row["set"] for row in answer(own)[2]} == {"films"}
        problem(await client.post("/v1/sets/films/match", **named), 400, field="sets")
        problem(await client.post("/v1/sets/nowhere/match", **body), 404, field="set")
        other = with_parameters(body, {"sets": ["films", "nowhere"]})
        problem(await client.post("/v1/match", **other), 400, field="sets")

    with_application(path, use)


@pytest.mark.parametrize("accept", TYPES)
def test_large_answers_come_in_parts(
    tmp_path: Path, accept: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More matches than one block has, and sent in parts; the same answer as when sent at once."""
    codes = random_codes(3, 256)
    with hashmatch.open(tmp_path, "c") as database:
        database.create("many")
        with database.change("many") as change:
            rows = np.repeat(codes, 1_700, axis=0)
            change.add("pdq", rows, refs=[f"ref {row}" for row in range(len(rows))], labels=["x"])
        wanted = rows_of(database.match("pdq", codes))

    async def use(client: httpx.AsyncClient) -> httpx.Response:
        return await client.post("/v1/match", **as_body(JSON, codes), headers={"accept": accept})

    at_once = with_application(tmp_path, use)
    monkeypatch.setattr(answers, "_AT_ONCE", 100)
    in_parts = with_application(tmp_path, use)
    monkeypatch.setattr(found, "_SHARED", 100)
    apart = with_application(tmp_path, use)
    assert "content-length" in at_once.headers and "content-length" not in in_parts.headers
    assert answer(at_once) == answer(in_parts) == answer(apart) == (1, 3, wanted)
    assert len(wanted) == 5_100


def test_an_answer_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with hashmatch.open(tmp_path, "c") as database:
        database.create("same")
        with database.change("same") as change:
            change.add("pdq", random_codes(1, 256).repeat(50, 0), refs=list(map(str, range(50))))

    async def use(client: httpx.AsyncClient) -> None:
        for accept in TYPES:
            for fault in ({}, {"limit": 21}):
                body = with_parameters(as_body(JSON, random_codes(1, 256).repeat(5, 0)), fault)
                reply = await client.post("/v1/match", **body, headers={"accept": accept})
                assert "give a limit" in problem(reply, 413)["detail"]
        body = as_body(JSON, random_codes(1, 256).repeat(5, 0))
        whole = await client.post("/v1/match", **with_parameters(body, {"limit": 20}))
        assert len(answer(whole)[2]) == 100

    monkeypatch.setattr(matching, "MAX_MATCHES", 100)
    with_application(tmp_path, use)


def test_a_client_reads_its_own_writes(tmp_path: Path) -> None:
    """Whoever names the generation of their change is answered from it, or told to wait."""
    codes = random_codes(40, 256)

    async def run(database: Database) -> None:
        async with application(tmp_path) as client:
            for number, code in enumerate(codes, 1):
                with database.change("shared") as change:
                    change.add("pdq", code, refs=[f"ref {number}"])
                body = as_body((JSON, PACKED)[number % 2], code[None])
                headers = body.pop("headers", {}) | {"hashmatch-min-generation": str(number)}
                generation, _, rows = answer(
                    await client.post("/v1/match", **body, headers=headers)
                )
                assert generation == number
                assert [row.get("ref") or row for row in rows] == [f"ref {number}"]
            early = headers | {"hashmatch-min-generation": "41"}
            reply = await client.post("/v1/match", **body, headers=early)
            assert problem(reply, 503, retry_after=1)["detail"]
            assert reply.headers["retry-after"] == "1"
            for bad in ("-1", "x", "1.0", "\u00b2", "9" * 30, ""):
                wrong = headers | {"hashmatch-min-generation": bad.encode("latin-1")}
                reply = await client.post("/v1/match", **body, headers=wrong)
                problem(reply, 400, field="Hashmatch-Min-Generation")

    with hashmatch.open(tmp_path, "c") as database:
        database.create("shared")
        asyncio.run(run(database))


def test_hidden_distances(path: Path) -> None:
    """Nothing in an answer tells how near a match is, and nothing asks for it."""

    async def use(client: httpx.AsyncClient) -> None:
        codes = codes_near("phash", 40, 7)
        wanted = rows_of(database.match("phash", codes))
        unordered = sorted(wanted, key=lambda row: (row["query"], row["signal"]))
        assert wanted != unordered
        told = [
            {key: value for key, value in row.items() if key not in ("distance", "hash")}
            for row in unordered
        ]
        for body in TYPES:
            for accept in TYPES:
                arguments = with_parameters(as_body(body, codes), {"type": "phash"})
                arguments["headers"] = arguments.get("headers", {}) | {"accept": accept}
                for fields in ("joined", "ids"):
                    asked = with_parameters(arguments, {"type": "phash", "fields": fields})
                    rows = answer(await client.post("/v1/match", **asked))[2]
                    ids = [{"query": row["query"], "signal": row["signal"]} for row in told]
                    assert rows == (told if fields == "joined" else ids)
                for name in ("max_distance", "limit"):
                    asked = with_parameters(arguments, {"type": "phash", name: 5})
                    problem(await client.post("/v1/match", **asked), 403, field=name)

    assert ABOUT[0] == "hash"
    with hashmatch.open(path) as database:
        with_application(path, use, hide_distances=True)


def test_callers_see_their_own_sets(path: Path, tmp_path: Path) -> None:
    """Those that they may see, of those that there are; and they learn of no other."""
    tokens = tmp_path / "tokens"
    secret = add_token(tokens, "narrow", ["read"], ["films", "later"])
    codes = codes_near("phash", 20, 1)
    body = with_parameters(as_body(JSON, codes), {"type": "phash"})

    async def use(client: httpx.AsyncClient) -> None:
        client.headers["authorization"] = f"Bearer {secret}"
        rows = answer(await client.post("/v1/match", **body))[2]
        assert {row["set"] for row in rows} == {"films"}
        with hashmatch.open(path) as database:
            assert rows == rows_of(database.match("phash", codes, ["films"]))
        assert (await client.post("/v1/sets/films/match", **body)).status_code == 200
        for name, status, field in (("pictures", 403, "set"), ("nowhere", 403, "set"),
                                    ("later", 400, "sets")):  # fmt: skip
            asked = with_parameters(body, {"sets": ["films", name]})
            detail = problem(await client.post("/v1/match", **asked), status, field=field)["detail"]
            assert "pictures" not in detail.replace(repr(name), "")
        problem(await client.post("/v1/sets/pictures/match", **body), 403, field="set")
        problem(await client.post("/v1/sets/later/match", **body), 404, field="set")

    with_application(path, use, tokens=tokens)


def test_a_database_that_cannot_be_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unreadable(*arguments: Any, **named: Any) -> None:
        raise OSError(5, "look at the disk", "catalog.db")

    async def use(client: httpx.AsyncClient) -> None:
        for rows in (1, 2, 2_000):
            for media_type in TYPES:
                body = as_body(media_type, random_codes(rows, 256))
                reply = await client.post("/v1/match", **body)
                assert "look at the disk" in problem(reply, 503, retry_after=1)["detail"]

    monkeypatch.setattr(Database, "match", unreadable)
    with_application(path, use)


def test_what_is_kept_of_filters_has_a_bound(path: Path) -> None:
    with hashmatch.open(path) as database:
        code = random_codes(1, 256)
        for distance in range(200):
            database.match("pdq", code, max_distance=distance, verdicts=["none"])
        assert len(database._upkeep.state.limits) <= 64
