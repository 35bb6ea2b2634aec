"""What a lookup found, as the forms of answers take it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hashmatch.database.matches import DatabaseMatches
from hashmatch.database.model import Joined

#: Matches that are looked up in the catalog, and sent, at a time.
BLOCK = 4_096


class Found:
    """The matches of a lookup, and what of them is to be told."""

    __slots__ = ("_order", "distances", "hash_type", "joined", "matches", "queries", "rows")

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

    def described(self, signal: NDArray[np.uint64]) -> tuple[Joined, list[int]]:
        """What is said of some signals, and where each one's is."""
        ids, places = np.unique(signal, return_inverse=True)
        return self.matches.described(ids), places.tolist()
