"""What `hashmatch match` prints: one row a match, as CSV, JSON lines or a table for people."""

from __future__ import annotations

import csv
import io
import json
import os
import stat
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import TextIO

import numpy as np
from numpy.typing import NDArray

from hashmatch.codes import encode_hex
from hashmatch.index import Index
from hashmatch.lists import Block
from hashmatch.matches import Matches

Row = tuple[str | int, ...]
#: Takes the rows of one block of uploads.
Write = Callable[[Sequence[Row]], None]

#: A column of the uploads by which a table names one, the first that there is.
_NAMES = ("name", "file", "filename", "path", "url", "id")
#: Columns of a terminal from which on a table holds hashes whole.
_WHOLE_HASH_WIDTH = 120


class Format(StrEnum):
    TABLE = "table"
    CSV = "csv"
    JSONL = "jsonl"


@dataclass(frozen=True, slots=True)
class Known:
    """The hashes matched against, and what their list says beside each."""

    index: Index
    #: Names of the list's columns; none for a built index.
    names: tuple[str, ...]
    #: int64[n]: ids in the index, ascending, and for each column its n texts.
    ids: NDArray[np.int64]
    columns: list[list[str]]


@dataclass(frozen=True, slots=True)
class Layout:
    """The columns of a report: the upload, then what it matched, then what the list says of it."""

    uploads: tuple[str, ...]
    known: tuple[str, ...]

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


def report_rows(matches: Matches, uploads: Block, known: Known) -> list[Row]:
    """One row a match, with the columns of `Layout.names`."""
    if not len(matches):
        return []
    queries = matches.query.tolist()
    hashes = encode_hex(uploads.codes)
    # Many uploads may match one hash: each code is fetched and written out once.
    distinct, places = np.unique(matches.id, return_inverse=True)
    known_hashes = encode_hex(known.index.codes(distinct))
    numbers = uploads.rows.tolist()
    columns: list[Sequence[str | int]] = [
        [numbers[query] for query in queries],
        [hashes[query] for query in queries],
        *([column[query] for query in queries] for column in uploads.columns),
        matches.id.tolist(),
        [known_hashes[place] for place in places.tolist()],
        matches.distance.tolist(),
    ]
    if known.columns:
        rows = np.searchsorted(known.ids, matches.id.astype(np.int64)).tolist()
        columns += [[column[row] for row in rows] for column in known.columns]
    return list(zip(*columns, strict=True))


@contextmanager
def open_report(format: Format, path: str | None, layout: Callable[[], Layout]) -> Iterator[Write]:
    """A function that writes rows to the file, or to standard output if `path` is None.

    `layout` is asked when the first rows arrive, or at the end if none do. The file appears under
    its name when it is whole; if anything fails the one that was there stays.
    """
    with _standard_output() if path is None else _replaced(path) as file:
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
                    file.write(json.dumps(record, ensure_ascii=False) + "\n")
            else:
                writer = csv.writer(file, lineterminator="\n")
                if not begun:
                    writer.writerow(names)
                writer.writerows(rows)
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
    shown.append((match_id + 1, "matched hash"))
    shown.append((match_id + 2, "distance"))
    if layout.known:
        shown += [(match_id + 3 + place, name) for place, name in enumerate(layout.known)]
    else:
        shown.append((match_id, "id"))
    console = Console(file=file)
    narrow = console.width < _WHOLE_HASH_WIDTH
    table = Table()
    for place, title in shown:
        number = isinstance(rows[0][place], int)
        table.add_column(Text(_printable(title)), justify="right" if number else "left")
    for row in rows:
        cells = [str(row[place]) for place, _ in shown]
        if narrow:
            cells[1] = _shortened(cells[1])
        table.add_row(*(Text(_printable(cell)) for cell in cells))
    console.print(table)


def _shortened(digits: str) -> str:
    """Enough of a hash to tell it from others; the other formats have it whole."""
    return digits if len(digits) <= 20 else f"{digits[:10]}\N{HORIZONTAL ELLIPSIS}{digits[-6:]}"


def _printable(text: str) -> str:
    """Others write the lists: what they write must not steer the terminal."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


@contextmanager
def _standard_output() -> Iterator[TextIO]:
    # Lists are UTF-8, so what is carried over from them is written as such, whatever the locale.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", newline="\n")
    yield sys.stdout
    sys.stdout.flush()


@contextmanager
def _replaced(path: str) -> Iterator[TextIO]:
    """A new file that takes the place of `path` at the end, if all went well."""
    target = os.path.realpath(path)
    if os.path.exists(target) and not stat.S_ISREG(os.stat(target).st_mode):
        with open(target, "w", encoding="utf-8", newline="") as file:  # A pipe or /dev/null.
            yield file
        return
    draft = f"{target}.{os.getpid()}.tmp"
    try:
        with open(draft, "x", encoding="utf-8", newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, target)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(draft)
        raise
