"""Connections to the catalog file. Every error of SQLite leaves here as a builtin that names it.

A connection is used by one thread at a time. SQLite forbids to use one, or even to close one, in a
forked child: a connection knows when it is in one and refuses. Nor may a fork come while any thread
is within SQLite: the child would wait for ever for what that thread holds. So a fork waits for it.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import chain, count, islice
from pathlib import Path
from typing import Any, TypeAlias

from hashmatch._core import FormatError

Row: TypeAlias = tuple[Any, ...]

#: How long to wait for another connection: one that recovers from a crash, or a foreign program.
_PATIENCE_S = 10.0
_CACHE_KIB = 32 << 10
#: Rows that one statement inserts at most.
_ROWS_AT_ONCE = 128
_SYNC_FAILED = (sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_IOERR_DIR_FSYNC)


@dataclass(frozen=True, slots=True)
class Insertion:
    """A statement that inserts rows: twice as fast with many at a time as one by one, and it leaves
    the interpreter to other threads once for all of them.
    """

    #: What comes before VALUES.
    head: str
    #: A row: ?1, ?2 and so on stand for the values that all rows share, {} for its own next one.
    row: str
    #: How many values all rows share.
    shared: int
    tail: str = ""

    def statement(self, rows: int) -> str:
        """That which inserts so many rows."""
        return _statement(self, rows)


@cache
def _statement(insertion: Insertion, rows: int) -> str:
    own = insertion.row.count("{}")
    numbers = (f"?{number}" for number in count(insertion.shared + 1))
    values = ", ".join(insertion.row.format(*islice(numbers, own)) for _ in range(rows))
    return f"{insertion.head} VALUES {values} {insertion.tail}"


class SyncError(OSError):
    """The disk would not confirm what was written. What it now holds is only known on reopening."""


class Connection:
    """One connection to the file at `path`, in autocommit mode."""

    def __init__(self, path: Path, query: str) -> None:
        """`query` is that of a SQLite URI, such as "mode=ro"."""
        self.path = path
        #: What first went wrong since this was last set to None.
        self.fault: BaseException | None = None
        self._cursors: weakref.WeakSet[sqlite3.Cursor] = weakref.WeakSet()
        self._raw: sqlite3.Connection | None = None
        #: Held while SQLite is called.
        self._calling = threading.Lock()
        with _opening:
            _open.add(self)
        try:
            with self._translated():
                self._raw = sqlite3.connect(
                    f"{path.absolute().as_uri()}?{query}",
                    timeout=_PATIENCE_S,
                    isolation_level=None,
                    check_same_thread=False,
                    uri=True,
                )
            self.run(f"PRAGMA cache_size = -{_CACHE_KIB}")
            # The file itself is opened by the first read.
            self.rows("SELECT 1 FROM sqlite_schema")
        except BaseException:
            self.close()
            raise

    def limit_values(self, size_bytes: int) -> None:
        """Refuse to be given or to make values that are larger."""
        self.require_open().setlimit(sqlite3.SQLITE_LIMIT_LENGTH, size_bytes)

    def run(self, sql: str, values: Sequence[object] = ()) -> int:
        """Run one statement. How many rows it changed."""
        with self._translated():
            return self.require_open().execute(sql, values).rowcount

    def insert(self, insertion: Insertion, shared: Sequence[object], rows: Iterable[Row]) -> None:
        """Insert rows of values, as many at a time as makes it fast; all have the `shared` ones."""
        with self._translated():
            run = self.require_open().execute
            rows = iter(rows)
            while some := list(islice(rows, _ROWS_AT_ONCE)):
                # Sizes are powers of two, so that few statements are ever prepared.
                while some:
                    size = 1 << (len(some).bit_length() - 1)
                    values = chain(shared, chain.from_iterable(some[:size]))
                    run(insertion.statement(size), tuple(values))
                    del some[:size]

    def rows(self, sql: str, values: Sequence[object] = ()) -> list[Row]:
        """All rows."""
        with self._translated():
            return self.require_open().execute(sql, values).fetchall()

    def row(self, sql: str, values: Sequence[object] = ()) -> Row:
        """The only row of a statement that always has one."""
        rows = self.rows(sql, values)
        if not rows:
            raise FormatError(f"{self.path}: lacks a row that every catalog has: it is damaged")
        return rows[0]

    def stream(
        self, sql: str, values: Sequence[object] = (), size: int = 256
    ) -> Iterator[list[Row]]:
        """All rows, some at a time."""
        with self._translated():
            cursor = self.require_open().execute(sql, values)
            self._cursors.add(cursor)
        while rows := self._fetched(cursor, size):
            yield rows

    def _fetched(self, cursor: sqlite3.Cursor, size: int) -> list[Row]:
        with self._translated():
            return cursor.fetchmany(size)

    @contextmanager
    def sound(self) -> Iterator[None]:
        """What fails within is damage to the file: rows that no catalog has."""
        try:
            yield
        except (ValueError, TypeError, LookupError, OverflowError) as error:
            raise FormatError(
                f"{self.path}: {error}: it is damaged; restore a copy of it"
            ) from error

    def end_reading(self) -> None:
        """End a read transaction. One does not end as long as a stream is read."""
        with self._calling:
            for cursor in self._cursors:
                cursor.close()
        if self.in_transaction:
            self.run("ROLLBACK")

    @property
    def is_open(self) -> bool:
        """False once it was closed, and in a forked child."""
        return self._raw is not None

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction has begun and not ended. A grave error ends one too."""
        return self._raw is not None and self._raw.in_transaction

    @property
    def total_changes(self) -> int:
        """Rows changed since the connection was made."""
        return self.require_open().total_changes

    def close(self) -> None:
        """Closing twice is as good as once."""
        if self._raw is not None:
            with self._calling:
                self._raw.close()
            self._raw = None

    def abandon(self) -> None:
        """Keep a forked child from using or closing what belongs to its parent."""
        if self._raw is not None:
            _inherited.append(self._raw)
            self._raw = None

    def require_open(self) -> sqlite3.Connection:
        """The connection itself. ValueError once it was closed, and in a forked child."""
        if self._raw is None:
            raise ValueError(f"{self.path}: was closed, or opened before a fork: open it again")
        return self._raw

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            with self._calling:
                yield
        except BaseException as error:
            # Even SQLite's own message may quote text that is no UTF-8.
            ours = isinstance(error, sqlite3.Error | UnicodeDecodeError | MemoryError)
            raised = _translation(error, self.path) if ours else error
            self.fault = self.fault or raised
            if ours:
                raise raised from error
            raise


def _translation(error: BaseException, path: Path) -> Exception:
    if isinstance(error, MemoryError):
        return MemoryError(f"{path}: there is too little memory to read it, unless it is damaged")
    if isinstance(error, sqlite3.ProgrammingError):
        return ValueError(f"{path}: {error}: it was closed, or the snapshot has ended")
    # Errors of the sqlite3 module itself, such as text that is not UTF-8, have no code.
    code = getattr(error, "sqlite_errorcode", sqlite3.SQLITE_CORRUPT)
    name = str(path)
    if code in _SYNC_FAILED:
        return SyncError(errno.EIO, f"the disk could not be synced ({error})", name)
    match code & 0xFF:
        case sqlite3.SQLITE_FULL:
            return OSError(errno.ENOSPC, f"{error}: make room and try again", name)
        case sqlite3.SQLITE_IOERR:
            return OSError(errno.EIO, f"{error}: look at the disk", name)
        case sqlite3.SQLITE_CANTOPEN:
            return OSError(errno.EACCES, f"{error}: look at permissions and ulimit -n", name)
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_PERM:
            return PermissionError(errno.EACCES, f"{error}: look at its permissions", name)
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return BlockingIOError(
                errno.EWOULDBLOCK, f"{error} by another program: end that and try again", name
            )
        case sqlite3.SQLITE_TOOBIG:
            return ValueError(f"{path}: {error}: an item is at most 900 MB")
    return FormatError(f"{path}: {error}: it is damaged or no catalog; restore a copy of it")


_open: weakref.WeakSet[Connection] = weakref.WeakSet()
#: Held while one is opened, which makes it known to a fork.
_opening = threading.Lock()
#: Those whose turn a fork has taken.
_held: list[Connection] = []
#: In a forked child: the parent's connections, which must not even be closed.
_inherited: list[sqlite3.Connection] = []


def _before_fork() -> None:
    _opening.acquire()
    _held.extend(_open)
    for connection in _held:
        connection._calling.acquire()


def _after_fork() -> None:
    for connection in _held:
        connection._calling.release()
    _held.clear()
    _opening.release()


def _after_fork_in_child() -> None:
    for connection in _held:
        connection.abandon()
    _after_fork()


os.register_at_fork(
    before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork_in_child
)
