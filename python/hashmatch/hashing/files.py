"""Files as they are found: opened without waiting or side effects, and digested."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO

#: The digests there are, by the names of their hash types.
DIGESTS = ("md5", "sha1", "sha256")

_CHUNK_BYTES = 1 << 20
#: What a file can be that has no contents of its own, and how a message calls it.
_NO_FILE = (
    (stat.S_ISLNK, "a symbolic link, which is not followed"),
    (stat.S_ISDIR, "a folder"),
    (stat.S_ISFIFO, "a named pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


class FileError(ValueError):
    """A file that has no such hash, and why."""


def damage(error: Exception) -> str:
    """What a decoder's error says, on one line."""
    return f"is damaged: {' '.join(str(error).split())}"


@contextmanager
def sound(file: object) -> Iterator[None]:
    """Errors that come out name the file, if it is a path; those of decoders become FileErrors."""
    name = f"{os.fspath(file)!s}: " if isinstance(file, str | os.PathLike) else ""
    try:
        yield
    except FileError as error:
        raise type(error)(f"{name}{error}") from None
    except (ImportError, MemoryError):
        raise
    except Exception as error:
        # Those of the system have a number, and name the file themselves.
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise FileError(f"{name}{damage(error)}") from error


def no_file(mode: int) -> str | None:
    """What something with that `st_mode` is, if it is no regular file."""
    return next((name for is_one, name in _NO_FILE if is_one(mode)), None)


def open_file(path: str | os.PathLike[str], *, follow: bool = True) -> BinaryIO:
    """A regular file, opened for reading. FileError says what it is otherwise, or that it is
    empty.

    A pipe without a writer would be waited for, and opening a device may change it: neither is
    opened. Without `follow` a symbolic link is not, either.
    """
    status = os.stat(path, follow_symlinks=follow)
    other = no_file(status.st_mode)
    if other:
        raise FileError(f"is {other}")
    # It may have been replaced meanwhile: not by anything that is waited for.
    flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | (0 if follow else os.O_NOFOLLOW)
    file = os.fdopen(os.open(path, flags | os.O_CLOEXEC), "rb")
    status = os.fstat(file.fileno())
    if not stat.S_ISREG(status.st_mode) or not status.st_size:
        file.close()
        other = no_file(status.st_mode)
        raise FileError(f"is {other}" if other else "is empty")
    return file


def digest_file(file: str | os.PathLike[str] | BinaryIO, types: Sequence[str]) -> dict[str, bytes]:
    """The digests of those types ("md5", "sha1", "sha256") of a file, read once, in little memory.

    A path is opened, and has to be a regular file: FileError says what it is otherwise, OSError why
    it cannot be read. A file that is open is read from where it stands to its end.
    """
    for name in types:
        if name not in DIGESTS:
            raise ValueError(f"no digest {name!r}: there are {', '.join(DIGESTS)}")
    if isinstance(file, str | os.PathLike):
        with sound(file), open_file(file) as opened:
            return digest_file(opened, types)
    # They find files, and protect nothing: systems that forbid MD5 for the latter allow that.
    digests = {name: hashlib.new(name, usedforsecurity=False) for name in types}
    while chunk := file.read(_CHUNK_BYTES):
        for digest in digests.values():
            digest.update(chunk)
    return {name: digest.digest() for name, digest in digests.items()}
