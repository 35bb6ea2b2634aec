"""What a lookup found, as the forms of answers take it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from hashmatch.database.matches import DatabaseMatches
from hashmatch.database.model import Joined
from hashmatch.distinct import distinct

#: Matches that are looked up in the catalog, and sent, at a time.
BLOCK = 4_096
#: So many signals are looked up once for all matches.
_SHARED = 16_384
_FIRST = np.zeros(1, np.intp)

_Made = TypeVar("_Made")


class Found:
    """The matches of a lookup, and what of them is to be told."""

    __slots__ = (
        "_order",
        "_told",
        "distances",
        "hash_type",
        "joined",
        "matches",
        "queries",
        "rows",
    )

    def __init__(
        self, hash_type: str, queries: int, matches: DatabaseMatches, joined: bool, distances: bool
    ) -> None:
        self.hash_type = hash_type
        self.queries = queries
        self.matches = matches
        self.rows = len(matches)
        self.joined = joined
        #: Whether distances are told. If not, nothing about a match tells how near it is: neither
        #: does its place, as those of a query are in the order of their signals.
        self.distances = distances
        #: Of few signals that match often, what is made of all of them.
        self._told: tuple[NDArray[np.uint64], Any] | None = None
        self._order = None if distances else np.lexsort((matches.signal, matches.query))

    @property
    def query(self) -> NDArray[np.int64]:
        """int64[rows]: the number of each match's query, from 0."""
        return self.matches.query

    @property
    def signal(self) -> NDArray[np.uint64]:
        """uint64[rows]: the id of the signal that matched."""
        signal = self.matches.signal
        return signal if self._order is None else signal[self._order]

    def blocks(self) -> Iterator[slice]:
        """Rows, so many at a time."""
        for begin in range(0, self.rows, BLOCK):
            yield slice(begin, begin + BLOCK)

    def described(
        self, signal: NDArray[np.uint64], make: Callable[[Joined], _Made]
    ) -> tuple[_Made, NDArray[np.intp]]:
        """What a form of answers makes of what is said of some rows' signals, and where each one's
        is. It is returned again for the rows after, where it has all of them.
        """
        if self._told is None and self.rows > BLOCK:
            ids = distinct(self.signal)
            if len(ids) <= _SHARED:
                self._told = ids, make(self.matches.described(ids))
        if self._told is not None:
            ids, made = self._told
            return made, np.searchsorted(ids, signal)
        if len(signal) == 1:
            return make(self.matches.described(signal)), _FIRST
        ids, places = np.unique(signal, return_inverse=True)
        return make(self.matches.described(ids)), places
