"""What a database has open, from opening to closing: across threads, forks and pickling."""

from __future__ import annotations

import errno
import os
import weakref
from contextlib import AbstractContextManager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

# numpy's unique imports it when first called: a child forked in the midst of that would wait for it
# for ever.
import numpy.ma  # noqa: F401

from hashmatch.database.catalog import Catalog, Mode
from hashmatch.database.engine import State
from hashmatch.database.snapshot import Snapshot
from hashmatch.database.upkeep import Upkeep


class Opened:
    """A folder's catalog, and what of it is searched. `Database` is what is done with them."""

    def __init__(
        self, path: str | os.PathLike[str], mode: Mode = "r", *, memory: bool = False
    ) -> None:
        if mode not in ("r", "r+", "c"):
            raise ValueError(f'mode must be "r", "r+" or "c", not {mode!r}')
        self._path = Path(path)
        self._mode: Mode = mode
        self._closing = False
        self._pid = os.getpid()
        catalog = Catalog.open(self._path, mode)
        try:
            self._upkeep = Upkeep(catalog, memory)
        except BaseException:
            catalog.close()
            raise
        _all.add(self)

    @property
    def generation(self) -> int:
        """The generation that searches answer from now."""
        return self._open_state().generation

    @property
    def path(self) -> Path:
        """The folder."""
        return self._path

    def _open_state(self) -> State:
        self._require_open()
        return self._upkeep.state

    def _require_open(self) -> None:
        if self._closing:
            raise ValueError(f"{self._path}: the database was closed")
        if self._pid != os.getpid() and self._mode == "r":
            self._upkeep.restart(lambda: Catalog.open(self._path, "r"))
            self._pid = os.getpid()

    def _usable_catalog(self) -> Catalog:
        self._require_open()
        if self._pid != os.getpid():
            raise ValueError(f"{self._path}: opened to write before a fork: open it again")
        return self._upkeep.catalog

    def _require_writable(self) -> None:
        if not self._usable_catalog().writable:
            fault = 'was opened for reading: open it with mode "r+"'
            raise PermissionError(errno.EACCES, fault, str(self._path))

    def _join(self, ids: Any) -> Any:
        return self._usable_catalog().join(ids)

    def _snapshot(self) -> AbstractContextManager[Snapshot]:
        return self._usable_catalog().snapshot()

    def close(self) -> None:
        """Let go of the folder; what was committed is safe without it. Closing twice is fine. What
        other threads are committing or folding is waited for.
        """
        if self._closing:
            return
        self._closing = True
        if self._pid == os.getpid():
            self._upkeep.stop()
            self._upkeep.catalog.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        if self._mode != "r":
            raise TypeError('only a database opened with mode "r" can be pickled')
        return _reopened, (type(self), self._path.absolute(), self.generation)

    def __repr__(self) -> str:
        if self._closing:
            return f"<hashmatch.{type(self).__name__}: {self._path}, closed>"
        return f"<hashmatch.{type(self).__name__}: {self._path}, generation {self.generation:,}>"


_all: weakref.WeakSet[Opened] = weakref.WeakSet()


def _after_fork() -> None:
    for opened in _all:
        opened._upkeep.forked()


os.register_at_fork(after_in_child=_after_fork)


def _reopened(kind: type[Opened], path: Path, generation: int) -> Opened:
    opened = kind(path)
    found = opened.generation
    if found < generation:
        opened.close()
        raise ValueError(
            f"{path}: is at generation {found}, where {generation} was pickled: it is another "
            "database, or an old copy"
        )
    return opened
