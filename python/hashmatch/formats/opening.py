"""Lists as their readers see them: from the beginning, decompressed, without a byte order mark.

Whether a file is compressed shows in its first bytes. It is decompressed as it is read, a little at
a time, so that one which grows a thousandfold takes no more memory than any other.
"""

from __future__ import annotations

import io
import os
import stat
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from gzip import GzipFile
from typing import Any, BinaryIO, NamedTuple

from hashmatch.extras import need
from hashmatch.formats.model import ListError

_BOM = b"\xef\xbb\xbf"
_GZIP_MAGIC = b"\x1f\x8b"
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
#: Enough to tell the formats apart.
_HEAD_BYTES = 1 << 16
_BUFFER_BYTES = 1 << 20
#: Four bytes of zstd may stand for 128 KiB, and all that a piece stands for is given at once.
_ZSTD_PIECE_BYTES = 512
#: What the format recommends that every decoder should take.
_ZSTD_WINDOW_BYTES = 8 << 20

#: Called with (bytes read, bytes in all; 0 if that is not known), both as they are in the file.
BytesRead = Callable[[int, int], object]


class Opened(NamedTuple):
    """A list from its beginning, decompressed, without a byte order mark."""

    #: Its first bytes.
    head: bytes
    #: All of it.
    file: BinaryIO
    #: The file itself where it is one and not compressed.
    path: str | None


def name_of(path: str) -> str:
    """What messages call a list."""
    return "<stdin>" if path == "-" else path


@contextmanager
def opened(path: str, on_read: BytesRead | None = None) -> Iterator[Opened]:
    """A list; "-" is standard input. What is wrong with its compression is a ListError, when that
    is met.
    """
    with _opened(path) as source:
        head, file = _begun(source, on_read)
        inflated = _inflated(head, file, name_of(path))
        if inflated:
            head, file = _begun(io.BufferedReader(inflated, _BUFFER_BYTES), None)
        if head.startswith(_BOM):
            head = head.removeprefix(file.read(len(_BOM)))
        mapped = None if inflated or not os.path.isfile(path) else path
        yield Opened(head, file, mapped)


def _opened(path: str) -> BinaryIO:
    """The bytes of a file, or of standard input, which stays open."""
    if path == "-":
        return open(0, "rb", closefd=False)
    return open(path, "rb")


def _begun(source: BinaryIO, on_read: BytesRead | None) -> tuple[bytes, BinaryIO]:
    """Its first bytes, and all of it."""
    head = source.read(_HEAD_BYTES)
    return head, io.BufferedReader(_Reread(head, source, on_read), _BUFFER_BYTES)


def _inflated(head: bytes, file: BinaryIO, name: str) -> io.RawIOBase | None:
    """What a compressed file holds; None if it is not compressed."""
    if head.startswith(_GZIP_MAGIC):
        return _Gzip(file, name)
    if head.startswith(_ZSTD_MAGIC):
        return _Zstd(file, name)
    return None


class _Reread(io.RawIOBase):
    """A file whose first bytes have been read already, from its beginning."""

    def __init__(self, head: bytes, rest: BinaryIO, on_read: BytesRead | None) -> None:
        self._head = memoryview(head)
        self._rest = rest
        self._on_read = on_read
        self._done_bytes = 0
        self._total_bytes = _size_bytes(rest) if on_read else 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._head:
            count = min(len(self._head), len(buffer))
            buffer[:count] = self._head[:count]
            self._head = self._head[count:]
        else:
            count = self._rest.readinto(buffer)  # type: ignore[attr-defined]
        self._done_bytes += count
        if self._on_read:
            self._on_read(self._done_bytes, self._total_bytes)
        return count


def _size_bytes(file: BinaryIO) -> int:
    """Size of a regular file; 0 for a pipe or terminal."""
    status = os.fstat(file.fileno())
    return status.st_size if stat.S_ISREG(status.st_mode) else 0


class _Gzip(io.RawIOBase):
    """What a gzip file holds, one member or several."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._file = GzipFile(fileobj=file, mode="rb")
        self._name = name

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            return self._file.readinto(buffer)
        # A bad header or checksum is an OSError without a number; those of the disk have one.
        except (EOFError, zlib.error, OSError) as error:
            if isinstance(error, OSError) and error.errno is not None:
                raise
            raise ListError(f"{self._name}: is a damaged gzip file: {error}") from None


class _Zstd(io.RawIOBase):
    """What a zstd file holds, one frame or several."""

    def __init__(self, file: BinaryIO, name: str) -> None:
        self._zstandard = need("zstandard", "zstd")
        self._file = file
        self._name = name
        self._begin_frame()
        #: What was decompressed and not asked for yet; compressed bytes of a frame that follows.
        self._ready = memoryview(b"")
        self._unused = b""

    def _begin_frame(self) -> None:
        decompressor = self._zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW_BYTES)
        self._frame = decompressor.decompressobj()
        self._within = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready:
            piece = self._unused or self._file.read(_ZSTD_PIECE_BYTES)
            if not piece:
                if self._within:
                    raise ListError(f"{self._name}: is a damaged zstd file: it ends too early")
                return 0
            self._ready = memoryview(self._decompressed(piece))
        count = min(len(self._ready), len(buffer))
        buffer[:count] = self._ready[:count]
        self._ready = self._ready[count:]
        return count

    def _decompressed(self, piece: bytes) -> bytes:
        self._unused = b""
        self._within = True
        try:
            ready: bytes = self._frame.decompress(piece)
        except self._zstandard.ZstdError as error:
            raise ListError(f"{self._name}: is a damaged zstd file: {error}") from None
        if self._frame.eof:
            self._unused = self._frame.unused_data
            self._begin_frame()
        return ready
