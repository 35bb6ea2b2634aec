"""NumPy's own file: an array of bytes with a hash a row, or of uint64 for 64 bits.

An array in a pipe or a compressed file is read some rows at a time; one in a file of its own is
mapped.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hashmatch.codes import as_codes
from hashmatch.formats.model import Block, ListError, Source
from hashmatch.hash_types import hash_type

name = "npy"
about = "NumPy array: uint8 with a hash a row, or uint64 for 64 bits"

_MAGIC = b"\x93NUMPY"
BLOCK_ROWS = 131_072

#: Far more than the header of an array of hashes needs.
_MOST_HEADER_BYTES = 10_000
#: No hash is as large.
_MOST_ROW_BYTES = 256
#: The types that NumPy writes of numbers.
_NUMBERS = re.compile(r"[<>|=][biufc][0-9]{1,2}", re.ASCII)

#: The rows from one number to another.
_Rows = Callable[[int, int], NDArray[Any]]


def recognises(head: bytes) -> bool:
    """Whether it begins as such files do."""
    return head.startswith(_MAGIC)


def read(source: Source) -> Iterator[Block]:
    type = hash_type(source.options.hash_type or "pdq")
    try:
        header = _header(source.file)
        if not header.shape:
            raise ValueError("an array without dimensions holds no hashes")
        rows = _mapped(source.path, header) if source.path else _streamed(source.file, header)
        count = header.shape[0]
        for begin in range(0, count, BLOCK_ROWS):
            codes = as_codes(rows(begin, min(begin + BLOCK_ROWS, count)), type)
            numbers = np.arange(begin, begin + len(codes))
            yield Block(type.name, codes, numbers, kind=source.options.kind or "image")
    except (TypeError, ValueError, OverflowError) as error:
        if isinstance(error, ListError):
            raise
        raise ListError(f"{source.name}: {error}") from None


class _Header(NamedTuple):
    shape: tuple[int, ...]
    #: Whether columns rather than rows are one after another.
    fortran: bool
    dtype: np.dtype[Any]
    #: In the file.
    size_bytes: int


def _header(file: BinaryIO) -> _Header:
    """ValueError if it is none. NumPy's own reader raises more than it says."""
    start = file.read(len(_MAGIC) + 2)
    if len(start) < len(_MAGIC) + 2 or not recognises(start):
        raise ValueError("is no NumPy array, which begin otherwise")
    major = start[-2]
    if major not in (1, 2, 3):
        raise ValueError(f"version {major} of the format is not known")
    sized = file.read(2 if major == 1 else 4)
    size = int.from_bytes(sized, "little")
    text = file.read(min(size, _MOST_HEADER_BYTES))
    if len(text) < size or not text.endswith(b"\n"):
        raise ValueError("the header of the array is damaged")
    try:
        found = ast.literal_eval(text.decode("latin-1").strip())
        shape, fortran, descr = found["shape"], found["fortran_order"], found["descr"]
    except (ValueError, SyntaxError, TypeError, KeyError, MemoryError, RecursionError):
        raise ValueError("the header of the array is damaged") from None
    if not isinstance(descr, str) or not _NUMBERS.fullmatch(descr):
        raise ValueError(f"an array of {descr!r} holds no hashes, and objects are not read")
    whole = isinstance(shape, tuple) and all(type(each) is int and each >= 0 for each in shape)
    if not whole or type(fortran) is not bool:
        raise ValueError("the header of the array is damaged")
    return _Header(shape, fortran, np.dtype(descr), len(start) + len(sized) + size)


def _mapped(path: str, header: _Header) -> _Rows:
    if not math.prod(header.shape):
        return lambda begin, end: np.empty((end - begin, *header.shape[1:]), header.dtype)
    array: NDArray[Any] = np.memmap(
        path,
        header.dtype,
        "r",
        header.size_bytes,
        header.shape,
        "F" if header.fortran else "C",
    )
    return lambda begin, end: np.asarray(array[begin:end])


def _streamed(file: BinaryIO, header: _Header) -> _Rows:
    if header.fortran and len(header.shape) > 1:
        raise ValueError(
            "an array in Fortran order is only read from a file that is not compressed: save "
            "numpy.ascontiguousarray of it"
        )
    row_bytes = math.prod(header.shape[1:]) * header.dtype.itemsize
    if row_bytes > _MOST_ROW_BYTES:
        raise ValueError(f"an array of shape {header.shape} holds no hashes")

    def rows(begin: int, end: int) -> NDArray[Any]:
        raw = file.read((end - begin) * row_bytes)
        if len(raw) < (end - begin) * row_bytes:
            raise ValueError("the file ends too early")
        return np.frombuffer(raw, header.dtype).reshape(end - begin, *header.shape[1:])

    return rows
