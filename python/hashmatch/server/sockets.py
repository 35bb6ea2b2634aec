"""The listening socket, which the supervisor makes and every worker accepts from."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

UNIX = "unix:"
#: What connects while all workers are busy, or are being replaced, waits here.
BACKLOG = 1024
#: The file of a socket is for its owner alone.
_UMASK = 0o177
#: How long a socket that is there already may take to answer.
_PROBE_SECONDS = 2.0


class Listener:
    """A listening socket, and where it is. Its file is removed when it is closed."""

    def __init__(self, opened: socket.socket, path: Path | None) -> None:
        self.socket = opened
        #: Of a Unix socket.
        self.path = path
        self._file = None if path is None else _identity(path)

    @property
    def address(self) -> str:
        """As callers have to name it: "unix:/run/hashmatch.sock", "127.0.0.1:8080"."""
        if self.path is not None:
            return f"{UNIX}{self.path}"
        host, port = self.socket.getsockname()[:2]
        return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"

    def close(self) -> None:
        """Refuse new connections, once the workers have closed it too."""
        self.socket.close()
        if self.path is not None and _identity(self.path) == self._file:
            self.path.unlink(missing_ok=True)


def parse_address(address: str) -> Path | tuple[str, int]:
    """The path of "unix:PATH", or what "HOST:PORT" names. ValueError for anything else."""
    if address.startswith(UNIX) and len(address) > len(UNIX):
        return Path(address.removeprefix(UNIX))
    host, _, port = address.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    digits = port.isascii() and port.isdecimal() and len(port) <= 5
    if not (host and digits and int(port) <= 65_535):
        raise ValueError(
            f"must be unix:PATH or HOST:PORT, such as 127.0.0.1:8080 or [::1]:8080, not {address!r}"
        )
    return host, int(port)


def listen(address: str | None, folder: Path) -> Listener:
    """Listen at "unix:PATH" or "HOST:PORT"; without an address in the folder of the database.

    Raises ValueError for what is no address, OSError if it is not possible to listen there.
    """
    place = folder / "hashmatch.sock" if address is None else parse_address(address)
    return _listen_unix(place) if isinstance(place, Path) else _listen_tcp(*place)


def _listen_tcp(host: str, port: int) -> Listener:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise _cannot(f"{host}:{port}", error) from None
    family, kind, protocol, _, place = found[0]
    opened = socket.socket(family, kind, protocol)
    try:
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        opened.bind(place)
        opened.listen(BACKLOG)
    except OSError as error:
        opened.close()
        raise _cannot(f"{host}:{port}", error) from None
    return Listener(opened, None)


def _listen_unix(path: Path) -> Listener:
    path = path.absolute()
    opened = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with _alone_in(path.parent):
            _remove_stale(path)
            before = os.umask(_UMASK)
            try:
                opened.bind(str(path))
            finally:
                os.umask(before)
            opened.listen(BACKLOG)
    except OSError as error:
        opened.close()
        raise _cannot(f"{path}", error) from None
    return Listener(opened, path)


def _cannot(place: str, error: OSError) -> OSError:
    # That a path is too long is not said by the system, and has no number.
    why = error.strerror or str(error)
    return OSError(f"cannot listen at {place}: {why}; --listen takes another address")


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Two that begin at the same time must not take each other's new socket for a stale one."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _remove_stale(path: Path) -> None:
    if not os.path.lexists(path):
        return
    if not path.is_socket():
        raise OSError(errno.EEXIST, "there is a file of that name, which is no socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(_PROBE_SECONDS)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            path.unlink(missing_ok=True)
            return
    raise OSError(errno.EADDRINUSE, "another process answers there")


def _identity(path: Path) -> tuple[int, int] | None:
    with suppress(OSError):
        status = path.lstat()
        return status.st_dev, status.st_ino
    return None
