"""What the commands say to people: counts, sizes, tables, and rows that were left out."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import Literal

import typer

#: Bad rows that are listed at the end; the others are counted.
_LISTED_FAULTS = 1_000
#: What a shell reports for a program ended by a closed pipe (128 + SIGPIPE).
_CLOSED_PIPE = 141
#: Wide enough that a table which no terminal shows is not cut.
_UNLIMITED_WIDTH = 100_000


def tell(message: str) -> None:
    print(message, file=sys.stderr)


def tell_faults(faults: Sequence[str], noun: str = "row") -> None:
    if faults:
        tell(f"skipped {count(len(faults), f'bad {noun}')}:")
        tell_lines(faults)


def tell_lines(lines: Sequence[str], most: int = _LISTED_FAULTS) -> None:
    for line in lines[:most]:
        tell(f"  {printable(line)}")
    if len(lines) > most:
        tell(f"  and {len(lines) - most:,} more")


def count(number: int, noun: str) -> str:
    ending = "" if number == 1 else "es" if noun.endswith("sh") else "s"
    return f"{number:,} {noun}{ending}"


def duration(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"


def size(size_bytes: int) -> str:
    number, unit = float(size_bytes), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if number < 1000:
            break
        number, unit = number / 1000, larger
    return f"{number:,.0f} {unit}" if unit == "bytes" else f"{number:,.1f} {unit}"


def printable(text: str) -> str:
    """Others write the lists: what they write must not steer the terminal."""
    return "".join(character if character.isprintable() else "\ufffd" for character in text)


def print_table(
    names: Sequence[str], rows: Iterable[Sequence[str | int | datetime]], wrapped: bool = False
) -> None:
    """One line a row. Text too long for a terminal is cut or wrapped there, and whole in a pipe."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    cells = list(rows)
    for place, name in enumerate(names):
        number = all(isinstance(row[place], int) for row in cells)
        # Columns that do not wrap keep their width, and the others give way.
        whole = not any(isinstance(row[place], str) for row in cells)
        table.add_column(Text(name), justify="right" if number else "left", no_wrap=whole)
    overflow: Literal["fold", "ellipsis"] = "fold" if wrapped else "ellipsis"
    for row in cells:
        texts = (Text(_shown(cell), no_wrap=not wrapped, overflow=overflow) for cell in row)
        table.add_row(*texts)
    width = None if sys.stdout.isatty() else _UNLIMITED_WIDTH
    with closed_pipe_is_quiet():
        Console(width=width).print(table)
        sys.stdout.flush()


def _shown(cell: str | int | datetime) -> str:
    if isinstance(cell, int):
        return f"{cell:,}"
    return f"{cell:%Y-%m-%d %H:%M}" if isinstance(cell, datetime) else printable(cell)


@contextmanager
def closed_pipe_is_quiet() -> Iterator[None]:
    """End without a word when the reader of standard output has gone, as in `... | head`."""
    try:
        yield
    except BrokenPipeError:
        # The interpreter flushes once more as it exits; that must find somewhere to write.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        raise typer.Exit(_CLOSED_PIPE) from None
