"""The `hashmatch` command: parses, calls, and says what happened.

Exit codes are those of grep: 0 something matched, 1 nothing matched, 2 an error.
"""

from __future__ import annotations

import os
import sys
import time
import traceback
from dataclasses import replace
from typing import Annotated, NoReturn

import numpy as np
import typer

import hashmatch
from hashmatch import _core
from hashmatch.bench import measure
from hashmatch.console import closed_pipe_is_quiet, count, duration, size, tell, tell_faults
from hashmatch.db_cli import db
from hashmatch.distinct import distinct
from hashmatch.feed_cli import feed
from hashmatch.formats.model import Block, Options
from hashmatch.formats.reading import HashList
from hashmatch.formats_cli import convert, formats
from hashmatch.hash_cli import hash, scan
from hashmatch.hash_types import HASH_TYPES, hash_type
from hashmatch.known import Search, Server, open_known, read_list
from hashmatch.listed import names_of
from hashmatch.options import (
    ColumnOption,
    DelimiterOption,
    DistanceOption,
    FormatOption,
    OnError,
    OnErrorOption,
    ThreadsOption,
    TypeOption,
)
from hashmatch.progress import progress_bar
from hashmatch.report import Format, Layout, open_report, report_rows
from hashmatch.server_cli import serve
from hashmatch.token_cli import token
from hashmatch.video_cli import (
    VPDQ,
    PicturesOption,
    QualityOption,
    QueryPercentOption,
    StepsOption,
    VideoPercentOption,
    match_videos,
    video_rule,
)

app = typer.Typer(
    name="hashmatch",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"hashmatch {hashmatch.__version__}")
        raise typer.Exit


app.add_typer(db, name="db")
app.command()(formats)
app.command()(convert)
app.command()(hash)
app.command()(scan)
app.add_typer(feed, name="feed")
app.command()(serve)
app.add_typer(token, name="token")


@app.callback()
def _hashmatch(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Match perceptual hashes against shared lists, exactly, by Hamming distance.

    A list is bare hex, one hash a line; or CSV with a header and a column "hash"; or of any other
    format that `hashmatch formats` lists, which may be compressed by gzip or zstd. What it is shows
    in its content. "-" is standard input.
    """


@app.command()
def match(
    hashes: Annotated[
        str,
        typer.Argument(
            metavar="HASHES",
            help="Known hashes: a list, a built index, or a database's folder; none with --server.",
        ),
    ],
    uploads: Annotated[
        str | None,
        typer.Argument(metavar="UPLOADS", help="The list to look up in them.", show_default=False),
    ] = None,
    server: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="Look UPLOADS up in the database behind a server, with no HASHES: "
            "unix:/run/hashmatch.sock, https://host:port or http://host:port.",
        ),
    ] = None,
    token_file: Annotated[
        str | None,
        typer.Option(
            metavar="FILE",
            help="File with the token for the server.",
            show_default="the environment variable HASHMATCH_TOKEN, if it is set",
        ),
    ] = None,
    type: Annotated[
        str | None,
        typer.Option(
            metavar="TYPE",
            help=f"Kind of hash: {', '.join(HASH_TYPES)}; or {VPDQ}, for videos. A built index "
            "knows its own.",
            show_default="pdq, or the only one in a database",
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
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME", help="Only this set of a database; repeatable."),
    ] = None,
    verdicts: Annotated[
        list[str] | None,
        typer.Option(
            "--verdict",
            metavar="VERDICT",
            help="Only items of a database on which somebody holds this verdict: positive, "
            "negative, investigate, or none for those without an opinion; repeatable.",
        ),
    ] = None,
    hashes_format: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT",
            help="What HASHES is; `hashmatch formats` lists the formats.",
            show_default="what its content shows",
        ),
    ] = None,
    uploads_format: Annotated[
        str | None,
        typer.Option(
            metavar="FORMAT", help="What UPLOADS is.", show_default="what its content shows"
        ),
    ] = None,
    column: ColumnOption = None,
    delimiter: DelimiterOption = None,
    on_error: OnErrorOption = OnError.STOP,
    threads: ThreadsOption = 0,
    query_percent: QueryPercentOption = None,
    video_percent: VideoPercentOption = None,
    quality: QualityOption = None,
    steps: StepsOption = None,
    pictures: PicturesOption = None,
) -> None:
    """Print every upload that is within the distance of a known hash.

    CSV and JSON lines hold one match a line: upload_row (from 0, blank lines not counted),
    upload_hash, the uploads' other columns as upload_..., match_id, match_hash, distance, and the
    other columns of HASHES. The match_id is the row in HASHES, or the id in a built index, which
    keeps no other columns. Of a database it is the signal's id; ref, set, contributor, labels (a
    JSON list) and verdicts (joined with ";") follow, and each set's own distance holds unless one
    is given. Of a list that is no CSV, its ref, contributor, labels, quality and time_ms are
    columns too, where it has them.

    With --server the known hashes are those of a database that `hashmatch serve` serves, and what
    is printed is as of that database; --max-distance, --nearest, --set and --verdict are heeded
    there. Where the server hides distances, the columns distance and match_hash are empty.

    With --type vpdq uploads are videos: a list that says which hashes are frames of one, such as
    vPDQ, or a folder of them. HASHES is a database, or likewise a list. Rows then hold upload (its
    name), match_id, kind, query_percent (how much of the upload's frames matched), video_percent
    (how much of the known video's), matched_frames, upload_ms and match_ms (where the first ones
    are), ref, set, contributor, labels and verdicts.

    Exit code: 0 if anything matched, 1 if nothing did, 2 after an error.
    """
    hashes, uploads = _known_and_uploads(hashes, uploads, server, token_file, hashes_format)
    on_terminal = output is None and sys.stdout.isatty()
    if format is None:
        format = Format.TABLE if on_terminal else Format.CSV
    # A bar would be drawn among the lines that stream past.
    quiet = on_terminal and format is not Format.TABLE
    skip = on_error is OnError.SKIP
    asked = Search(type, max_distance, nearest, threads, sets or None, verdicts or None)
    rule = video_rule(type, query_percent, video_percent, quality, steps, pictures)
    options = Options(column=column, delimiter=delimiter)
    known_source: HashList | Server = HashList(hashes, hashes_format, options, skip)
    if server is not None:
        known_source = Server(server, token_file)
    rows = HashList(uploads, uploads_format, options, skip)
    if type == VPDQ:
        if nearest is not None:
            raise ValueError("--nearest is not for --type vpdq")
        found_any = match_videos(known_source, rows, asked, rule, format, output)
        raise typer.Exit(0 if found_any else 1)

    looked_up = matched = 0
    search_s = 0.0
    matched_ids = np.empty(0, np.uint64)
    names: tuple[str, ...] | None = None
    with open_known(known_source, asked) as known:
        rows = replace(rows, options=replace(options, hash_type=known.kind.name))
        with (
            closed_pipe_is_quiet(),
            open_report(
                format, output, lambda: Layout(names or (), known.names, known.minor)
            ) as write,
            progress_bar("matching", wanted=not quiet) as rows.on_read,
        ):
            for block in rows:
                # What a list withdraws is not looked up.
                if not isinstance(block, Block):
                    continue
                # A report's columns are settled by its first row.
                names = names_of(block) if names is None else names
                begin = time.perf_counter()
                found = known.search(block.codes)
                search_s += time.perf_counter() - begin
                looked_up += len(block.codes)
                matched += int(np.count_nonzero(np.diff(found.matches.offsets)))
                matched_ids = distinct(np.append(matched_ids, found.matches.id))
                write(report_rows(found, block, names))
        tell(
            f"{matched:,} of {count(looked_up, 'upload')} matched {len(matched_ids):,} of "
            f"{count(len(known), 'hash')} within {known.within}, {duration(search_s)}"
        )
        tell_faults(known.faults + rows.faults)
    raise typer.Exit(0 if matched else 1)


def _known_and_uploads(
    first: str,
    second: str | None,
    server: str | None,
    token_file: str | None,
    hashes_format: str | None,
) -> tuple[str, str]:
    """HASHES and UPLOADS of the arguments, "" for HASHES where a server knows them. ValueError if
    that is not what was given.
    """
    if server is not None:
        if second is not None:
            raise ValueError(f"--server knows the hashes: leave HASHES ({first}) out")
        if hashes_format is not None:
            raise ValueError("--hashes-format is for HASHES: leave it out")
        return "", first
    if token_file is not None:
        raise ValueError("--token-file is for --server: leave it out")
    if second is None:
        raise ValueError("UPLOADS are missing: give HASHES and UPLOADS, or --server and UPLOADS")
    if first == second == "-":
        raise ValueError("HASHES and UPLOADS cannot both be standard input")
    return first, second


@app.command()
def build(
    hashes: Annotated[str, typer.Argument(metavar="LIST", help="The list of known hashes.")],
    output: Annotated[
        str, typer.Option("--output", "-o", metavar="FILE", help="FILE.hm to write.")
    ],
    type: TypeOption = "pdq",
    max_distance: DistanceOption = None,
    format: FormatOption = None,
    column: ColumnOption = None,
    delimiter: DelimiterOption = None,
    on_error: OnErrorOption = OnError.STOP,
    threads: ThreadsOption = 0,
) -> None:
    """Build an index of a list, which opens at once however many hashes it holds.

    An id in the index is the row in the list, from 0. The list's other columns are not kept. The
    distance becomes the index's own.
    """
    kind = hash_type(type)
    options = Options(kind.name, column, delimiter=delimiter)
    hash_list = HashList(hashes, format, options, on_error is OnError.SKIP)
    known = read_list(hash_list, max_distance, threads, beside=False)
    with progress_bar("saving"):
        known.index.save(output)
    hashes_held = count(len(known.index), "hash")
    tell(f"built {output}: {kind.name}, {hashes_held}, {size(os.path.getsize(output))}")
    tell_faults(known.faults)


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
    with closed_pipe_is_quiet():
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
        segment = _core.Segment.open(os.fsencode(file), False)
        segment.check(bar)
    tell(f"{file}: nothing wrong, {count(len(segment), 'hash')}")


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
    with closed_pipe_is_quiet():
        Console().print(table)
        sys.stdout.flush()


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
