"""NumPy's own file: an array of bytes with a hash a row, or of uint64 for 64 bits.

An array in a pipe or a compressed file is read some rows at a time; one in a file of its own is
mapped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashmatch.codes import as_codes
from hashmatch.formats.model import Block, ListError, Source
from hashmatch.hash_types import hash_type

name = "npy"
about = "NumPy array: uint8 with a hash a row, or uint64 for 64 bits"

_MAGIC = b"\x93NUMPY"
BLOCK_ROWS = 131_072

#: The rows from one number to another.
_Rows = Callable[[int, int], NDArray[Any]]


def recognises(head: bytes) -> bool:
    """Whether it begins as such files do."""
    return head.startswith(_MAGIC)


def read(source: Source) -> Iterator[Block]:
    type = hash_type(source.options.hash_type or "pdq")
    try:
        count, rows = _mapped(source.path) if source.path else _streamed(source)
        for begin in range(0, count, BLOCK_ROWS):
            codes = as_codes(rows(begin, min(begin + BLOCK_ROWS, count)), type)
            numbers = np.arange(begin, begin + len(codes))
            yield Block(type.name, codes, numbers, kind=source.options.kind or "image")
    except (TypeError, ValueError, EOFError, OverflowError) as error:
        if isinstance(error, ListError):
            raise
        raise ListError(f"{source.name}: {error}") from None


def _mapped(path: str) -> tuple[int, _Rows]:
    array: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
    return len(array), lambda begin, end: np.asarray(array[begin:end])


def _streamed(source: Source) -> tuple[int, _Rows]:
    file = source.file
    version = np.lib.format.read_magic(file)
    if version not in ((1, 0), (2, 0)):
        raise ValueError(f"version {version} of the format is not known")
    header = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, fortran, dtype = header(file)
    if dtype.hasobject or not dtype.itemsize:
        raise ValueError(f"an array of {dtype} holds no hashes")
    if not shape:
        raise ValueError("an array without dimensions holds no hashes")
    if fortran and len(shape) > 1:
        raise ValueError(
            "an array in Fortran order is read from a file that is not compressed only: "
            "save numpy.ascontiguousarray of it"
        )

    def rows(begin: int, end: int) -> NDArray[Any]:
        wanted = (end - begin, *shape[1:])
        size = int(np.prod(wanted, dtype=object)) * dtype.itemsize
        if size > _most_bytes(end - begin):
            raise ValueError(f"an array of shape {shape} of {dtype} holds no hashes")
        raw = file.read(size)
        if len(raw) < size:
            raise ValueError("the file ends too early")
        return np.frombuffer(raw, dtype).reshape(wanted)

    return shape[0], rows


def _most_bytes(rows: int) -> int:
    """Rows of a size that no hash has are refused by their shape before they are read."""
    return 4_096 * rows
