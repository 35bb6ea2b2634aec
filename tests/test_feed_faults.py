"""Exchanges that fail: nothing is half done, what went wrong is told without a secret, and it is
tried again later.
"""

from __future__ import annotations

import json
import re
import socket
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import ModuleType

import pytest

import hashmatch
from exchange_servers import (
    KINDS,
    SECRET,
    VARIABLE,
    ExchangeServer,
    Fault,
    held,
    open_with_feed,
    serving,
    wait_until,
)
from hashmatch import Database
from hashmatch.feeds import Outcome, add_feed, errors, reached, run, run_once, sessions

FAULTS = {
    "429": (Fault(429, {"Retry-After": "7200"}), "answered 429"),
    "500": (Fault(500), "answered 500"),
    "401": (Fault(401), "answered 401 Unauthorized: look at the credentials"),
    "cut": (Fault(cut=True), "was cut in the middle of an answer"),
    "cut at once": (Fault(cut=True, body=b"x"), "was cut in the middle of an answer"),
    "stall": (Fault(stall_s=5), "did not answer in time"),
    "drip": (Fault(drip_s=0.05, body=b"x" * 1_000), "did not answer in time"),
    "garbage": (Fault(body=f"<html>{SECRET}".encode()), ""),
    "bomb": (Fault(body=b'<!DOCTYPE x [<!ENTITY a "b">]><queryResult>&a;</queryResult>'), ""),
    "other JSON": (Fault(body=b"[[]]"), ""),
}


@pytest.fixture(params=KINDS)
def server(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[ExchangeServer]:
    with serving(request.param) as server:
        server.patch(monkeypatch)
        monkeypatch.setenv(VARIABLE, server.credentials())
        yield server


def follow(database: Database) -> Outcome:
    (outcome,) = run_once(database, now=True)
    return outcome


def require_no_secret(path: Path, *texts: object) -> None:
    words = [repr(text).encode() for text in texts]
    kept = [file.read_bytes() for file in path.rglob("*") if file.is_file()]
    assert kept
    for secret in (SECRET, SECRET.replace("+", "_").replace("/", "-"), "s3cret"):
        assert not any(secret.encode() in content for content in (*words, *kept))


@pytest.mark.parametrize("kind", FAULTS)
def test_faults(
    server: ExchangeServer, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "known"
    fault, words = FAULTS[kind]
    with open_with_feed(path, server) as database:
        server.change(1, steps=12)
        assert follow(database).error is None
        before = held(database, "s")
        server.change(2, steps=12)
        if kind in ("stall", "drip"):
            monkeypatch.setattr(sessions, "READ_S", 0.3)
            monkeypatch.setattr(sessions, "ANSWER_S", 0.4)
        # Every request in turn fails, until one run comes through without it.
        for failures, later in enumerate(range(1, 40), 1):
            server.faults = {len(server.requests) + later: fault}
            outcome = follow(database)
            if outcome.error is None:
                break
            assert words in outcome.error
            assert "127.0.0.1" in outcome.error or not words
            assert "http:" not in outcome.error
            feed = database.feeds.get("f")
            assert (feed.error, feed.failures) == (outcome.error, failures)
            assert feed.next_try and outcome.next_try
            assert abs(feed.next_try - outcome.next_try) < timedelta(seconds=1)
            wait = (feed.next_try - datetime.now(UTC)).total_seconds()
            assert (7190 if kind == "429" else 10) < wait < (7201 if kind == "429" else 3601)
            # What is there is old, new, or some of both: no item is anything else.
            now = held(database, "s")
            expected = server.expected()
            assert all(item in (before.get(ref), expected.get(ref)) for ref, item in now.items())
            require_no_secret(path, outcome, feed)
            if failures == 1:
                # It is left alone.
                asked = len(server.requests)
                (left,) = run_once(database)
                assert left.error == outcome.error
                assert len(server.requests) == asked
        assert failures > 2
        assert held(database, "s") == server.expected()
        feed = database.feeds.get("f")
        assert (feed.failures, feed.error, feed.next_try) == (0, None, None)
        assert database.check() == []
        require_no_secret(path)


def test_nobody_listens(
    server: ExchangeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        server.base = f"http://127.0.0.1:{free.getsockname()[1]}"
    server.patch(monkeypatch)
    monkeypatch.setenv(VARIABLE, server.credentials())
    with open_with_feed(tmp_path / "known", server) as database:
        outcome = follow(database)
        assert outcome.error == "the connection to 127.0.0.1 failed: Connection refused"
        require_no_secret(tmp_path, outcome)


def test_credentials_are_where_they_are_said_to_be(
    server: ExchangeServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with open_with_feed(tmp_path / "known", server) as database:
        monkeypatch.delenv(VARIABLE)
        outcome = follow(database)
        assert (
            outcome.error == f"the environment variable {VARIABLE} with the credentials is not set"
        )
        monkeypatch.setenv(VARIABLE, SECRET[:3])
        outcome = follow(database)
        assert outcome.error
        assert f"the credentials in env:{VARIABLE} are not of the form" in outcome.error
        assert server.requests == []
        # In a file, and changed while the feed stands.
        kept = tmp_path / "kept"
        add_feed(
            database, "g", set="t", exchange=server.exchange, options=server.options,
            credentials=f"file:{kept}",
        )  # fmt: skip
        server.change(1)
        (outcome,) = run_once(database, ["g"], now=True)
        assert outcome.error == f"{kept}: No such file or directory"
        kept.write_text(f"{server.credentials()}\n")
        (outcome,) = run_once(database, ["g"], now=True)
        assert outcome.error is None
        assert held(database, "t") == server.expected()
        kept.unlink()
        require_no_secret(tmp_path)


@pytest.mark.parametrize("kind", ["fb_threatexchange", "stop_ncii"])
def test_a_stale_checkpoint_starts_over(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "known"
    with serving(kind) as server:
        server.patch(monkeypatch)
        monkeypatch.setenv(VARIABLE, server.credentials())
        with open_with_feed(path, server) as database, hashmatch.open(path) as reader:
            server.change(1, steps=30)
            assert follow(database).error is None
            old = server.expected()
            # So long ago that the exchange has forgotten what was deleted.
            feed = database.feeds.get("f")
            checkpoint = json.loads(feed.checkpoint)
            checkpoint["position"]["last_fetch_time"] = 0
            database.feeds.set_checkpoint("s", json.dumps(checkpoint))
            assert (far := reached(database.feeds.get("f"))) and far.stale
            new = old
            while not (old.keys() - new.keys() and new.keys() - old.keys()):
                server.change(len(server.requests) + server.now)
                new = server.expected()
            server.records = {key: each for key, each in server.records.items() if each.body}
            generation, runs = database.generation, 0
            # Fails at every request in turn, and goes on from there: the old state stays.
            for _ in range(1, 40):
                asked = len(server.requests)
                server.faults = {asked + 2: Fault(500)}
                outcome = follow(database)
                if outcome.error is None:
                    break
                reader.refresh()
                assert reader.generation == database.generation == generation
                assert held(reader, "s") == old
                assert len(server.requests) <= asked + 2
                runs += 1
            assert kind != "fb_threatexchange" or runs > 2
            if kind == "stop_ncii":
                # It has no place to go on from before its last page.
                server.faults = {}
                outcome = follow(database)
            assert outcome.followed and outcome.followed.replaced
            reader.refresh()
            assert held(reader, "s") == new
            assert database.generation == generation + 1
            row = database.history("s", limit=1)[0]
            assert row.removed == len(old.keys() - new.keys())
            assert row.added == len(new.keys() - old.keys())
            assert not list(path.glob("feed-*"))
            assert (far := reached(database.feeds.get("f"))) and not far.stale
            server.faults = {}
            again = follow(database).followed
            assert again and not again.replaced
            assert database.generation == generation + 1


def test_an_exchange_that_forgot_a_checkpoint_is_read_from_the_start(
    server: ExchangeServer, tmp_path: Path
) -> None:
    with open_with_feed(tmp_path / "known", server) as database:
        server.change(1, steps=20)
        assert follow(database).error is None
        server.change(2, steps=20)
        server.records = {key: each for key, each in server.records.items() if each.body}
        later = 2 if server.exchange == "tat" else 1
        server.faults = {len(server.requests) + later: Fault(410)}
        outcome = follow(database)
        assert outcome.error is None
        assert outcome.followed and outcome.followed.replaced
        assert held(database, "s") == server.expected()
        server.change(3)
        server.faults = {0: Fault(410)}
        outcome = follow(database)
        assert outcome.error == "the exchange no longer knows what came after the checkpoint"


def test_another_option_is_another_feed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What one checkpoint leaves out is not left out where it does not belong."""
    with serving("ncmec") as server:
        server.patch(monkeypatch)
        monkeypatch.setenv(VARIABLE, server.credentials())
        with open_with_feed(tmp_path / "known", server) as database:
            server.change(1, steps=20)
            assert follow(database).error is None
            database.feeds.remove("f")
            options = {**server.options, "only_esp_ids": "42,43"}
            add_feed(
                database, "f", set="s", exchange="ncmec", options=options,
                credentials=f"env:{VARIABLE}",
            )  # fmt: skip
            outcome = follow(database)
            assert outcome.followed and outcome.followed.replaced
            expected = server.expected()
            wanted = {ref: each for ref, each in expected.items() if ref[:2] in ("42", "43")}
            assert 0 < len(wanted) < len(expected)
            assert held(database, "s") == wanted


def test_nothing_at_all_is_not_taken_for_a_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serving("stop_ncii") as server:
        monkeypatch.setenv(VARIABLE, server.credentials())
        with open_with_feed(tmp_path / "known", server) as database:
            server.change(1)
            assert follow(database).error is None
            before = held(database, "s")
            assert before
            server.records.clear()
            server.faults = {len(server.requests) + 1: Fault(410)}
            outcome = follow(database)
            assert outcome.error
            assert "the exchange gave nothing, where the set 's' holds" in outcome.error
            assert held(database, "s") == before


def test_feeds_do_not_wait_for_one_another(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One hangs, one fails, and one goes on all the while."""
    path = tmp_path / "known"
    monkeypatch.setattr(sessions, "READ_S", 30.0)
    stop = threading.Event()
    outcomes: list[Outcome] = []
    with serving("tat") as slow, serving("fb_threatexchange") as failing, serving("ncmec") as sound:
        slow.faults, failing.faults = {0: Fault(stall_s=30)}, {0: Fault(503)}
        with hashmatch.open(path, "c") as database:
            for name, server in (("slow", slow), ("failing", failing), ("sound", sound)):
                server.patch(monkeypatch)
                monkeypatch.setenv(f"{VARIABLE}_{name}", server.credentials())
                add_feed(
                    database, name, set=name, exchange=server.exchange, options=server.options,
                    credentials=f"env:{VARIABLE}_{name}",
                )  # fmt: skip
        runner = threading.Thread(
            target=run,
            args=(path,),
            kwargs={"every_s": 0.3, "stop": stop, "on_outcome": outcomes.append},
        )
        runner.start()
        try:
            with hashmatch.open(path) as reader:
                for turn in range(3):
                    sound.change(turn)
                    wait_until(
                        lambda: reader.refresh() > 0 and held(reader, "sound") == sound.expected()
                    )
                states = {feed.name: feed for feed in reader.feeds.list()}
        finally:
            stop.set()
            runner.join(20)
        assert not runner.is_alive()
    assert states["sound"].succeeded and not states["sound"].error
    assert states["failing"].error == "127.0.0.1 answered 503 Service Unavailable"
    assert states["failing"].failures >= 1
    assert states["slow"].tried is None
    assert {outcome.feed for outcome in outcomes} == {"sound", "failing"}
    with hashmatch.open(path, "r+"):
        pass  # It was let go of.


def test_another_writer_is_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hashmatch.feeds.running._LOCKED_S", 0.05)
    path = tmp_path / "known"
    stop = threading.Event()
    troubles: list[str] = []
    outcomes: list[Outcome] = []
    with hashmatch.open(path, "c") as database:
        add_feed(database, "f", set="s", exchange="sample")
        runner = threading.Thread(
            target=run,
            args=(path,),
            kwargs={
                "every_s": 60, "stop": stop, "on_outcome": outcomes.append,
                "on_trouble": troubles.append,
            },
        )  # fmt: skip
        runner.start()
        wait_until(lambda: len(troubles) > 1)
        assert not outcomes
    wait_until(lambda: bool(outcomes))
    stop.set()
    runner.join(20)
    assert outcomes[0].error is None
    assert "open for writing by process" in troubles[0]


def test_patience_grows_and_has_an_end() -> None:
    def wait_s(failures: int) -> float:
        return (errors.next_try(ValueError(), failures) - datetime.now(UTC)).total_seconds()

    waits = [[wait_s(failures) for _ in range(20)] for failures in range(12)]
    for failures, some in enumerate(waits):
        most = min(30.0 * 2**failures, 3600.0)
        assert most / 2 - 1 <= min(some) <= max(some) <= most + 1
        assert len({round(each, 3) for each in some}) > 10
    assert wait_s(10**6) <= 3601


@pytest.mark.parametrize(
    ("header", "low", "high"),
    [
        ("120", 110, 121),
        ("0", 0, 31),
        ("999999999999", 86_390, 86_401),
        ("-5", 0, 31),
        ("soon", 0, 31),
        ("٣٠٠", 0, 31),
        ("at", 590, 601),
    ],
)
def test_retry_after(header: str, low: float, high: float) -> None:
    import requests

    response = requests.Response()
    if header == "at":
        at = time.gmtime(time.time() + 600)
        header = time.strftime("%a, %d %b %Y %H:%M:%S GMT", at)
    response.headers["Retry-After"] = header
    error = requests.HTTPError(response=response)
    wait = (errors.next_try(error, 0) - datetime.now(UTC)).total_seconds()
    assert low <= wait <= high


def test_words_hold_no_secret() -> None:
    from hashmatch.feeds.credentials import forms_of, scrub

    secret = "pa ss/wörd+1"
    forms = forms_of([secret])
    texts = [
        f"for url: https://a/b?x=1&p={secret}",
        "https://a/b?p=pa%20ss%2Fw%C3%B6rd%2B1",
        "https://a/b?p=pa+ss%2Fw%C3%B6rd%2B1",
        "https://graph/x?access_token=EAAB|other&limit=5",
        '{"access_token": "EAAB|other"}',
        "Authorization: Bearer EAAB.other",
        "Basic cGEgc3Mvd8O2cmQrMQ==",
    ]
    for text in texts:
        clean = scrub(text, forms)
        assert "[hidden]" in clean
        assert not re.search("ss.{0,3}w|other|EAAB|cGEg|C3%B6", clean)
    assert scrub("limit=5 of 7 tokens", forms) == "limit=5 of 7 tokens"
    # An error in the midst of which nobody thought of words.
    try:
        raise KeyError(secret)
    except KeyError as error:
        words = errors.words_of(error, forms)
    assert re.fullmatch(r"KeyError in test_feed_faults.py:\d+: '\[hidden\]'", words)


def test_words_while_requests_is_imported_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """By another feed's thread: a part of it is there."""
    for name in ("requests", "requests.exceptions"):
        monkeypatch.setitem(sys.modules, name, ModuleType(name))
    assert errors.words_of(ValueError("holds no hashes"), ()) == "holds no hashes"
