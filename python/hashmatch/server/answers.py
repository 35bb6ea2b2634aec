"""What lookups found, in the form that the caller takes: JSON, packed, or an Arrow stream.

Each form is made in parts, while those before are sent, so that a large answer is never held whole
in two forms; what the catalog says of matches is looked up for each part. wire.py has the layout of
packed answers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from itertools import chain, repeat
from typing import Any, TypeAlias

import numpy as np
import orjson
from numpy.typing import NDArray

from hashmatch import wire
from hashmatch.database.model import Joined, verdicts_of
from hashmatch.distinct import distinct
from hashmatch.server.arrow_form import arrow_parts
from hashmatch.server.found import BLOCK, Found
from hashmatch.server.http import Part, Reply
from hashmatch.server.media import ARROW, JSON, PACKED
from hashmatch.server.service import Service

#: An answer of so many matches or queries is made and sent at once.
_AT_ONCE = 16_384

Encode: TypeAlias = Callable[[Found], Iterator[Part]]


def json_parts(found: Found) -> Iterator[Part]:
    """The answer as JSON."""
    matches = found.matches
    head = b'{"generation":%d,"type":"%s","queries":%d,"matches":[' % (
        matches.generation, found.hash_type.encode(), found.queries
    )  # fmt: skip
    if not found.rows:
        yield head + b"]}"
        return
    signal = found.signal
    for rows in found.blocks():
        yield head + _json_rows(found, rows, signal[rows])
        head = b","
    yield b"]}"


def _json_rows(found: Found, rows: slice, signal: NDArray[np.uint64]) -> bytes:
    """Some rows. The beginning of each is written here, as there may be millions."""
    ends: Iterable[bytes] = repeat(b"}")
    if found.joined:
        about, places = found.described(signal, _shown if found.distances else _hidden)
        ends = map(about.__getitem__, places.tolist())
    queries, signals = found.query[rows].tolist(), signal.tolist()
    if not found.distances:
        rest = zip(queries, signals, ends, strict=False)
        return b",".join(map(b'{"query":%d,"signal":%d%b'.__mod__, rest))
    distances = found.matches.distance[rows].tolist()
    near = zip(queries, signals, distances, ends, strict=False)
    return b",".join(map(b'{"query":%d,"signal":%d,"distance":%d%b'.__mod__, near))


def _shown(joined: Joined) -> list[bytes]:
    """The ends of the rows with each signal."""
    return [b"," + orjson.dumps(about(joined, row, True))[1:] for row in range(len(joined))]


def _hidden(joined: Joined) -> list[bytes]:
    return [b"," + orjson.dumps(about(joined, row, False))[1:] for row in range(len(joined))]


def about(joined: Joined, row: int, distances: bool) -> dict[str, Any]:
    """What is said of one signal. Its hash would tell the distance."""
    said = {"hash": joined.codes[row].hex()} if distances else {}
    return said | {
        "ref": joined.refs[row],
        "set": joined.sets[row],
        "contributor": joined.contributors[row],
        "kind": joined.kinds[row],
        "labels": joined.labels(row),
        "verdicts": verdicts_of(int(joined.verdicts[row])),
    }


def packed_parts(found: Found) -> Iterator[Part]:
    """The answer packed. Its header has the size of what comes last, so that is made first."""
    matches, signal = found.matches, found.signal
    last = _packed_joined(found, signal) if found.joined else []
    size = sum(map(len, last))
    yield wire.header(matches.generation, found.queries, found.rows, found.distances, size)
    yield wire.column(matches.offsets)
    yield wire.column(signal)
    if found.distances:
        yield wire.column(matches.distance)
    yield from last


def _packed_joined(found: Found, signal: NDArray[np.uint64]) -> list[bytes]:
    """The joined part, in pieces."""
    names = [name for name in wire.JOINED if found.distances or name != wire.HASH]
    pieces: dict[str, list[bytes]] = {name: [] for name in names}
    signals = distinct(signal)
    for begin in range(0, len(signals), BLOCK):
        joined = found.matches.described(signals[begin : begin + BLOCK])
        for name in names:
            if begin:
                pieces[name].append(b",")
            pieces[name].append(orjson.dumps(_COLUMNS[name](joined))[1:-1])
    parts: list[bytes] = []
    for name in names:
        parts += [b'%s"%s":[' % (b"," if parts else b"{", name.encode()), *pieces[name], b"]"]
    return [*parts, b"}"]


def _known(values: NDArray[Any]) -> list[int | None]:
    return [None if value < 0 else value for value in values.tolist()]


#: How the lists of the joined part come out of what the catalog says.
_COLUMNS: dict[str, Callable[[Joined], list[Any]]] = {
    "signal": lambda joined: joined.ids.tolist(),
    "first": lambda joined: joined.firsts.tolist(),
    "type": lambda joined: joined.hash_types,
    "hash": lambda joined: [code.hex() for code in joined.codes],
    "ref": lambda joined: joined.refs,
    "set": lambda joined: joined.sets,
    "contributor": lambda joined: joined.contributors,
    "kind": lambda joined: joined.kinds,
    "labels": lambda joined: [joined.labels(row) for row in range(len(joined))],
    "verdicts": lambda joined: list(map(verdicts_of, joined.verdicts.tolist())),
    "quality": lambda joined: _known(joined.quality),
    "time_ms": lambda joined: _known(joined.time_ms),
}

ENCODERS: dict[str, Encode] = {JSON: json_parts, PACKED: packed_parts, ARROW: arrow_parts}


def reply(found: Found, media_type: str, service: Service) -> Reply:
    """The reply with what was found. A small one is made here, of a large one the beginning."""
    parts = ENCODERS[media_type](found)
    size = max(found.rows, found.queries)
    return sent(parts, size, media_type, found.matches.generation, service)


def sent(
    parts: Iterator[Part], size: int, media_type: str, generation: int, service: Service
) -> Reply:
    """The reply with those parts, of an answer with so many matches."""
    if size <= _AT_ONCE:
        return Reply(b"".join(parts), media_type, generation=generation)
    # What goes wrong goes wrong at the first part, when another reply can still be sent.
    first = next(parts)
    return Reply(_beside(chain([first], parts), service), media_type, generation=generation)


async def _beside(parts: Iterator[Part], service: Service) -> AsyncIterator[Part]:
    """The same parts, each made while others' requests are answered."""
    while (part := await service.beside(next, parts, None)) is not None:
        yield part
