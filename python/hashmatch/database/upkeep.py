"""What is searched, kept in step with the catalog by a thread of its own, beside the searches: a
writer's folds what changed, a reader's takes in what the writer commits.
"""

from __future__ import annotations

import mmap
import threading
from collections.abc import Callable
from contextlib import suppress

import numpy as np

from hashmatch.database.catalog import Catalog
from hashmatch.database.comparing import compare
from hashmatch.database.engine import Engine, Segments, State, UnusableSegment, View
from hashmatch.database.folding import fold, range_to_fold, rebuild, sweep, whole_range
from hashmatch.database.model import TypeStatus
from hashmatch.hash_types import HASH_TYPES
from hashmatch.index import Progress

#: How often a reader looks for a new generation.
_POLL_S = 0.2
#: How long a writer waits before it again tries to take in what it committed.
_RETRY_S = 1.0

#: More than a thread's stack, and what NumPy sets up when a thread first uses it.
_THREAD_BYTES = 10 << 20

#: Chooses the signal ids of a view that are to become one segment.
_Choose = Callable[[View], tuple[int, int] | None]


class Upkeep:
    """The engine of a database, which any number of threads may use."""

    def __init__(self, catalog: Catalog, memory: bool) -> None:
        self.catalog = catalog
        self._engine = Engine(catalog, memory)
        #: What kept the newest generation from being taken in, or a fold from being made.
        self.trouble: str | None = None
        self._behind = False
        self._stopping = False
        self._make_locks()
        if catalog.writable:
            sweep(catalog, self._engine.segments)
        self._start()

    def _make_locks(self) -> None:
        self._refreshing = threading.Lock()
        self._folding = threading.Lock()
        self._wake = threading.Event()

    def _start(self) -> None:
        # With a damaged segment nothing can be searched; but it can be checked and repaired.
        with suppress(UnusableSegment):
            self._engine.refresh()
        # Where a thread's first use of NumPy finds no memory, glibc ends the process.
        try:
            mmap.mmap(-1, _THREAD_BYTES).close()
        except OSError as error:
            raise MemoryError(f"too little memory for a thread ({error})") from None
        self._worker = threading.Thread(target=self._work, name="hashmatch", daemon=True)
        self._worker.start()

    def stop(self) -> None:
        """End the thread; what it is amid is waited for."""
        self._stopping = True
        self._wake.set()
        self._worker.join()

    def forked(self) -> None:
        """In a forked child: forget what other threads of the parent may have been amid."""
        self._make_locks()
        self._engine.views = {}

    def restart(self, open_catalog: Callable[[], Catalog]) -> None:
        """In a forked child: go on with a catalog of its own, unless another thread has done so."""
        with self._refreshing:
            if not self.catalog.is_open:
                self.catalog = self._engine.catalog = open_catalog()
                try:
                    self._start()
                except BaseException:
                    # So that the next use tries again.
                    self.catalog.close()
                    raise

    # What is searched.

    @property
    def state(self) -> State:
        """The generation that searches answer from."""
        # Without one a segment was damaged, and this raises what is wrong with it.
        return self._engine.state or self.refresh()

    @property
    def segments(self) -> Segments:
        return self._engine.segments

    def refresh(self) -> State:
        """Take in the newest generation."""
        with self._refreshing:
            self._behind = True
            state = self._engine.refresh()
            self._behind = False
            return state

    def take_in(self) -> None:
        """Show searches what was committed, which stands even if that fails."""
        try:
            self.refresh()
        except Exception as error:  # the background tries again
            self.trouble = f"{error}"
        self._wake.set()

    def types(self) -> dict[str, TypeStatus]:
        """How the signals of each hash type are held."""
        with self._refreshing:
            return {
                name: TypeStatus(
                    len(view.index),
                    len(view.records),
                    int(np.count_nonzero(view.index.contains_each(view.gap_ids))),
                    view.index.size_bytes,
                )
                for name, view in self._engine.views.items()
            }

    # Segments.

    def fold(self, threads: int) -> None:
        """Do the folding that is due."""
        self.refresh()
        while self._fold_once(threads):
            pass

    def compact(self, threads: int) -> None:
        """Fold each hash type's signals into one segment."""
        self.refresh()
        for name in list(self._engine.views):
            self._fold(name, whole_range, threads)

    def rebuild(self, threads: int) -> None:
        """Build a segment for each hash type from the catalog alone."""
        with self._folding:
            with self.catalog.snapshot() as snapshot:
                types = snapshot.hash_types()
            for name in types:
                rebuild(self.catalog, self._engine.segments, HASH_TYPES[name], threads)
            self.refresh()

    def check(self, progress: Progress | None) -> list[str]:
        """What is wrong with the catalog and the segments."""
        with self._folding:
            segments = self._engine.segments
            return self.catalog.check() + compare(self.catalog, segments.folder, progress)

    def _fold_once(self, threads: int) -> bool:
        return any(self._fold(name, range_to_fold, threads) for name in list(self._engine.views))

    def _fold(self, name: str, choose: _Choose, threads: int) -> bool:
        """Fold the range that is chosen, if any is. Whether it was."""
        if self._chosen(name, choose) is None:
            return False
        with self._folding:
            # Another thread may have folded it, while this one waited.
            self.refresh()
            within = self._chosen(name, choose)
            if within is None:
                return False
            fold(self.catalog, self._engine.segments, HASH_TYPES[name], within, threads)
            self.refresh()
        return True

    def _chosen(self, name: str, choose: _Choose) -> tuple[int, int] | None:
        with self._refreshing:
            return choose(self._engine.views[name])

    # The thread.

    def _work(self) -> None:
        np.empty(1)  # its first use of NumPy
        if self.catalog.writable:
            self._fold_when_due()
        else:
            self._follow()

    def _follow(self) -> None:
        version = None
        while not self._wake.wait(_POLL_S):
            try:
                newest = self.catalog.data_version()
                if newest != version:
                    self.refresh()
                    version = newest
                self.trouble = None
            except Exception as error:  # the last good state goes on being searched
                self.trouble = f"{error}"

    def _fold_when_due(self) -> None:
        while True:
            self._wake.wait(_RETRY_S if self._behind else None)
            if self._stopping:
                return
            self._wake.clear()
            try:
                if self._behind:
                    self.refresh()
                while not self._stopping and self._fold_once(1):
                    pass
                self.trouble = None
            except Exception as error:  # a later change tries again
                self.trouble = f"{error}"
