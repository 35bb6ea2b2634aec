"""Reading the catalog: one generation, held while it is looked at."""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hashmatch.arguments import MAX_COUNT, Ids, as_ids, whole
from hashmatch.database.connections import Connection, Row
from hashmatch.database.contents import read_contents
from hashmatch.database.history import read_history
from hashmatch.database.model import (
    HistoryRow,
    Item,
    Joined,
    SegmentRecord,
    SetRecord,
    as_time,
    kind_of,
)
from hashmatch.database.packing import (
    TYPE_NAMES,
    TYPE_NUMBERS,
    Frames,
    Signals,
    one_detail,
    type_names,
)
from hashmatch.database.rows import end_signal, no_such_set
from hashmatch.distinct import distinct
from hashmatch.hash_types import HASH_TYPES
from hashmatch.hash_types import hash_type as find_type
from hashmatch.vocabulary import KINDS, Kind, Opinion

#: Signal ids that `live_signals` goes through at a time: so many signals at most, or an item more.
_BLOCK_IDS = 32_768
#: So many signals are joined one by one, as columns would take longer.
_FEW_IDS = 8

_SETS = """
    SELECT hash_set.number, hash_set.name, contributor.name, max_distance, items, signals,
        types, checkpoint, created, changed
    FROM hash_set JOIN contributor ON contributor.number = hash_set.contributor
    ORDER BY hash_set.number"""
#: One row with all there is, as every row that is stepped to is a chance for other threads to take
#: the interpreter. Text of blobs is their bytes. By id, which is the order of the table itself.
_LIVE = """
    SELECT json_group_array(id), json_group_array(length(signals)),
        CAST(group_concat(signals, '') AS BLOB)
    FROM item NOT INDEXED WHERE id >= ? AND id < ? AND removed IS NULL AND types & ?"""
#: By the index of what was removed: ordered by a plain id, all items would be gone through.
_REMOVED = """
    SELECT id, count FROM item WHERE removed > added AND removed > ? ORDER BY +id"""
_VERDICTS = """
    SELECT item.id, item.count,
        coalesce(sum(DISTINCT verdict) FILTER (WHERE opinion.removed IS NULL), 0)
    FROM {} CROSS JOIN latest USING (hash_set, ref) CROSS JOIN item ON item.id = latest.item
    WHERE item.removed IS NULL
    GROUP BY item.id ORDER BY item.id"""
_ALL_VERDICTS = _VERDICTS.format("opinion")
#: Of opinions later than one, and of items with ids from one on.
_NEW_VERDICTS = """
    WITH changed AS (
        SELECT hash_set, ref FROM opinion WHERE number > ?
        UNION SELECT hash_set, ref FROM item WHERE id >= ?
    )""" + _VERDICTS.format("changed CROSS JOIN opinion USING (hash_set, ref)")
#: The items of some signals: one search in the tree for each id.
_HIT = """
    WITH hit (id) AS (
        SELECT DISTINCT (SELECT max(id) FROM item WHERE id <= value) FROM json_each(?)
    )"""
#: And one more for each item found.
_JOIN = f"""{_HIT}
    SELECT item.id, hash_set.name, contributor.name, ref, kind, labels, item.signals, (
        SELECT sum(DISTINCT verdict) FROM opinion
        WHERE opinion.hash_set = item.hash_set AND opinion.ref = item.ref
            AND opinion.removed IS NULL
    )
    FROM hit CROSS JOIN item USING (id)
    CROSS JOIN hash_set ON hash_set.number = item.hash_set
    CROSS JOIN contributor ON contributor.number = item.contributor
    ORDER BY item.id"""
_VIDEOS = "SELECT id, id + count FROM item WHERE id >= ? AND kind = ? ORDER BY id"
_FRAMES = f"""{_HIT}
    SELECT item.id, kind, item.signals FROM hit CROSS JOIN item USING (id) ORDER BY item.id"""


class ItemFrames(NamedTuple):
    """Some items, each once, ordered by id, with their signals of one type."""

    #: uint64[n]: their first signal ids.
    firsts: NDArray[np.uint64]
    kinds: list[Kind]
    frames: Frames


class Snapshot:
    """The catalog as it is at one generation, however it changes meanwhile.

    What `Catalog.snapshot` gives. Used by one thread at a time, and no more when its block ends.
    """

    #: The newest generation seen; 0 for a catalog without changes.
    generation: int

    def __init__(self, connection: Connection) -> None:
        """`connection` is in a transaction, which the caller ends."""
        self._lent: Connection | None = connection
        self._end: int | None = None
        # The first read is what pins the state.
        (last,) = connection.row("SELECT coalesce(max(number), 0) FROM generation")
        self.generation = int(last)

    def end(self) -> None:
        """The snapshot answers no more: its connection goes to others."""
        self._lent = None

    @property
    def _connection(self) -> Connection:
        if self._lent is None:
            raise ValueError("the snapshot has ended: take another")
        return self._lent

    def sets(self) -> list[SetRecord]:
        """The hash sets, ordered by number."""
        rows = self._connection.rows(_SETS)
        with self._connection.sound():
            return [_set_record(*row) for row in rows]

    def hash_types(self) -> list[str]:
        """The types that any set ever had, in the order of their numbers."""
        mask = 0
        for (types,) in self._connection.rows("SELECT types FROM hash_set"):
            mask |= types
        return type_names(mask)

    def end_signal(self) -> int:
        """The next signal id to be allocated."""
        if self._end is None:
            self._end = end_signal(self._connection)
        return self._end

    def live_signals(
        self, hash_type: str, first: int = 0, end: int | None = None
    ) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint64]]]:
        """Live signals with ids in first..end-1, ascending, as blocks of codes and their ids.

        uint8[n, width] and uint64[n]. `end` None is that of all.
        """
        number = TYPE_NUMBERS[find_type(hash_type).name]
        first = whole(first, "first", 0, MAX_COUNT)
        newest = self.end_signal()
        end = newest if end is None else min(whole(end, "end", 0, MAX_COUNT), newest)
        # The item that the first id is of may begin before it.
        (begin,) = self._connection.row("SELECT max(id) FROM item WHERE id <= ?", (first,))
        for at in range(begin or 0, end, _BLOCK_IDS):
            last = min(at + _BLOCK_IDS, end)
            items, sizes, blob = self._connection.row(_LIVE, (at, last, 1 << number))
            if blob is None:
                continue
            with self._connection.sound():
                numbers = np.array([json.loads(items), json.loads(sizes)], np.int64)
                codes, ids = Signals(blob, numbers[1], numbers[0]).codes(number)
            if len(ids) and (ids[0] < first or ids[-1] >= end):
                within = (ids >= first) & (ids < end)
                codes, ids = codes[within], ids[within]
            if len(ids):
                yield codes, ids

    def removed_since(self, generation: int) -> tuple[NDArray[np.uint64], NDArray[np.uint32]]:
        """The items removed or updated after a generation: first ids, ascending, and counts."""
        since = whole(generation, "generation", 0, MAX_COUNT)
        firsts, counts = self._columns(_REMOVED, 2, since)
        return firsts.astype(np.uint64), counts.astype(np.uint32)

    def blocks(self) -> tuple[NDArray[np.uint64], NDArray[np.uint16]]:
        """Which set signal ids belong to: where runs of ids begin, ascending, and set numbers."""
        firsts, numbers = self._columns("SELECT first, hash_set FROM block ORDER BY first", 2)
        return firsts.astype(np.uint64), numbers.astype(np.uint16)

    def newest_opinion(self) -> int:
        """The number of the newest opinion; 0 if there never was one. Each has the next."""
        (number,) = self._connection.row("SELECT coalesce(max(number), 0) FROM opinion")
        return int(number)

    def verdicts(
        self, opinion: int = 0, first: int = 0
    ) -> tuple[NDArray[np.uint64], NDArray[np.uint32], NDArray[np.uint8]]:
        """The live items with opinions: first ids, ascending, counts, and masks of VERDICT_BITS.

        Given what `newest_opinion` and `end_signal` were, those that may differ from then; and then
        with a mask of 0 those on which nobody has an opinion any more.
        """
        since = (opinion, first) if opinion else ()
        firsts, counts, masks = self._columns(_NEW_VERDICTS if since else _ALL_VERDICTS, 3, *since)
        if not since:
            held = masks != 0
            firsts, counts, masks = firsts[held], counts[held], masks[held]
        return firsts.astype(np.uint64), counts.astype(np.uint32), masks.astype(np.uint8)

    def _columns(self, sql: str, columns: int, *values: object) -> NDArray[np.int64]:
        """What a statement finds, all whole numbers, as an array with a row for each column."""
        rows = self._connection.rows(sql, values)
        with self._connection.sound():
            return np.array(rows, np.int64).reshape(-1, columns).T

    def join(self, signal_ids: Ids) -> Joined:
        """What is known of signals, live or not, ordered by id, each once.

        KeyError names an id that was never allocated.
        """
        ids = distinct(as_ids(signal_ids))
        if len(ids) and ids[-1] >= self.end_signal():
            raise KeyError(f"no signal has the id {ids[-1]}")
        return join(self._connection, ids)

    def videos(self, first: int = 0) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        """The signal ids of videos, live or not: first ids from one on, ascending, and ends."""
        firsts, ends = self._columns(_VIDEOS, 2, first, KINDS.index("video"))
        return firsts.astype(np.uint64), ends.astype(np.uint64)

    def item_ids(self, signal_ids: Ids) -> NDArray[np.uint64]:
        """The first signals of the items that signals belong to, ascending, each once."""
        rows = self._connection.rows(
            f"{_HIT} SELECT id FROM hit ORDER BY id", (_listed(signal_ids),)
        )
        return np.array([id for (id,) in rows], np.uint64)

    def item_frames(self, hash_type: str, signal_ids: Ids) -> ItemFrames:
        """The items that signals belong to, live or not, with all their signals of a type."""
        number = TYPE_NUMBERS[find_type(hash_type).name]
        rows = self._connection.rows(_FRAMES, (_listed(signal_ids),))
        with self._connection.sound():
            items, kinds, blobs = zip(*rows, strict=True) if rows else [()] * 3
            firsts = np.array(items, np.int64)
            frames = Signals.of(blobs, firsts).frames(number)
            return ItemFrames(firsts.astype(np.uint64), [kind_of(kind) for kind in kinds], frames)

    def contents(self, set_name: str) -> Iterator[Item | Opinion]:
        """The live items of a set with the opinions on them, then those on refs without items.

        Items are in the order in which they came to be as they are: an update moves one to the end.
        """
        return read_contents(self._connection, set_name)

    def list_segments(self) -> list[SegmentRecord]:
        """The live segment files, ordered by type and first id."""
        rows = self._connection.rows("SELECT * FROM segment ORDER BY hash_type, first, file")
        return [SegmentRecord(*row) for row in rows]

    def history(
        self, set_name: str | None = None, ref: str | None = None, limit: int = 100
    ) -> list[HistoryRow]:
        """The newest generations first, of one set or all.

        With `ref` those that concerned it, with what they did to its items and opinions.
        """
        names = "SELECT 1 FROM hash_set WHERE name = ?"
        if set_name is not None and not self._connection.rows(names, (set_name,)):
            raise no_such_set(self._connection, set_name)
        return read_history(self._connection, set_name, ref, limit)


def join(connection: Connection, ids: NDArray[np.uint64]) -> Joined:
    """What is known of signals that were allocated, ordered by id, each once. It is one statement,
    and so of one state, also without a transaction.
    """
    rows = connection.rows(_JOIN, (json.dumps(ids.tolist()),))
    with connection.sound():
        return _joined_few(ids, rows) if len(ids) <= _FEW_IDS else _joined(ids, rows)


def _joined_few(ids: NDArray[np.uint64], rows: list[Row]) -> Joined:
    """What `_joined` makes of a few signals, in a tenth of the time: a lookup of one hash rarely
    finds more.
    """
    items = [row[0] for row in rows]
    of_signal = [rows[bisect_right(items, id) - 1] for id in ids.tolist()]
    firsts, sets, contributors, refs, kinds, labels, blobs, verdicts = (
        zip(*of_signal, strict=True) if of_signal else [()] * 8
    )
    details = [
        one_detail(blob, first, id - first)
        for blob, first, id in zip(blobs, firsts, ids.tolist(), strict=True)
    ]
    return Joined(
        ids,
        np.array(firsts, np.uint64),
        list(refs),
        list(sets),
        list(contributors),
        list(map(kind_of, kinds)),
        [TYPE_NAMES[number] for number, *_ in details],
        np.array([mask or 0 for mask in verdicts], np.uint8),
        np.array([quality for _, quality, *_ in details], np.int16),
        np.array([time_ms for *_, time_ms, _ in details], np.int64),
        [code for *_, code in details],
        list(labels),
    )


def _listed(ids: Ids) -> str:
    return json.dumps(distinct(as_ids(ids)).tolist())


def _joined(ids: NDArray[np.uint64], rows: list[Row]) -> Joined:
    """A row for each signal from those of `_JOIN`, one for each item."""
    items, sets, contributors, refs, kinds, labels, blobs, verdicts = (
        zip(*rows, strict=True) if rows else [()] * 8
    )
    firsts = np.array(items, np.int64)
    places = np.searchsorted(firsts, ids.astype(np.int64), "right") - 1
    within = ids.astype(np.int64) - firsts[places]
    details = Signals.of(blobs, firsts).details(places, within)
    of_item = places.tolist()
    return Joined(
        ids,
        firsts[places].astype(np.uint64),
        [refs[place] for place in of_item],
        [sets[place] for place in of_item],
        [contributors[place] for place in of_item],
        [kind_of(kinds[place]) for place in of_item],
        [TYPE_NAMES[number] for number in details.types.tolist()],
        np.array([mask or 0 for mask in verdicts], np.uint8)[places],
        details.quality,
        details.time_ms,
        details.codes,
        [labels[place] for place in of_item],
    )


def _set_record(
    number: int,
    name: str,
    contributor: str,
    distances: str,
    items: int,
    signals: int,
    types: int,
    checkpoint: str,
    created: int,
    changed: int,
) -> SetRecord:
    # A set keeps the distances that it was given; other types have their usual one.
    usual = {kind.name: kind.max_distance or 0 for kind in HASH_TYPES.values()}
    max_distance = usual | json.loads(distances)
    times = as_time(created), as_time(changed)
    return SetRecord(
        number, name, contributor, max_distance, items, signals, type_names(types), checkpoint,
        *times,
    )  # fmt: skip
