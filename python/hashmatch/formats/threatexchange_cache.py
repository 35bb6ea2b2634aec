"""What the threatexchange command keeps of an exchange: `simple.HASH_PDQ.te`, CSV without a header.

A record is an indicator (the hash), the id of its first descriptor, when that was added, and its
tags with blanks between them; HMA's have the id of the indicator as the second field. The type is
in the file's name only, so it is an option here. The ref is HMA's indicator id, or else the
descriptor's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from hashmatch import _core
from hashmatch.codes import hex_fault
from hashmatch.formats.hex_lines import hash_fault
from hashmatch.formats.lines import Records, header_of
from hashmatch.formats.model import Block, Source
from hashmatch.hash_types import HASH_TYPES, hash_type

name = "threatexchange-cache"
about = "threatexchange's cache, simple.HASH_PDQ.te, and HMA's; the type by --type"

_COLUMNS = ("indicator_id", "descriptor_id", "added_on")
#: Fields in a record; HMA's.
_FEW, _MANY = 4, 5
_BLOCK_RECORDS = 65_536


def recognises(head: bytes) -> bool:
    """Whether the first line has a hash, one or two ids, and something like a time."""
    fields = header_of(head)
    if len(fields) not in (_FEW, _MANY):
        return False
    is_hash = any(hex_fault(fields[0], type) is None for type in HASH_TYPES.values())
    return is_hash and all(_is_id(text) for text in fields[1:-2])


def _is_id(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 20


def read(source: Source) -> Iterator[Block]:
    type = hash_type(source.options.hash_type or "pdq")
    records = Records(source.name, b"", source.file)
    row = 0
    #: That of the first sound record.
    count: int | None = None
    while some := records.some(_BLOCK_RECORDS):
        kept: list[list[str]] = []
        rows: list[int] = []
        for line, fields, fault in some:
            fault = fault or _fault(fields, count) or hash_fault(fields[0], type)
            if fault:
                source.fault(line, fault)
            else:
                kept.append(fields)
                rows.append(row)
                count = len(fields)
            row += 1
        yield Block(
            type.name,
            _core.decode_hex([fields[0] for fields in kept], type.width),
            np.array(rows, np.int64),
            [fields[1] for fields in kept],
            [_tags(fields[-1]) for fields in kept],
            kind=source.options.kind or "image",
            columns={
                column: [fields[place] for fields in kept]
                for place, column in enumerate(_COLUMNS[_MANY - (count or _FEW) :], 1)
            },
        )


def _fault(fields: Sequence[str], count: int | None) -> str | None:
    """What is wrong with a record, the hash aside, or None if nothing is."""
    if len(fields) != count and (count or len(fields) not in (_FEW, _MANY)):
        wanted = f"{count}" if count else f"{_FEW} or {_MANY}"
        return f"number of fields is {len(fields)}, not {wanted}"
    for text in fields[1:-2]:
        if not _is_id(text):
            return f"id is {text!r}, not a whole number"
    return None


def _tags(text: str) -> list[str]:
    return list(dict.fromkeys(filter(None, text.split(" "))))
