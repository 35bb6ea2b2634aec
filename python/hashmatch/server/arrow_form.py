"""Lookups and answers as Arrow streams, with pyarrow, which the extra `hashmatch[arrow]` installs.

A stream comes from a caller, who may be hostile. Before Arrow's own code sees more than the heads
of its messages, it is known to have neither compressed buffers, which could unpack to any size, nor
dictionaries; of its columns only the one with hashes is read; and what is read is validated in
full, so that no offset or length in it reaches beyond the body.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashmatch.database.model import Joined, verdicts_of
from hashmatch.hash_types import HashType
from hashmatch.server.bodies import Lookup, codes_of
from hashmatch.server.found import Found
from hashmatch.server.http import Part, Request
from hashmatch.server.parameters import LOOKUP, asked_of, in_url
from hashmatch.server.problems import Problem
from hashmatch.server.service import Service

#: The column with the hashes, where there are several.
_COLUMN = "hash"
#: In the heads of fields and of messages.
_EXTENSION = b"ARROW:extension:name"
_OLD_COMPRESSION = b"ARROW:experimental_compression"
#: Places of fields in the tables of Arrow's Message.fbs.
_HEADER = 2
_COMPRESSION = 3


def read_arrow(body: bytes, request: Request, service: Service) -> Lookup:
    """The lookup in a body that is one Arrow stream, with its parameters in the URL."""
    asked = asked_of(in_url(request, LOOKUP), request, service)
    return asked, arrow_codes(body, asked.kind)


def arrow_codes(body: bytes, kind: HashType) -> NDArray[np.uint8]:
    """uint8[n, width] of the hashes in an Arrow stream. Problem says what is wrong with it."""
    try:
        column = _column(body)
    except Problem:
        raise
    except Exception as error:  # Of many kinds: Arrow's own, of text, of memory, of numbers.
        text = " ".join(str(error).encode(errors="replace").decode().split())
        raise _refused(f"is no sound Arrow stream: {text:.300}") from None
    return codes_of(column, kind)


def _column(body: bytes) -> Any:
    """The column of hashes, validated. Arrow's errors come out as they are."""
    import pyarrow

    _refuse_tricks(body)
    ipc = pyarrow.ipc
    schema = ipc.open_stream(pyarrow.BufferReader(body)).schema
    place = 0 if len(schema) == 1 else schema.get_field_index(_COLUMN)
    if place < 0:
        raise _refused(f"has {len(schema):,} columns: name the one with hashes {_COLUMN!r}")
    field = schema.field(place)
    if isinstance(field.type, pyarrow.BaseExtensionType) or _EXTENSION in (field.metadata or {}):
        raise _refused("has hashes of an extension type: give its storage")
    options = ipc.IpcReadOptions(use_threads=False, included_fields=[place])
    batches = ipc.open_stream(pyarrow.BufferReader(body), options=options)
    chunks = []
    for batch in batches:
        batch.validate(full=True)
        chunks.append(batch.column(0))
    return pyarrow.chunked_array(chunks, field.type)


def _refuse_tricks(body: bytes) -> None:
    """Problem unless it is one whole stream of plain batches."""
    import pyarrow

    reader = pyarrow.BufferReader(body)
    messages = pyarrow.ipc.MessageReader.open_stream(reader)
    wanted = "schema"
    while True:
        begin = reader.tell()
        try:
            message = messages.read_next_message()
        except StopIteration:
            break
        if message.type != wanted:
            raise _refused(f"has a message of type {message.type!r}, not {wanted!r}: send plain "
                           "columns, no dictionaries")  # fmt: skip
        head = message.metadata.to_pybytes()
        if wanted == "record batch" and (_is_compressed(head) or _OLD_COMPRESSION in head):
            raise _refused("has compressed batches: write them with compression=None")
        wanted = "record batch"
    if begin == len(body):
        raise _refused("is an Arrow stream without an end: close its writer")
    if reader.tell() != len(body):
        raise _refused("goes on after the end of its Arrow stream: send one stream")


def _is_compressed(head: bytes) -> bool:
    """Whether the record batch of a message says so. struct.error if the head is damaged."""
    (root,) = struct.unpack_from("<I", head)
    batch = _field(head, root, _HEADER)
    if batch is None:
        raise _refused("has an empty message")
    return _field(head, batch + struct.unpack_from("<I", head, batch)[0], _COMPRESSION) is not None


def _field(head: bytes, table: int, place: int) -> int | None:
    """Where a field of a table of a FlatBuffer is, None where it is left out."""
    (back,) = struct.unpack_from("<i", head, table)
    vtable = table - back
    if vtable < 0:
        raise _refused("has a damaged message")
    (size,) = struct.unpack_from("<H", head, vtable)
    at = 4 + 2 * place
    if at + 2 > size:
        return None
    (offset,) = struct.unpack_from("<H", head, vtable + at)
    return table + offset if offset else None


def _refused(reason: str) -> Problem:
    return Problem(400, f"the body {reason}", field="hashes")


def arrow_parts(found: Found) -> Iterator[Part]:
    """The answer as an Arrow stream."""
    import pyarrow

    schema = _schema(found)
    sink = _Sink()
    with pyarrow.ipc.new_stream(pyarrow.PythonFile(sink, "w"), schema) as stream:
        yield sink.taken()
        signal = found.signal
        for rows in found.blocks():
            stream.write_batch(_batch(found, rows, signal[rows], schema))
            yield sink.taken()
    yield sink.taken()


def _schema(found: Found) -> Any:
    import pyarrow

    word = pyarrow.string()
    words = pyarrow.list_(word)
    fields = {"query": pyarrow.int64(), "signal": pyarrow.uint64()}
    if found.distances:
        fields["distance"] = pyarrow.uint16()
        if found.joined:
            fields["hash"] = word
    if found.joined:
        fields |= {name: word for name in ("ref", "set", "contributor", "kind")}
        fields |= {"labels": words, "verdicts": words}
    about = {
        "generation": str(found.matches.generation),
        "type": found.hash_type,
        "queries": str(found.queries),
    }
    return pyarrow.schema(fields, about)


def _batch(found: Found, rows: slice, signal: NDArray[np.uint64], schema: Any) -> Any:
    import pyarrow

    columns: dict[str, Any] = {"query": found.query[rows], "signal": signal}
    if found.distances:
        columns["distance"] = found.matches.distance[rows]
    if found.joined:
        about, places = found.described(signal, _columns)
        columns |= {name: values.take(pyarrow.array(places)) for name, values in about.items()}
    return pyarrow.record_batch([columns[name] for name in schema.names], schema)


def _columns(joined: Joined) -> dict[str, Any]:
    """What is said of each signal, as Arrow arrays."""
    import pyarrow

    word = pyarrow.string()
    texts: dict[str, Sequence[str]] = {
        "hash": [code.hex() for code in joined.codes],
        "ref": joined.refs,
        "set": joined.sets,
        "contributor": joined.contributors,
        "kind": joined.kinds,
    }
    labels = [joined.labels(row) for row in range(len(joined))]
    verdicts = list(map(verdicts_of, joined.verdicts.tolist()))
    return {name: pyarrow.array(values, word) for name, values in texts.items()} | {
        "labels": pyarrow.array(labels, pyarrow.list_(word)),
        "verdicts": pyarrow.array(verdicts, pyarrow.list_(word)),
    }


class _Sink(io.RawIOBase):
    """Keeps what is written to it until it is taken."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, part: Any) -> int:
        self._parts.append(bytes(part))
        return len(self._parts[-1])

    def taken(self) -> bytes:
        """What was written since the last time."""
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken
