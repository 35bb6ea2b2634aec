"""Lists of hashes from files: bare hex one a line, CSV with a header, or `.npy`.

A list is read as a sequence of blocks, so that one of any length can be matched in little memory.
What kind of file it is shows in its first bytes; the name is not believed. UTF-8, with or without a
byte order mark; lines end in LF or CRLF; blank lines are skipped. Nothing else is: a row that is
not exactly one hash is a fault.

The row number, from 0, counts every row that is not blank, faulty ones too, and so stays the same
whether faults stop the reading or are skipped.
"""

from __future__ import annotations

import csv
import io
import os
import stat
from binascii import unhexlify
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from hashmatch import _core
from hashmatch.codes import as_codes, decode_digits, hex_fault
from hashmatch.hash_types import HASH_TYPES, HashType

#: Bytes of text and rows of CSV or of an array that make a block. A line is at most one block.
BLOCK_BYTES = 8 << 20
BLOCK_ROWS = 131_072

#: CSV records held as such, before they become columns. Each is an object of its own, and the
#: garbage collector would go through many of them again and again.
_BATCH_RECORDS = 4_096

#: How a built index begins.
INDEX_MAGIC = b"HASHMTCH"
_NPY_MAGIC = b"\x93NUMPY"
_BOM = b"\xef\xbb\xbf"
#: Enough to tell the kinds of file apart by their first line.
_HEAD_BYTES = 1 << 16

#: A CSV record: the line it begins on, its fields, and what is wrong with it, if anything.
Record = tuple[int, list[str], str | None]
#: Says of the texts of a column which cannot stand there: number and reason.
Check = Callable[[list[str]], list[tuple[int, str]]]
#: Called with (bytes read, bytes in all; 0 if that is not known).
BytesRead = Callable[[int, int], object]


class ListError(ValueError):
    """A list that cannot be read: names the file, the line and the reason."""


@dataclass(frozen=True, slots=True)
class Block:
    """Some consecutive rows of a list: their codes and what the list says beside them."""

    #: uint8[n, width]
    codes: NDArray[np.uint8]
    #: int64[n]: row numbers in the list, from 0.
    rows: NDArray[np.int64]
    #: For each column besides the hash its n texts, in the order of `HashList.columns`.
    columns: list[list[str]]


@dataclass(slots=True)
class HashList:
    """A list that is yet to be read: `for block in hash_list` reads it, once."""

    #: "-" is standard input.
    path: str
    kind: HashType
    #: The CSV column that holds the hash.
    column: str = "hash"
    #: Leave faulty rows out and note them in `faults`; otherwise the first is a ListError.
    skip_faults: bool = False
    on_read: BytesRead | None = None
    #: What makes a row faulty besides its hash, by the name of a column, if there is such a one.
    checks: Mapping[str, Check] = field(default_factory=dict)
    #: "file:line: reason" of each row left out.
    faults: list[str] = field(default_factory=list, init=False)
    #: Names of the columns besides the hash; known once reading has begun.
    columns: tuple[str, ...] = field(default=(), init=False)

    @property
    def name(self) -> str:
        """What messages call the list."""
        return "<stdin>" if self.path == "-" else self.path

    def __iter__(self) -> Iterator[Block]:
        with opened_list(self.path, self.on_read) as (head, file):
            yield from self.read(head, file)

    def read(self, head: bytes, file: BinaryIO) -> Iterator[Block]:
        """What iteration gives, of a list that `opened_list` opened."""
        if head.startswith(INDEX_MAGIC):
            raise ListError(f"{self.name}: is a built index, where a list of hashes is needed")
        if head.startswith(_NPY_MAGIC):
            yield from self._read_npy(file)
        elif self._is_csv(head):
            yield from self._read_csv(file)
        else:
            yield from self._read_hex(file)

    def _is_csv(self, head: bytes) -> bool:
        """Whether the first line that is not blank is a header rather than a hash."""
        first = next((line.strip() for line in head.split(b"\n") if line.strip()), b"")
        if b"," in first or first.strip(b'"') == self.column.encode():
            return True
        # Only the file's name can tell a header without the wanted column from a faulty hash.
        named_csv = self.path.lower().endswith(".csv")
        return named_csv and bool(first) and hex_fault(_text(first), self.kind) is not None

    def fault(self, line: int, reason: str) -> None:
        """Note a faulty row, or stop at it."""
        fault = f"{self.name}:{line}: {reason}"
        if not self.skip_faults:
            raise ListError(f"{fault} (--on-error skip leaves bad rows out)")
        self.faults.append(fault)

    def _hash_fault(self, text: str) -> str | None:
        fault = hex_fault(text, self.kind)
        if fault is None:
            return None
        others = [kind.name for kind in HASH_TYPES.values() if hex_fault(text, kind) is None]
        return f"{fault}; for {' or '.join(others)} give --type" if others else fault

    # Bare hex, one a line.

    def _read_hex(self, file: BinaryIO) -> Iterator[Block]:
        line, row = 1, 0
        for text in self._whole_lines(file):
            codes = self._decode_lines(text)
            if codes is not None:
                yield Block(codes, np.arange(row, row + len(codes)), [])
                line, row = line + len(codes), row + len(codes)
                continue
            kept: list[str] = []
            rows: list[int] = []
            for raw in text.split(b"\n")[:-1]:
                if raw.strip():
                    digits = _text(raw.removesuffix(b"\r"))
                    fault = self._hash_fault(digits)
                    if fault:
                        self.fault(line, fault)
                    else:
                        kept.append(digits)
                        rows.append(row)
                    row += 1
                line += 1
            yield Block(_core.decode_hex(kept, self.kind.width), np.array(rows, np.int64), [])

    def _whole_lines(self, file: BinaryIO) -> Iterator[bytes]:
        """The file in blocks of whole lines, each of which ends in a line feed."""
        rest = b""
        while text := file.read(BLOCK_BYTES):
            whole, line_feed, last = text.rpartition(b"\n")
            if line_feed:
                yield rest + whole + line_feed
                rest = last
            else:
                rest += last
            if len(rest) > BLOCK_BYTES:
                raise ListError(f"{self.name}: has a line of {len(rest):,} bytes, so is no list")
        if rest:
            yield rest + b"\n"

    def _decode_lines(self, text: bytes) -> NDArray[np.uint8] | None:
        """The codes of a block in which every line is a hash; None if some line may not be."""
        digits = self.kind.digits
        for ending in (b"\n", b"\r\n"):
            length = digits + len(ending)
            if len(text) % length == 0:
                lines = np.frombuffer(text, np.uint8).reshape(-1, length)
                if (lines[:, digits:] == np.frombuffer(ending, np.uint8)).all():
                    return decode_digits(lines[:, :digits])
        return None

    # CSV with a header.

    def _read_csv(self, file: BinaryIO) -> Iterator[Block]:
        records = csv_records(file)
        line, header, fault = next(records)
        if fault:
            raise ListError(f"{self.name}:{line}: {fault}")
        place = self._place_of_hash(header, line)
        self.columns = tuple(header[:place] + header[place + 1 :])
        checks = [
            (header.index(name), check) for name, check in self.checks.items() if name in header
        ]
        columns: list[list[str]] = [[] for _ in header]
        rows: list[int] = []
        first = 0
        while batch := list(islice(records, _BATCH_RECORDS)):
            kept = [fields for _, fields, _ in batch]
            numbers: Sequence[int] = range(first, first + len(batch))
            # Row by row only where something is wrong with one of them.
            if not self._all_sound(kept, len(header), place, checks):
                kept, numbers = self._pick_records(batch, first, len(header), place, checks)
            first += len(batch)
            rows += numbers
            for column, texts in zip(columns, zip(*kept, strict=True), strict=bool(kept)):
                column += texts
            if len(rows) >= BLOCK_ROWS:
                yield self._csv_block(columns, rows, place)
                columns, rows = [[] for _ in header], []
        if rows:
            yield self._csv_block(columns, rows, place)

    def _csv_block(self, columns: list[list[str]], rows: list[int], place: int) -> Block:
        codes = _core.decode_hex(columns.pop(place), self.kind.width)
        return Block(codes, np.array(rows, np.int64), columns)

    def _all_sound(
        self,
        records: list[list[str]],
        fields: int,
        place: int,
        checks: Sequence[tuple[int, Check]],
    ) -> bool:
        if set(map(len, records)) != {fields}:
            return False
        hashes = [record[place] for record in records]
        if set(map(len, hashes)) != {self.kind.digits}:
            return False
        try:
            unhexlify("".join(hashes))
        except ValueError:
            return False
        return not any(check([record[at] for record in records]) for at, check in checks)

    def _pick_records(
        self,
        batch: list[Record],
        first: int,
        fields: int,
        place: int,
        checks: Sequence[tuple[int, Check]],
    ) -> tuple[list[list[str]], list[int]]:
        """The sound records of a batch, and their row numbers."""
        kept: list[list[str]] = []
        rows: list[int] = []
        for row, (line, record, fault) in enumerate(batch, first):
            if not fault and len(record) != fields:
                fault = f"number of fields is {len(record)}, the header's is {fields}"
            fault = fault or self._hash_fault(record[place])
            for at, check in checks:
                fault = fault or next((reason for _, reason in check([record[at]])), None)
            if fault:
                self.fault(line, fault)
            else:
                kept.append(record)
                rows.append(row)
        return kept, rows

    def _place_of_hash(self, header: list[str], line: int) -> int:
        names = ", ".join(map(repr, header))
        if len(set(header)) < len(header):
            raise ListError(f"{self.name}:{line}: a column name is there twice in {names}")
        if self.column not in header:
            raise ListError(
                f"{self.name}:{line}: no column {self.column!r} in the header {names}; "
                "give --column with the one that holds the hash"
            )
        return header.index(self.column)

    # Arrays.

    def _read_npy(self, file: BinaryIO) -> Iterator[Block]:
        try:
            if os.path.isfile(self.path):
                array: NDArray[Any] = np.load(self.path, mmap_mode="r", allow_pickle=False)
            else:
                array = np.load(io.BytesIO(file.read()), allow_pickle=False)
            for begin in range(0, len(array), BLOCK_ROWS):
                codes = as_codes(np.asarray(array[begin : begin + BLOCK_ROWS]), self.kind)
                yield Block(codes, np.arange(begin, begin + len(codes)), [])
        except (TypeError, ValueError, EOFError) as error:
            raise ListError(f"{self.name}: {error}") from None


@contextmanager
def opened_list(path: str, on_read: BytesRead | None) -> Iterator[tuple[bytes, BinaryIO]]:
    """Enough of a file to see what it is, and all of it, both without a byte order mark."""
    with _opened(path) as source:
        head = source.read(_HEAD_BYTES)
        file = io.BufferedReader(_Reread(head, source, on_read), 1 << 20)
        if head.startswith(_BOM):
            head = head.removeprefix(file.read(len(_BOM)))
        yield head, file


def _opened(path: str) -> BinaryIO:
    """The bytes of a file, or of standard input, which stays open."""
    if path == "-":
        return open(0, "rb", closefd=False)
    return open(path, "rb")


def _text(raw: bytes) -> str:
    """For a message about it, bytes that are not UTF-8 included."""
    return raw.decode(errors="replace")


def header_of(head: bytes) -> list[str]:
    """The fields of the first line, as the first bytes of a file show them."""
    line = head.partition(b"\n")[0].removesuffix(b"\r")
    try:
        return next(csv.reader([_text(line)]), [])
    except csv.Error:
        return []


def csv_records(file: BinaryIO) -> Iterator[Record]:
    """The records that are not blank."""
    lines = iter(partial(file.readline, BLOCK_BYTES), b"")
    reader = csv.reader(map(bytes.decode, lines), strict=True)
    undecoded = 0  # The reader does not count the lines that raise.
    while True:
        line = reader.line_num + undecoded + 1
        try:
            fields = next(reader)
        except StopIteration:
            return
        except UnicodeDecodeError as error:
            undecoded += 1
            yield line, [], f"byte {error.start + 1} of the line is not UTF-8"
        except csv.Error as error:
            yield line, [], f"not valid CSV: {error}"
        else:
            if len(fields) > 1 or (fields and fields[0].strip()):
                yield line, fields, None


class _Reread(io.RawIOBase):
    """A file whose first bytes have been read already, from its beginning."""

    def __init__(self, head: bytes, rest: BinaryIO, on_read: BytesRead | None) -> None:
        self._head = memoryview(head)
        self._rest = rest
        self._on_read = on_read
        self._done_bytes = 0
        self._total_bytes = _size_bytes(rest)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._head:
            count = min(len(self._head), len(buffer))
            buffer[:count] = self._head[:count]
            self._head = self._head[count:]
        else:
            count = self._rest.readinto(buffer)  # type: ignore[attr-defined]
        self._done_bytes += count
        if self._on_read:
            self._on_read(self._done_bytes, self._total_bytes)
        return count


def _size_bytes(file: BinaryIO) -> int:
    """Size of a regular file; 0 for a pipe or terminal."""
    status = os.fstat(file.fileno())
    return status.st_size if stat.S_ISREG(status.st_mode) else 0
