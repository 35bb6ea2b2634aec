"""The engine behind both indices: PDQ codes under consecutive ids, and how they are stored."""

from __future__ import annotations

from binascii import unhexlify
from collections.abc import Iterator, Sequence
from typing import Any, SupportsIndex, TypeVar

import numpy as np
from numpy.typing import NDArray

from hashmatch import _core
from hashmatch.arguments import whole
from hashmatch.codes import hex_fault
from hashmatch.hash_types import HASH_TYPES

Codes = NDArray[np.uint8]
Held = TypeVar("Held")

PDQ = HASH_TYPES["pdq"]
#: The distance within which threatexchange calls two PDQ hashes a match.
THRESHOLD = 31

_UINT8 = np.dtype(np.uint8)
_SHAPE = (1, PDQ.width)
_PIECE_ROWS = 1 << 14


def new_engine(codes: Codes | None = None) -> _core.Index:
    """An engine that holds these codes, under ids from 0."""
    engine = _core.Index(PDQ.bits, THRESHOLD, PDQ.name)
    if codes is not None:
        engine.add(codes, None, 0)
    return engine


def still(held: Held | None) -> Held:
    """What an index holds. ValueError if it has been given up."""
    if held is None:
        raise ValueError("the index has been disposed of, or adding to it was broken off: build it")
    return held


def whole_threshold(threshold: SupportsIndex) -> int:
    return whole(threshold, "threshold", 0, PDQ.bits)


def one_code(signal: str) -> Codes:
    """A PDQ hash as uint8[1, 32]. ValueError if it is none."""
    try:
        code = unhexlify(signal)
    except (ValueError, TypeError):
        code = b""
    if len(code) != PDQ.width or type(signal) is not str:
        raise _fault(signal)
    return np.ndarray(_SHAPE, _UINT8, code)


def many_codes(signals: Sequence[str], what: str, first: int = 0) -> Codes:
    """PDQ hashes as uint8[n, 32]. ValueError or TypeError names the bad one: `what` and its number,
    counted from `first`.
    """
    try:
        return _core.decode_hex(signals, PDQ.width)
    except (ValueError, TypeError):
        for row, signal in enumerate(signals, first):
            try:
                one_code(signal)
            except (ValueError, TypeError) as fault:
                raise type(fault)(f"{what} {row:,}: {fault}") from None
        raise


def _fault(signal: Any) -> Exception:
    if not isinstance(signal, str):
        return TypeError(f"a PDQ hash must be a str, not {type(signal).__name__}")
    return ValueError(hex_fault(signal, PDQ))


def rows_of(codes: Codes) -> list[bytes]:
    """Each code as bytes."""
    contents = codes.tobytes()
    return [contents[at : at + PDQ.width] for at in range(0, len(contents), PDQ.width)]


def code_pieces(engine: _core.Index, rows: int) -> Iterator[bytes]:
    """The codes of ids 0 to rows - 1, in pieces."""
    for at in range(0, rows, _PIECE_ROWS):
        ids = np.arange(at, min(at + _PIECE_ROWS, rows), dtype=np.uint64)
        yield engine.codes(ids).tobytes()


def stored_codes(contents: bytes) -> Codes:
    """The codes that pieces were made of. ValueError if they are cut short."""
    return np.frombuffer(contents, np.uint8).reshape(-1, PDQ.width)
