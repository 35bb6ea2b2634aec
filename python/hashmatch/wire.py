"""The packed form of an answer, `application/octet-stream`: arrays as they are in memory.

All numbers are little-endian. 48 bytes of header, then the columns, one after another:

    magic           8 bytes, "HMANSWER"
    generation      u64
    queries         u64
    matches         u64
    has_distances   u64, 0 or 1
    joined_bytes    u64
    offsets         i64[queries + 1]: where each query's matches begin; the last is `matches`
    signal          u64[matches]: id of the signal that matched
    distance        u16[matches], only if has_distances: Hamming distance, in bits
    joined          joined_bytes of JSON: what there is to say of the signals

`joined` is one object of lists, which have an entry for each signal that is in `signal`, each once,
ordered by id: signal, first (that of the item's first signal), type, hash, ref, set, contributor,
kind, labels (a list each), verdicts (a list each), quality and time_ms (null where there is none).
It is left out where ids only were asked for; `hash` is, where distances are kept from callers.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from hashmatch.distinct import distinct
from hashmatch.hash_types import HASH_TYPES
from hashmatch.vocabulary import KINDS, VERDICT_BITS

MEDIA_TYPE = "application/octet-stream"
MAGIC = b"HMANSWER"
HEADER = struct.Struct("<8s5Q")

#: The lists of the joined part, in order.
JOINED = (
    *("signal", "first", "type", "hash", "ref", "set", "contributor", "kind", "labels"),
    *("verdicts", "quality", "time_ms"),
)
#: The one that may be missing.
HASH = "hash"


@dataclass(frozen=True, slots=True)
class Packed:
    """An answer out of its packed form."""

    generation: int
    #: int64[queries + 1]: where each query's matches begin; the last is the number of matches.
    offsets: NDArray[np.int64]
    #: uint64[matches]
    signal: NDArray[np.uint64]
    #: uint16[matches], in bits; None where they are kept from callers.
    distance: NDArray[np.uint16] | None
    #: By the names of `JOINED`; None where ids only were asked for.
    joined: dict[str, list[Any]] | None

    @property
    def queries(self) -> int:
        """How many codes were looked up."""
        return len(self.offsets) - 1


def header(generation: int, queries: int, matches: int, distances: bool, joined: int) -> bytes:
    """The first bytes of an answer; `joined` is the size in bytes of its joined part."""
    return HEADER.pack(MAGIC, generation, queries, matches, distances, joined)


def column(values: NDArray[Any]) -> memoryview:
    """The bytes of a column, which are not copied if they are as they have to be."""
    ordered = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    return memoryview(ordered.view(np.uint8).data).toreadonly()


def encode(answer: Packed) -> bytes:
    """The packed form of an answer."""
    joined = b"" if answer.joined is None else json.dumps(answer.joined).encode()
    columns: list[NDArray[Any]] = [answer.offsets, answer.signal]
    if answer.distance is not None:
        columns.append(answer.distance)
    first = header(
        answer.generation, answer.queries, len(answer.signal), len(columns) == 3, len(joined)
    )
    return b"".join([first, *map(column, columns), joined])


def decode(packed: bytes) -> Packed:
    """The answer, whose columns are views of those bytes. ValueError says what is wrong with it."""
    if len(packed) < HEADER.size:
        _refuse(f"has {len(packed):,} bytes, a header {HEADER.size}")
    magic, generation, queries, matches, distances, joined_bytes = HEADER.unpack_from(packed)
    if magic != MAGIC:
        _refuse(f"begins with {magic!r}, not {MAGIC!r}")
    if distances > 1:
        _refuse(f"has_distances is {distances}, not 0 or 1")
    sizes = [8 * (queries + 1), 8 * matches, 2 * matches * distances, joined_bytes]
    if HEADER.size + sum(sizes) != len(packed):
        _refuse(f"has {len(packed):,} bytes, its header says {HEADER.size + sum(sizes):,}")
    ends = np.cumsum([HEADER.size, *sizes]).tolist()
    offsets = np.frombuffer(packed, "<i8", queries + 1, ends[0])
    signal = np.frombuffer(packed, "<u8", matches, ends[1])
    distance = np.frombuffer(packed, "<u2", matches, ends[2]) if distances else None
    if offsets[0] != 0 or offsets[-1] != matches or (offsets[1:] < offsets[:-1]).any():
        _refuse(f"its offsets do not ascend from 0 to {matches:,}")
    joined = _joined(packed[ends[3] :], signal) if joined_bytes else None
    return Packed(generation, offsets, signal, distance, joined)


def _joined(text: bytes, signal: NDArray[np.uint64]) -> dict[str, list[Any]]:
    columns: dict[str, list[Any]]
    try:
        columns = json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError) as error:
        _refuse(f"its joined part is no JSON: {error}")
    names = set(columns) if isinstance(columns, dict) else set()
    if not names <= set(JOINED) or not names | {HASH} >= set(JOINED):
        _refuse(f"its joined part is no object of {', '.join(JOINED)}")
    rows = _ids(columns["signal"], "signal")
    if (rows[1:] <= rows[:-1]).any() or not np.array_equal(distinct(signal), rows):
        _refuse("its joined part does not have each signal once, by id")
    _ids(columns["first"], "first")
    for name, values in columns.items():
        if not isinstance(values, list) or len(values) != len(rows):
            _refuse(f"{name} is not a list of {len(rows):,}")
        if name in _FITS and not all(map(_FITS[name], values)):
            _refuse(f"{name} has a value that is none")
    return columns


def _ids(values: Any, name: str) -> NDArray[np.uint64]:
    if not isinstance(values, list) or not set(map(type, values)) <= {int}:
        _refuse(f"{name} is not a list of ids")
    try:
        return np.array(values, np.uint64)
    except OverflowError:
        _refuse(f"{name} has a number that is no id")


def _refuse(reason: str) -> NoReturn:
    raise ValueError(f"a packed answer is damaged: {reason}")


def _is_text(value: object) -> bool:
    return type(value) is str


def _is_number(value: object) -> bool:
    return value is None or (type(value) is int and 0 <= value < 2**32)


def _are_texts(values: object) -> bool:
    return isinstance(values, list) and all(map(_is_text, values))


def _are_verdicts(values: object) -> bool:
    return isinstance(values, list) and all(value in [*VERDICT_BITS] for value in values)


#: What each list's values are.
_FITS: dict[str, Callable[[object], bool]] = {
    "type": lambda value: value in [*HASH_TYPES],
    "hash": _is_text,
    "ref": _is_text,
    "set": _is_text,
    "contributor": _is_text,
    "kind": lambda value: value in KINDS,
    "labels": _are_texts,
    "verdicts": _are_verdicts,
    "quality": _is_number,
    "time_ms": _is_number,
}
