"""Bulk loads: many batches as one change, fast enough for tens of millions of rows.

It is one transaction, so that a load that dies leaves nothing behind. Its price is a WAL as large
as what is loaded, until the commit brings it into the file; the WAL is cut back when it is next
begun anew. A staging table would write everything twice too, and could be left behind.

What makes loading slow is one search in a tree for each ref, at random. A set that never held
anything needs none: rows are appended, and their refs are sorted and entered at the end. Only the
refs that then turn out to have come up twice are put again, one after another. A removal has to
find what was appended before it, so with the first one that way ends.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from hashmatch.database.changes import Change
from hashmatch.database.model import Batch, Removal

#: Called with the rows done and those in all, 0 if that is not known.
Progress = Callable[[int, int], object]

#: Signal ids among which rows to put again are looked for at a time.
_IDS_AT_A_TIME = 100_000


def load(change: Change, batches: Iterable[Batch | Removal], progress: Progress | None) -> None:
    """Put every batch and take out every removal, in their order. Rows are counted through all of
    them.
    """
    fresh = change.rows.none_known()
    first = change.rows.end
    done = 0
    for batch in batches:
        if isinstance(batch, Removal):
            if fresh:
                _make_known(change, first)
                fresh = False
            change.take_out(batch, done)
        elif fresh:
            _append(change, batch, done)
        else:
            change.put(batch, done)
        done += len(batch.refs)
        if progress:
            progress(done, 0)
    if fresh:
        _make_known(change, first)


def _append(change: Change, batch: Batch, first_row: int) -> None:
    items = change.take(batch, first_row)
    change.rows.append(change.contributor(batch.contributor), items)
    change.counts.added += len(items.refs)
    change.say(batch.opinions)


def _make_known(change: Change, first: int) -> None:
    end = change.rows.end
    if change.rows.index(first) < change.counts.added:
        for begin in range(first, end, _IDS_AT_A_TIME):
            change.put_again(change.rows.unknown(begin, min(begin + _IDS_AT_A_TIME, end)))
