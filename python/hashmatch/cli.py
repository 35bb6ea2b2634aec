"""The `hashmatch` command: parses, calls, and says what happened.

Exit codes are those of grep: 0 something matched, 1 nothing matched, 2 an error.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from typing import Annotated, NoReturn

import numpy as np
import typer

import hashmatch
from hashmatch import _core
from hashmatch.arguments import whole
from hashmatch.bench import measure
from hashmatch.hash_types import HASH_TYPES, HashType, hash_type
from hashmatch.index import Index
from hashmatch.lists import INDEX_MAGIC, HashList
from hashmatch.progress import progress_bar
from hashmatch.report import Format, Known, Layout, open_report, report_rows

#: Bad rows that are listed at the end; the others are counted.
_LISTED_FAULTS = 1_000
#: What a shell reports for a program ended by a closed pipe (128 + SIGPIPE).
_CLOSED_PIPE = 141

app = typer.Typer(
    name="hashmatch",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


class OnError(StrEnum):
    STOP = "stop"
    SKIP = "skip"


TypeOption = Annotated[
    str, typer.Option("--type", metavar="TYPE", help=f"Kind of hash: {', '.join(HASH_TYPES)}.")
]
DistanceOption = Annotated[
    int | None,
    typer.Option(
        metavar="BITS",
        help="How many bits may differ, inclusive.",
        show_default="the type's: pdq 31, phash 8, ...",
    ),
]
ColumnOption = Annotated[str, typer.Option(metavar="NAME", help="CSV column that holds the hash.")]
OnErrorOption = Annotated[
    OnError,
    typer.Option(help="At a bad row stop, or skip it; skipped rows are listed at the end."),
]
ThreadsOption = Annotated[int, typer.Option(min=0, max=1024, help="0 is one for each core.")]


def _version(wanted: bool) -> None:
    if wanted:
        print(f"hashmatch {hashmatch.__version__}")
        raise typer.Exit


@app.callback()
def _hashmatch(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Match perceptual hashes against shared lists, exactly, by Hamming distance.

    A list is bare hex, one hash a line; or CSV with a header and a column "hash"; or a NumPy .npy
    file, uint8 with a hash a row, or uint64 for 64 bits. "-" is standard input.
    """


@app.command()
def match(
    hashes: Annotated[
        str, typer.Argument(metavar="HASHES", help="Known hashes: a list, or a built index.")
    ],
    uploads: Annotated[str, typer.Argument(metavar="UPLOADS", help="The list to look up in them.")],
    type: Annotated[
        str | None,
        typer.Option(
            metavar="TYPE",
            help=f"Kind of hash: {', '.join(HASH_TYPES)}. A built index knows its own.",
            show_default="pdq",
        ),
    ] = None,
    max_distance: DistanceOption = None,
    nearest: Annotated[
        int | None,
        typer.Option(metavar="K", min=1, help="Only the K nearest hashes of each upload."),
    ] = None,
    format: Annotated[
        Format | None,
        typer.Option(
            help="How matches are written.", show_default="table on a terminal, otherwise csv"
        ),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option("--output", "-o", metavar="FILE", help="Write the matches to this file."),
    ] = None,
    column: ColumnOption = "hash",
    on_error: OnErrorOption = OnError.STOP,
    threads: ThreadsOption = 0,
) -> None:
    """Print every upload that is within the distance of a known hash.

    CSV and JSON lines hold one match a line: upload_row (from 0, blank lines not counted),
    upload_hash, the uploads' other columns as upload_..., match_id, match_hash, distance, and the
    other columns of HASHES. The match_id is the row in HASHES, or the id in a built index, which
    keeps no other columns.

    Exit code: 0 if anything matched, 1 if nothing did, 2 after an error.
    """
    if hashes == uploads == "-":
        raise ValueError("HASHES and UPLOADS cannot both be standard input")
    known, faults = _known(hashes, type, column, on_error, threads)
    index = known.index
    kind = HashType(index.hash_type or "", index.bits, index.max_distance)
    within = index.max_distance if max_distance is None else max_distance
    if within is None:
        raise ValueError(f"{hashes} has no distance of its own: give --max-distance")
    within = whole(within, "--max-distance", 0, index.bits)
    on_terminal = output is None and sys.stdout.isatty()
    if format is None:
        format = Format.TABLE if on_terminal else Format.CSV
    # A bar would be drawn among the lines that stream past.
    quiet = on_terminal and format is not Format.TABLE

    looked_up = matched = 0
    search_s = 0.0
    matched_ids = np.empty(0, np.uint64)
    rows = HashList(uploads, kind, column, on_error is OnError.SKIP)
    with (
        _closed_pipe_is_quiet(),
        open_report(format, output, lambda: Layout(rows.columns, known.names)) as write,
        progress_bar("matching", wanted=not quiet) as rows.on_read,
    ):
        for block in rows:
            begin = time.perf_counter()
            if nearest is None:
                matches = index.search(block.codes, within, threads=threads)
            else:
                matches = index.nearest(block.codes, nearest, within, threads=threads)
            search_s += time.perf_counter() - begin
            looked_up += len(block.codes)
            matched += int(np.count_nonzero(np.diff(matches.offsets)))
            matched_ids = np.union1d(matched_ids, matches.id)
            write(report_rows(matches, block, known))
    _tell(
        f"{matched:,} of {_count(looked_up, 'upload')} matched {len(matched_ids):,} of "
        f"{_count(len(index), 'hash')} within {within}, {_duration(search_s)}"
    )
    _tell_faults(faults + rows.faults)
    raise typer.Exit(0 if matched else 1)


@app.command()
def build(
    hashes: Annotated[str, typer.Argument(metavar="LIST", help="The list of known hashes.")],
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="FILE.hm to write.")
    ],
    type: TypeOption = "pdq",
    max_distance: DistanceOption = None,
    column: ColumnOption = "hash",
    on_error: OnErrorOption = OnError.STOP,
    threads: ThreadsOption = 0,
) -> None:
    """Build an index of a list, which opens at once however many hashes it holds.

    An id in the index is the row in the list, from 0. The list's other columns are not kept. The
    distance becomes the index's own.
    """
    kind = hash_type(type)
    known, faults = _listed(hashes, kind, max_distance, column, on_error, threads)
    with progress_bar("saving"):
        known.index.save(output)
    size = _size(os.path.getsize(output))
    _tell(f"built {output}: {kind.name}, {_count(len(known.index), 'hash')}, {size}")
    _tell_faults(faults)


@app.command()
def info(
    file: Annotated[str, typer.Argument(metavar="FILE.hm", help="A built index.")],
) -> None:
    """Say what a built index holds, from its header."""
    header = _core.inspect(os.fsencode(file))
    sections = header.pop("sections")
    if header["max_distance"] < 0:
        header["max_distance"] = "none"
    width = max(map(len, header))
    with _closed_pipe_is_quiet():
        for name, value in header.items():
            print(f"{name:{width}}  {f'{value:,}' if isinstance(value, int) else value or '-'}")
        for section in sections:
            print(
                f"section {section['name']}: {section['size_bytes']:,} bytes at "
                f"{section['offset']:,}, crc32c {section['crc32c']:08x}"
            )
        sys.stdout.flush()


@app.command()
def check(
    file: Annotated[str, typer.Argument(metavar="FILE.hm", help="A built index.")],
) -> None:
    """Read a built index through and verify every checksum and offset in it."""
    with progress_bar("checking") as bar:
        _core.check(os.fsencode(file), bar)
    _tell(f"{file}: nothing wrong, {_count(_core.inspect(os.fsencode(file))['rows'], 'hash')}")


@app.command()
def bench(
    rows: Annotated[int, typer.Option(min=1, help="Codes in the index.")] = 1_000_000,
    type: TypeOption = "pdq",
    threads: ThreadsOption = 0,
) -> None:
    """Measure this machine on random codes: building, one query a call, bulk, linear scan."""
    from rich.console import Console
    from rich.table import Table

    kind = hash_type(type)
    with progress_bar("measuring"):
        timings = measure(kind, rows, threads)
    table = Table("work", "measured", show_header=False)
    for timing in timings:
        table.add_row(timing.work, timing.figure)
    with _closed_pipe_is_quiet():
        Console().print(table)
        sys.stdout.flush()


def _known(
    path: str, type: str | None, column: str, on_error: OnError, threads: int
) -> tuple[Known, list[str]]:
    """The hashes to match against, and the faulty rows left out of them."""
    if path != "-" and _is_index(path):
        index = Index.open(path)
        asked = None if type is None else hash_type(type)
        if asked and (asked.bits != index.bits or asked.name != (index.hash_type or asked.name)):
            raise ValueError(
                f"{path} holds {index.hash_type or f'{index.bits}-bit'} hashes, not {asked.name}: "
                "leave --type out"
            )
        return Known(index, (), np.empty(0, np.int64), []), []
    return _listed(path, hash_type(type or "pdq"), None, column, on_error, threads)


def _listed(
    path: str,
    kind: HashType,
    max_distance: int | None,
    column: str,
    on_error: OnError,
    threads: int,
) -> tuple[Known, list[str]]:
    """An index of a list, and the faulty rows left out of it. The ids are row numbers."""
    index = Index(kind.name, max_distance=max_distance)
    with progress_bar("reading") as bar:
        hash_list = HashList(path, kind, column, on_error is OnError.SKIP, bar)
        blocks = list(hash_list)
    if not sum(len(block.rows) for block in blocks):
        _tell_faults(hash_list.faults)
        raise ValueError(f"{hash_list.name}: holds no hashes")
    rows = np.concatenate([block.rows for block in blocks])
    columns = [
        [text for block in blocks for text in block.columns[place]]
        for place in range(len(hash_list.columns))
    ]
    with progress_bar("indexing"):
        index.add(
            np.concatenate([block.codes for block in blocks]), rows.view(np.uint64), threads=threads
        )
    return Known(index, hash_list.columns, rows, columns), hash_list.faults


def _is_index(path: str) -> bool:
    if not os.path.isfile(path):
        return False  # Reading a pipe to find out would use it up.
    with open(path, "rb") as file:
        return file.read(len(INDEX_MAGIC)) == INDEX_MAGIC


def _tell(message: str) -> None:
    print(message, file=sys.stderr)


def _tell_faults(faults: list[str]) -> None:
    if not faults:
        return
    _tell(f"skipped {_count(len(faults), 'bad row')}:")
    for fault in faults[:_LISTED_FAULTS]:
        _tell(f"  {fault}")
    if len(faults) > _LISTED_FAULTS:
        _tell(f"  and {len(faults) - _LISTED_FAULTS:,} more")


def _count(number: int, noun: str) -> str:
    ending = "" if number == 1 else "es" if noun.endswith("sh") else "s"
    return f"{number:,} {noun}{ending}"


def _duration(seconds: float) -> str:
    return f"{seconds * 1e3:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _size(size_bytes: int) -> str:
    size, unit = float(size_bytes), "bytes"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 1000:
            break
        size, unit = size / 1000, larger
    return f"{size:,.0f} {unit}" if unit == "bytes" else f"{size:,.1f} {unit}"


@contextmanager
def _closed_pipe_is_quiet() -> Iterator[None]:
    """End without a word when the reader of standard output has gone, as in `... | head`."""
    try:
        yield
    except BrokenPipeError:
        # The interpreter flushes once more as it exits; that must find somewhere to write.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        raise typer.Exit(_CLOSED_PIPE) from None


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{os.fsdecode(error.filename)}: {error.strerror}"
    if isinstance(error, MemoryError):
        return f"not enough memory {error}".rstrip()
    return str(error)


def main() -> NoReturn:
    """The `hashmatch` command."""
    try:
        app()
    except (ValueError, OSError, ImportError, MemoryError) as error:
        sys.stderr.write(f"hashmatch: {_reason(error)}\n")
    except Exception:
        # A bug. Python's own exit code, 1, would say that nothing matched.
        traceback.print_exc()
    sys.exit(2)
