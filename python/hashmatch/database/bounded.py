"""A search whose answer takes bounded memory, whatever is asked.

One hash may match a million known ones, so may a million hashes each: no search may begin by
finding all of that. So at first only so many matches of each query are found that all of them
together are within the bound; the queries that may have more, which are few, if any, are searched
again, for more matches each as they are fewer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashmatch import _core
from hashmatch.database.filters import Limits
from hashmatch.index import Progress
from hashmatch.matches import _Columns

#: How many times the bound may be held meanwhile. With less than 2 a query could be searched for
#: again and again.
_ROOM = 2


class FoundColumns(_Columns, Protocol):
    """Those of a search, which know how many rows they have before they are fetched."""

    def __len__(self) -> int: ...


#: Columns of some rows: query, id, distance.
_Part: TypeAlias = tuple[NDArray[np.int64], NDArray[np.uint64], NDArray[np.uint16]]


class TooManyMatches(ValueError):
    """An answer with more matches than were allowed."""


@dataclass(frozen=True, slots=True)
class _Found:
    query: NDArray[np.int64]
    id: NDArray[np.uint64]
    distance: NDArray[np.uint16]
    offsets: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.id)


def search(
    snapshot: _core.Snapshot,
    codes: NDArray[np.uint8],
    limits: Limits,
    limit: int,
    threads: int,
    progress: Progress | None,
    most: int | None,
) -> FoundColumns:
    """The `limit` nearest matches of each code (0: all). TooManyMatches if they are more than
    `most` in all.
    """

    def found(codes: NDArray[np.uint8], kept: int) -> _core.Matches:
        return snapshot.search(
            codes, limits.max_distance, kept, threads, progress, limits.firsts, limits.most
        )

    if most is None:
        return found(codes, limit)
    kept = _share(len(codes), limit, most)
    columns = found(codes, kept)
    if len(columns) <= most and (kept == limit or len(columns) < kept):
        return columns  # Of no query are there more: so it nearly always is.
    numbers = np.arange(len(codes))
    parts: list[_Part] = []
    total = 0
    while True:
        if total + len(columns) > most:
            raise TooManyMatches(
                f"there are more than {most:,} matches: give a limit, or fewer hashes at a time"
            )
        counts = np.diff(columns.offsets)
        more = (counts == kept) & (kept != limit)
        rows = ~np.repeat(more, counts)
        parts.append((numbers[columns.query[rows]], columns.id[rows], columns.distance[rows]))
        total += len(parts[-1][0])
        numbers = numbers[more]
        if not len(numbers):
            return _together(parts, len(codes))
        kept = _share(len(numbers), limit, most)
        columns = found(np.ascontiguousarray(codes[numbers]), kept)


def _share(queries: int, limit: int, most: int) -> int:
    """How many matches of each query there is room for, and one, which shows that there are more
    than that.
    """
    share = _ROOM * most // max(queries, 1) + 1
    return min(share, limit) if limit else share


def _together(parts: list[_Part], queries: int) -> FoundColumns:
    """The rows of all parts, each of which has all of its queries' rows in their order."""
    query, id, distance = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(query, kind="stable")
    found = _Found(
        query[order],
        id[order],
        distance[order],
        np.searchsorted(query[order], np.arange(queries + 1)),
    )
    for column in (found.query, found.id, found.distance, found.offsets):
        column.flags.writeable = False
    return found
