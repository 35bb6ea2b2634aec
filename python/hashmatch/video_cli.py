"""`hashmatch match --type vpdq`: uploaded videos against the known ones of a database or a file."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from itertools import groupby, islice
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import numpy as np
import typer

import hashmatch
from hashmatch.console import closed_pipe_is_quiet, count, duration, tell, tell_faults
from hashmatch.distinct import distinct
from hashmatch.formats.model import Block, ListError
from hashmatch.formats.reading import HashList
from hashmatch.known import Search, Server
from hashmatch.listed import Cell, Texts
from hashmatch.progress import progress_bar
from hashmatch.report import Format, Row, open_report
from hashmatch.vpdq import Frames

if TYPE_CHECKING:
    from hashmatch.client import Client
    from hashmatch.database import Database, VideoMatches

#: What `--type` calls videos.
VPDQ = "vpdq"
#: Uploads matched at a time.
_UPLOADS_AT_ONCE = 16


class _Upload(NamedTuple):
    name: str
    frames: Frames


@dataclass(slots=True)
class _Videos:
    """Uploads that are yet to be read, from a list or the lists in a folder: iteration reads them,
    once.
    """

    #: Its path may be a folder.
    uploads: HashList
    #: "file:line: reason" of each frame left out.
    faults: list[str] = field(default_factory=list, init=False)

    def __iter__(self) -> Iterator[_Upload]:
        folder = self.uploads.path
        paths = [folder]
        if folder != "-" and os.path.isdir(folder):
            with os.scandir(folder) as entries:
                paths = sorted(entry.path for entry in entries if entry.is_file())
        options = replace(self.uploads.options, hash_type="pdq")
        for path in paths:
            hash_list = replace(self.uploads, path=path, options=options, for_database=True)
            hash_list.faults = self.faults
            for part in hash_list:
                if isinstance(part, Block):
                    yield from _uploads(part, hash_list.name)


def _uploads(block: Block, name: str) -> Iterator[_Upload]:
    if block.refs is None:
        raise ListError(
            f"{name}: does not say which hashes are frames of one video: give vPDQ, or a list with "
            "refs; `hashmatch formats` lists the formats"
        )
    quality, time_ms = block.quality, block.time_ms
    begin = 0
    for ref, group in groupby(block.refs):
        rows = slice(begin, begin := begin + sum(1 for _ in group))
        yield _Upload(
            ref, Frames(block.codes[rows], quality and quality[rows], time_ms and time_ms[rows])
        )


class StepsName(StrEnum):
    FILTER_DEDUPE = "filter-dedupe"
    DEDUPE_FILTER = "dedupe-filter"
    FILTER = "filter"


_PANEL = "Videos (--type vpdq)"
QueryPercentOption = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=100,
        metavar="PERCENT",
        help="How much of the upload's frames must be near one of a known video's.",
        show_default="80",
        rich_help_panel=_PANEL,
    ),
]
VideoPercentOption = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=100,
        metavar="PERCENT",
        help="How much of the known video's frames must be near one of the upload's.",
        show_default="0",
        rich_help_panel=_PANEL,
    ),
]
QualityOption = Annotated[
    int | None,
    typer.Option(
        "--quality",
        min=0,
        max=100,
        metavar="QUALITY",
        help="Frames of a lower quality do not count.",
        show_default="50",
        rich_help_panel=_PANEL,
    ),
]
StepsOption = Annotated[
    StepsName | None,
    typer.Option(
        help="Whether repeated codes are left out after frames of low quality are, before, or not "
        "at all.",
        show_default="filter-dedupe",
        rich_help_panel=_PANEL,
    ),
]
PicturesOption = Annotated[
    bool | None,
    typer.Option(
        "--pictures/--no-pictures",
        help="Whether known pictures count that any frame is near.",
        show_default="they do",
        rich_help_panel=_PANEL,
    ),
]


def video_rule(
    type: str | None,
    query_percent: float | None,
    video_percent: float | None,
    quality: int | None,
    steps: StepsName | None,
    pictures: bool | None,
) -> dict[str, Any]:
    """The arguments of `Database.match_videos` that were given. ValueError if videos are not
    meant.
    """
    given = {
        "query_percent": query_percent,
        "video_percent": video_percent,
        "quality_tolerance": quality,
        "steps": None if steps is None else steps.value,
        "pictures": pictures,
    }
    rule = {name: value for name, value in given.items() if value is not None}
    if rule and type != VPDQ:
        name = next(iter(rule)).removesuffix("_tolerance").replace("_", "-")
        raise ValueError(f"--{name} is for videos: give --type vpdq")
    return rule


#: Columns of a report, and the titles that they have in a table; the id is not shown there.
_COLUMNS = {
    "upload": "upload",
    "match_id": "",
    "kind": "kind",
    "query_percent": "query %",
    "video_percent": "video %",
    "matched_frames": "frames",
    "upload_ms": "upload ms",
    "match_ms": "match ms",
    "ref": "ref",
    "set": "set",
    "contributor": "contributor",
    "labels": "labels",
    "verdicts": "verdicts",
}


class VideoColumns:
    """The columns of a report of videos."""

    names = tuple(_COLUMNS)
    shown = tuple((place, title) for place, title in enumerate(_COLUMNS.values()) if title)
    minor = ("kind", "upload ms", "match ms", "contributor")


def match_videos(
    known: HashList | Server,
    uploads: HashList,
    asked: Search,
    rule: dict[str, Any],
    format: Format,
    output: str | None,
) -> bool:
    """Print what uploads match, and return whether any did. `known` may be a server, or have the
    path of a database; `uploads` may have that of a folder; `rule` has arguments of
    `Database.match_videos`.
    """
    quiet = output is None and sys.stdout.isatty() and format is not Format.TABLE
    looked_up = matched = 0
    search_s = 0.0
    items = np.empty(0, np.uint64)
    videos = _Videos(uploads)
    if not isinstance(known, Server):
        rule = {**rule, "threads": asked.threads}
    with _opened(known, asked) as (database, faults):
        with (
            closed_pipe_is_quiet(),
            open_report(format, output, VideoColumns) as write,
            progress_bar("matching", wanted=not quiet) as bar,
        ):
            remaining = iter(videos)
            while some := list(islice(remaining, _UPLOADS_AT_ONCE)):
                begin = time.perf_counter()
                matches = database.match_videos(
                    [video.frames for video in some],
                    asked.sets, asked.max_distance, asked.verdicts, **rule,
                )  # fmt: skip
                search_s += time.perf_counter() - begin
                looked_up += len(some)
                matched += int(np.count_nonzero(np.diff(matches.offsets)))
                items = distinct(np.append(items, matches.item))
                write(_rows(matches, some))
                if bar is not None:
                    bar(looked_up, 0)
        tell(
            f"{matched:,} of {count(looked_up, 'upload')} matched {len(items):,} of "
            f"{count(database.status().items, 'item')}, {duration(search_s)}"
        )
        tell_faults(faults + videos.faults)
    return matched > 0


def _rows(matches: VideoMatches, uploads: Sequence[_Upload]) -> list[Row]:
    """One row a match, with the columns of `VideoColumns.names`."""
    if not len(matches):
        return []
    pairs = matches.pairs
    firsts = pairs.offsets[:-1]
    frames = np.unique(np.stack([pairs.match, pairs.frame]), axis=1)[0]
    columns: list[Sequence[Cell]] = [
        [uploads[query].name for query in matches.query.tolist()],
        matches.item.tolist(),
        list(matches.kind),
        matches.query_percent.tolist(),
        matches.video_percent.tolist(),
        np.bincount(frames, minlength=len(matches)).tolist(),
        [None if ms < 0 else ms for ms in pairs.time_ms[firsts].tolist()],
        [None if ms < 0 else ms for ms in pairs.signal_ms[firsts].tolist()],
        matches.ref,
        matches.set,
        matches.contributor,
        [Texts(labels) for labels in matches.labels],
        [";".join(verdicts) for verdicts in matches.verdicts],
    ]
    return list(zip(*columns, strict=True))


@contextmanager
def _opened(
    known: HashList | Server, asked: Search
) -> Iterator[tuple[Database | Client, list[str]]]:
    """The database in a folder or behind a server, or one of the videos in a file for as long as it
    is needed; and which of them were left out.
    """
    if isinstance(known, Server):
        with known.connect(asked) as client:
            yield client, []
        return
    path, options = known.path, known.options
    if path != "-" and os.path.isdir(path):
        with hashmatch.open(path) as database:
            yield database, []
        return
    if asked.sets or asked.verdicts:
        raise ValueError(f"{path} is no database: leave --set and --verdict out")
    from hashmatch.database import BatchList

    batches = BatchList(
        path, "pdq", options.column, skip_faults=known.skip_faults, delimiter=options.delimiter,
        format=known.format,
    )  # fmt: skip
    name = os.path.basename(path)
    with (
        tempfile.TemporaryDirectory(prefix="hashmatch-") as folder,
        hashmatch.open(folder, "c") as database,
    ):
        database.create(name)
        with progress_bar("reading") as batches.on_read:
            database.load(name, batches)
        yield database, batches.faults
