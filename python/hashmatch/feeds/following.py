"""Following a feed: what its exchange gives becomes changes of its set.

Each delta and the position that it leads to are one change, so that a process that is killed at any
moment neither repeats nor skips anything. Where an exchange can only be read from the start, the
new state is gathered beside the catalog (see staging.py), the old one goes on matching, and one
change replaces it.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from hashmatch import _core
from hashmatch.database import Batch, Change, Database, Kind, Opinion, Removal
from hashmatch.database.feeds import FeedRecord
from hashmatch.feeds.files import Files
from hashmatch.feeds.model import Delta, Entry, Exchange, Hash, Position, StalePosition
from hashmatch.feeds.staging import Staging, discard
from hashmatch.hash_types import HASH_TYPES
from hashmatch.texts import json_text

#: What is shorter may be in a checkpoint by chance.
_SECRET_CHARACTERS = 6

#: Called with the records that came so far.
Records = Callable[[int], object]


@dataclass(slots=True)
class Followed:
    """What came of following a feed once."""

    added: int = 0
    updated: int = 0
    removed: int = 0
    opinions: int = 0
    #: Records that could not be read, each with why, but those that are known from the last times.
    faults: list[str] = field(default_factory=list)
    #: Records without a signal of a type that can be matched.
    others: int = 0
    #: Whether the set's state was replaced by a new one.
    replaced: bool = False


def identity_of(feed: FeedRecord) -> str:
    """What a position belongs to: it means nothing to another exchange, or with other options."""
    return json_text({"exchange": feed.exchange, "options": dict(feed.options)})


def position_of(feed: FeedRecord) -> Position | None:
    """How far the feed was followed. StalePosition if what the set has is not of this feed."""
    if not feed.checkpoint:
        return None
    try:
        kept = json.loads(feed.checkpoint)
        position = kept.pop("position")
        if json_text(kept) == identity_of(feed) and isinstance(position, dict):
            return position
    except (ValueError, KeyError, TypeError, AttributeError):
        pass
    raise StalePosition("the set's checkpoint is not of this feed")


def follow(
    database: Database,
    feed: FeedRecord,
    exchange: Exchange | Files,
    on_records: Records | None = None,
) -> Followed:
    """Bring the feed's set to where the exchange is now.

    What came before an error stands. Only what the exchange raises, and what the database does,
    comes out.
    """
    follower = _Follower(database, feed, on_records)
    if isinstance(exchange, Files):
        follower.read_files(exchange)
    elif not follower.go_on(exchange):
        follower.begin_anew(exchange)
    return follower.followed


class _Unchanged(Exception):
    """Undoes a change that changed nothing."""


class _Follower:
    def __init__(self, database: Database, feed: FeedRecord, on_records: Records | None) -> None:
        self._database = database
        self._feed = feed
        self._on_records = on_records or (lambda records: None)
        self._records = 0
        self.followed = Followed()

    def go_on(self, exchange: Exchange) -> bool:
        """Take in what came since; False if that cannot be told."""
        try:
            position = position_of(self._feed)
            if exchange.whole or (position is not None and exchange.is_stale(position)):
                return False
            discard(self._database.path, self._feed.set)
            for delta in exchange.fetch(position):
                self._put(delta, exchange)
        except StalePosition:
            return False
        return True

    def begin_anew(self, exchange: Exchange) -> None:
        """Gather the whole state, and put it in the place of the old one."""
        with Staging(self._database.path, self._feed.set, identity_of(self._feed)) as staging:
            position = staging.position
            if exchange.whole or (position is not None and exchange.is_stale(position)):
                staging.clear()
                position = None
            try:
                self._gather(exchange, position, staging)
            except StalePosition:
                staging.clear()
                self._gather(exchange, None, staging)
            if staging.is_empty() and self._feed.items:
                raise ValueError(
                    f"the exchange gave nothing, where the set {self._feed.set!r} holds "
                    f"{self._feed.items:,} items: they were kept; if that is right, remove them "
                    "with `hashmatch db remove`"
                )
            reached = staging.position
            with self._change(None if reached is None else self._kept(reached)) as change:
                change.replace(self._prefix)
                for entries in staging.read():
                    put_entries(change, entries, self._prefix)
                for refs in staging.read_skipped():
                    change.keep(refs=refs)
            self.followed.replaced = True
        discard(self._database.path, self._feed.set)

    def read_files(self, files: Files) -> None:
        """Read the files, if any is another than when they were last read."""
        seen = files.look()
        checkpoint = self._kept(seen)
        if checkpoint == self._feed.checkpoint:
            return
        with self._change(checkpoint) as change:
            change.replace()
            for batch in files.read():
                if isinstance(batch, Removal):
                    change.take_out(batch, missing_ok=True)
                else:
                    change.put(batch)
                self._count(len(batch.refs))
            if files.look() != seen:
                raise ValueError(f"{files.options['path']}: was written to while it was read")
        self._note(files.faults, 0)
        self.followed.replaced = True

    def _gather(self, exchange: Exchange, position: Position | None, staging: Staging) -> None:
        for delta in exchange.fetch(position):
            self._require_no_secret(delta, exchange)
            staging.put(delta)
            self._note(delta.faults, delta.others)
            self._count(len(delta.updates))

    def _put(self, delta: Delta, exchange: Exchange) -> None:
        self._require_no_secret(delta, exchange)
        checkpoint = None if delta.position is None else self._kept(delta.position)
        if delta.updates:
            with self._change(checkpoint) as change:
                put_entries(change, delta.updates, self._prefix)
        elif checkpoint is not None:
            self._database.feeds.set_checkpoint(self._feed.set, checkpoint)
        self._note(delta.faults, delta.others)
        self._count(len(delta.updates))

    @contextmanager
    def _change(self, checkpoint: str | None) -> Iterator[Change]:
        """A change that ends with a checkpoint; one that changes nothing makes no generation."""
        try:
            with self._database.change(self._feed.set, who=self._feed.name) as change:
                yield change
                change.settle()
                counts = change.counts
                if checkpoint is not None:
                    change.checkpoint = checkpoint
                if not (counts.added or counts.updated or counts.removed or counts.opinions):
                    raise _Unchanged
        except _Unchanged:
            if checkpoint is not None:
                self._database.feeds.set_checkpoint(self._feed.set, checkpoint)
            return
        for name in ("added", "updated", "removed", "opinions"):
            done = getattr(self.followed, name) + getattr(counts, name)
            setattr(self.followed, name, done)

    @property
    def _prefix(self) -> str:
        """Before the names of owners, which other exchanges may have too."""
        return f"{self._feed.exchange}:"

    def _kept(self, position: Position) -> str:
        """A position as the set's checkpoint."""
        return json_text(json.loads(identity_of(self._feed)) | {"position": position})

    def _require_no_secret(self, delta: Delta, exchange: Exchange) -> None:
        text = json_text(delta.position)
        if any(secret in text for secret in exchange.secrets if len(secret) >= _SECRET_CHARACTERS):
            raise ValueError("the exchange's checkpoint holds the credentials: it is not kept")

    def _note(self, faults: list[str], others: int) -> None:
        if faults:
            self.followed.faults += self._database.feeds.note_skipped(self._feed.name, faults)
        self.followed.others += others

    def _count(self, records: int) -> None:
        self._records += records
        self._on_records(self._records)


def put_entries(change: Change, updates: Mapping[str, Entry | None], prefix: str) -> None:
    """Bring items to be as entries say, whole; and what the exchange's members say of them."""
    gone = [ref for ref, entry in updates.items() if entry is None]
    change.remove(refs=gone, missing_ok=True)
    change.put_whole(_batches({ref: entry for ref, entry in updates.items() if entry}))
    opinions = [
        Opinion(ref, f"{prefix}{said.owner}", said.verdict, said.labels)
        for ref, entry in updates.items()
        if entry
        for said in entry.opinions
    ]
    change.say_only(list(updates), opinions, prefix)


def _batches(entries: Mapping[str, Entry]) -> Iterator[Batch]:
    """A batch for each hash type and kind."""
    buckets: defaultdict[tuple[str, Kind], list[tuple[str, Entry, Hash]]] = defaultdict(list)
    for ref, entry in entries.items():
        for each in entry.hashes:
            buckets[each.hash_type, entry.kind].append((ref, entry, each))
    for (hash_type, kind), rows in buckets.items():
        yield Batch(
            hash_type,
            _core.decode_hex([each.digits for *_, each in rows], HASH_TYPES[hash_type].width),
            [ref for ref, *_ in rows],
            [entry.labels for _, entry, _ in rows],
            kind=kind,
            quality=[each.quality for *_, each in rows],
            time_ms=[each.time_ms for *_, each in rows],
        )
