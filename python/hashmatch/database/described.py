"""What the catalog says of matches, looked up for all of them when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hashmatch.database.engine import AsOf
from hashmatch.database.model import Joined, verdicts_of
from hashmatch.vocabulary import Verdict

#: Looks signal ids up in the catalog: ascending, each once.
Join = Callable[[NDArray[np.uint64]], Joined]


class Described:
    """Columns with one entry a match, of the items that signals belong to."""

    __slots__ = ()
    _as_of: AsOf
    _join: Join
    #: What the catalog says, and the row in it of each match; None until then.
    _joined: tuple[Joined, NDArray[np.intp]] | None

    def __len__(self) -> int:
        """How many matches there are."""
        raise NotImplementedError

    @property
    def _ids(self) -> NDArray[np.uint64]:
        """A signal of each match's item."""
        raise NotImplementedError

    @property
    def generation(self) -> int:
        """The state of the database that the answer is of."""
        return self._as_of.generation

    def set_counts(self) -> dict[str, int]:
        """How many matches each hash set has, by its name; without those that have none. Known
        without the catalog.
        """
        return self._as_of.owners.counts(self._ids) if len(self) else {}

    def described(self, signals: NDArray[np.uint64]) -> Joined:
        """What there is to say of some of the matches' signals, ordered by id, each once.

        For answers with more matches than are to be looked up at a time.
        """
        joined = self._join(signals)
        return replace(joined, verdicts=self._as_of.verdicts.of(joined.ids))

    @property
    def ref(self) -> list[str]:
        """Each match's item."""
        joined, rows = self._looked_up()
        return [joined.refs[row] for row in rows]

    @property
    def set(self) -> list[str]:
        """Each match's hash set, known without the catalog."""
        return self._as_of.owners.of(self._ids)

    @property
    def contributor(self) -> list[str]:
        """Who contributed each match's item."""
        joined, rows = self._looked_up()
        return [joined.contributors[row] for row in rows]

    @property
    def labels(self) -> list[list[str]]:
        """The labels of each match's item."""
        joined, rows = self._looked_up()
        return [joined.labels(row) for row in rows]

    @property
    def verdicts(self) -> list[tuple[Verdict, ...]]:
        """What contributors say of each match's item."""
        return list(map(verdicts_of, self._as_of.verdicts.of(self._ids).tolist()))

    def _looked_up(self) -> tuple[Joined, NDArray[np.intp]]:
        if self._joined is None:
            ids, rows = np.unique(self._ids, return_inverse=True)
            # The slot is the derived class's: two bases with slots cannot be one object.
            self._joined = self.described(ids), rows  # type: ignore[misc]
        return self._joined
