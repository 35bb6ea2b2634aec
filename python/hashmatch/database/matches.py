"""What a database found: the columns of `Matches`, and what the catalog says of each match."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from hashmatch.database.bounded import FoundColumns
from hashmatch.database.described import Described, Join
from hashmatch.database.engine import AsOf
from hashmatch.database.model import verdicts_of
from hashmatch.matches import Matches
from hashmatch.vocabulary import Verdict

if TYPE_CHECKING:
    import pyarrow

_ITERATION_ROWS = 65_536


class DatabaseMatch(NamedTuple):
    """One known signal within the distance asked for, and the item it belongs to."""

    #: The number of the query's row, from 0.
    query: int
    #: The id of the signal that matched.
    signal: int
    #: Hamming distance, in bits.
    distance: int
    #: The item's name within its set and contributor.
    ref: str
    set: str
    contributor: str
    labels: list[str]
    #: Of all who have an opinion on the item.
    verdicts: tuple[Verdict, ...]


class DatabaseMatches(Matches, Described):
    """The matches of a search, as read-only columns ordered by query, distance, signal.

    `query`, `signal`, `distance` and `offsets` are at hand; `id` is `signal` by the name that
    `Matches` has for it. `hash`, `ref`, `set`, `contributor`, `labels` and `verdicts` are lists
    with one entry a match; the first that is asked for looks all matches up in the catalog. What
    they say is of the answer's generation, whenever it is looked up: what an item is never changes
    (an update makes another of it), and the verdicts were kept with the answer.
    `len(matches)` counts matches; `matches[i]` is the list of the `DatabaseMatch`es of query i.
    """

    __slots__ = ("_as_of", "_join", "_joined")

    _columns: FoundColumns

    def __init__(self, columns: FoundColumns, as_of: AsOf, join: Join) -> None:
        super().__init__(columns)
        self._as_of = as_of
        self._join = join
        self._joined = None

    @property
    def signal(self) -> NDArray[np.uint64]:
        """uint64[m]: id of the signal that matched."""
        return self.id

    @property
    def hash(self) -> list[str]:
        """Hex of each match's signal."""
        joined, rows = self._looked_up()
        return [joined.codes[row].hex() for row in rows]

    def __len__(self) -> int:
        return len(self._columns)

    @property
    def _ids(self) -> NDArray[np.uint64]:
        return self.id

    def __getitem__(self, query: SupportsIndex) -> list[DatabaseMatch]:  # type: ignore[override]
        matches = super().__getitem__(query)
        begin = int(self.offsets[matches[0].query]) if matches else 0
        return list(self._rows(begin, begin + len(matches)))

    def __iter__(self) -> Iterator[DatabaseMatch]:  # type: ignore[override]
        for begin in range(0, len(self), _ITERATION_ROWS):
            yield from self._rows(begin, min(begin + _ITERATION_ROWS, len(self)))

    def _rows(self, begin: int, end: int) -> Iterator[DatabaseMatch]:
        if begin == end:
            return
        joined, rows = self._looked_up()
        columns = (self.query[begin:end], self.id[begin:end], self.distance[begin:end])
        for query, signal, distance, row in zip(
            *(column.tolist() for column in columns), rows[begin:end].tolist(), strict=True
        ):
            yield DatabaseMatch(
                query,
                signal,
                distance,
                joined.refs[row],
                joined.sets[row],
                joined.contributors[row],
                joined.labels(row),
                verdicts_of(int(joined.verdicts[row])),
            )

    def to_list(self) -> list[DatabaseMatch]:  # type: ignore[override]
        """Every match, in order."""
        return list(self)

    def to_arrow(self) -> pyarrow.Table:
        """A `pyarrow.Table`: query, signal, distance, ref, set, contributor, labels, verdicts.

        ImportError if pyarrow is not installed.
        """
        table = super().to_arrow().rename_columns(["query", "signal", "distance"])
        import pyarrow

        word = pyarrow.string()
        for name in ("ref", "set", "contributor"):
            table = table.append_column(name, pyarrow.array(getattr(self, name), word))
        words = pyarrow.list_(word)
        table = table.append_column("labels", pyarrow.array(self.labels, words))
        return table.append_column("verdicts", pyarrow.array(map(list, self.verdicts), words))

    def __reduce__(self) -> Any:
        raise TypeError("DatabaseMatches cannot be pickled: send to_list() or to_arrow()")

    def __repr__(self) -> str:
        return (
            f"<hashmatch.DatabaseMatches: {len(self):,} of {self.queries:,} queries, "
            f"generation {self.generation:,}>"
        )
