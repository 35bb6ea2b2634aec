"""What `hashmatch match` prints: one row a match, as CSV, JSON lines or a table for people."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TextIO

from hashmatch.codes import encode_hex
from hashmatch.console import printable
from hashmatch.formats.model import Block
from hashmatch.known import Found
from hashmatch.listed import Cell, Texts, cell
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


def report_rows(found: Found, uploads: Block, names: Sequence[str]) -> list[Row]:
    """One row a match, with the columns of `Layout.names`; those of the uploads are `names`."""
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
        *([cell(uploads, name, query) for query in queries] for name in names),
        matches.id.tolist(),
        known_hashes,
        matches.distance.tolist(),
        *known_columns,
    ]
    return list(zip(*columns, strict=True))


@contextmanager
def open_report(format: Format, path: str | None, layout: Callable[[], Layout]) -> Iterator[Write]:
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
                CsvWriter(file).rows(rows if begun else [names, *rows])
            begun = True
            file.flush()

        yield write
        if not begun:
            write([])


def _print_table(rows: Sequence[Row], layout: Layout, file: TextIO) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    # upload_row, upload_hash, the uploads' columns, match_id, match_hash, distance, the list's.
    match_id = 2 + len(layout.uploads)
    named = [layout.uploads.index(name) for name in _NAMES if name in layout.uploads]
    shown = [(2 + named[0], "upload") if named else (0, "upload row")]
    shown.append((match_id + 1, _HASH))
    shown.append((match_id + 2, "distance"))
    if layout.known:
        shown += [(match_id + 3 + place, name) for place, name in enumerate(layout.known)]
    else:
        shown.append((match_id, "id"))
    console = Console(file=file)
    narrow = console.width < _WHOLE_HASH_WIDTH
    if narrow:
        shown = [(place, title) for place, title in shown if title not in layout.minor]
    table = Table()
    for place, title in shown:
        number = isinstance(rows[0][place], int)
        table.add_column(Text(printable(title)), justify="right" if number else "left")
    for row in rows:
        cells = (_shown(row[place], narrow and title == _HASH) for place, title in shown)
        table.add_row(*(Text(cell, no_wrap=True, overflow="ellipsis") for cell in cells))
    console.print(table)


def _shown(cell: Cell, shorten: bool) -> str:
    """`shorten` to enough of a hash to tell it from others; the other formats have it whole."""
    text = ", ".join(cell) if isinstance(cell, Texts) else str(cell)
    if shorten and len(text) > 20:
        text = f"{text[:10]}\N{HORIZONTAL ELLIPSIS}{text[-6:]}"
    return printable(text)
