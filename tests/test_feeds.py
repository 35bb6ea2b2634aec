"""Feeds over HTTP: every exchange's pages, deletions and malformed records become its set."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import hashmatch
from exchange_servers import KINDS, VARIABLE, ExchangeServer, held, open_with_feed, serving
from hashmatch.feeds import Outcome, run_once


@pytest.fixture(params=KINDS)
def server(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ExchangeServer]:
    with serving(request.param) as server:
        server.patch(monkeypatch)
        monkeypatch.setenv(VARIABLE, server.credentials())
        yield server


def follow(database: hashmatch.Database) -> Outcome:
    (outcome,) = run_once(database, now=True)
    return outcome


def test_a_set_follows_its_exchange(server: ExchangeServer, tmp_path: Path) -> None:
    with open_with_feed(tmp_path / "known", server) as database:
        with hashmatch.open(tmp_path / "known") as reader:
            for turn in range(6):
                server.change(turn, steps=0 if turn == 3 else 12)
                outcome = follow(database)
                assert outcome.error is None
                assert held(database, "s") == server.expected()
                assert reader.refresh() == database.generation
                assert held(reader, "s") == server.expected()
                # Once more brings nothing, and makes no generation.
                before = database.generation
                again = follow(database).followed
                assert again and not again.faults
                assert (again.added, again.updated, again.removed, again.opinions) == (0,) * 4
                assert database.generation == before
        assert len(server.requests) > 15  # There were pages.
        assert database.check() == []
        feed = database.feeds.get("f")
        assert feed.succeeded and feed.error is None and feed.skipped == 0


def test_malformed_records_are_skipped_and_told(server: ExchangeServer, tmp_path: Path) -> None:
    with open_with_feed(tmp_path / "known", server) as database:
        told = 0
        for turn in range(3):
            server.change(turn)
            for number in range(5):
                server.spoil(20 * turn + number)
            server.change(turn + 100)
            outcome = follow(database)
            assert outcome.error is None
            assert held(database, "s") == server.expected()
            assert outcome.followed
            faults = outcome.followed.faults
            # Some are alike, and are told the first time only.
            assert len(faults) >= (1 if turn else 4)
            assert any(
                f"bad{20 * turn}" in each or f"{9000 + 20 * turn}" in each for each in faults
            )
            told += len(faults)
            again = follow(database).followed
            assert again and again.faults == []
        feed = database.feeds.get("f")
        assert feed.skipped == told
        assert told - 20 <= len(feed.faults) <= 20
        assert feed.failures == 0
