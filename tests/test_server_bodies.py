"""Bodies that are not as they have to be: every one is refused, and says which row and why."""

from __future__ import annotations

import json
from typing import Any

import httpx
import numpy as np
import pyarrow
import pytest

from database_model import codes_near
from databases import filled
from hashmatch import Database
from hashmatch.hash_types import HASH_TYPES
from hashmatch.server import matching
from hashmatch.server.arrow_form import arrow_codes
from hashmatch.server.problems import Problem
from mutation import mutants
from oracle import random_codes
from server_answers import (
    ARROW,
    JSON,
    PACKED,
    TYPES,
    answer,
    arrow_batches,
    arrow_stream,
    as_body,
    rows_of,
    with_parameters,
)  # fmt: skip
from serving import problem, with_application

GOOD = "f8f8f0cee0f4a84f06370a22038f63f0b36e2ed596621e1d33e6b39c4e9c9b22"
#: Texts that are no PDQ hash.
BAD_TEXTS = (
    "", GOOD[:-1], GOOD + "0", "0x" + GOOD[2:], "+" + GOOD[1:], "-" + GOOD[1:], " " + GOOD[1:],
    GOOD[1:] + "\n", GOOD[:-1] + "g", GOOD[:-1] + "\0", GOOD[:-1] + "\u0663", GOOD + " ",
    "\uff10" + GOOD[1:], GOOD[:32] + "_" + GOOD[33:],
)  # fmt: skip


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Database:
    database, _ = filled(tmp_path_factory.mktemp("server") / "bank", 24)
    return database


@pytest.mark.parametrize("text", BAD_TEXTS)
def test_a_bad_hash_is_named_in_json_and_arrow(database: Database, text: str) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        rows = [GOOD, GOOD, text, GOOD]
        reply = await client.post("/v1/match", json={"hashes": rows})
        detail = problem(reply, 400, field="hashes", row=2)["detail"]
        assert detail.startswith("row 2: ")
        assert problem(await client.post("/v1/match", json={"hashes": text}), 400, field="hashes")
        for kind in (pyarrow.string(), pyarrow.large_string(), pyarrow.string_view()):
            body = arrow_stream(pyarrow.array(rows, kind))
            reply = await client.post("/v1/match", content=body, headers={"content-type": ARROW})
            assert problem(reply, 400, field="hashes", row=2)["detail"] == detail

    with_application(database.path, use)


@pytest.mark.parametrize(
    "hashes",
    [
        None, 5, 5.5, True, {}, {"a": GOOD}, [[GOOD]], [GOOD, 5], [GOOD, None], [GOOD, [GOOD]],
        [GOOD, True], [GOOD, 1.5], [GOOD, {}],
    ],
)  # fmt: skip
def test_hashes_are_never_coerced(database: Database, hashes: Any) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        for name in ("pdq", "phash"):
            reply = await client.post("/v1/match", json={"type": name, "hashes": hashes})
            document = problem(reply, 400, field="hashes")
            assert ("row" in document) == isinstance(hashes, list)

    with_application(database.path, use)


def test_bodies_without_rows_have_no_matches(database: Database) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        for body in TYPES:
            reply = await client.post("/v1/match", **as_body(body, random_codes(0, 256)))
            assert answer(reply) == (database.generation, 0, [])

    with_application(database.path, use)


@pytest.mark.parametrize("size", [1, 31, 33, 63, 65])
def test_packed_bodies_are_whole_hashes(database: Database, size: int) -> None:
    async def use(client: httpx.AsyncClient) -> httpx.Response:
        headers = {"content-type": PACKED}
        return await client.post("/v1/match", content=bytes(size), headers=headers)

    problem(with_application(database.path, use), 400, field="hashes", row=size // 32)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("type", "PDQ"), ("type", 5), ("type", ["pdq"]), ("type", ""), ("max_distance", -1),
        ("max_distance", 257), ("max_distance", 31.0), ("max_distance", "31"),
        ("max_distance", True), ("max_distance", 2**70), ("limit", 0), ("limit", -1),
        ("limit", 1.5), ("limit", 2**64), ("sets", "films"), ("sets", [1]), ("sets", {}),
        ("sets", ["nowhere"]), ("sets", [None]), ("verdicts", "positive"), ("verdicts", ["yes"]),
        ("verdicts", [["none"]]), ("fields", "all"), ("fields", ["ids"]), ("fields", None),
        ("hash", GOOD), ("", 1), ("Type", "pdq"),
    ],
)  # fmt: skip
def test_a_bad_parameter_is_named(database: Database, name: str, value: Any) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        for hashes in ([GOOD], [GOOD] * 200):
            body = {"hashes": hashes, name: value}
            problem(await client.post("/v1/match", json=body), 400, field=name)

    with_application(database.path, use)


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("max_distance=31.0", "max_distance"), ("max_distance=-1", "max_distance"),
        ("max_distance=%2031", "max_distance"), ("max_distance=", "max_distance"),
        ("max_distance=%C2%B2", "max_distance"), ("max_distance=NaN", "max_distance"),
        ("max_distance=257", "max_distance"), ("max_distance=1&max_distance=1", "max_distance"),
        ("limit=0", "limit"), ("limit=99999999999999999999", "limit"), ("sets=films,empty", "sets"),
        ("sets=", "sets"), ("type=pdq&type=pdq", "type"), ("hashes=00", "hashes"), ("x", "x"),
        ("fields=", "fields"), ("verdicts=positive,none", "verdicts"),
    ],
)  # fmt: skip
def test_a_bad_parameter_in_the_url_is_named(database: Database, query: str, name: str) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        for body in TYPES:
            arguments = as_body(body, random_codes(2, 256))
            problem(await client.post(f"/v1/match?{query}", **arguments), 400, field=name)

    with_application(database.path, use)


def test_parameters_stand_in_one_place(database: Database) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        body = with_parameters(as_body(JSON, codes_near("phash", 3, 1)), {"type": "phash"})
        problem(await client.post("/v1/match?type=phash", **body), 400, field="type")
        other = await client.post("/v1/match?sets=films&sets=empty&max_distance=20", **body)
        named = with_parameters(body, {"sets": ["films", "empty"], "max_distance": 20})
        assert answer(other) == answer(await client.post("/v1/match", **named))
        bad = await client.post("/v1/match?type=%FF", **body)
        assert "UTF-8" in problem(bad, 400)["detail"]

    with_application(database.path, use)


def test_media_types(database: Database) -> None:
    text = b'{"hashes": "%s"}' % GOOD.encode()
    arrow = as_body(ARROW, random_codes(1, 256))["content"]

    async def use(client: httpx.AsyncClient) -> None:
        async def post(body: bytes, **headers: str) -> httpx.Response:
            named = {name.replace("_", "-"): value for name, value in headers.items()}
            return await client.post("/v1/match", content=body, headers=named)

        for name in ("application/JSON; charset=UTF-8", 'application/json;charset="utf-8"', JSON):
            assert (await post(text, content_type=name)).headers["content-type"] == JSON
        for name in ("text/plain", "", "application/json; charset=latin-1", "application/jsonl"):
            problem(await post(text, content_type=name), 415, field="Content-Type")
        problem(await post(text), 415, field="Content-Type")
        for coding in ("gzip", "deflate", "br", "zstd", "gzip, identity"):
            reply = await post(text, content_type=JSON, content_encoding=coding)
            problem(reply, 415, field="Content-Encoding")
        reply = await post(text, content_type=JSON, content_encoding="identity")
        assert reply.status_code == 200
        for body, own in ((text, JSON), (bytes(32), PACKED), (arrow, ARROW)):
            for accept, wanted in (
                ("*/*", own), ("*/*;q=0.1", own), ("application/*", own), ("text/html,*/*", own),
                (f"{PACKED};q=0.5, {ARROW};q=0.4", PACKED), (f"{JSON};q=0,*/*;q=1", None),
                (f"{ARROW}, {JSON};q=0.9", ARROW),
            ):  # fmt: skip
                reply = await post(body, content_type=own, accept=accept)
                found = reply.headers["content-type"]
                assert found == wanted if wanted else found in (PACKED, ARROW)
            for accept in ("text/html", "application/xml;q=1", f"{JSON};q=0", ";;,,=", "*/*;q=x"):
                problem(await post(body, content_type=own, accept=accept), 406, field="Accept")

    with_application(database.path, use)


def test_too_many_hashes(database: Database) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        body = {"type": "phash", "hashes": ["0" * 16] * 100_001, "fields": "ids"}
        problem(await client.post("/v1/match", json=body), 413, field="hashes")
        body["hashes"] = ["0" * 16] * 100_000
        assert (await client.post("/v1/match", json=body)).json()["queries"] == 100_000
        for nested in (b'{"hashes":[' + b"[]," * 500_000 + b"[]]}", b"[" * 2_000_000):
            headers = {"content-type": JSON}
            problem(await client.post("/v1/match", content=nested, headers=headers), 413)
        headers = {"content-type": JSON}
        large = b'{"hashes":[]}' + b" " * (16 << 20)
        problem(await client.post("/v1/match", content=large, headers=headers), 413)

    with_application(database.path, use)


@pytest.mark.parametrize(
    "body",
    [
        b"", b"null", b"[]", b'"x"', b"{", b"\0", b'{"hashes":[NaN]}', b'{"hashes":["\xff"]}',
        b'{"hashes":["\\ud800"]}',
    ],
)  # fmt: skip
def test_what_is_no_json_object(database: Database, body: bytes) -> None:
    async def use(client: httpx.AsyncClient) -> httpx.Response:
        return await client.post("/v1/match", content=body, headers={"content-type": JSON})

    problem(with_application(database.path, use), 400)


def _refused(body: bytes, reason: str, row: int | None = None) -> None:
    with pytest.raises(Problem, match=reason) as caught:
        arrow_codes(body, HASH_TYPES["pdq"])
    assert (caught.value.status, caught.value.field, caught.value.row) == (400, "hashes", row)


def test_arrow_columns() -> None:
    codes = random_codes(5, 256)
    rows = [row.tobytes() for row in codes]
    digits = [row.hex() for row in rows]
    for column in (
        pyarrow.array(rows, pyarrow.binary(32)), pyarrow.array(rows, pyarrow.binary()),
        pyarrow.array(digits, pyarrow.string()), pyarrow.array(digits, pyarrow.large_string()),
    ):  # fmt: skip
        others = {"x": pyarrow.array([[1]] * 5), "y": pyarrow.nulls(5)}
        for body in (arrow_stream(column), arrow_stream(column, "other"),
                     arrow_stream(column, **others)):  # fmt: skip
            assert np.array_equal(arrow_codes(body, HASH_TYPES["pdq"]), codes)
        batch = pyarrow.record_batch({"hash": column})
        parts = [batch.slice(0, 2), batch.slice(2, 0), batch.slice(2, 3)]
        assert np.array_equal(arrow_codes(arrow_batches(parts), HASH_TYPES["pdq"]), codes)
    _refused(arrow_stream(column, "a", b=column), "name the one with hashes 'hash'")
    twice = pyarrow.record_batch([column, column], names=["hash", "hash"])
    _refused(arrow_batches([twice]), "name the one with hashes")


def test_arrow_tricks() -> None:
    rows = [row.tobytes() for row in random_codes(5, 256)]
    column = pyarrow.array(rows, pyarrow.binary(32))
    batch = pyarrow.record_batch({"hash": column, "x": pyarrow.array(["a"] * 5)})
    for codec in ("zstd", "lz4"):
        options = pyarrow.ipc.IpcWriteOptions(compression=codec)
        _refused(arrow_batches([batch], options), "compressed")
        old = pyarrow.ipc.IpcWriteOptions(
            compression=codec, metadata_version=pyarrow.ipc.MetadataVersion.V4
        )
        _refused(arrow_batches([batch], old), "compressed")
    _refused(arrow_stream(pyarrow.array(rows).dictionary_encode()), "no dictionaries")
    _refused(arrow_stream(column, x=pyarrow.array(["a"] * 5).dictionary_encode()), "dictionaries")
    _refused(arrow_stream(pyarrow.ExtensionArray.from_storage(
        pyarrow.uuid(), pyarrow.array([b"0" * 16], pyarrow.binary(16)))), "extension")  # fmt: skip
    named = pyarrow.field("hash", column.type, metadata={"ARROW:extension:name": "mine"})
    tricky = pyarrow.record_batch([column], schema=pyarrow.schema([named]))
    _refused(arrow_batches([tricky]), "extension")
    _refused(arrow_stream(pyarrow.array([1, 2])), "format 'l'")
    _refused(arrow_stream(pyarrow.nulls(5)), "format 'n'")
    _refused(arrow_stream(pyarrow.array([rows])), "format")
    _refused(arrow_stream(pyarrow.array([rows[0], None])), "null", 1)
    _refused(arrow_stream(pyarrow.array([rows[0], b"x"], pyarrow.binary())), "1 bytes", 1)
    _refused(arrow_stream(pyarrow.array([b"0" * 31], pyarrow.binary(31))), "31 bytes")
    body = arrow_stream(column)
    _refused(body + b"\0", "goes on")
    _refused(body + body, "goes on")
    _refused(body[:-8], "without an end")
    _refused(body[:-9], "no sound|without an end")
    for bad in (b"", b"\0" * 8, b"\xff" * 64, b"ARROW1\0\0" + body):
        _refused(bad, "the body")


def test_mutated_arrow_bodies() -> None:
    """Whatever a body says, it is read as what it says, or refused."""
    kind = HASH_TYPES["pdq"]
    rows = [row.tobytes() for row in random_codes(6, 256)]
    digits = [row.hex() for row in rows]
    batches = [
        pyarrow.record_batch({"hash": pyarrow.array(rows, pyarrow.binary(32))}),
        pyarrow.record_batch({"hash": pyarrow.array(digits), "x": pyarrow.array([1.5] * 6)}),
        pyarrow.record_batch({"hash": pyarrow.array(rows, pyarrow.binary())}),
    ]
    read = 0
    for seed, batch in enumerate(batches):
        body = arrow_batches([batch.slice(0, 2), batch.slice(2)])
        for mutant in mutants(body, 900, seed):
            try:
                codes = arrow_codes(mutant, kind)
            except Problem as refused:
                assert refused.status == 400 and refused.document()
                continue
            read += 1
            # The other column is nobody's concern.
            hashes = pyarrow.ipc.IpcReadOptions(included_fields=[0])
            table = pyarrow.ipc.open_stream(mutant, options=hashes).read_all()
            column = table.column(0).to_pylist()
            said = [bytes.fromhex(row) if isinstance(row, str) else row for row in column]
            assert [row.tobytes() for row in codes] == said
    assert 100 < read < 2_000


def test_mutated_json_bodies(database: Database) -> None:
    """Only 2xx and 4xx, and a 2xx answers what the body says."""
    codes = codes_near("phash", 3, 1)
    body = {
        "type": "phash", "hashes": [row.tobytes().hex() for row in codes], "max_distance": 12,
        "limit": 3, "sets": ["films", "pictures"], "verdicts": ["none", "positive"],
        "fields": "joined",
    }  # fmt: skip
    sample = json.dumps(body).encode()

    async def use(client: httpx.AsyncClient) -> None:
        taken = 0
        for mutant in mutants(sample, 2_500, 8):
            reply = await client.post("/v1/match", content=mutant, headers={"content-type": JSON})
            if reply.status_code != 200:
                assert problem(reply, reply.status_code)["status"] in (400, 413)
                continue
            taken += 1
            asked = json.loads(mutant)
            hashes = asked["hashes"]
            matches = database.match(
                asked.get("type") or "pdq", hashes, asked.get("sets"), asked.get("max_distance"),
                asked.get("verdicts"), asked.get("limit"),
            )  # fmt: skip
            rows = rows_of(matches)
            if asked.get("fields") == "ids":
                rows = [{key: row[key] for key in ("query", "signal", "distance")} for row in rows]
            assert answer(reply) == (database.generation, matches.queries, rows)
        assert 50 < taken < 1_500

    with_application(database.path, use)


def test_deep_values_are_told_as_what_they_are(database: Database) -> None:
    """Python itself would not write them out."""

    async def use(client: httpx.AsyncClient) -> None:
        headers = {"content-type": JSON}
        for depth in (400, 990, 1_100):
            for one, end in ((b"[", b"]"), (b'{"a":', b"}")):
                deep = one * depth + b"1" + end * depth
                for name in ("hashes", "type", "limit", "sets", "fields", "verdicts", "x"):
                    for value in (deep, b"[" + deep + b"]"):
                        body = b'{"%s":%s}' % (name.encode(), value)
                        reply = await client.post("/v1/match", content=body, headers=headers)
                        assert reply.status_code in (400, 413), reply.text
                for body in (b"[%s]" % deep, b'[{"frames":[%s]}]' % deep, b'[{"frames":%s}]' % deep,
                             json.dumps([deep.decode()]).encode(),
                             json.dumps([f"[{deep.decode()}]"]).encode()):  # fmt: skip
                    videos = b'{"videos":%s}' % body
                    reply = await client.post("/v1/match/video", content=videos, headers=headers)
                    assert reply.status_code in (400, 413), reply.text

    with_application(database.path, use)


def test_without_pyarrow(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    def need(module: str, extra: str) -> None:
        raise ImportError(f"{module} is not installed: pip install 'hashmatch[{extra}]'")

    async def use(client: httpx.AsyncClient) -> None:
        arrow = await client.post("/v1/match", **as_body(ARROW, random_codes(1, 256)))
        assert "hashmatch[arrow]" in problem(arrow, 415)["detail"]
        body = as_body(JSON, random_codes(1, 256))
        asked = await client.post("/v1/match", **body, headers={"accept": ARROW})
        assert "hashmatch[arrow]" in problem(asked, 406)["detail"]
        assert (await client.post("/v1/match", **body)).status_code == 200

    monkeypatch.setattr(matching, "need", need)
    with_application(database.path, use)
