"""Following feeds, once or on and on, each beside the others: none waits for one that is slow, and
none fails because another did.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from hashmatch.database import Database, open
from hashmatch.database.feeds import FeedRecord
from hashmatch.feeds.errors import next_try, words_of
from hashmatch.feeds.following import Followed, follow
from hashmatch.feeds.registry import open_exchange

#: How often it is looked whether a feed is due, while others are being followed.
_LOOK_S = 0.2
#: How long to wait before a database is tried again that another process writes to, or that failed.
_LOCKED_S = 5.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of following a feed once."""

    feed: str
    followed: Followed | None = None
    #: Why it failed, if it did, or was not tried.
    error: str | None = None
    #: When it is tried again, after a failure.
    next_try: datetime | None = None


#: Called with each outcome, by the thread that followed the feed.
OnOutcome = Callable[[Outcome], object]
#: Called with the name of a feed and the records that came so far, by the thread that follows it.
OnRecords = Callable[[str, int], object]


def run_once(
    database: Database,
    names: Collection[str] = (),
    *,
    now: bool = False,
    on_outcome: OnOutcome | None = None,
    on_records: OnRecords | None = None,
) -> list[Outcome]:
    """Follow feeds as far as they go, those of some names or all, at the same time.

    A feed that failed lately is left alone until it is to be tried again, unless `now`. The
    outcomes are in the order of the names, and noted in the database. ValueError if a name is that
    of no feed.
    """
    runner = _Runner(database, on_outcome, on_records)
    for feed in _chosen(database, names):
        runner.start(feed, now)
    runner.wait()
    return sorted(runner.outcomes, key=lambda outcome: outcome.feed)


def run(
    path: Path,
    names: Collection[str] = (),
    *,
    every_s: float,
    stop: threading.Event,
    on_outcome: OnOutcome | None = None,
    on_records: OnRecords | None = None,
    on_trouble: Callable[[str], object] | None = None,
) -> None:
    """Follow feeds until `stop` is set: each again so long after it was, and a failed one when it
    is to be tried again. Feeds that are added meanwhile are followed too.

    The database is open for writing only while a feed is followed; another process may write in
    between. One that does so at the wrong time is waited for, and `on_trouble` is told.
    """

    def tell(outcome: Outcome) -> None:
        # What is being stopped fails, but for no reason that anybody has to know.
        if on_outcome and not stop.is_set():
            on_outcome(outcome)

    due_in_s = 0.0
    while not stop.wait(due_in_s):
        try:
            with open(path, "r+") as database:
                due_in_s = _run_due(database, names, every_s, stop, tell, on_records)
        except BlockingIOError as error:
            if on_trouble:
                on_trouble(f"{error.strerror or error}")
            due_in_s = _LOCKED_S


def _run_due(
    database: Database,
    names: Collection[str],
    every_s: float,
    stop: threading.Event,
    on_outcome: OnOutcome,
    on_records: OnRecords | None,
) -> float:
    """Follow what is due, and what becomes so meanwhile. In how many seconds something is again."""
    runner = _Runner(database, on_outcome, on_records)
    while True:
        feeds = _chosen(database, names)
        waits = [_wait_s(feed, every_s) for feed in feeds if feed.name not in runner.active]
        for feed in feeds:
            if feed.name not in runner.active and _wait_s(feed, every_s) <= 0:
                runner.start(feed, now=True)
        if stop.is_set():
            return 0.0
        if not runner.active:
            database.fold()
            return max(_LOOK_S, min(waits, default=every_s))
        stop.wait(_LOOK_S)


def _wait_s(feed: FeedRecord, every_s: float) -> float:
    if feed.next_try is not None:
        due = feed.next_try
    elif feed.tried is not None:
        due = feed.tried + timedelta(seconds=every_s)
    else:
        return 0.0
    # A clock that was put back does not stop a feed.
    return min((due - datetime.now(UTC)).total_seconds(), 24 * 3600.0)


def _chosen(database: Database, names: Collection[str]) -> list[FeedRecord]:
    table = database.feeds
    return [table.get(name) for name in dict.fromkeys(names)] if names else table.list()


class _Runner:
    """Threads that each follow one feed, once."""

    def __init__(
        self, database: Database, on_outcome: OnOutcome | None, on_records: OnRecords | None
    ) -> None:
        self._database = database
        self._on_outcome = on_outcome or (lambda outcome: None)
        self._on_records = on_records or (lambda name, records: None)
        self._threads: dict[str, threading.Thread] = {}
        self.outcomes: list[Outcome] = []

    @property
    def active(self) -> set[str]:
        """The feeds that are being followed."""
        return {name for name, thread in self._threads.items() if thread.is_alive()}

    def start(self, feed: FeedRecord, now: bool) -> None:
        if not now and feed.next_try is not None and feed.next_try > datetime.now(UTC):
            self._end(Outcome(feed.name, None, feed.error or "failed", feed.next_try))
            return
        # A daemon: whoever stops need not wait for an exchange that does not answer.
        thread = threading.Thread(
            target=self._follow, args=(feed,), name=f"feed {feed.name}", daemon=True
        )
        self._threads[feed.name] = thread
        thread.start()

    def wait(self) -> None:
        """Until all have ended."""
        for thread in self._threads.values():
            thread.join()

    def _follow(self, feed: FeedRecord) -> None:
        secrets: tuple[str, ...] = ()
        try:
            exchange = open_exchange(feed.exchange, feed.name, feed.options, feed.credentials)
            try:
                followed = follow(
                    self._database,
                    feed,
                    exchange,
                    lambda records: self._on_records(feed.name, records),
                )
            finally:
                secrets = exchange.secrets
            self._database.feeds.note_success(feed.name)
        except Exception as error:
            self._note_failure(feed, error, words_of(error, secrets))
        else:
            self._end(Outcome(feed.name, followed))

    def _note_failure(self, feed: FeedRecord, error: Exception, words: str) -> None:
        again = next_try(error, feed.failures)
        try:
            self._database.feeds.note_failure(feed.name, words, again)
        except (ValueError, OSError):
            # The database is what failed, or was closed. Nothing keeps the feed from being due.
            time.sleep(_LOCKED_S)
        self._end(Outcome(feed.name, None, words, again))

    def _end(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome)
        self._on_outcome(outcome)
