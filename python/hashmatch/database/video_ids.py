"""Which signals are frames of videos, as ranges of ids."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from hashmatch.database.snapshot import Snapshot

#: Opens the catalog for reading.
OpenCatalog = Callable[[], AbstractContextManager[Snapshot]]


def _none() -> NDArray[np.uint64]:
    return np.empty(0, np.uint64)


@dataclass(frozen=True, slots=True)
class VideoIds:
    """The videos that a catalog ever held, in the order of their signal ids."""

    #: uint64[n]: each video's signal ids, from the first to the last and one.
    firsts: NDArray[np.uint64] = field(default_factory=_none)
    ends: NDArray[np.uint64] = field(default_factory=_none)
    #: uint64[n]: where the videos end that follow each without a gap.
    until: NDArray[np.uint64] = field(default_factory=_none)
    #: Signals with lower ids were taken in. Whether they are a video's never changes.
    end: int = 0

    def up_to(self, end: int, open_catalog: OpenCatalog) -> Self:
        """These and the videos that came since, if there are signals from `self.end` to `end`."""
        if self.end >= end:
            return self
        with open_catalog() as catalog:
            return self._with_new(catalog)

    def _with_new(self, catalog: Snapshot) -> Self:
        firsts, ends = catalog.videos(self.end)
        if not len(firsts):
            return replace(self, end=catalog.end_signal())
        firsts, ends = np.concatenate([self.firsts, firsts]), np.concatenate([self.ends, ends])
        last = np.flatnonzero(np.append(firsts[1:] != ends[:-1], True))
        until = ends[last[np.searchsorted(last, np.arange(len(ends)))]]
        return type(self)(firsts, ends, until, catalog.end_signal())
