"""Codes in every form a caller may hold them, turned into one: a C-contiguous uint8[n, bits / 8].

A value is either taken as it is or refused: nothing is stripped, padded, rounded or reinterpreted.
"""

from __future__ import annotations

from binascii import unhexlify
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashmatch import _core
from hashmatch.arrow import ArrowArrayExportable, ArrowStreamExportable, read_column
from hashmatch.hash_types import HashType

OneCode: TypeAlias = str | bytes | bytearray | memoryview | int | np.uint64
#: One code or many. See `as_codes` for what each form means.
Codes: TypeAlias = (
    OneCode
    | NDArray[Any]
    | Sequence[OneCode]
    | Sequence[NDArray[Any]]
    | ArrowArrayExportable
    | ArrowStreamExportable
)

_UINT8 = np.dtype(np.uint8)
_UINT64 = np.dtype(np.uint64)
_BYTES = (bytes, bytearray, memoryview)
_INTS = (int, np.uint64)
_MAX_UINT64 = 2**64 - 1
_HEX_DIGITS = frozenset("0123456789abcdefABCDEF")


def as_codes(codes: Codes, kind: HashType, bits: bool = False) -> NDArray[np.uint8]:
    """One code or many as a C-contiguous uint8[n, kind.bits / 8].

    Accepted:

    - hex `str` in either case, of exactly bits / 4 digits; a sequence of them;
    - `bytes`, `bytearray`, `memoryview` of exactly bits / 8 bytes; a sequence of them;
    - for 64 bits, `int` or `numpy.uint64` in 0..2**64 - 1; a sequence of them, or uint64[n]. The
      number 255 is the code "00000000000000ff";
    - uint8[n, bits / 8], or uint8[bits / 8] for one code; a sequence of the latter. An array that
      already is C-contiguous is returned itself, not copied;
    - with `bits=True`, arrays (or nested lists) [n, bits] or [bits] of bool or of an integer type
      that hold only 0 and 1. The first value is the highest bit of the first byte, as pdqhash and
      imagehash have it;
    - an Arrow column of fixed-size binary, binary, string or large_string values (the latter hex),
      chunked or not, from any library that speaks the Arrow PyCapsule protocol.

    Raises TypeError for another kind of object or array and ValueError for a bad value or shape;
    each names the row, where there is one, and the next step.
    """
    # The forms that a service sends one at a time come first, and each pays for little more than
    # its own check: a search of one code takes a few microseconds in all.
    width = kind.bits >> 3
    if bits is not False:
        return _from_bits(codes, kind, bits)
    if type(codes) is np.ndarray:
        if (
            codes.dtype is _UINT8
            and codes.ndim == 2
            and codes.shape[1] == width
            and codes.flags.c_contiguous
        ):
            return codes
        return _from_array(codes, kind)
    if type(codes) is str:
        try:
            code = unhexlify(codes)
        except ValueError:
            code = b""
        if len(code) == width:
            return np.ndarray((1, width), _UINT8, code)
        raise ValueError(hex_fault(codes, kind))
    if type(codes) is bytes and len(codes) == width:
        return np.ndarray((1, width), _UINT8, codes)
    return _from_other(codes, kind)


def encode_hex(codes: NDArray[np.uint8]) -> list[str]:
    """Lower-case hex of each row of uint8[n, width]."""
    rows, width = codes.shape
    return codes.tobytes().hex(" ", width).split(" ") if rows else []


def decode_digits(digits: NDArray[np.uint8]) -> NDArray[np.uint8] | None:
    """The codes of ASCII hex digits, uint8[n, 2 * width]; None if any is not a hex digit."""
    rows, length = digits.shape
    try:
        packed = unhexlify(digits.tobytes())
    except ValueError:
        return None
    return np.frombuffer(packed, np.uint8).reshape(rows, length // 2)


def hex_fault(text: str, kind: HashType) -> str | None:
    """What is wrong with a hash written as text, or None if nothing is."""
    try:
        if len(unhexlify(text)) == kind.width:
            return None
    except ValueError:
        pass  # What follows finds out why.
    if not text:
        return f"hash is empty, {kind.label} needs {kind.digits} hex digits"
    if text[:2] in ("0x", "0X"):
        return "hash begins with 0x: write the hex digits alone"
    for position, character in enumerate(text, 1):
        if character not in _HEX_DIGITS:
            return f"hash has {character!r} as character {position}, which is not a hex digit"
    if len(text) != kind.digits:
        return f"hash has {len(text):,} hex digits, {kind.label} needs {kind.digits}"
    return None


def _bytes_fault(size: int, kind: HashType) -> str:
    hint = ": hex digits must be a str, give .decode()" if size == kind.digits else ""
    return f"hash has {size:,} bytes, {kind.label} needs {kind.width}{hint}"


def _from_other(codes: Codes, kind: HashType) -> NDArray[np.uint8]:
    """Every form that is neither a plain array, nor a str, nor bytes of the right length."""
    if isinstance(codes, list | tuple):
        return _from_rows(codes, kind)
    if isinstance(codes, np.ndarray):
        return _from_array(codes, kind)
    if isinstance(codes, str | bytes | bytearray | memoryview | int | np.integer | np.bool_):
        return _from_rows([codes], kind, single=True)
    if isinstance(codes, ArrowArrayExportable | ArrowStreamExportable):
        return _from_arrow(codes, kind)
    if isinstance(codes, Sequence):
        return _from_rows(list(codes), kind)
    raise TypeError(
        f"codes cannot be read from {_named(codes)}: give hex str, bytes, "
        f"uint8[n, {kind.width}], a list of them, or an Arrow column"
    )


def _named(value: object) -> str:
    name = type(value).__name__
    return name if value is None else f"{'an' if name[:1] in 'aeiou' else 'a'} {name}"


def _from_array(codes: NDArray[Any], kind: HashType) -> NDArray[np.uint8]:
    wanted = f"{kind.label} needs uint8[n, {kind.width}]"
    if kind.bits == 64:
        wanted += " or uint64[n]"
    shape = f"{codes.dtype}{list(codes.shape)}"
    if isinstance(codes, np.ma.MaskedArray):
        raise TypeError(f"codes are a masked array: leave masked rows out, {wanted}")
    if codes.dtype == _UINT8:
        if codes.ndim == 1 and len(codes) == kind.width:
            return np.ascontiguousarray(codes).reshape(1, kind.width)
        if codes.ndim == 2 and codes.shape[1] == kind.width:
            return np.ascontiguousarray(codes)
        hint = "; for 0/1 values give bits=True" if codes.shape[-1:] == (kind.bits,) else ""
        raise ValueError(f"codes are {shape}, {wanted}{hint}")
    if codes.dtype == _UINT64 and kind.bits == 64:
        if codes.ndim == 1:
            return _from_uint64(codes)
        raise ValueError(f"codes are {shape}, {wanted}")
    raise TypeError(f"codes are {shape}, {wanted}{_array_hint(codes, kind)}")


def _array_hint(codes: NDArray[Any], kind: HashType) -> str:
    """How an array of the wrong type may become one of the right type."""
    if codes.dtype.kind in "OUT":
        return ": for hex strings give codes.tolist()"
    if codes.dtype.kind == "S":
        return (
            ": NumPy drops the zero bytes that end such values; "
            "give codes.view(np.uint8).reshape(len(codes), -1)"
        )
    if codes.dtype.kind in "bui" and codes.shape[-1:] == (kind.bits,):
        return "; for 0/1 values give bits=True"
    if kind.bits == 64 and codes.dtype.kind == "u" and codes.dtype.itemsize == 8:
        return ": the byte order is not this machine's; give codes.astype(np.uint64)"
    if kind.bits == 64 and codes.dtype == np.int64:
        return ": if these are the hashes' 64 bits give codes.view(np.uint64)"
    return ": a hash is bits, not numbers; keep its bytes or its hex digits"


def _from_uint64(codes: NDArray[np.uint64]) -> NDArray[np.uint8]:
    """The highest byte first, as hex is written."""
    return codes.astype(">u8").view(np.uint8).reshape(len(codes), 8)


def _from_bits(codes: object, kind: HashType, bits: object) -> NDArray[np.uint8]:
    if bits is not True:
        raise TypeError(f"bits must be True (codes are 0/1 arrays) or False, not {bits!r}")
    wanted = f"bits=True takes 0/1 arrays [n, {kind.bits}] or [{kind.bits}]"
    if not isinstance(codes, np.ndarray | list | tuple) or isinstance(codes, np.ma.MaskedArray):
        raise TypeError(f"{wanted}, not {_named(codes)}")
    if not isinstance(codes, np.ndarray) and not codes:
        return np.empty((0, kind.width), np.uint8)
    try:
        values = np.asarray(codes)
    except ValueError:
        raise ValueError(f"{wanted}, not rows of several lengths") from None
    if values.dtype.kind not in "bui":
        raise TypeError(f"{wanted} of bool or an integer type, not {values.dtype}")
    if values.ndim == 1:
        values = values[np.newaxis]
    if values.ndim != 2 or values.shape[1] != kind.bits:
        hint = f"; reshape(-1, {kind.bits})" if values.size % kind.bits == 0 else ""
        raise ValueError(f"{wanted}, not shape {list(np.shape(codes))}{hint}")
    if values.dtype.kind != "b":
        bad = np.argwhere((values != 0) & (values != 1))
        if bad.size:
            row, column = map(int, bad[0])
            raise ValueError(f"row {row}: {wanted}, value {column} is {values[row, column]}")
    return np.packbits(values != 0, axis=1)


def _from_rows(
    rows: list[Any] | tuple[Any, ...], kind: HashType, single: bool = False
) -> NDArray[np.uint8]:
    """Codes of rows of one form, which row 0 sets. A `single` code's errors name no row."""
    if not rows:
        return np.empty((0, kind.width), np.uint8)
    first = rows[0]
    if isinstance(first, str):
        return _from_texts(rows, kind, single)
    if isinstance(first, _BYTES):
        return _from_bytes(rows, kind, single)
    if isinstance(first, np.ndarray):
        return _from_vectors(rows, kind)
    if kind.bits == 64 and isinstance(first, _INTS) and not isinstance(first, bool):
        return _from_ints(rows, single)
    ints = " or int" if kind.bits == 64 else ""
    raise TypeError(
        f"{'' if single else 'row 0: '}a hash cannot be {_named(first)}: "
        f"{kind.label} needs hex str, bytes{ints}"
    )


def _other_form(row: int, code: object, first: object) -> TypeError:
    return TypeError(
        f"row {row}: {_named(code)} among rows of {type(first).__name__}: give one form of code"
    )


def _from_texts(rows: Sequence[str], kind: HashType, single: bool) -> NDArray[np.uint8]:
    try:
        return _core.decode_hex(rows, kind.width)
    except (TypeError, ValueError):
        for row, code in enumerate(rows):
            if not isinstance(code, str):
                raise _other_form(row, code, rows[0]) from None
            fault = hex_fault(code, kind)
            if fault:
                raise ValueError(fault if single else f"row {row}: {fault}") from None
        raise


def _from_bytes(
    rows: Sequence[bytes | bytearray | memoryview], kind: HashType, single: bool
) -> NDArray[np.uint8]:
    if set(map(type, rows)) != {bytes} or set(map(len, rows)) != {kind.width}:
        for row, code in enumerate(rows):
            if not isinstance(code, _BYTES):
                raise _other_form(row, code, rows[0])
            # The bytes of a view of wider numbers would depend on the machine's byte order.
            if isinstance(code, memoryview) and code.itemsize != 1:
                size = f"hash is a memoryview of {code.format!r} values: give .cast('B')"
                raise ValueError(size if single else f"row {row}: {size}")
            if memoryview(code).nbytes != kind.width:
                fault = _bytes_fault(memoryview(code).nbytes, kind)
                raise ValueError(fault if single else f"row {row}: {fault}")
        rows = [bytes(code) for code in rows]  # A strided view cannot be joined.
    return np.frombuffer(b"".join(rows), np.uint8).reshape(len(rows), kind.width)


def _from_vectors(rows: Sequence[NDArray[Any]], kind: HashType) -> NDArray[np.uint8]:
    for row, code in enumerate(rows):
        if not isinstance(code, np.ndarray):
            raise _other_form(row, code, rows[0])
        if code.dtype != _UINT8 or code.shape != (kind.width,):
            hint = "; for 0/1 values give bits=True" if code.shape == (kind.bits,) else ""
            raise ValueError(
                f"row {row}: code is {code.dtype}{list(code.shape)}, "
                f"{kind.label} needs uint8[{kind.width}]{hint}"
            )
    return np.stack(rows)


def _from_ints(rows: Sequence[int | np.uint64], single: bool) -> NDArray[np.uint8]:
    if set(map(type, rows)) <= set(_INTS):
        try:
            return _from_uint64(np.fromiter(rows, np.uint64, len(rows)))
        except OverflowError:
            pass  # The loop below names the row.
    for row, code in enumerate(rows):
        if not isinstance(code, _INTS) or isinstance(code, bool):
            raise _other_form(row, code, rows[0])
        if not 0 <= code <= _MAX_UINT64:
            fault = f"hash is {code}, a 64-bit code is in 0..2**64 - 1"
            raise ValueError(fault if single else f"row {row}: {fault}")
    return _from_uint64(np.array([int(code) for code in rows], dtype=np.uint64))


def _from_arrow(
    column: ArrowArrayExportable | ArrowStreamExportable, kind: HashType
) -> NDArray[np.uint8]:
    def decode(values: NDArray[np.uint8], text: bool, first: int) -> NDArray[np.uint8]:
        if not text:
            return values
        codes = decode_digits(values)
        if codes is not None:
            return codes
        for row, digits in enumerate(values, first):
            fault = hex_fault(digits.tobytes().decode(errors="replace"), kind)
            if fault:
                raise ValueError(f"row {row}: {fault}")
        raise AssertionError("some row is not hex")

    def wrong_length(value: bytes, text: bool) -> str | None:
        if not text:
            return _bytes_fault(len(value), kind)
        return hex_fault(value.decode(errors="replace"), kind)

    return read_column(column, kind.width, decode, wrong_length)
