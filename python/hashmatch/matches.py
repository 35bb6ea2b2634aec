"""What a search found: columns, one row a match, ordered by query, then distance, then id."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, SupportsIndex

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pyarrow

#: Rows turned into Python objects at a time by iteration.
_ITERATION_ROWS = 65_536


class Match(NamedTuple):
    """One code within the distance asked for."""

    #: The number of the query's row, from 0.
    query: int
    #: The id of the code that matched.
    id: int
    #: Hamming distance, in bits.
    distance: int


class _Columns(Protocol):
    """The columns of a search as the engine, or a pickle, holds them."""

    @property
    def query(self) -> NDArray[np.int64]: ...
    @property
    def id(self) -> NDArray[np.uint64]: ...
    @property
    def distance(self) -> NDArray[np.uint16]: ...
    @property
    def offsets(self) -> NDArray[np.int64]: ...


class _PickledColumns(NamedTuple):
    query: NDArray[np.int64]
    id: NDArray[np.uint64]
    distance: NDArray[np.uint16]
    offsets: NDArray[np.int64]


class Matches:
    """The matches of a search, as read-only columns ordered by query, distance, id.

    `len(matches)` counts matches, over all queries. `matches[i]` is the list of the `Match`es of
    query i, nearest first; i counts queries, may be negative as in a list, and is an IndexError
    outside them. Iteration gives every `Match` in order. Where there are millions of matches, use
    the columns: those of query i are in rows `offsets[i]` to `offsets[i + 1]`.
    """

    #: The columns are fetched from the engine when first asked for: most searches at upload time
    #: find nothing, and then none is.
    __slots__ = {
        "_columns": "where the columns come from",
        "distance": "uint16[m]: Hamming distance, in bits",
        "id": "uint64[m]: id of the code that matched",
        "offsets": "int64[queries + 1]: where each query's matches begin; the last is m",
        "query": "int64[m]: row number of the query, from 0",
    }
    _columns: _Columns
    query: NDArray[np.int64]
    id: NDArray[np.uint64]
    distance: NDArray[np.uint16]
    offsets: NDArray[np.int64]

    def __init__(self, columns: _Columns) -> None:
        self._columns = columns

    def __getattr__(self, name: str) -> Any:
        # Called only while a slot is empty, so a column costs this once.
        if name not in _PickledColumns._fields:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        column = getattr(self._columns, name)
        setattr(self, name, column)
        return column

    @property
    def queries(self) -> int:
        """How many codes were searched for."""
        return len(self.offsets) - 1

    def __len__(self) -> int:
        return len(self.id)

    def __getitem__(self, query: SupportsIndex) -> list[Match]:
        try:
            number = operator.index(query)
        except TypeError:
            raise TypeError(
                f"matches[i] takes the number of a query, not {query!r}; "
                "for rows of matches index a column such as matches.id"
            ) from None
        queries = self.queries
        if number < 0:
            number += queries
        if not 0 <= number < queries:
            raise IndexError(f"query {query} of {queries:,}: give a number in 0..{queries - 1:,}")
        begin, end = self.offsets[number : number + 2].tolist()
        ids, distances = self.id[begin:end].tolist(), self.distance[begin:end].tolist()
        return [Match(number, *row) for row in zip(ids, distances, strict=True)]

    def __iter__(self) -> Iterator[Match]:
        for begin in range(0, len(self), _ITERATION_ROWS):
            rows = slice(begin, begin + _ITERATION_ROWS)
            columns = (self.query[rows], self.id[rows], self.distance[rows])
            yield from map(Match, *(column.tolist() for column in columns))

    #: `len` counts matches and `[i]` queries, so Python's own fallback would be wrong.
    __reversed__ = None

    def to_list(self) -> list[Match]:
        """Every match, in order."""
        return list(self)

    def to_arrow(self) -> pyarrow.Table:
        """A `pyarrow.Table` of query (int64), id (uint64) and distance (uint16).

        ImportError if pyarrow is not installed.
        """
        try:
            import pyarrow
        except ImportError as error:
            raise ImportError(
                'to_arrow needs pyarrow: pip install "hashmatch[arrow]"', name=error.name
            ) from None
        return pyarrow.table({"query": self.query, "id": self.id, "distance": self.distance})

    def __reduce__(self) -> tuple[type[Matches], tuple[_PickledColumns]]:
        columns = _PickledColumns(self.query, self.id, self.distance, self.offsets)
        return type(self), (columns,)

    def __repr__(self) -> str:
        return f"<hashmatch.Matches: {len(self):,} of {self.queries:,} queries>"
