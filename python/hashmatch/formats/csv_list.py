"""CSV with a header and a column that holds the hash; the other columns are carried along.

UTF-8; lines end in LF or CRLF; blank lines are skipped. Nothing else is: a record that is not
exactly one hash is a fault. The row number, from 0, counts every record that is not blank, faulty
ones too, and so stays the same whether faults stop the reading or are skipped.
"""

from __future__ import annotations

from binascii import unhexlify
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hashmatch import _core
from hashmatch.codes import decode_digits
from hashmatch.formats import exported
from hashmatch.formats.hex_lines import hash_fault
from hashmatch.formats.labels import Labels
from hashmatch.formats.lines import (
    Record,
    Records,
    delimiter_of,
    first_line,
    header_line,
    plain_fields,
    plain_text,
    whole_lines,
)
from hashmatch.formats.model import Block, ListError, Part, Source
from hashmatch.formats.together import by_item
from hashmatch.hash_types import HashType, hash_type

name = "csv"
about = "CSV with a header and a column of hashes; also what `hashmatch db export` writes"
write = exported.write

_DELIMITERS = (b",", b";", b"\t")
#: Records held as such, before they become columns. Each is an object of its own, and the garbage
#: collector would go through many of them again and again.
_BATCH_RECORDS = 4_096
#: Of a header, in messages.
_QUOTED_NAMES = 50
_QUOTED_LETTERS = 1_000


def recognises(head: bytes) -> bool:
    """Whether the first line that is not blank is a header rather than a hash."""
    first = first_line(head)
    return any(delimiter in first for delimiter in _DELIMITERS) or first.strip(b'"') == b"hash"


def read(source: Source) -> Iterator[Part]:
    line, begin = header_line(source.file)
    delimiter = _delimiter(source, begin)
    records = Records(source.name, begin, source.file, delimiter, line)
    line, header, fault = records.first() or (line, [], None)
    if fault:
        raise ListError(f"{source.name}:{line}: {fault}")
    if exported.is_header(header):
        return exported.read_rows(source, header, records)
    if not header:
        return iter(())
    table = Table.of(source, header, line, delimiter)
    return by_item(table.blocks(records.line), source)


def _delimiter(source: Source, begin: bytes) -> str:
    """What separates the fields of a file that begins with those lines."""
    asked = asked_delimiter(source)
    return asked or delimiter_of(plain_text(first_line(begin)), source.options.column or "hash")


def asked_delimiter(source: Source) -> str | None:
    """The delimiter in the options, if there is one. ListError if it can be none."""
    asked = source.options.delimiter
    if asked is not None and (len(asked) != 1 or asked in '"\r\n'):
        raise ListError(f"{source.name}: --delimiter must be one character, not {asked!r}")
    return asked


@dataclass(frozen=True, slots=True)
class Table:
    """A CSV whose header has been read."""

    source: Source
    type: HashType
    header: list[str]
    delimiter: str
    #: Places in the header.
    hash: int
    ref: int | None
    labels: int | None

    @classmethod
    def of(cls, source: Source, header: list[str], line: int, delimiter: str) -> Table:
        options = source.options
        hash = _place_of_hash(source, header, line)
        beside = [*header[:hash], "", *header[hash + 1 :]]
        return cls(
            source,
            hash_type(options.hash_type or "pdq"),
            header,
            delimiter,
            hash,
            place_beside(source, beside, options.ref, "ref"),
            place_beside(source, beside, options.labels, "labels"),
        )

    def blocks(self, line: int) -> Iterator[Block]:
        """The blocks of what follows the header, which begins with that line."""
        row = 0
        while text := whole_lines(self.source.file):
            block = self._plain(text, row)
            if block:
                yield block
                row += len(block.rows)
                line += len(block.rows)
                continue
            records = Records(self.source.name, text, self.source.file, self.delimiter, line)
            end = line + text.count(b"\n") + (not text.endswith(b"\n"))
            block, row = self._careful(records, end, row)
            line = records.line
            yield block
        if not row:
            nothing = np.empty((0, self.type.width), np.uint8)
            yield self._made(nothing, [[] for _ in self.header], np.empty(0, np.int64))

    def _plain(self, text: bytes, row: int) -> Block | None:
        """The block of lines in which nothing is out of the ordinary; None if something may be."""
        fields = plain_fields(text, self.delimiter, len(self.header))
        digits = fields and fields.digits(self.hash, self.type.digits)
        codes = None if digits is None else decode_digits(digits)
        if fields is None or codes is None:
            return None
        columns = [fields.column(place) for place in range(len(self.header))]
        if self.source.for_database and self.ref is not None and _ref_faults(columns[self.ref]):
            return None
        return self._made(codes, columns, np.arange(row, row + len(codes)))

    def _careful(self, records: Records, end: int, row: int) -> tuple[Block, int]:
        """The block of the records up to line `end` at least, whose row numbers begin with `row`;
        and the next number.
        """
        columns: list[list[str]] = [[] for _ in self.header]
        rows: list[int] = []
        codes = [np.empty((0, self.type.width), np.uint8)]
        while records.line < end:
            batch = records.some(min(_BATCH_RECORDS, end - records.line))
            if not batch:
                break
            kept = [fields for _, fields, _ in batch]
            numbers: Sequence[int] = range(row, row + len(batch))
            decoded = self._decoded(kept)
            # Row by row only where something is wrong with one of them.
            if decoded is None:
                kept, numbers = self._pick(batch, row)
                decoded = _core.decode_hex([fields[self.hash] for fields in kept], self.type.width)
            row += len(batch)
            rows += numbers
            codes.append(decoded)
            for place, texts in enumerate(zip(*kept, strict=True)):
                # That of the hash is not needed: texts of a batch alone take less memory.
                if place != self.hash:
                    columns[place] += texts
        return self._made(np.concatenate(codes), columns, np.array(rows, np.int64)), row

    def _made(
        self, codes: NDArray[np.uint8], columns: Sequence[Sequence[str]], rows: NDArray[np.int64]
    ) -> Block:
        names = zip(self.header, columns, strict=True)
        return Block(
            self.type.name,
            codes,
            rows,
            None if self.ref is None else columns[self.ref],
            None if self.labels is None else Labels(columns[self.labels]),
            kind=self.source.options.kind or "image",
            columns={
                name: texts for place, (name, texts) in enumerate(names) if place != self.hash
            },
        )

    def _decoded(self, records: list[list[str]]) -> NDArray[np.uint8] | None:
        """The codes of records in which nothing is wrong; None if something is."""
        if set(map(len, records)) != {len(self.header)}:
            return None
        hashes = [record[self.hash] for record in records]
        if set(map(len, hashes)) != {self.type.digits}:
            return None
        try:
            packed = unhexlify("".join(hashes))
        except ValueError:
            return None
        ref = self.ref if self.source.for_database else None
        if ref is not None and _ref_faults([record[ref] for record in records]):
            return None
        return np.frombuffer(packed, np.uint8).reshape(len(records), self.type.width)

    def _pick(self, batch: list[Record], first: int) -> tuple[list[list[str]], list[int]]:
        """The sound records of a batch, and their row numbers."""
        kept: list[list[str]] = []
        rows: list[int] = []
        for row, (line, record, fault) in enumerate(batch, first):
            if not fault and len(record) == len(self.header):
                fault = hash_fault(record[self.hash], self.type)
            fault = fault or record_fault(self.source, record, len(self.header), self.ref)
            if fault:
                self.source.fault(line, fault)
            else:
                kept.append(record)
                rows.append(row)
        return kept, rows


def _place_of_hash(source: Source, header: list[str], line: int) -> int:
    column = source.options.column or "hash"
    require_distinct(source, header, line)
    if column not in header:
        raise ListError(
            f"{source.name}:{line}: no column {column!r} in the header {quoted(header)}; "
            "give --column with the one that holds the hash"
        )
    return header.index(column)


def record_fault(source: Source, record: Sequence[str], fields: int, ref: int | None) -> str | None:
    """What is wrong with a record beside its hashes, or None if nothing is."""
    if len(record) != fields:
        return f"number of fields is {len(record)}, the header's is {fields}"
    if source.for_database and ref is not None:
        return next((reason for _, reason in _ref_faults([record[ref]])), None)
    return None


def require_distinct(source: Source, header: list[str], line: int) -> None:
    """ListError if a header has a name twice."""
    if len(set(header)) < len(header):
        raise ListError(f"{source.name}:{line}: a column name is there twice in {quoted(header)}")


def quoted(names: Sequence[str]) -> str:
    """Names of columns for a message, if they are not too many."""
    text = ", ".join(map(repr, names[:_QUOTED_NAMES]))
    fits = len(names) <= _QUOTED_NAMES and len(text) <= _QUOTED_LETTERS
    return text if fits else f"{text[:_QUOTED_LETTERS]}, ..."


def place_beside(source: Source, names: list[str], asked: str | None, usual: str) -> int | None:
    """The place of a column that was asked for, or that is usual; a column with a hash is named ""
    here. ListError if the one that was asked for is missing.
    """
    wanted = asked or usual
    if wanted in names:
        return names.index(wanted)
    if asked is None:
        return None
    there = quoted([name for name in names if name]) or "none"
    raise ListError(
        f"{source.name}: no column {asked!r} beside that of the hash; there are: {there}"
    )


def _ref_faults(refs: Sequence[str]) -> list[tuple[int, str]]:
    from hashmatch.database.columns import ref_faults

    return ref_faults(list(refs))
