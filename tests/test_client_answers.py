"""A client and answers that are none, or refusals: errors say what is wrong, and what to do."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from fake_server import (
    CHANGED,
    CODES,
    PACKED,
    Cut,
    FakeServer,
    Heard,
    as_json,
    packed,
    problem,
    reply,
)
from hashmatch.client import Client
from oracle import random_codes

# Wrong answers.


def unusable() -> dict[str, Callable[[Heard], bytes]]:
    def changed(at: int, value: bytes) -> Callable[[Heard], bytes]:
        def answer(heard: Heard) -> bytes:
            body = packed(heard)
            return reply(body[:at] + value + body[at + len(value) :], 200, PACKED)

        return answer

    return {
        "html": lambda heard: reply(b"<html>", 200, "text/html"),
        "nothing": lambda heard: reply(b"", 200, PACKED),
        "magic": changed(0, b"X"),
        "another generation": changed(8, b"\x08"),
        "more queries": changed(16, b"\x04"),
        "more matches": changed(24, b"\xff\xff\xff\xff\xff\xff\xff\xff"),
        "offsets": changed(56, b"\xff"),
        "no generation": lambda heard: reply(packed(heard), 200, PACKED, None),
        "a generation of letters": lambda heard: reply(
            packed(heard), 200, PACKED, None, hashmatch_generation="seven"
        ),
        "compressed": lambda heard: reply(packed(heard), 200, PACKED, content_encoding="gzip"),
        "cut": lambda heard: reply(packed(heard)[:-1], 200, PACKED),
        "other queries": lambda heard: reply(
            packed(Heard("", "", [], heard.headers, heard.body[:32])), 200, PACKED
        ),
        "redirect": lambda heard: reply(b"", 307, location="https://elsewhere/"),
        "a page that is not there": lambda heard: reply(b"<html>", 404, "text/html"),
        "a fault": lambda heard: problem(500, "a fault"),
    }


@pytest.mark.parametrize("name", unusable())
def test_an_answer_that_is_none(name: str) -> None:
    answer = unusable()[name]
    with FakeServer(lambda heard: iter([answer(heard)])) as server, Client(server.url) as client:
        with pytest.raises(ConnectionError) as caught:
            client.match("pdq", CODES)
        assert str(caught.value).startswith(f"{server.url}: ")
        # It is as wrong when it is asked for again.
        assert len(server.heard) == 1


def test_mutated_answers_are_answers_or_refused() -> None:
    chance = random.Random(5)
    refused = 0

    def behave(heard: Heard) -> Iterator[bytes]:
        body = bytearray(packed(heard))
        for _ in range(chance.choice([1, 1, 2, 8])):
            body[chance.randrange(len(body))] = chance.choice([0, 255, chance.randrange(256)])
        yield reply(bytes(body), 200, PACKED)

    with FakeServer(behave) as server, Client(server.url) as client:
        for _ in range(400):
            try:
                matches = client.match("pdq", CODES)
            except ConnectionError:
                refused += 1
                continue
            assert matches.queries == 3
            assert len(matches.to_list()) == len(matches) == len(matches.hash)
            assert sum(matches.set_counts().values()) == len(matches)
    assert 100 < refused < 400


@pytest.mark.parametrize(
    "answer",
    [
        b"", b"[]", b"{}", b"null", b"\xff", b"[" * 100_000, b'{"sets": 5}', b'{"sets": [5]}',
        b'{"sets": [{"name": "a"}]}', b'{"changes": [{"generation": -1}]}',
        b'{"changes": [{"generation": true}]}', b'{"generation": 1e400, "types": {}}',
    ],
)  # fmt: skip
def test_json_that_is_not_what_was_asked_for(answer: bytes) -> None:
    with FakeServer(lambda heard: iter([reply(answer)])) as server, Client(server.url) as client:
        for ask in (client.sets, client.status, client.history):
            with pytest.raises(ConnectionError, match="cannot be used"):
                ask()
        with pytest.raises(ConnectionError, match="cannot be used"), client.change("s") as change:
            change.add("pdq", CODES, refs=["a", "b", "c"])


@pytest.mark.parametrize(
    "rejected",
    [
        [{"row": 3, "field": "0.adds.3.ref", "reason": "r"}],
        [{"row": 0, "field": "1.adds.0.ref", "reason": "r"}],
        [{"row": 0, "field": "adds.0.ref", "reason": "r"}],
        [{"row": "0", "field": "0.adds.0.ref", "reason": "r"}],
        [{"row": 0, "field": "0.adds.0.ref"}],
    ],
)
def test_rows_that_were_not_sent(rejected: list[Any]) -> None:
    answer = as_json(CHANGED | {"rejected": rejected})
    with (
        FakeServer(lambda heard: iter([answer])) as server,
        Client(server.url) as client,
        pytest.raises(ConnectionError, match="cannot be used"),
        client.change("s") as change,
    ):
        change.add("pdq", CODES, refs=["a", "b", "c"])


# Refusals.


@pytest.mark.parametrize(
    ("answer", "kind", "text"),
    [
        (problem(400, "row 3: hash is empty", field="hashes", row=3), ValueError,
         "hashes: row 3: hash is empty"),
        (problem(400, "not a number", field="limit", row=2), ValueError, "row 2: limit: not a"),
        (problem(404, "there is no set 'x'", field="set"), ValueError, "there is no set 'x'"),
        (problem(409, "there is a set"), ValueError, "there is a set"),
        (problem(413, "more than 5 bytes"), ValueError, "more than 5 bytes"),
        (problem(415, "is no"), ValueError, "is no"),
        (problem(422, "the key was used"), ValueError, "the key was used"),
        (problem(401, "no token"), PermissionError, "no token: give token="),
        (problem(403, "may not write"), PermissionError, "may not write"),
        (problem(400, "\x1b[31mred\n"), ValueError, "\ufffd[31mred\ufffd"),
        (reply(b"nginx", 401, "text/html"), PermissionError, "401: 'nginx'"),
    ],
)  # fmt: skip
def test_refusals_are_builtin_errors(answer: bytes, kind: type[Exception], text: str) -> None:
    secret = "a-secret-token-of-mine"
    with FakeServer(lambda heard: iter([answer])) as server:
        with Client(server.url, token=secret) as client:
            with pytest.raises(kind) as caught:
                client.match("pdq", CODES)
            assert f"{server.url}: {text}" in str(caught.value)
            assert secret not in f"{caught.value!r} {client!r}"
        assert [heard.headers["authorization"] for heard in server.heard] == [f"Bearer {secret}"]


def test_a_body_refused_before_it_was_sent(pauses: list[float]) -> None:
    def behave(heard: Heard) -> Iterator[bytes]:
        yield problem(413, "too large: send it in parts", {"connection": "close"})
        raise Cut

    with FakeServer(behave) as server, Client(server.url, retries=2) as client:
        server.takes_bodies = False
        with pytest.raises(ValueError, match="too large: send it in parts"):
            client.match("pdq", random_codes(300_000, 256))


def test_hidden_distances() -> None:
    def behave(heard: Heard) -> Iterator[bytes]:
        yield reply(packed(heard, distances=False), 200, PACKED)

    with FakeServer(behave) as server, Client(server.url) as client:
        matches = client.match("pdq", CODES)
        assert matches.ref == ["ref-0", "ref-1", "ref-2"]
        assert matches.hash == ["", "", ""]
        assert matches.distance.tolist() == [None] * 3
        assert matches[1][0]._asdict().items() >= {"query": 1, "distance": None}.items()
        assert matches.query[matches.distance <= 256].tolist() == []
        assert matches.to_arrow()["distance"].to_pylist() == [None] * 3
