"""The one writer of a folder: a lock that goes when its process goes, however that ends."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import time
import weakref
from contextlib import suppress
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path

_LOCK = "writer.lock"


#: How long a lock that is held may be one that `writer_of` is only looking at.
_LOOK_S = 0.05


def writer_of(folder: Path) -> str | None:
    """Who has a folder open for writing; None if nobody has, or ever had."""
    try:
        file = FileIO(folder / _LOCK, "r")
    except FileNotFoundError:
        return None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return _holder(file)
    return None


def _holder(file: FileIO) -> str:
    return file.read().decode(errors="replace").strip() or "another process"


class WriterLock:
    """Held from construction until `release`, or the end of the process.

    The system drops the lock with the last descriptor of the file, so a forked child, which
    inherits one, closes it at once.
    """

    def __init__(self, folder: Path) -> None:
        """BlockingIOError says who holds the lock."""
        self._file = FileIO(
            os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644), "r+"
        )
        try:
            self._lock()
            self._sign()
        except BlockingIOError:
            holder = _holder(self._file)
            self._file.close()
            raise BlockingIOError(
                errno.EWOULDBLOCK,
                f"the database is open for writing by {holder}: close it there, or open it here "
                'with mode "r"',
                str(folder),
            ) from None
        except BaseException:
            self._file.close()
            raise
        _held.add(self)

    def _lock(self) -> None:
        deadline = time.monotonic() + _LOOK_S
        while True:
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > deadline:
                    raise
            time.sleep(_LOOK_S / 10)

    def _sign(self) -> None:
        """Leave a name to those who find the lock held; a full disk only takes that from them."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        name = f"process {os.getpid()} on {socket.gethostname()} since {now}\n"
        # Written before the rest is cut off: who reads meanwhile finds a name, perhaps an old one.
        with suppress(OSError):
            self._file.write(name.encode())
            self._file.truncate()

    def release(self) -> None:
        """Let others write. Releasing twice is as good as once."""
        self._file.close()


_held: weakref.WeakSet[WriterLock] = weakref.WeakSet()


def _release_inherited() -> None:
    for lock in _held:
        lock.release()


os.register_at_fork(after_in_child=_release_inherited)
