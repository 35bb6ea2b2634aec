"""Connections for reading, also where nothing can be written.

A reader and the writer agree on what is in the WAL through `catalog.db-shm`, which whoever comes
first creates. Where it is missing and cannot be created, on a read-only disk or in another user's
folder, no writer is about. The file may then be read as one that does not change ("immutable"),
unless a WAL is left with changes that only it holds. But the disk may be read-only here alone, and
a writer may come: so every such reading ends with a look at whether the file is still the same.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hashmatch.database.connections import Connection

#: Inode, size and time of change of the file, and the size of its WAL.
_Look = tuple[int, int, int, int]


class Readers:
    """Lends connections to any number of threads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: list[Connection] = []
        #: Guards the connections that are idle: who is lent one alone may close it.
        self._lending = threading.Lock()
        #: data_version tells of changes to whom keeps to one connection.
        self._poll, self._poll_look = _connect(path)
        self._polls = 0
        self._polling = threading.Lock()

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """A connection that sees one state until the block ends."""
        with self.statement() as connection:
            connection.run("BEGIN")
            yield connection
            connection.end_reading()

    @contextmanager
    def statement(self) -> Iterator[Connection]:
        """A connection for one statement, which needs no transaction to see one state."""
        self._poll.require_open()
        try:
            connection, look = self._idle.pop(), None
        except IndexError:
            connection, look = _connect(self._path)
        try:
            yield connection
            if look is not None and look != _look(self._path):
                fault = "was written to while it was read as a file that does not change: try again"
                raise OSError(errno.EBUSY, fault, str(self._path))
        except BaseException:
            connection.close()
            raise
        with self._lending:
            kept = look is None and self.is_open
            if kept:
                self._idle.append(connection)
        if not kept:
            connection.close()

    def data_version(self) -> int:
        """A number that differs from the last one if anything was committed since."""
        self._poll.require_open()
        with self._polling:
            if self._poll_look is not None and self._poll_look != _look(self._path):
                stale = self._poll
                self._poll, self._poll_look = _connect(self._path)
                self._polls += 1
                stale.close()
            (version,) = self._poll.row("PRAGMA data_version")
            return self._polls << 32 | int(version)

    @property
    def is_open(self) -> bool:
        """False once it was closed, and in a forked child."""
        return self._poll.is_open

    def close(self) -> None:
        """Connections that are lent are closed when they come back."""
        with self._polling, self._lending:
            self._poll.close()
            while self._idle:
                self._idle.pop().close()


def _connect(path: Path) -> tuple[Connection, _Look | None]:
    """A connection, and how the file looks if it is read as one that does not change."""
    try:
        return Connection(path, "mode=ro"), None
    except PermissionError:
        look = _look(path)
        if look[-1]:
            raise
        return Connection(path, "mode=ro&immutable=1"), look


def _look(path: Path) -> _Look:
    file = os.stat(path)
    wal_bytes = 0
    with suppress(FileNotFoundError):
        wal_bytes = os.stat(f"{path}-wal").st_size
    return file.st_ino, file.st_size, file.st_mtime_ns, wal_bytes
