"""The rows of one hash set's items, as a change writes them."""

from __future__ import annotations

import json
import operator
from collections.abc import Iterator, Sequence
from dataclasses import astuple
from itertools import accumulate, repeat
from typing import NamedTuple

from hashmatch.database.columns import Items
from hashmatch.database.connections import Connection, Insertion
from hashmatch.database.model import SegmentRecord
from hashmatch.database.packing import replace_run
from hashmatch.hash_types import hash_type

#: Refs looked up by one statement.
_LOOK_UP_ROWS = 10_000

_LOOK_UP = """
    SELECT latest.ref, latest.item, item.removed IS NULL,
        item.kind, item.labels, item.count, item.types, item.signals
    FROM json_each(?) CROSS JOIN latest CROSS JOIN item
    WHERE latest.hash_set = ? AND latest.ref = value AND latest.contributor = ?
        AND item.id = latest.item"""
#: Shared: set, generation.
_INSERT = Insertion(
    "INSERT INTO item", "({}, ?1, {}, {}, {}, {}, {}, {}, ?2, NULL, {}, {})", shared=2
)
#: Shared: set, contributor, generation, kind, types.
_APPEND = Insertion(
    "INSERT INTO item", "({}, ?1, ?2, {}, ?4, {}, ?5, {}, ?3, NULL, NULL, {})", shared=5
)
_WITHDRAW = "UPDATE item SET removed = ? WHERE id IN (SELECT value FROM json_each(?))"
_KEEP = "INSERT OR IGNORE INTO kept SELECT value FROM json_each(?)"
#: The ids below one that a set has, in runs.
_RUNS = """
    SELECT first, min(?2, coalesce(
        (SELECT min(first) FROM block AS other WHERE other.first > block.first), ?2))
    FROM block WHERE hash_set = ?1 AND first < ?2"""
_OTHERS = """
    WHERE id >= ?1 AND id < ?2 AND removed IS NULL
        AND NOT EXISTS (SELECT 1 FROM kept WHERE kept.id = item.id)"""
#: Shared: set.
_POINT = Insertion(
    "INSERT INTO latest",
    "(?1, {}, {}, {})",
    shared=1,
    tail="ON CONFLICT (hash_set, ref, contributor) DO UPDATE SET item = excluded.item",
)


class Version(NamedTuple):
    """What an item's row says of it. Equal versions are the same item, unchanged."""

    #: The place in KINDS.
    kind: int
    labels: str | None
    #: Signals.
    size: int
    #: A bit for each hash type.
    types: int
    signals: bytes

    def with_run(self, added: Version, keep_labels: bool) -> Version:
        """This version with the signals of one type, and what stands beside them, replaced."""
        labels = self.labels if keep_labels else added.labels
        if self.types == added.types:
            return added._replace(labels=labels)
        signals, size = replace_run(self.signals, added.signals)
        return Version(added.kind, labels, size, self.types | added.types, signals)


class Known(NamedTuple):
    """The latest row of a ref."""

    id: int
    #: None if the item is withdrawn.
    live: Version | None


class ItemRows:
    """Reads and writes item rows of one set within one transaction, and keeps count.

    A row's id is the next signal id, so rows are written in the order in which ids are given.
    """

    def __init__(self, connection: Connection, set_number: int, generation: int) -> None:
        self._connection = connection
        self._set = set_number
        self._generation = generation
        self.end = end_signal(connection)
        #: By how much the live items and signals of the set grew.
        self.items = self.signals = 0
        #: The bits of the hash types that were written.
        self.types = 0

    def look_up(self, contributor: int, refs: Sequence[str]) -> Iterator[tuple[str, Known]]:
        """The latest row of each ref that has one."""
        for begin in range(0, len(refs), _LOOK_UP_ROWS):
            some = json.dumps(refs[begin : begin + _LOOK_UP_ROWS], ensure_ascii=False)
            for ref, id, live, *version in self._connection.rows(
                _LOOK_UP, (some, self._set, contributor)
            ):
                yield ref, Known(id, Version(*version) if live else None)

    def withdraw(self, rows: Sequence[Known]) -> None:
        """Mark live rows removed."""
        ids = json.dumps([row.id for row in rows])
        self._connection.run(_WITHDRAW, (self._generation, ids))
        self.items -= len(rows)
        self.signals -= sum(row.live.size for row in rows if row.live)

    def begin_keeping(self) -> None:
        """None of the set's rows is known to be kept."""
        # In a file of SQLite's own, as there may be any number of them.
        self._connection.run("CREATE TEMP TABLE IF NOT EXISTS kept (id INTEGER PRIMARY KEY)")
        self._connection.run("DELETE FROM kept")

    def keep(self, ids: Sequence[int]) -> None:
        """Live rows that stay as they are."""
        self._connection.run(_KEEP, (json.dumps(ids),))

    def which_kept(self, ids: Sequence[int]) -> set[int]:
        """Those of the rows that are kept."""
        asked = "SELECT kept.id FROM json_each(?) CROSS JOIN kept ON kept.id = value"
        return {id for (id,) in self._connection.rows(asked, (json.dumps(ids),))}

    def withdraw_others(self, first: int) -> int:
        """Mark removed what is live in the set, has an id below `first`, and is not kept. How much
        that is.
        """
        items = 0
        for begin, end in self._connection.rows(_RUNS, (self._set, first)):
            count, signals = self._connection.row(
                f"SELECT count(*), coalesce(sum(count), 0) FROM item NOT INDEXED {_OTHERS}",
                (begin, end),
            )
            if count:
                self._connection.run(
                    f"UPDATE item NOT INDEXED SET removed = ?3 {_OTHERS}",
                    (begin, end, self._generation),
                )
            items += count
            self.signals -= signals
        self._connection.run("DROP TABLE kept")
        self.items -= items
        return items

    def write(self, rows: Sequence[tuple[int, str, int | None, Version]]) -> None:
        """New rows of (contributor, ref, id of the earlier row, version)."""
        firsts = self._allocate([version.size for *_, version in rows])
        for *_, version in rows:
            self.types |= version.types
        self._connection.insert(
            _INSERT,
            (self._set, self._generation),
            (
                (
                    first, contributor, ref, version.kind, version.size, version.types,
                    version.labels, previous, version.signals,
                )
                for first, (contributor, ref, previous, version) in zip(firsts, rows, strict=True)
            ),
        )  # fmt: skip
        self._connection.insert(
            _POINT,
            (self._set,),
            (
                (ref, contributor, first)
                for first, (contributor, ref, *_) in zip(firsts, rows, strict=True)
            ),
        )

    def append(self, contributor: int, items: Items) -> None:
        """New rows of refs without earlier ones, which `index` makes known by ref."""
        firsts = self._allocate(items.counts)
        self.types |= items.type_bit if firsts else 0
        self._connection.insert(
            _APPEND,
            (self._set, contributor, self._generation, items.kind, items.type_bit),
            zip(
                firsts,
                items.refs,
                items.counts,
                items.labels or repeat(None),
                items.runs,
                strict=False,
            ),
        )

    def none_known(self) -> bool:
        """Whether the set never had an item."""
        some = "SELECT EXISTS (SELECT 1 FROM latest WHERE hash_set = ?)"
        return self._connection.row(some, (self._set,)) == (0,)

    def index(self, first: int) -> int:
        """Make appended rows from id `first` on known by ref; the first of each ref. How many.

        Sorted entries go into the tree without it being read at random.
        """
        return self._connection.run(
            """INSERT OR IGNORE INTO latest
            SELECT hash_set, ref, contributor, id FROM item WHERE id >= ?
            ORDER BY hash_set, ref, contributor, id""",
            (first,),
        )

    def unknown(self, first: int, end: int) -> list[tuple[int, str, Known]]:
        """The appended rows with ids in first..end-1 that are not known: contributor, ref, row."""
        return [
            (contributor, ref, Known(id, Version(*version)))
            for contributor, ref, id, *version in self._connection.rows(
                """SELECT item.contributor, item.ref, id, kind, labels, count, types, signals
                FROM item CROSS JOIN latest USING (hash_set, ref, contributor)
                WHERE id >= ? AND id < ? AND latest.item != id""",
                (first, end),
            )
        ]

    def _allocate(self, counts: Sequence[int]) -> list[int]:
        """The first signal ids of items with so many signals."""
        *firsts, end = accumulate(counts, initial=self.end)
        if firsts:
            ((owner,),) = self._connection.rows(_LAST_BLOCK) or [(None,)]
            if owner != self._set:
                self._connection.run("INSERT INTO block VALUES (?, ?)", (self.end, self._set))
        self.items += len(firsts)
        self.signals += end - self.end
        self.end = end
        return firsts


_LAST_BLOCK = "SELECT hash_set FROM block ORDER BY first DESC LIMIT 1"


def end_signal(connection: Connection) -> int:
    """The next signal id to be allocated."""
    rows = connection.rows("SELECT id + count FROM item ORDER BY id DESC LIMIT 1")
    with connection.sound():
        return int(rows[0][0]) if rows else 0


class NoSuchSet(ValueError):
    """A hash set that is not there was named."""


def no_such_set(connection: Connection, name: str) -> NoSuchSet:
    """The error that says which there are."""
    names = [name for (name,) in connection.rows("SELECT name FROM hash_set ORDER BY name")]
    others = f"; there are: {', '.join(map(repr, names))}" if names else ""
    return NoSuchSet(f"{connection.path}: has no hash set {name!r}: create it first{others}")


def list_segment(connection: Connection, record: SegmentRecord) -> None:
    """Put a segment file on the list. ValueError if it is there."""
    if connection.rows("SELECT 1 FROM segment WHERE file = ?", (record.file,)):
        raise ValueError(f"{connection.path}: has a segment {record.file!r} already")
    file, kind, *numbers = astuple(record)
    row = (file, hash_type(kind).name, *map(operator.index, numbers))
    connection.run("INSERT INTO segment VALUES (?, ?, ?, ?, ?, ?, ?)", row)


def contributor_number(connection: Connection, name: str) -> int:
    """The number that stands for a contributor in rows; a new one gets the next."""
    connection.run("INSERT OR IGNORE INTO contributor VALUES (NULL, ?)", (name,))
    return int(connection.row("SELECT number FROM contributor WHERE name = ?", (name,))[0])
