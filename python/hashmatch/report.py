"""What `hashmatch match` prints: one row a match, as CSV, JSON lines or a table for people."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, TextIO

from hashmatch.codes import encode_hex
from hashmatch.console import printable
from hashmatch.known import Cell, Found, Texts
from hashmatch.lists import Block
from hashmatch.texts import CsvWriter, json_text, open_output

Row = tuple[Cell, ...]
#: Takes the rows of one block of uploads.
Write = Callable[[Sequence[Row]], None]

#: A column of the uploads by which a table names one, the first that there is.
_NAMES = ("name", "file", "filename", "path", "url", "id")
#: The title of the column of known hashes in a table.
_HASH = "matched hash"
#: Columns of a terminal from which on a table holds hashes whole.
_WHOLE_HASH_WIDTH = 120


class Format(StrEnum):
    TABLE = "table"
    CSV = "csv"
    JSONL = "jsonl"


class Columns(Protocol):
    """The columns of a report."""

    @property
    def names(self) -> Sequence[str]:
        """Each there once."""

    @property
    def shown(self) -> Sequence[tuple[int, str]]:
        """Places of those that a table has, and their titles."""

    @property
    def minor(self) -> tuple[str, ...]:
        """Titles of those that there is no room for in a narrow table."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a report: the upload, then what it matched, then what the list says of it."""

    uploads: tuple[str, ...]
    known: tuple[str, ...]
    #: Titles of columns that there is no room for in a narrow table.
    minor: tuple[str, ...] = ()

    @property
    def names(self) -> list[str]:
        """Column names, each there once: a list's column gets "_" added to a name in use."""
        names: list[str] = []
        uploads = (f"upload_{name}" for name in self.uploads)
        for name in (
            "upload_row",
            "upload_hash",
            *uploads,
            "match_id",
            "match_hash",
            "distance",
            *self.known,
        ):
            while name in names:
                name += "_"
            names.append(name)
        return names

    @property
    def shown(self) -> list[tuple[int, str]]:
        """The upload by its name if it has one, else by its row; of a match what tells most."""
        # upload_row, upload_hash, the uploads' columns, match_id, match_hash, distance, the list's.
        match_id = 2 + len(self.uploads)
        named = [self.uploads.index(name) for name in _NAMES if name in self.uploads]
        shown = [(2 + named[0], "upload") if named else (0, "upload row")]
        shown.append((match_id + 1, _HASH))
        shown.append((match_id + 2, "distance"))
        if self.known:
            shown += [(match_id + 3 + place, name) for place, name in enumerate(self.known)]
        else:
            shown.append((match_id, "id"))
        return shown


def report_rows(found: Found, uploads: Block) -> list[Row]:
    """One row a match, with the columns of `Layout.names`."""
    matches = found.matches
    if not len(matches):
        return []
    queries = matches.query.tolist()
    hashes = encode_hex(uploads.codes)
    known_hashes, known_columns = found.describe()
    numbers = uploads.rows.tolist()
    columns: list[Sequence[Cell]] = [
        [numbers[query] for query in queries],
        [hashes[query] for query in queries],
        *([column[query] for query in queries] for column in uploads.columns),
        matches.id.tolist(),
        known_hashes,
        matches.distance.tolist(),
        *known_columns,
    ]
    return list(zip(*columns, strict=True))


@contextmanager
def open_report(format: Format, path: str | None, layout: Callable[[], Columns]) -> Iterator[Write]:
    """A function that writes rows to the file, or to standard output if `path` is None.

    `layout` is asked when the first rows arrive, or at the end if none do. The file appears under
    its name when it is whole; if anything fails the one that was there stays.
    """
    with open_output(path) as file:
        if format is Format.TABLE:
            rows: list[Row] = []
            yield rows.extend
            if rows:
                _print_table(rows, layout(), file)
            return
        begun = False

        def write(rows: Sequence[Row]) -> None:
            nonlocal begun
            names = layout().names
            if format is Format.JSONL:
                for row in rows:
                    record = dict(zip(names, row, strict=True))
                    file.write(f"{json_text(record)}\n")
            else:
                CsvWriter(file).rows(rows if begun else [tuple(names), *rows])
            begun = True
            file.flush()

        yield write
        if not begun:
            write([])


def _print_table(rows: Sequence[Row], layout: Columns, file: TextIO) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console(file=file)
    shown = layout.shown
    narrow = console.width < _WHOLE_HASH_WIDTH
    if narrow:
        shown = [(place, title) for place, title in shown if title not in layout.minor]
    table = Table()
    for place, title in shown:
        number = isinstance(rows[0][place], int | float)
        table.add_column(Text(printable(title)), justify="right" if number else "left")
    for row in rows:
        cells = (_shown(row[place], narrow and title == _HASH) for place, title in shown)
        table.add_row(*(Text(cell, no_wrap=True, overflow="ellipsis") for cell in cells))
    console.print(table)


def _shown(cell: Cell, shorten: bool) -> str:
    """`shorten` to enough of a hash to tell it from others; the other formats have it whole."""
    if isinstance(cell, float):
        return f"{cell:.1f}"
    text = ", ".join(cell) if isinstance(cell, Texts) else "" if cell is None else str(cell)
    if shorten and len(text) > 20:
        text = f"{text[:10]}\N{HORIZONTAL ELLIPSIS}{text[-6:]}"
    return printable(text)
