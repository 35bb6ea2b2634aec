"""An index as one stream of bytes: numbers, sections and a checksum, in an envelope.

    envelope   PREFIX, size of the payload uint64, payload, SUFFIX
    payload    MAGIC, version uint32, size of the header uint32, header, sections, CRC-32 uint32

Integers are little-endian. The header is a JSON object: `kind` says of what index it is, `sections`
how many bytes each section has, and the rest are that index's options. The checksum is of
everything in the payload before it. Sections, with columns of little-endian numbers:

    pdq        codes of 32 bytes, in the order in which they were added; entries
    vpdq       distinct codes, each under its number from 0; frames in each video uint32; each
               frame's code by number uint32, quality uint8, time in seconds float64; entries
    entries    see entries.py

The envelope is there because some who store indices read every one of them, whatever its class,
with `pickle.load`, HMA among them. To pickle it says "call `hashmatch.threatexchange.loads` with
these bytes". Here it is only compared with what it has to be: nothing in this package unpickles.
"""

from __future__ import annotations

import io
import json
import struct
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

MAGIC = b"HMTXINDX"
VERSION = 1

_MODULE, _FUNCTION = b"hashmatch.threatexchange", b"loads"
#: Opcodes: protocol 4, two short strings, the global they name, a string of bytes of 64-bit size.
PREFIX = b"".join(
    (
        *(b"\x80\x04\x8c", bytes([len(_MODULE)]), _MODULE),
        *(b"\x8c", bytes([len(_FUNCTION)]), _FUNCTION, b"\x93\x8e"),
    )
)
#: Opcodes: a tuple of the one string, the call, the end.
SUFFIX = b"\x85R."

_MAX_HEADER_BYTES = 4096
_READ_BYTES = 1 << 20

AGAIN = (
    "build the index again from its signals (`threatexchange dataset --rebuild-indices` does so "
    "for its command)"
)


@dataclass(frozen=True, slots=True)
class Section:
    """Contents of so many bytes, in pieces."""

    size: int
    pieces: Iterable[bytes]


@dataclass(frozen=True, slots=True)
class Stored:
    """An index as it was stored."""

    kind: str
    options: dict[str, Any]
    sections: list[bytes]


def write(fout: BinaryIO, kind: str, options: dict[str, Any], sections: Sequence[Section]) -> None:
    """Write an index. OSError and the like come from `fout`."""
    fields = {"kind": kind, "sections": [section.size for section in sections], **options}
    header = json.dumps(fields).encode()
    head = MAGIC + _uint32(VERSION) + _uint32(len(header)) + header
    size = len(head) + sum(section.size for section in sections) + 4
    fout.write(PREFIX + size.to_bytes(8, "little"))
    fout.write(head)
    crc = zlib.crc32(head)
    for section in sections:
        for piece in section.pieces:
            fout.write(piece)
            crc = zlib.crc32(piece, crc)
    fout.write(_uint32(crc) + SUFFIX)


def read(fin: BinaryIO, kind: str) -> Stored:
    """What `write` wrote; reads no further than its end.

    ValueError if it is of another kind, something else, damaged or cut short.
    """
    begin = _read(fin, len(PREFIX))
    if begin != PREFIX:
        raise ValueError(_foreign(begin))
    stored = _payload(fin, int.from_bytes(_taken(fin, 8), "little"))
    if _taken(fin, len(SUFFIX)) != SUFFIX:
        raise ValueError(f"the stored index is damaged after its end: {AGAIN}")
    if stored.kind != kind:
        raise ValueError(f"the stored index is one of {stored.kind}, not of {kind}")
    return stored


def read_payload(payload: bytes) -> Stored:
    """As `read`, of what is in the envelope, of any kind."""
    return _payload(io.BytesIO(payload), len(payload))


@contextmanager
def reading() -> Iterator[None]:
    """While what was stored is taken apart: what is wrong with it is a ValueError that says so."""
    try:
        yield
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"the stored index cannot be used, {error}: {AGAIN}") from None


def _payload(fin: BinaryIO, size: int) -> Stored:
    head = _taken(fin, len(MAGIC) + 8)
    if not head.startswith(MAGIC):
        raise ValueError(_foreign(head))
    version, header_size = struct.unpack("<II", head[len(MAGIC) :])
    if version != VERSION:
        raise ValueError(
            f"the index was stored in version {version} of the format, this hashmatch reads "
            f"version {VERSION}: {AGAIN}"
        )
    if header_size > _MAX_HEADER_BYTES:
        raise ValueError(f"the stored index is damaged in its header: {AGAIN}")
    header = _taken(fin, header_size)
    kind, sizes, options = _fields(header)
    if size != len(head) + header_size + sum(sizes) + 4:
        raise ValueError(f"the stored index has not the size that its header says: {AGAIN}")
    sections = [_taken(fin, section) for section in sizes]
    crc = 0
    for part in (head, header, *sections):
        crc = zlib.crc32(part, crc)
    if _taken(fin, 4) != _uint32(crc):
        raise ValueError(f"the stored index is damaged, its checksum is wrong: {AGAIN}")
    return Stored(kind, options, sections)


def _fields(header: bytes) -> tuple[str, list[int], dict[str, Any]]:
    try:
        options = json.loads(header)
        kind, sizes = options.pop("kind"), options.pop("sections")
        if isinstance(kind, str) and all(type(size) is int and size >= 0 for size in sizes):
            return kind, sizes, options
    except (AttributeError, KeyError, TypeError, ValueError, RecursionError):
        pass
    raise ValueError(f"the stored index is damaged in its header: {AGAIN}")


def _taken(fin: BinaryIO, size: int) -> bytes:
    """So many bytes. ValueError if there are fewer."""
    taken = _read(fin, size)
    if len(taken) < size:
        raise ValueError(f"the stored index is cut short: {AGAIN}")
    return taken


def _read(fin: BinaryIO, size: int) -> bytes:
    """At most so many bytes. Memory grows with what is there, not with what is said to be there."""
    parts = bytearray()
    while len(parts) < size and (part := fin.read(min(size - len(parts), _READ_BYTES))):
        parts += part
    return bytes(parts)


def _foreign(begin: bytes) -> str:
    if begin[:1] == b"\x80":  # Every pickle since protocol 2.
        return (
            "this is a pickle, such as threatexchange's own indices are stored in, and is not read "
            f"because reading one runs what is in it: {AGAIN}"
        )
    return f"this is no index that hashmatch stored: {AGAIN}"


def _uint32(number: int) -> bytes:
    return number.to_bytes(4, "little")
