"""A client of a server that misbehaves: it answers rightly, or with an error that says why not."""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import numpy as np
import pytest

import hashmatch
from fake_server import PACKED, Cut, FakeServer, Heard, as_json, found, packed, problem, reply
from hashmatch.client import Client
from oracle import random_codes

CODES = random_codes(3, 256)
CHANGED = {
    "generation": 9, "set": "s", "added": 1, "updated": 0, "removed": 0, "unchanged": 0,
    "opinions": 0, "rejected": [],
}  # fmt: skip


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long a client would have waited; it does not."""
    slept: list[float] = []
    monkeypatch.setattr(Client, "_wait", lambda client, pause_s, ended=None: slept.append(pause_s))
    return slept


def first_then(first: list[bytes | None], last: Callable[[Heard], bytes]) -> Any:
    """Answers with each of the first, once, then with the last. None cuts the connection."""
    left = list(first)

    def behave(heard: Heard) -> Iterator[bytes]:
        if not left:
            yield last(heard)
            return
        part = left.pop(0)
        if part is None:
            raise Cut
        yield part

    return behave


def assert_found(matches: hashmatch.DatabaseMatches, rows: int = 3) -> None:
    assert [(m.query, m.signal, m.distance, m.ref) for m in matches] == [
        (row, row, row, f"ref-{row}") for row in range(rows)
    ]
    assert matches.generation == 7


# No room.


@pytest.mark.parametrize("status", [408, 429, 502, 503, 504])
def test_what_is_refused_for_want_of_room_is_asked_again(status: int, pauses: list[float]) -> None:
    refused = [problem(status, "busy"), problem(status, "busy", {"retry_after": "3"})]
    with FakeServer(first_then([*refused], found)) as server, Client(server.url) as client:
        assert_found(client.match("pdq", CODES))
        assert len(server.heard) == 3
        assert {heard.body for heard in server.heard} == {CODES.tobytes()}
    assert 0 < pauses[0] <= 0.05
    assert 3 <= pauses[1] <= 3 * 1.25


def test_pauses_grow_and_differ(pauses: list[float]) -> None:
    behave = first_then([reply(b"", 503)] * 12, found)
    with FakeServer(behave) as server, Client(server.url, retries=12) as client:
        assert_found(client.match("pdq", CODES))
    assert all(
        0.5 * most <= pause <= most
        for pause, most in zip(
            pauses, [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5, 5, 5, 5, 5], strict=True
        )
    )
    assert len(set(pauses[-5:])) == 5


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [
        ("2", 2, 2.5),
        ("0", 0, 0.05),
        ("-5", 0, 0.05),
        ("1e9", 0, 0.05),
        ("soon", 0, 0.05),
        ("99999999999999999999", 0, 0.05),
        ("in 20 s", 10, 25),
        ("in -20 s", 0, 0.05),
    ],
)
def test_retry_after(text: str, least: float, most: float, pauses: list[float]) -> None:
    if text.startswith("in "):
        then = datetime.now(UTC) + timedelta(seconds=int(text[3:-2]))
        text = format_datetime(then, usegmt=True)
    behave = first_then([reply(b"", 429, retry_after=text)], found)
    with FakeServer(behave) as server, Client(server.url) as client:
        assert_found(client.match("pdq", CODES))
    assert least <= pauses[0] <= most


def test_it_is_not_waited_past_the_timeout(pauses: list[float]) -> None:
    with FakeServer(first_then([problem(503, "away", {"retry_after": "30"})] * 2, found)) as server:
        with (
            Client(server.url, timeout=20) as client,
            pytest.raises(TimeoutError, match="503: away; what is left of 20 s is"),
        ):
            client.match("pdq", CODES)
        assert len(server.heard) == 1
    assert pauses == []


@pytest.mark.parametrize("retries", [0, 2])
def test_it_is_asked_again_so_often_and_no_more(retries: int, pauses: list[float]) -> None:
    with FakeServer(lambda heard: iter([problem(429, "too many")])) as server:
        client = Client(server.url, retries=retries)
        with client, pytest.raises(ConnectionError, match="it answers 429: too many") as caught:
            client.match("pdq", CODES)
        assert server.url in str(caught.value)
        assert len(server.heard) == 1 + retries == 1 + len(pauses)


# Broken connections.


def test_an_answer_cut_at_any_point_is_asked_for_again(pauses: list[float]) -> None:
    heard = Heard("POST", "/v1/match", [], {"content-type": PACKED}, CODES.tobytes())
    whole = found(heard)
    cuts = iter(range(len(whole)))
    state = {"cut": True}

    def behave(heard: Heard) -> Iterator[bytes]:
        if state["cut"]:
            state["cut"] = False
            yield whole[: next(cuts)]
            raise Cut
        state["cut"] = True
        yield found(heard)

    with FakeServer(behave) as server, Client(server.url) as client:
        for _ in range(len(whole)):
            assert_found(client.match("pdq", CODES))
        assert len(server.heard) == 2 * len(whole)


def test_a_request_cut_amid_its_body_is_sent_again(pauses: list[float]) -> None:
    codes = random_codes(40_000, 256)

    def behave(heard: Heard) -> Iterator[bytes]:
        if len(server.heard) == 1:
            raise Cut
        yield found(heard)

    with FakeServer(behave) as server, Client(server.url) as client:
        server.takes_bodies = False

        def takes_the_next(heard: Heard) -> Iterator[bytes]:
            server.takes_bodies = True
            return behave(heard)

        server.behave = takes_the_next
        assert len(client.match("pdq", codes)) == len(codes)
        assert server.heard[-1].body == codes.tobytes()


def test_a_change_is_sent_again_under_its_key(pauses: list[float]) -> None:
    whole = as_json(CHANGED)
    made: dict[str, bytes] = {}
    cuts = list(range(len(whole)))

    def behave(heard: Heard) -> Iterator[bytes]:
        key = heard.headers["idempotency-key"]
        known = made.setdefault(key, heard.body)
        assert known == heard.body
        if len(server.heard) % 2:
            yield whole[: cuts[len(made) - 1]]
            raise Cut
        yield whole

    with FakeServer(behave) as server, Client(server.url) as client:
        for number in cuts:
            with client.change("s") as change:
                change.add("pdq", CODES[:1], refs=[f"ref-{number}"])
            assert (change.counts.added, change.generation) == (1, 9)
        assert len(made) == len(cuts)
        assert len(server.heard) == 2 * len(cuts)


def test_what_may_have_been_done_is_not_done_again(pauses: list[float]) -> None:
    with FakeServer(first_then([None], found)) as server, Client(server.url) as client:
        with pytest.raises(ConnectionError, match="not known whether it was done"):
            client.create("new")
        assert len(server.heard) == 1


# httpx leaves the sockets of connections that are refused to the collector of garbage.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_server_that_is_not_there_yet_is_waited_for(pauses: list[float]) -> None:
    with FakeServer(found_only) as server:
        url = server.url
    with Client(url, retries=3) as client:
        with pytest.raises(ConnectionError, match=r"the connection failed .*4 times over"):
            client.match("pdq", CODES)
        assert len(pauses) == 3
        # Nothing was sent: a set may be asked for again.
        with pytest.raises(ConnectionError, match="4 times over"):
            client.create("new")
        assert len(pauses) == 6


def found_only(heard: Heard) -> Iterator[bytes]:
    yield found(heard)


# Slow answers.


def test_an_answer_that_does_not_come_or_end() -> None:
    def never(heard: Heard) -> Iterator[bytes]:
        time.sleep(0.5)
        yield b""

    def drips(heard: Heard) -> Iterator[bytes]:
        for byte in found(heard):
            time.sleep(0.01)
            yield bytes([byte])

    for behave in (never, drips):
        with FakeServer(behave) as server, Client(server.url, timeout=0.2) as client:
            with pytest.raises(TimeoutError, match=r"no answer within 0\.2 s"):
                client.match("pdq", CODES)

            async def meanwhile(url: str = server.url) -> None:
                async with hashmatch.aconnect(url, timeout=0.2) as other:
                    await other.match("pdq", CODES)

            with pytest.raises(TimeoutError, match=r"no answer within 0\.2 s"):
                asyncio.run(meanwhile())


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


# Parts.


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hashmatch.client.lookups._MOST_CODES", 10)


def numbered(heard: Heard, codes: Any, generation: int) -> bytes:
    """An answer whose signals are the rows of all codes."""
    (first,) = np.flatnonzero((codes == np.frombuffer(heard.body[:32], np.uint8)).all(axis=1))
    return found(heard, generation, int(first))


def test_parts_are_put_together_in_order(small_parts: None) -> None:
    codes, told = random_codes(95, 256), []

    def behave(heard: Heard) -> Iterator[bytes]:
        time.sleep(random.random() * 0.01)
        yield numbered(heard, codes, 7)

    def progress(done: int, total: int) -> None:
        told.append((done, total))

    with FakeServer(behave) as server, Client(server.url) as client:
        matches = client.match("pdq", codes, progress=progress)
        assert len(server.heard) == 10
        assert matches.signal.tolist() == matches.query.tolist() == list(range(95))
        assert matches.ref == [f"ref-{row}" for row in range(95)]
        assert matches[94][0].ref == "ref-94"
        assert matches.set_counts() == {"a": 47, "b": 48}
        assert not any(
            column.flags.writeable
            for column in (matches.query, matches.signal, matches.distance, matches.offsets)
        )
    dones = [done for done, _ in told]
    assert dones == sorted(dones)
    assert told[-1] == (95, 95)
    assert len(told) == 10


def test_what_progress_raises_ends_it(small_parts: None) -> None:
    class Stop(Exception):
        pass

    def progress(done: int, total: int) -> None:
        raise Stop

    codes = random_codes(1_000, 256)
    with FakeServer(lambda heard: iter([numbered(heard, codes, 7)])) as server:
        with Client(server.url) as client, pytest.raises(Stop):
            client.match("pdq", codes, progress=progress)
        assert len(server.heard) < 50


def test_parts_of_an_older_generation_are_asked_for_again(small_parts: None) -> None:
    codes = random_codes(40, 256)

    def behave(heard: Heard) -> Iterator[bytes]:
        asked = int(heard.headers.get("hashmatch-min-generation", 0))
        first = heard.body[:32] == codes[0].tobytes()
        yield numbered(heard, codes, max(asked, 9 if first else 7))

    with FakeServer(behave) as server, Client(server.url) as client:
        matches = client.match("pdq", codes)
        assert matches.generation == 9
        assert matches.ref == [f"ref-{row}" for row in range(40)]
        again = [heard for heard in server.heard if "hashmatch-min-generation" in heard.headers]
        assert len(server.heard) == 4 + 3 and len(again) == 3
        assert {heard.headers["hashmatch-min-generation"] for heard in again} == {"9"}
        assert codes[0].tobytes() not in {heard.body[:32] for heard in again}


def test_parts_whose_generations_never_agree(small_parts: None) -> None:
    codes = random_codes(20, 256)
    with FakeServer(lambda heard: iter([numbered(heard, codes, len(server.heard))])) as server:
        with (
            Client(server.url) as client,
            pytest.raises(TimeoutError, match="at most 10 in a"),
        ):
            client.match("pdq", codes)
        assert len(server.heard) < 40


def test_what_is_too_much_at_a_time_is_asked_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hashmatch.client.lookups._LEAST_CODES", 6)
    codes = random_codes(100, 256)
    told: list[int] = []

    def behave(heard: Heard) -> Iterator[bytes]:
        if heard.hashes > 13:
            yield problem(413, "too much: send less at a time")
        else:
            yield numbered(heard, codes, 7)

    with FakeServer(behave) as server, Client(server.url) as client:
        matches = client.match("pdq", codes, progress=lambda done, _: told.append(done))
        assert matches.ref == [f"ref-{row}" for row in range(100)]
        assert sorted(heard.hashes for heard in server.heard)[:8] == [
            12,
            12,
            12,
            12,
            13,
            13,
            13,
            13,
        ]
        assert told == sorted(told) and told[-1] == 100 and len(told) == 8
        server.behave = lambda heard: iter([problem(413, "too much: send less at a time")])
        with pytest.raises(ValueError, match="too much"):
            client.match("pdq", codes)
        assert len(server.heard) < 60


def test_an_error_of_a_part_is_that_of_all(small_parts: None) -> None:
    codes = random_codes(95, 256)

    def behave(heard: Heard) -> Iterator[bytes]:
        if heard.body[:32] == codes[50].tobytes():
            yield problem(400, "row 0: is bad", field="hashes", row=0)
        yield numbered(heard, codes, 7)

    with (
        FakeServer(behave) as server,
        Client(server.url) as client,
        pytest.raises(ValueError, match="is bad"),
    ):
        client.match("pdq", codes)


def test_a_client_reads_its_own_changes() -> None:
    def behave(heard: Heard) -> Iterator[bytes]:
        yield as_json(CHANGED) if heard.path.endswith("changes") else found(heard)

    with FakeServer(behave) as server, Client(server.url) as client:
        client.match("pdq", CODES)
        with client.change("s") as change:
            change.add("pdq", CODES[:1], refs=["a"])
        client.match("pdq", CODES)
        before, _, after = server.heard
        assert "hashmatch-min-generation" not in before.headers
        assert after.headers["hashmatch-min-generation"] == "9"


def test_a_forked_child_has_connections_of_its_own() -> None:
    with FakeServer(found_only) as server, Client(server.url) as client:
        assert_found(client.match("pdq", CODES))
        child = os.fork()
        if child == 0:
            status = 1
            try:
                assert_found(client.match("pdq", CODES))
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        assert_found(client.match("pdq", CODES))
