"""A client of a server that misbehaves: it answers rightly, or with an error that says why not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

import hashmatch
from fake_server import (
    CHANGED,
    CODES,
    PACKED,
    Cut,
    FakeServer,
    Heard,
    as_json,
    assert_found,
    first_then,
    found,
    found_only,
    problem,
    reply,
)
from hashmatch.client import Client
from oracle import random_codes

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
