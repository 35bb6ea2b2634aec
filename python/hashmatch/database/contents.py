"""A hash set read through: its items with their signals, and what is said of them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from typing import TYPE_CHECKING, Self

import numpy as np

from hashmatch._core import FormatError
from hashmatch.database.connections import Connection, Row
from hashmatch.database.model import Item, Signal, kind_of, labels_of
from hashmatch.database.packing import TYPE_NAMES, Signals
from hashmatch.database.rows import no_such_set
from hashmatch.vocabulary import VERDICT_BITS, Opinion

if TYPE_CHECKING:
    from hashmatch.database.snapshot import Snapshot

#: The ids of a set are in runs.
_RUNS = """
    SELECT first, (SELECT min(first) FROM block AS other WHERE other.first > block.first)
    FROM block WHERE hash_set = ? ORDER BY first"""
_ITEMS = """
    SELECT id, ref, contributor.name, kind, labels, count, signals
    FROM item CROSS JOIN contributor ON contributor.number = item.contributor
    WHERE id >= ? AND id < coalesce(?, id + 1) AND removed IS NULL
    ORDER BY id"""
_OPINIONS = """
    SELECT ref, contributor.name, verdict, labels
    FROM json_each(?) CROSS JOIN opinion ON opinion.hash_set = ? AND ref = value
    CROSS JOIN contributor ON contributor.number = opinion.contributor
    WHERE removed IS NULL
    ORDER BY opinion.number"""
#: Refs with opinions that no live item has.
_OTHERS = """
    SELECT DISTINCT ref FROM opinion
    WHERE hash_set = ?1 AND removed IS NULL AND NOT EXISTS (
        SELECT 1 FROM latest CROSS JOIN item ON item.id = latest.item
        WHERE latest.hash_set = ?1 AND latest.ref = opinion.ref AND item.removed IS NULL
    )
    ORDER BY ref"""
_VERDICTS = {bit: verdict for verdict, bit in VERDICT_BITS.items()}


class Contents:
    """What a set holds, read as it is asked for; all as of one generation, which is held until the
    end, or until `close`.
    """

    def __init__(self, snapshot: AbstractContextManager[Snapshot], set_name: str) -> None:
        """`snapshot` is one that is not entered yet."""
        self._held = ExitStack()
        held = self._held.enter_context(snapshot)
        self.generation = held.generation
        self._parts = held.contents(set_name)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Item | Opinion:
        try:
            return next(self._parts)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Let go of the generation. Closing twice is as good as once."""
        self._held.close()


def read_contents(connection: Connection, set_name: str) -> Iterator[Item | Opinion]:
    """The live items of a set, ordered by id, then the opinions on refs that none of them has."""
    found = connection.rows("SELECT number FROM hash_set WHERE name = ?", (set_name,))
    if not found:
        raise no_such_set(connection, set_name)
    ((number,),) = found
    yield from _items(connection, number)
    yield from _other_opinions(connection, number)


def _items(connection: Connection, number: int) -> Iterator[Item]:
    for first, end in connection.rows(_RUNS, (number,)):
        for rows in connection.stream(_ITEMS, (first, end)):
            opinions = _opinions(connection, number, [row[1] for row in rows])
            signals = _signals(rows)
            for row, of_row in zip(rows, signals, strict=True):
                _, ref, contributor, kind, labels, *_ = row
                yield Item(
                    ref, contributor, kind_of(kind), labels_of(labels), of_row, opinions[ref]
                )


def _other_opinions(connection: Connection, number: int) -> Iterator[Opinion]:
    for rows in connection.stream(_OTHERS, (number,)):
        refs = [ref for (ref,) in rows]
        opinions = _opinions(connection, number, refs)
        for ref in refs:
            yield from opinions[ref]


def _signals(rows: Sequence[Row]) -> list[list[Signal]]:
    """The signals of each item."""
    counts = [row[5] for row in rows]
    owners = np.repeat(np.arange(len(rows)), counts)
    ends = np.cumsum(counts)
    places = np.arange(len(owners)) - np.repeat(ends - counts, counts)
    packed = Signals.of([row[6] for row in rows], np.array([row[0] for row in rows], np.int64))
    details = packed.details(owners, places)
    signals = [
        Signal(TYPE_NAMES[number], code, None if quality < 0 else quality, None if ms < 0 else ms)
        for number, quality, ms, code in zip(
            details.types.tolist(),
            details.quality.tolist(),
            details.time_ms.tolist(),
            details.codes,
            strict=True,
        )
    ]
    return [signals[end - count : end] for count, end in zip(counts, ends.tolist(), strict=True)]


def _opinions(
    connection: Connection, number: int, refs: Sequence[str]
) -> defaultdict[str, list[Opinion]]:
    """The opinions on some refs, by ref, oldest first."""
    found: defaultdict[str, list[Opinion]] = defaultdict(list)
    asked = json.dumps(list(dict.fromkeys(refs)), ensure_ascii=False)
    for ref, contributor, bit, labels in connection.rows(_OPINIONS, (asked, number)):
        if bit not in _VERDICTS:
            raise FormatError(f"the catalog has a verdict {bit!r} on ref {ref!r}, which is none")
        found[ref].append(Opinion(ref, contributor, _VERDICTS[bit], labels_of(labels)))
    return found
