"""Lookups in every encoding, and their answers as rows that can be compared."""

from __future__ import annotations

from typing import Any, TypeAlias

import httpx
import numpy as np
import pyarrow
from numpy.typing import NDArray

from hashmatch import DatabaseMatches, wire
from hashmatch.codes import encode_hex

JSON = "application/json"
PACKED = "application/octet-stream"
ARROW = "application/vnd.apache.arrow.stream"
TYPES = (JSON, PACKED, ARROW)
#: What is said of a match.
ABOUT = ("hash", "ref", "set", "contributor", "kind", "labels", "verdicts")

#: By name.
Row: TypeAlias = dict[str, Any]


def arrow_stream(column: Any, name: str = "hash", **others: Any) -> bytes:
    """A stream of one batch with that column."""
    batch = pyarrow.record_batch({name: column, **others})
    return arrow_batches([batch])


def arrow_batches(batches: list[Any], options: Any = None) -> bytes:
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, batches[0].schema, options=options) as stream:
        for batch in batches:
            stream.write_batch(batch)
    body: bytes = sink.getvalue().to_pybytes()
    return body


def as_body(media_type: str, codes: NDArray[np.uint8]) -> dict[str, Any]:
    """The arguments of a request with those codes."""
    if media_type == JSON:
        return {"json": {"hashes": encode_hex(codes)}}
    content = codes.tobytes()
    if media_type == ARROW:
        width = codes.shape[1]
        rows = [row.tobytes() for row in codes]
        content = arrow_stream(pyarrow.array(rows, pyarrow.binary(width)))
    return {"content": content, "headers": {"content-type": media_type}}


def with_parameters(arguments: dict[str, Any], parameters: dict[str, Any]) -> dict[str, Any]:
    """The same with parameters: in the body if that is JSON, else in the URL."""
    if "json" in arguments:
        return arguments | {"json": arguments["json"] | parameters}
    return arguments | {"params": parameters}


def answer(reply: httpx.Response) -> tuple[int, int, list[Row]]:
    """Generation, number of queries and rows of an answer in any encoding."""
    assert reply.status_code == 200, reply.text
    generation, queries, rows = {JSON: _of_json, PACKED: _of_packed, ARROW: _of_arrow}[
        reply.headers["content-type"]
    ](reply)
    assert reply.headers["hashmatch-generation"] == str(generation)
    return generation, queries, rows


def _of_json(reply: httpx.Response) -> tuple[int, int, list[Row]]:
    document = reply.json()
    assert list(document) == ["generation", "type", "queries", "matches"]
    return document["generation"], document["queries"], document["matches"]


def _of_packed(reply: httpx.Response) -> tuple[int, int, list[Row]]:
    packed = wire.decode(reply.content)
    rows: list[Row] = []
    places = {signal: row for row, signal in enumerate((packed.joined or {}).get("signal", ()))}
    for query in range(packed.queries):
        for place in range(*packed.offsets[query : query + 2].tolist()):
            row: Row = {"query": query, "signal": int(packed.signal[place])}
            if packed.distance is not None:
                row["distance"] = int(packed.distance[place])
            if packed.joined is not None:
                about = places[row["signal"]]
                row |= {name: packed.joined[name][about] for name in ABOUT if name in packed.joined}
            rows.append(row)
    return packed.generation, packed.queries, rows


def _of_arrow(reply: httpx.Response) -> tuple[int, int, list[Row]]:
    table = pyarrow.ipc.open_stream(reply.content).read_all()
    about = table.schema.metadata
    rows: list[Row] = table.to_pylist()
    return int(about[b"generation"]), int(about[b"queries"]), rows


def rows_of(matches: DatabaseMatches) -> list[Row]:
    """What a database itself found, in the same form."""
    joined = matches.described(np.unique(matches.signal))
    kinds = dict(zip(joined.ids.tolist(), joined.kinds, strict=True))
    return [
        {
            "query": match.query, "signal": match.signal, "distance": match.distance,
            "hash": digits, "ref": match.ref, "set": match.set, "contributor": match.contributor,
            "kind": kinds[match.signal], "labels": match.labels, "verdicts": list(match.verdicts),
        }
        for match, digits in zip(matches, matches.hash, strict=True)
    ]  # fmt: skip
