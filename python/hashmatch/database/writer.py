"""Writing to the catalog file: one transaction at a time.

What is committed is in the WAL, synced; to bring it into the file as well (a checkpoint) takes
longer than a commit. So that is done beside the commits, by a thread of its own for each time. Only
when commits come so thick that it cannot catch up does one of them do it itself.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hashmatch.database import schema
from hashmatch.database.connections import Connection, SyncError

#: A WAL that a bulk load made huge is cut back to this when it is next begun anew.
_WAL_LIMIT_BYTES = 64 << 20
#: Changed rows after which a checkpoint is begun; and pages of WAL at which a commit makes one.
_CHECKPOINT_ROWS = 4_000
_CHECKPOINT_PAGES = 16_000

#: Below SQLite's own limit, as an item is read in one piece with others beside it.
_MOST_VALUE_BYTES = 900_000_000


class Writer:
    """The one writing connection. Threads that want to write wait for one another."""

    def __init__(self, path: Path) -> None:
        """Opens and, if need be, upgrades the catalog at `path`."""
        self._path = path
        self._turn = threading.Lock()
        self._owner: int | None = None
        self._unsynced = False
        self._checkpointed_rows = 0
        self._checkpointing: threading.Thread | None = None
        self._connection = Connection(path, "mode=rw")
        try:
            self._connection.limit_values(_MOST_VALUE_BYTES)
            # A file that is no catalog is left as it is.
            schema.read_version(self._connection)
            for pragma in (
                "journal_mode = WAL",
                "synchronous = FULL",
                "foreign_keys = ON",
                f"journal_size_limit = {_WAL_LIMIT_BYTES}",
                f"wal_autocheckpoint = {_CHECKPOINT_PAGES}",
            ):
                self._connection.run(f"PRAGMA {pragma}")
            schema.upgrade(self._connection)
        except BaseException:
            self._connection.close()
            raise

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """All that is written within is kept if the block ends well, else nothing of it.

        Another thread's transaction is waited for; one within another is a RuntimeError.
        """
        # Not even the turn may be waited for in a forked child: who had it is not there.
        self._connection.require_open()
        if self._owner == threading.get_ident():
            raise RuntimeError(
                f"{self._path}: this thread is within a change already: end it first"
            )
        with self._turn:
            if self._unsynced:
                fault = "the disk could not be synced before: close and open again"
                raise OSError(errno.EIO, fault, str(self._path))
            self._owner = threading.get_ident()
            try:
                # Without memory even the end of the one before may have failed.
                self._roll_back()
                self._connection.run("BEGIN IMMEDIATE")
                self._connection.fault = None
                yield self._connection
                # A step that failed halfway must not be kept, even if its error was caught.
                if self._connection.fault:
                    raise self._connection.fault
                self._connection.run("COMMIT")
                self._checkpoint_if_due()
            except BaseException as error:
                # What a failed sync left on the disk is not known, so nothing more is written.
                self._unsynced = isinstance(error, SyncError)
                self._roll_back()
                raise
            finally:
                self._owner = None

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.run("ROLLBACK")

    def _checkpoint_if_due(self) -> None:
        rows = self._connection.total_changes
        running = self._checkpointing and self._checkpointing.is_alive()
        if rows - self._checkpointed_rows >= _CHECKPOINT_ROWS and not running:
            self._checkpointed_rows = rows
            thread = threading.Thread(target=self._checkpoint, daemon=True)
            # Without a thread now, a later commit tries again: this one has been made.
            with suppress(RuntimeError):
                thread.start()
                self._checkpointing = thread

    def _checkpoint(self) -> None:
        try:
            connection = Connection(self._path, "mode=rw")
            try:
                connection.run("PRAGMA wal_checkpoint(PASSIVE)")
            finally:
                connection.close()
        except SyncError:
            self._unsynced = True
        except (OSError, ValueError, MemoryError):
            # Nothing is lost: it is still in the WAL, and the next commit that tries will say why.
            pass

    def close(self) -> None:
        """After the readers: the last connection brings the WAL into the file, if it can write.

        Another thread's transaction is waited for: to close a connection in use is a crash.
        """
        if self._checkpointing:
            self._checkpointing.join()
        if self._owner == threading.get_ident():
            self._connection.close()
            return
        with self._turn:
            self._connection.close()
