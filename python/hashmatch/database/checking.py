"""Whether a catalog is sound: SQLite's own checks, and whether its tables agree with each other."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hashmatch._core import FormatError
from hashmatch.database.connections import Connection, Row
from hashmatch.database.model import KINDS, labels_of
from hashmatch.database.packing import Signals

_ITEMS = """
    SELECT id, count, types, hash_set, kind, added, coalesce(removed, 0), labels, signals
    FROM item ORDER BY id"""
#: Statements that find what must not be, and what to say of each row.
_CONTRADICTIONS = (
    (
        """SELECT latest.ref FROM latest LEFT JOIN item ON item.id = latest.item
            AND item.hash_set = latest.hash_set AND item.ref = latest.ref
            AND item.contributor = latest.contributor
        WHERE item.id IS NULL""",
        "the latest row of ref {0!r} is another's or none",
    ),
    (
        """SELECT id, item.ref FROM item LEFT JOIN latest USING (hash_set, ref, contributor)
        WHERE removed IS NULL AND latest.item IS NOT id""",
        "the item with id {0} is live, but not the latest of ref {1!r}",
    ),
    (
        """SELECT min(number), max(number), count(*) FROM generation
        HAVING min(number) != 1 OR max(number) != count(*)""",
        "generations run from {0} to {1}, but are {2}",
    ),
    (
        """SELECT hash_set, ref FROM opinion WHERE removed IS NULL
        GROUP BY hash_set, ref, contributor HAVING count(*) > 1""",
        "a contributor has two opinions on ref {1!r} in set {0}",
    ),
    (
        "SELECT number, verdict FROM opinion WHERE verdict NOT IN (1, 2, 4)",
        "opinion {0} has the verdict {1!r}, which is none",
    ),
    (
        "SELECT name FROM feed WHERE NOT (json_valid(options) AND json_valid(faults))",
        "the options or the faults of feed {0!r} are no JSON",
    ),
    (
        """SELECT name FROM feed
        WHERE NOT (credentials = '' OR credentials GLOB 'env:?*' OR credentials GLOB 'file:?*')""",
        "the credentials of feed {0!r} are not the name of a variable or file",
    ),
)


def find_faults(connection: Connection) -> list[str]:
    """What is wrong, in words; an empty list if nothing is."""
    faults: list[str] = []
    for look in (_structure, _contradictions, _items):
        # Where tables cannot even be read, the other checks may still say more.
        try:
            faults += look(connection)
        except (FormatError, MemoryError) as error:
            faults.append(str(error))
        except (ValueError, TypeError, OverflowError) as error:
            faults.append(f"a row holds what no catalog does: {error}")
    return faults


def _structure(connection: Connection) -> Iterator[str]:
    for (text,) in connection.rows("PRAGMA integrity_check"):
        if text != "ok":
            yield text
    for table, row, parent, _ in connection.rows("PRAGMA foreign_key_check"):
        yield f"row {row} of {table} refers to a {parent} that is not there"


def _contradictions(connection: Connection) -> Iterator[str]:
    for sql, words in _CONTRADICTIONS:
        for row in connection.rows(f"{sql} LIMIT 10"):
            yield words.format(*row)


def _items(connection: Connection) -> Iterator[str]:
    """Every item, and whether the sets' counts are those of their items."""
    live: Counter[tuple[int, str]] = Counter()
    blocks = np.array(connection.rows("SELECT first, hash_set FROM block ORDER BY first"), np.int64)
    (generation,) = connection.row("SELECT coalesce(max(number), 0) FROM generation")
    end = 0
    for rows in connection.stream(_ITEMS, size=1_000):
        numbers = np.array([row[:7] for row in rows], np.int64)
        yield from _row_faults(numbers, blocks.reshape(-1, 2), generation, end)
        yield from _field_faults(rows)
        ids, counts, _, sets, _, _, removed = numbers.T
        end = int(ids[-1] + counts[-1])
        for number in np.unique(sets[removed == 0]).tolist():
            ours = (sets == number) & (removed == 0)
            live[number, "items"] += int(ours.sum())
            live[number, "signals"] += int(counts[ours].sum())
    for number, name, *counted in connection.rows(
        "SELECT number, name, items, signals FROM hash_set"
    ):
        found = [live[number, "items"], live[number, "signals"]]
        if counted != found:
            yield (
                f"set {name!r} counts {counted[0]:,} items with {counted[1]:,} signals, "
                f"but has {found[0]:,} with {found[1]:,}"
            )


def _row_faults(
    numbers: NDArray[np.int64], blocks: NDArray[np.int64], generation: int, end: int
) -> Iterator[str]:
    """Items whose numbers contradict each other or those of others; `end` is the first's due."""
    ids, counts, _, sets, kinds, added, removed = numbers.T
    due = np.append(end, ids + counts)[:-1]
    for row in np.flatnonzero(ids != due):
        yield f"the item with id {ids[row]} comes after signal {due[row] - 1}"
    for signals in (ids, ids + counts - 1):
        places = np.searchsorted(blocks[:, 0], signals, "right") - 1
        owners = np.append(blocks[:, 1], -1)[places]
        for row in np.flatnonzero(owners != sets):
            yield f"signal {signals[row]} is in the block of set {owners[row]}, not {sets[row]}"
    for row in np.flatnonzero((kinds < 0) | (kinds >= len(KINDS))):
        yield f"the item with id {ids[row]} has the kind {kinds[row]}, which is none"
    ended = np.where(removed == 0, added, removed)
    for row in np.flatnonzero((added < 1) | (ended < added) | (ended > generation)):
        yield f"the item with id {ids[row]} was added in {added[row]} and removed in {removed[row]}"


def _field_faults(rows: list[Row]) -> Iterator[str]:
    """Items whose labels are none, or whose signals are not those that their row tells of."""
    for labels in {row[7] for row in rows}:
        try:
            labels_of(labels)
        except FormatError as error:
            yield str(error)
    for row, total in zip(rows, _totals(rows), strict=True):
        if total != row[1:3]:
            yield f"the item with id {row[0]} has other signals than its row says, or damaged ones"


def _totals(rows: list[Row]) -> list[tuple[int, int] | None]:
    """The number and types of each item's signals as packed; None if they are damaged."""
    try:
        ids = np.array([row[0] for row in rows], np.int64)
        counts, types = Signals.of([row[8] for row in rows], ids).totals()
        return list(zip(counts.tolist(), types.tolist(), strict=True))
    except (FormatError, TypeError):
        return [None] if len(rows) == 1 else [total for row in rows for total in _totals([row])]
