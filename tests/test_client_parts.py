"""Lookups in several requests: put together in order, all of one generation."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from fake_server import (
    CHANGED,
    CODES,
    FakeServer,
    Heard,
    as_json,
    assert_found,
    found,
    found_only,
    problem,
)
from hashmatch.client import Client
from oracle import random_codes


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


def test_a_part_is_a_thousand_hashes_at_least() -> None:
    with (
        FakeServer(lambda heard: iter([problem(413, "too much")])) as server,
        Client(server.url) as client,
        pytest.raises(ValueError, match="too much"),
    ):
        client.match("pdq", random_codes(4_001, 256))
    assert {heard.hashes for heard in server.heard} >= {4_001, 2_000, 1_000}
    assert min(heard.hashes for heard in server.heard) > 500


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


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
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
