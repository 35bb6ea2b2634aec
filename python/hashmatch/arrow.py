"""Codes out of Arrow columns, through the Arrow PyCapsule protocol and without importing pyarrow.

A producer hands over C structs (https://arrow.apache.org/docs/format/CDataInterface.html) in
capsules. They are read here with ctypes: the column is copied into one NumPy array and the structs
are given back at once, so nothing of the producer's memory is kept.

Who releases what: a struct that sits in a capsule is released by the capsule's own destructor; a
struct that a stream filled for us (its schema, each of its chunks) is released here.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray


@runtime_checkable
class ArrowArrayExportable(Protocol):
    """An Arrow array, such as `pyarrow.Array`."""

    def __arrow_c_array__(self, requested_schema: object | None = None) -> tuple[object, object]:
        """Capsules of an ArrowSchema and an ArrowArray."""


@runtime_checkable
class ArrowStreamExportable(Protocol):
    """A chunked Arrow column, such as `pyarrow.ChunkedArray`."""

    def __arrow_c_stream__(self, requested_schema: object | None = None) -> object:
        """A capsule of an ArrowArrayStream."""


_Release = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class _Schema(ctypes.Structure):
    _fields_ = (
        ("format", ctypes.c_char_p),
        ("name", ctypes.c_char_p),
        ("metadata", ctypes.c_void_p),
        ("flags", ctypes.c_int64),
        ("n_children", ctypes.c_int64),
        ("children", ctypes.c_void_p),
        ("dictionary", ctypes.c_void_p),
        ("release", _Release),
        ("private_data", ctypes.c_void_p),
    )


class _Array(ctypes.Structure):
    _fields_ = (
        ("length", ctypes.c_int64),
        ("null_count", ctypes.c_int64),
        ("offset", ctypes.c_int64),
        ("n_buffers", ctypes.c_int64),
        ("n_children", ctypes.c_int64),
        ("buffers", ctypes.POINTER(ctypes.c_void_p)),
        ("children", ctypes.c_void_p),
        ("dictionary", ctypes.c_void_p),
        ("release", _Release),
        ("private_data", ctypes.c_void_p),
    )


class _Stream(ctypes.Structure):
    _fields_ = (
        ("get_schema", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)),
        ("get_next", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)),
        ("get_last_error", ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)),
        ("release", _Release),
        ("private_data", ctypes.c_void_p),
    )


_capsule_pointer = ctypes.pythonapi.PyCapsule_GetPointer
_capsule_pointer.restype = ctypes.c_void_p
_capsule_pointer.argtypes = (ctypes.py_object, ctypes.c_char_p)


@dataclass(frozen=True, slots=True)
class _Layout:
    """How a column holds its values."""

    #: Whether values are text.
    text: bool
    #: Bytes of an offset into the values; 0 if values are of fixed size, or viewed.
    offset_bytes: int = 0
    #: Whether 16-byte views say where each value is.
    views: bool = False


#: Column types that can hold codes, by their format. The other is fixed-size binary ("w:32").
_LAYOUTS = {
    "u": _Layout(text=True, offset_bytes=4),
    "U": _Layout(text=True, offset_bytes=8),
    "vu": _Layout(text=True, views=True),
    "z": _Layout(text=False, offset_bytes=4),
    "Z": _Layout(text=False, offset_bytes=8),
    "vz": _Layout(text=False, views=True),
}

#: Where a viewed value of more than 12 bytes is.
_VIEW = np.dtype([("length", "i4"), ("prefix", "S4"), ("buffer", "i4"), ("offset", "i4")])

#: What a refused column has to become first.
_ADVICE = (
    "give one column of fixed-size binary, binary, string or large_string "
    "(column.cast(pa.string()), dictionary_decode())"
)

#: Called with the values of one chunk as uint8[n, length], whether they are text, and the number
#: of its first row; returns uint8[n, width].
Decode = Callable[[NDArray[np.uint8], bool, int], NDArray[np.uint8]]
#: Says what is wrong with a value that is not as long as a code (the value, whether it is text).
WrongLength = Callable[[bytes, bool], str | None]


def read_column(
    column: ArrowArrayExportable | ArrowStreamExportable,
    width: int,
    decode: Decode,
    wrong_length: WrongLength,
) -> NDArray[np.uint8]:
    """The codes of an Arrow column as uint8[n, width].

    ValueError names the row of a null or of a bad value, TypeError a column of another type.
    """
    parts = [
        decode(values, text, first)
        for values, text, first in _chunks(column, width, wrong_length)
        if len(values)
    ]
    if len(parts) == 1:
        return parts[0]
    return np.concatenate([np.empty((0, width), np.uint8), *parts])


def _chunks(
    column: ArrowArrayExportable | ArrowStreamExportable,
    width: int,
    wrong_length: WrongLength,
) -> Iterator[tuple[NDArray[np.uint8], bool, int]]:
    if isinstance(column, ArrowArrayExportable):
        # The capsules stay referenced while their structs are read.
        schema_capsule, array_capsule = column.__arrow_c_array__()
        schema = _Schema.from_address(_capsule_pointer(schema_capsule, b"arrow_schema"))
        array = _Array.from_address(_capsule_pointer(array_capsule, b"arrow_array"))
        layout = _layout(schema, width)
        yield _values(array, layout, width, 0, wrong_length), layout.text, 0
        return
    stream_capsule = column.__arrow_c_stream__()
    address = _capsule_pointer(stream_capsule, b"arrow_array_stream")
    stream = _Stream.from_address(address)

    def call(function: Callable[[int, int], int], struct: ctypes.Structure) -> None:
        code = function(address, ctypes.addressof(struct))
        if code:
            text = stream.get_last_error(address)
            reason = ctypes.string_at(text).decode(errors="replace") if text else "no reason given"
            raise OSError(code, f"the Arrow stream failed: {reason}")

    schema = _Schema()
    call(stream.get_schema, schema)
    with _released(schema):
        layout = _layout(schema, width)
    first = 0
    while True:
        array = _Array()
        call(stream.get_next, array)
        if not array.release:  # A released array marks the end of the stream.
            return
        with _released(array):
            values = _values(array, layout, width, first, wrong_length)
        yield values, layout.text, first
        first += len(values)


@contextmanager
def _released(struct: _Schema | _Array) -> Iterator[None]:
    """Give a struct that we own back to its producer, whatever happens."""
    try:
        yield
    finally:
        struct.release(ctypes.addressof(struct))


def _layout(schema: _Schema, width: int) -> _Layout:
    """How the column holds its values. TypeError if it cannot hold codes."""
    layout = schema.format.decode(errors="replace")
    if schema.dictionary:
        raise TypeError(f"the Arrow column is dictionary-encoded: {_ADVICE}")
    if layout in _LAYOUTS:
        return _LAYOUTS[layout]
    if layout.startswith("w:"):
        if layout != f"w:{width}":
            raise ValueError(
                f"the Arrow column holds values of {layout[2:]} bytes, "
                f"codes of {width * 8} bits have {width}"
            )
        return _Layout(text=False)
    kind = "a table or struct" if layout == "+s" else f"of Arrow format {layout!r}"
    raise TypeError(f"the Arrow column is {kind}: {_ADVICE}")


def _values(
    array: _Array, layout: _Layout, width: int, first: int, wrong_length: WrongLength
) -> NDArray[np.uint8]:
    """A copy of one chunk's values, uint8[n, length of a value]."""
    length = 2 * width if layout.text else width
    if not array.length:
        return np.empty((0, length), np.uint8)
    _refuse_nulls(array, first)
    start, end = array.offset, array.offset + array.length

    def refuse(lengths: NDArray[Any], value: Callable[[int], NDArray[np.uint8]]) -> None:
        wrong = np.flatnonzero(lengths != length)
        if wrong.size:
            row = int(wrong[0])
            reason = wrong_length(value(row).tobytes(), layout.text)
            raise ValueError(f"row {first + row}: {reason}")

    if layout.views:
        views = _memory(array.buffers[1], end * 16).view(_VIEW)[start:]
        sizes = _memory(array.buffers[array.n_buffers - 1], (array.n_buffers - 3) * 8)
        buffers = [
            _memory(array.buffers[2 + number], int(size))
            for number, size in enumerate(sizes.view(np.int64))
        ]
        refuse(views["length"], lambda row: _viewed(views[row : row + 1], buffers)[0])
        return _viewed(views, buffers)
    if layout.offset_bytes:
        raw = _memory(array.buffers[1], (end + 1) * layout.offset_bytes)
        offsets = raw.view(f"i{layout.offset_bytes}")[start:]
        characters = _memory(array.buffers[2], int(offsets[-1]))
        refuse(np.diff(offsets), lambda row: characters[offsets[row] : offsets[row + 1]])
        return characters[offsets[0] : offsets[-1]].reshape(-1, length).copy()
    return _memory(array.buffers[1], end * width).reshape(end, width)[start:].copy()


def _viewed(views: NDArray[np.void], buffers: list[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """The values of views of one length, uint8[n, length]."""
    length = int(views["length"][0])
    if length <= 12:  # Such a value is in the view itself.
        return views.view(np.uint8).reshape(len(views), 16)[:, 4 : 4 + length].copy()
    values = np.empty((len(views), length), np.uint8)
    for number, buffer in enumerate(buffers):
        here = np.flatnonzero(views["buffer"] == number)
        values[here] = buffer[views["offset"][here, np.newaxis] + np.arange(length)]
    return values


def _refuse_nulls(array: _Array, first: int) -> None:
    """ValueError names the first row that is null."""
    if array.null_count == 0 or not array.buffers[0]:  # A count of -1 means not yet counted.
        return
    end = array.offset + array.length
    valid = np.unpackbits(_memory(array.buffers[0], (end + 7) // 8), bitorder="little")
    missing = np.flatnonzero(valid[array.offset : end] == 0)
    if missing.size:
        raise ValueError(
            f"row {first + int(missing[0])}: the code is null; leave nulls out (drop_null())"
        )


def _memory(address: int | None, size: int) -> NDArray[np.uint8]:
    """The `size` bytes at `address`, not copied."""
    if not address or not size:
        return np.empty(0, np.uint8)
    pointer = ctypes.cast(address, ctypes.POINTER(ctypes.c_uint8))
    view: NDArray[Any] = np.ctypeslib.as_array(pointer, (size,))
    return view
