"""Changes over the wire: what they do, what they answer, and what is refused."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Iterator
from typing import Any
from urllib.parse import quote

import httpx
import orjson
import pytest

import hashmatch
from serving import problem, with_application
from writers import CODE, JSON, OTHER, WriterProcess, asked, good, made, writer_of


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WriterProcess]:
    with writer_of(made(tmp_path_factory.mktemp("served"))) as writer:
        yield writer


def test_a_set_is_made_filled_and_shown(writer: WriterProcess) -> None:
    add = {"ref": "picture-17", "type": "pdq", "hash": CODE, "labels": ["flag"]}
    change = {
        "adds": [add],
        "removals": ["picture-3"],
        "opinions": [{"ref": "picture-17", "contributor": "B", "verdict": "positive"}],
        "checkpoint": "page 7",
    }
    created, changed, again, listed = asked(
        writer,
        ("PUT", "/v1/sets/shared", {"contributor": "A", "max_distance": {"pdq": 20}}),
        ("POST", "/v1/sets/shared/changes", change),
        ("PUT", "/v1/sets/shared", {}),
        ("GET", "/v1/sets/shared", None),
    )
    assert created.status_code == 201
    assert created.json()["contributor"] == "A" and created.json()["max_distance"]["pdq"] == 20
    assert changed.status_code == 200
    generation = int(changed.headers["hashmatch-generation"])
    assert changed.json() == {
        "generation": generation,
        "set": "shared",
        "added": 1,
        "updated": 0,
        "removed": 0,
        "unchanged": 0,
        "opinions": 1,
        "rejected": [
            {"row": 0, "field": "removals.0.ref", "reason": "no item 'picture-3' to remove"}
        ],
    }
    problem(again, 409, field="set")
    assert listed.json()["name"] == "shared"
    with hashmatch.open(writer.path) as database:
        assert database.generation == generation
        (match,) = database.match("pdq", CODE, sets=["shared"])
        assert (match.ref, match.labels, match.verdicts) == (
            "picture-17", ["flag"], ("positive",),
        )  # fmt: skip
        (record,) = (each for each in database.sets() if each.name == "shared")
        assert (record.items, record.checkpoint) == (1, "page 7")


# What is refused.


def without(member: str) -> dict[str, Any]:
    add = good()
    del add[member]
    return add


SAID = {"ref": "there", "contributor": "B", "verdict": "positive"}

#: A body, and the field that is at fault, with its row.
BAD: list[tuple[Any, str | None, int | None]] = [
    (7, None, None),
    ("a", None, None),
    ([], None, None),
    ([7], "0", None),
    ([[]], "0", None),
    ({"add": []}, "add", None),
    ({"adds": None}, "adds", None),
    ({"adds": {}}, "adds", None),
    ({"adds": [good(), 7]}, "adds.1", 1),
    ({"adds": [good(), without("ref")]}, "adds.1.ref", 1),
    ({"adds": [good(), without("type")]}, "adds.1.type", 1),
    ({"adds": [good(), without("hash")]}, "adds.1.hash", 1),
    ({"adds": [good(colour="red")]}, "adds.0.colour", 0),
    ({"adds": [good(type="PDQ")]}, "adds.0.type", 0),
    ({"adds": [good(type="")]}, "adds.0.type", 0),
    ({"adds": [good(type=1)]}, "adds.0.type", 0),
    ({"adds": [good(ref=17)]}, "adds.0.ref", 0),
    ({"adds": [good(ref="")]}, "adds.0.ref", 0),
    ({"adds": [good(), good(ref="a\0")]}, "adds.1.ref", 1),
    ({"adds": [good(ref="é" * 513)]}, "adds.0.ref", 0),
    ({"adds": [good(hash=OTHER[:-1])]}, "adds.0.hash", 0),
    ({"adds": [good(hash=OTHER + "0")]}, "adds.0.hash", 0),
    ({"adds": [good(hash="0x" + OTHER[2:])]}, "adds.0.hash", 0),
    ({"adds": [good(hash="+" + OTHER[1:])]}, "adds.0.hash", 0),
    ({"adds": [good(hash=" " + OTHER[1:])]}, "adds.0.hash", 0),
    ({"adds": [good(hash="\u0660" * 64)]}, "adds.0.hash", 0),
    ({"adds": [good(hash=OTHER[1:] + "\0")]}, "adds.0.hash", 0),
    ({"adds": [good(hash="")]}, "adds.0.hash", 0),
    ({"adds": [good(hash=0)]}, "adds.0.hash", 0),
    ({"adds": [good(hash=[OTHER])]}, "adds.0.hash", 0),
    ({"adds": [good(type="md5")]}, "adds.0.hash", 0),
    ({"adds": [good(labels="flag")]}, "adds.0.labels", 0),
    ({"adds": [good(labels=["flag", 1])]}, "adds.0.labels.1", 0),
    ({"adds": [good(kind="photo")]}, "adds.0.kind", 0),
    ({"adds": [good(kind=None)]}, "adds.0.kind", 0),
    ({"adds": [good(), good(kind="video")]}, "adds.1.kind", 1),
    ({"adds": [good(contributor=0)]}, "adds.0.contributor", 0),
    ({"adds": [good(contributor="a\0")]}, "adds.0.contributor", 0),
    ({"adds": [good(contributor="a" * 1025)]}, "adds.0.contributor", 0),
    ({"adds": [good(quality=101)]}, "adds.0.quality", 0),
    ({"adds": [good(quality=-1)]}, "adds.0.quality", 0),
    ({"adds": [good(quality=50.0)]}, "adds.0.quality", 0),
    ({"adds": [good(quality="50")]}, "adds.0.quality", 0),
    ({"adds": [good(quality=True)]}, "adds.0.quality", 0),
    ({"adds": [good(quality=10**30)]}, "adds.0.quality", 0),
    ({"adds": [good(time_ms=2**32 - 1)]}, "adds.0.time_ms", 0),
    ({"adds": [good(time_ms=1e3)]}, "adds.0.time_ms", 0),
    ({"removals": "there"}, "removals", None),
    ({"removals": ["there", 7]}, "removals.1", 1),
    ({"removals": [""]}, "removals.0.ref", 0),
    ({"removals": [{"ref": "there", "set": "a"}]}, "removals.0.set", 0),
    ({"removals": [{"contributor": "A"}]}, "removals.0.ref", 0),
    ({"removals": [{"ref": "there", "contributor": "\0"}]}, "removals.0.contributor", 0),
    ({"opinions": [SAID, {**SAID, "verdict": "good"}]}, "opinions.1.verdict", 1),
    ({"opinions": [{**SAID, "contributor": None}]}, "opinions.0.contributor", 0),
    ({"opinions": [{**SAID, "ref": ""}]}, "opinions.0.ref", 0),
    ({"opinions": [{**SAID, "labels": None}]}, "opinions.0.labels", 0),
    ({"opinions": [{"ref": "there", "contributor": "B"}]}, "opinions.0.verdict", 0),
    ({"checkpoint": 7}, "checkpoint", None),
    ({"on_error": "ignore"}, "on_error", None),
    ({"on_error": None}, "on_error", None),
    ([{"adds": [good()]}, {"adds": [good(), good(hash="0")]}], "1.adds.1.hash", 1),
    ([{"adds": [good()]}, {"adds": [good(), without("ref")]}], "1.adds.1.ref", 1),
    ([{"removals": ["there"]}, {"adds": [], "colour": 1}], "1.colour", None),
]


def test_bad_bodies_name_the_field_and_change_nothing(writer: WriterProcess) -> None:
    replies = asked(writer, *(("POST", "/v1/sets/a/changes", body) for body, _, _ in BAD))
    for (body, field, row), reply in zip(BAD, replies, strict=True):
        document = problem(reply, 400)
        assert (document.get("field"), document.get("row")) == (field, row), body
        assert field is None or document["detail"].startswith(field)
    with hashmatch.open(writer.path) as database:
        assert [row.set for row in database.history("a")] == ["a"]
        (item,) = database.contents("a")
        assert item.ref == "there"


@pytest.mark.parametrize(
    "content",
    [
        b"", b" ", b"{", b"[", b"nul", b"null", b"{}{}", b"\xff", b'{"checkpoint": "\xff"}', b"\0",
        b'{"checkpoint": "\\ud800"}', b'{"checkpoint": NaN}', b"[" * 100_000, b'{"a":' * 10_000,
        "\ufeff{}".encode(), '{"adds": []}'.encode("utf-16"), b'{"adds": [}', b"1e999",
        b'{"adds": [{"quality": ' + b"9" * 100_000 + b"}]}",
    ],
)  # fmt: skip
def test_what_is_no_json(writer: WriterProcess, content: bytes) -> None:
    async def use(client: httpx.AsyncClient) -> list[httpx.Response]:
        return [
            await client.post("/v1/sets/a/changes", headers=JSON, content=content),
            await client.put("/v1/sets/new", headers=JSON, content=content),
        ]

    for reply in with_application(writer.path, use, writer_socket=writer.socket):
        assert problem(reply, 400)["detail"]


def test_mutated_bodies_are_made_or_refused(writer: WriterProcess) -> None:
    chance = random.Random(3)
    change = {"adds": [good(labels=["x"], quality=5)], "removals": ["there"], "opinions": [SAID]}
    content = orjson.dumps([change, change])
    mutated = []
    for _ in range(300):
        body = bytearray(content)
        for _ in range(chance.randint(1, 3)):
            place = chance.randrange(len(body))
            match chance.randrange(4):
                case 0:
                    body[place] = chance.choice(b'{}[]",:0a\\\xff\x00')
                case 1:
                    del body[place : place + chance.randint(1, 9)]
                case 2:
                    body[place:place] = body[: chance.randint(1, 40)]
                case _:
                    body[place] ^= 1 << chance.randrange(8)
        mutated.append(bytes(body))

    async def use(client: httpx.AsyncClient) -> list[httpx.Response]:
        return [
            await client.post("/v1/sets/of/b/changes", headers=JSON, content=body)
            for body in mutated
        ]

    replies = with_application(writer.path, use, writer_socket=writer.socket)
    made = sum(reply.status_code == 200 for reply in replies)
    refused = sum(reply.status_code == 400 for reply in replies)
    assert made + refused == len(replies) and made > 3 and refused > 100
    with hashmatch.open(writer.path) as database:
        assert database.check() == []


def test_bad_rows_may_be_left_out(writer: WriterProcess) -> None:
    change = {
        "on_error": "skip",
        "adds": [good(hash="0"), good(ref="kept"), good(ref=""), good(ref="kept", kind="video")],
        "removals": ["none", "a\0"],
        "opinions": [{**SAID, "ref": ""}, {**SAID, "ref": "kept"}],
    }
    (reply,) = asked(writer, ("POST", "/v1/sets/b/changes", [change, change]))
    answer = reply.json()
    assert (answer["added"], answer["unchanged"], answer["opinions"]) == (1, 2, 1)
    fields = [
        *("adds.0.hash", "adds.2.ref", "adds.3.kind"),
        *("removals.1.ref", "removals.0.ref", "opinions.0.ref"),
    ]
    rejected = [(row["row"], row["field"]) for row in answer["rejected"]]
    assert rejected == [
        (int(field.split(".")[1]), f"{number}.{field}") for number in (0, 1) for field in fields
    ]
    assert all(row["reason"] for row in answer["rejected"])
    with hashmatch.open(writer.path) as database:
        assert database.history("b")[0].rejected == 12


def test_bad_sets(writer: WriterProcess) -> None:
    bad = [
        {"colour": 1}, {"contributor": None}, {"contributor": "\0"}, {"max_distance": {"pdq": 257}},
        {"max_distance": {"pdq": -1}}, {"max_distance": {"md5": 129}}, {"max_distance": {"x": 1}},
        {"max_distance": {"pdq": True}}, {"max_distance": {"pdq": 3.0}}, {"max_distance": [1]}, [],
    ]  # fmt: skip
    names = ["%00", "a%00", "%C3%A9" * 513, "%20" * 1025]
    replies = asked(
        writer,
        *(("PUT", "/v1/sets/bad", body) for body in bad),
        *(("PUT", f"/v1/sets/{name}", {}) for name in names),
    )
    for reply in replies:
        problem(reply, 400)
    missing = asked(
        writer,
        ("GET", "/v1/sets/none", None),
        ("GET", "/v1/sets/none/contents", None),
        ("POST", "/v1/sets/none/changes", {}),
        ("GET", "/v1/history?set=none", None),
    )
    for reply in missing:
        document = problem(reply, 404, field="set")
        # Others' sets are not told of.
        assert "'a'" not in document["detail"] and str(writer.path) not in document["detail"]


def test_any_name_that_a_set_may_have(writer: WriterProcess) -> None:
    odd, within = "é % ? #", quote("of/b", safe="")
    created, shown, changed, filled, contents, refused = asked(
        writer,
        ("PUT", f"/v1/sets/{quote(odd)}", {}),
        ("GET", f"/v1/sets/{quote(odd)}", None),
        ("POST", f"/v1/sets/{quote(odd)}/changes", {"adds": [good()]}),
        ("POST", f"/v1/sets/{within}/changes", {"adds": [good()]}),
        ("GET", f"/v1/sets/{within}/contents", None),
        ("PUT", "/v1/sets/a/match", {}),
    )
    assert (created.status_code, shown.json()["name"], changed.json()["added"]) == (201, odd, 1)
    assert filled.json()["set"] == "of/b"
    assert contents.status_code == 200
    problem(refused, 405)


@pytest.mark.parametrize(
    ("path", "field"),
    [
        ("/v1/history?limit=0", "limit"),
        ("/v1/history?limit=10001", "limit"),
        ("/v1/history?limit=-1", "limit"),
        ("/v1/history?limit=1.0", "limit"),
        ("/v1/history?limit=1_0", "limit"),
        ("/v1/history?limit=%D9%A1", "limit"),
        ("/v1/history?limit=", "limit"),
        ("/v1/history?limit=1&limit=2", "limit"),
        ("/v1/history?limi=1", "limi"),
        ("/v1/sets?limit=1", "limit"),
        ("/v1/sets/a?x=", "x"),
        ("/v1/status?set=a", "set"),
    ],
)
def test_parameters_that_are_none(writer: WriterProcess, path: str, field: str) -> None:
    (reply,) = asked(writer, ("GET", path, None))
    problem(reply, 400, field=field)


def test_too_large_a_body(writer: WriterProcess) -> None:
    async def use(client: httpx.AsyncClient) -> list[httpx.Response]:
        async def parts() -> AsyncIterator[bytes]:
            for _ in range(3):
                yield b" " * 500

        return [
            await client.post("/v1/sets/a/changes", headers=JSON, content=b" " * 1001),
            await client.post("/v1/sets/a/changes", headers=JSON, content=parts()),
            await client.put("/v1/sets/new", headers=JSON, content=parts()),
        ]

    settings = {"writer_socket": writer.socket, "max_body_bytes": 1000}
    for reply in with_application(writer.path, use, **settings):
        problem(reply, 413)


def test_too_many_rows(writer: WriterProcess) -> None:
    many = b",".join([b'"r"'] * 250_001)
    bodies = [
        b'{"removals":[%b]}' % many,
        b'[{"removals":[%b]},{"removals":["r"]}]' % many[:-4],
        b"[%b]" % b",".join([b"{}"] * 10_001),
        b'{"adds":[%b]}' % (b"[]," * 2_500_002),
    ]

    async def use(client: httpx.AsyncClient) -> list[httpx.Response]:
        return [
            await client.post("/v1/sets/a/changes", headers=JSON, content=body) for body in bodies
        ]

    for reply in with_application(writer.path, use, writer_socket=writer.socket):
        assert "in parts" in problem(reply, 413)["detail"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "application/json; charset=utf-16"},
        {},
        {**JSON, "Content-Encoding": "gzip"},
    ],
)
def test_only_json_is_taken(writer: WriterProcess, headers: dict[str, str]) -> None:
    async def use(client: httpx.AsyncClient) -> list[httpx.Response]:
        return [
            await client.post("/v1/sets/a/changes", headers=headers, content=b"{}"),
            await client.put("/v1/sets/new", headers=headers, content=b"{}"),
        ]

    for reply in with_application(writer.path, use, writer_socket=writer.socket):
        problem(reply, 415)


def test_keys_that_are_none(writer: WriterProcess) -> None:
    async def use(client: httpx.AsyncClient) -> list[httpx.Response]:
        wrong: list[list[tuple[str, str]]] = [
            [("Idempotency-Key", "")],
            [("Idempotency-Key", "a\tb")],
            [("Idempotency-Key", "k" * 256)],
            [("Idempotency-Key", "k"), ("Idempotency-Key", "k")],
        ]
        return [await client.post("/v1/sets/a/changes", json={}, headers=each) for each in wrong]

    for reply in with_application(writer.path, use, writer_socket=writer.socket):
        problem(reply, 400)
