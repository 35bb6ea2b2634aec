"""Text files in blocks of whole lines, and the records of CSV in them.

Lines are cut into fields by NumPy, a block at a time, and no field becomes a text before it is
asked for. Whatever is out of the ordinary is left to Python's csv module, which says what a record
is and what is wrong with one: both give the same where both give anything.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain
from typing import BinaryIO, NamedTuple, overload

import numpy as np
from numpy.typing import NDArray

from hashmatch.formats.model import ListError

#: A line is at most one block.
BLOCK_BYTES = 4 << 20
#: What separates the fields of a CSV, where the header does not show it otherwise.
_DELIMITERS = (",", ";", "\t")

#: No record is as large.
_MOST_RECORD_BYTES = 16 << 20

#: A CSV record: the line it begins on, its fields, and what is wrong with it, if anything.
Record = tuple[int, list[str], str | None]


def whole_lines(file: BinaryIO) -> bytes:
    """A block of the next lines. Without a line feed at its end, the file ends there or has a line
    longer than a block.
    """
    text = file.read(BLOCK_BYTES)
    if text and not text.endswith(b"\n"):
        text += file.readline(BLOCK_BYTES)
    return text


def header_line(file: BinaryIO) -> tuple[int, bytes]:
    """The first line that is not blank, and its number, from 1."""
    lines = iter(partial(file.readline, BLOCK_BYTES), b"")
    return next(((line, raw) for line, raw in enumerate(lines, 1) if raw.strip()), (1, b""))


def lines_of(text: bytes) -> Iterator[bytes]:
    """The lines, with their line feeds."""
    return iter(io.BytesIO(text))


def plain_text(raw: bytes) -> str:
    """For a message about it, bytes that are not UTF-8 included."""
    return raw.decode(errors="replace")


def first_line(head: bytes) -> bytes:
    """The first line that is not blank, as the first bytes of a file show it."""
    return next((line.strip() for line in head.split(b"\n") if line.strip()), b"")


def header_of(head: bytes, delimiter: str = ",") -> list[str]:
    """The fields of the first line that is not blank, as the first bytes of a file show them."""
    try:
        return next(csv.reader([plain_text(first_line(head))], delimiter=delimiter), [])
    except csv.Error:
        return []


def delimiter_of(line: str, column: str) -> str:
    """What separates the fields of a header, which should have that column."""

    def fields(delimiter: str) -> list[str]:
        try:
            return next(csv.reader([line], delimiter=delimiter), [])
        except csv.Error:
            return []

    split = {delimiter: fields(delimiter) for delimiter in _DELIMITERS}
    for delimiter, names in split.items():
        if column in names:
            return delimiter
    return max(_DELIMITERS, key=lambda delimiter: len(split[delimiter]))


class Records:
    """The records of a CSV that are not blank: those of `text`, then those of the file."""

    def __init__(
        self, name: str, text: bytes, file: BinaryIO, delimiter: str = ",", line: int = 1
    ) -> None:
        """`name` is that of the list, `line` the number of the first line."""
        self._name = name
        rest = iter(partial(file.readline, BLOCK_BYTES), b"")
        lines = self._counted(chain(lines_of(text), rest))
        self._reader = csv.reader(map(bytes.decode, lines), strict=True, delimiter=delimiter)
        #: The reader does not count the lines that raise.
        self._uncounted = line
        self._bytes = 0
        self._most_bytes = 0
        self._records = self._read()

    @property
    def line(self) -> int:
        """The line that comes next."""
        return self._uncounted + self._reader.line_num

    def first(self) -> Record | None:
        """The record that comes next."""
        return next(self._records, None)

    def some(self, most: int) -> list[Record]:
        """Those that come next, at most so many, and no more than take up a block."""
        until = self._bytes + BLOCK_BYTES
        records: list[Record] = []
        while len(records) < most and self._bytes < until:
            record = next(self._records, None)
            if record is None:
                break
            records.append(record)
        return records

    def _read(self) -> Iterator[Record]:
        reader = self._reader
        while True:
            line = self._uncounted + reader.line_num
            self._most_bytes = self._bytes + _MOST_RECORD_BYTES
            try:
                fields = next(reader)
            except StopIteration:
                return
            except UnicodeDecodeError as error:
                self._uncounted += 1
                yield line, [], f"byte {error.start + 1} of the line is not UTF-8"
            except csv.Error as error:
                yield line, [], f"not valid CSV: {error}"
            else:
                if len(fields) > 1 or (fields and fields[0].strip()):
                    yield line, fields, None

    def _counted(self, lines: Iterator[bytes]) -> Iterator[bytes]:
        for line in lines:
            self._bytes += len(line)
            if self._bytes > self._most_bytes:
                # Fields may go on over any number of lines.
                raise ListError(
                    f"{self._name}: has a record of more than {_MOST_RECORD_BYTES:,} bytes before "
                    f"line {self.line}, so is no list"
                )
            yield line


class Texts(Sequence[str]):
    """Fields of a column of a block, as texts when they are asked for."""

    def __init__(self, text: bytes, begins: NDArray[np.int32], ends: NDArray[np.int32]) -> None:
        self._text = text
        self._begins = begins
        self._ends = ends

    def __len__(self) -> int:
        return len(self._begins)

    @overload
    def __getitem__(self, place: int) -> str: ...
    @overload
    def __getitem__(self, place: slice) -> Texts: ...
    def __getitem__(self, place: int | slice) -> str | Texts:
        if isinstance(place, slice):
            return Texts(self._text, self._begins[place], self._ends[place])
        return self._text[self._begins[place] : self._ends[place]].decode()

    def __iter__(self) -> Iterator[str]:
        text = self._text
        places = zip(self._begins.tolist(), self._ends.tolist(), strict=True)
        return (text[begin:end].decode() for begin, end in places)


class Fields(NamedTuple):
    """The fields of the lines of a block."""

    text: bytes
    #: int32[lines, fields]: where each field begins and ends.
    begins: NDArray[np.int32]
    ends: NDArray[np.int32]

    def column(self, place: int) -> Texts:
        return Texts(self.text, self.begins[:, place], self.ends[:, place])

    def digits(self, place: int, length: int) -> NDArray[np.uint8] | None:
        """uint8[lines, length]: a column whose fields have that many bytes; None if not all do."""
        begins = self.begins[:, place]
        if ((self.ends[:, place] - begins) != length).any():
            return None
        windows = np.ndarray((len(self.text) - length + 1,), f"V{length}", self.text, strides=(1,))
        return windows[begins].view(np.uint8).reshape(-1, length)


def plain_fields(text: bytes, delimiter: str, fields: int) -> Fields | None:
    """The fields of a block in which each line is a record of that many fields and none is blank; a
    field is in quotes or has none. None if the block is not one of these, or may not be.
    """
    if not delimiter.isascii():
        return None
    if not text.endswith(b"\n"):
        text += b"\n"
    returns = text.count(b"\r")
    if returns != text.count(b"\r\n") or not _is_utf8(text):
        return None
    raw = np.frombuffer(text, np.uint8)
    ends_line = raw == ord("\n")
    at_end = ends_line if fields == 1 else ends_line | (raw == ord(delimiter))
    quotes = text.count(b'"')
    if quotes:
        # Even in number before what is not in quotes; 256 is even too.
        at_end = at_end & (np.cumsum(raw == ord('"'), dtype=np.uint8) & 1 == 0)
    places = np.flatnonzero(at_end)
    if not len(places) or len(places) % fields:
        return None
    ends = places.astype(np.int32).reshape(-1, fields)
    if np.count_nonzero(ends_line) != len(ends) or not ends_line[ends[:, -1]].all():
        return None
    begins = np.empty_like(ends)
    begins[0, 0] = 0
    begins.reshape(-1)[1:] = ends.reshape(-1)[:-1] + 1
    if returns:
        ends[:, -1] -= raw[ends[:, -1] - 1] == ord("\r")
    if quotes:
        quoted = (raw[begins] == ord('"')) & (raw[ends - 1] == ord('"')) & (ends - begins > 1)
        # Others are in the midst of a field, or stand for one.
        if 2 * np.count_nonzero(quoted) != quotes:
            return None
        begins += quoted
        ends -= quoted
    sizes = ends - begins
    if sizes.max() > csv.field_size_limit() or (fields == 1 and not sizes.all()):
        return None
    return Fields(text, begins, ends)


def _is_utf8(text: bytes) -> bool:
    if text.isascii():
        return True
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True
