"""CSV with a column for each hash type, such as Interpol's: `MD5;SHA1;ZZ40;PhotoDNA;...;Image ID`.

A column whose name is a hash type's, in either case, holds hashes of it; a file with at least two
of them is taken for one of these. A record is one item with up to one hash of each; an empty cell
is none. Hashes of types that are not matched, such as PhotoDNA's, stay beside it as they are.
Without a column for it an item's ref is its hashes, with "-" between them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from hashmatch import _core
from hashmatch.codes import hex_fault
from hashmatch.formats.csv_list import (
    asked_delimiter,
    place_beside,
    quoted,
    record_fault,
    require_distinct,
)
from hashmatch.formats.labels import Labels
from hashmatch.formats.lines import Record, Records, header_line, header_of
from hashmatch.formats.model import Block, ListError, Part, Source
from hashmatch.formats.together import by_item
from hashmatch.hash_types import HASH_TYPES, HashType

name = "typed-csv"
about = "CSV with a column for each hash type: MD5;SHA1;...;Image ID (Interpol)"

_DELIMITERS = (";", ",", "\t")
#: The column with the ref where none is asked for.
_USUAL_REFS = ("ref", "Image ID")
_BLOCK_RECORDS = 65_536


def recognises(head: bytes) -> bool:
    """Whether the header has two hash types or more, and no column that holds any type's."""
    return _delimiter(head) is not None


def _delimiter(head: bytes) -> str | None:
    for delimiter in _DELIMITERS:
        names = header_of(head, delimiter)
        if len(_types(names)) > 1 and "hash" not in names:
            return delimiter
    return None


def _types(header: Sequence[str]) -> dict[int, HashType]:
    """The hash types of the columns that have one, by place."""
    plain = {
        place: name.strip().lower().replace("-", "").replace("_", "")
        for place, name in enumerate(header)
    }
    return {place: HASH_TYPES[name] for place, name in plain.items() if name in HASH_TYPES}


def read(source: Source) -> Iterator[Part]:
    line, begin = header_line(source.file)
    delimiter = asked_delimiter(source) or _delimiter(begin) or ","
    records = Records(source.name, begin, source.file, delimiter, line)
    line, header, fault = records.first() or (line, [], None)
    if fault:
        raise ListError(f"{source.name}:{line}: {fault}")
    require_distinct(source, header, line)
    types = _types(header)
    if len(set(types.values())) < len(types):
        names = quoted([header[place] for place in types])
        raise ListError(f"{source.name}:{line}: two columns are of one hash type, of {names}")
    if not types:
        raise ListError(
            f"{source.name}:{line}: no column of {quoted(header)} is named after a hash type: "
            f"{', '.join(HASH_TYPES)}"
        )
    table = _Table.of(source, header, types)
    blocks = _blocks(table, records)
    return blocks if table.ref is None else by_item(blocks, source)


@dataclass(frozen=True, slots=True)
class _Table:
    """Such a CSV whose header has been read."""

    source: Source
    header: list[str]
    #: By place in the header.
    types: dict[int, HashType]
    ref: int | None
    labels: int | None

    @classmethod
    def of(cls, source: Source, header: list[str], types: dict[int, HashType]) -> _Table:
        beside = ["" if place in types else name for place, name in enumerate(header)]
        usual = next((name for name in _USUAL_REFS if name in beside), "ref")
        return cls(
            source,
            header,
            types,
            place_beside(source, beside, source.options.ref, usual),
            place_beside(source, beside, source.options.labels, "labels"),
        )

    def fault(self, record: Sequence[str]) -> str | None:
        """What is wrong with a record, or None if nothing is."""
        fault = record_fault(self.source, record, len(self.header), self.ref)
        if fault:
            return fault
        for place, type in self.types.items():
            if record[place] and (fault := hex_fault(record[place], type)):
                return f"{self.header[place]}: {fault}"
        if not any(record[place] for place in self.types):
            names = " nor ".join(self.header[place] for place in self.types)
            return f"has neither {names}" if len(self.types) > 1 else f"has no {names}"
        return None

    def ref_of(self, record: Sequence[str]) -> str:
        """The ref of a record; without a column for it, all its hashes, so that no two items that
        differ are taken for one.
        """
        if self.ref is not None:
            return record[self.ref]
        return "-".join(record[place].lower() for place in self.types if record[place])


def _blocks(table: _Table, records: Records) -> Iterator[Block]:
    first = 0
    # What is there twice is one item, with its hashes once.
    once = table.source.for_database and table.ref is None
    while some := records.some(_BLOCK_RECORDS):
        kept: list[tuple[int, list[str]]] = []
        seen: set[str] = set()
        for row, record in enumerate(some, first):
            if _is_sound(table, record) and not (once and table.ref_of(record[1]) in seen):
                kept.append((row, record[1]))
                if once:
                    seen.add(table.ref_of(record[1]))
        for place in table.types:
            yield _block(table, place, [each for each in kept if each[1][place]])
        first += len(some)
    if not first:
        for place in table.types:
            yield _block(table, place, [])


def _is_sound(table: _Table, record: Record) -> bool:
    line, fields, fault = record
    fault = fault or table.fault(fields)
    if fault:
        table.source.fault(line, fault)
    return not fault


def _block(table: _Table, hash: int, numbered: Sequence[tuple[int, list[str]]]) -> Block:
    """The hashes in one of the columns."""
    records = [record for _, record in numbered]
    type, labels = table.types[hash], table.labels
    return Block(
        type.name,
        _core.decode_hex([record[hash] for record in records], type.width),
        np.array([row for row, _ in numbered], np.int64),
        [table.ref_of(record) for record in records],
        None if labels is None else Labels([record[labels] for record in records]),
        kind=table.source.options.kind or "image",
        columns={
            name: [record[place] for record in records]
            for place, name in enumerate(table.header)
            if place not in table.types
        },
    )
