"""`hashmatch hash` and `hashmatch scan`: files themselves instead of lists of their hashes."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from enum import StrEnum
from itertools import chain
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated

import typer

import hashmatch
from hashmatch.console import closed_pipe_is_quiet, count, duration, print_table, tell, tell_faults
from hashmatch.extras import need
from hashmatch.options import OnError
from hashmatch.progress import progress_bar
from hashmatch.texts import CsvWriter, json_text, open_output

# Not everybody hashes files: what only these commands need is imported by those that are run.
if TYPE_CHECKING:
    from hashmatch.hashing import FileHashes
    from hashmatch.scanning.findings import Finding
    from hashmatch.scanning.matching import Matcher
    from hashmatch.scanning.page import Summary

WorkersOption = Annotated[
    int,
    typer.Option(metavar="N", min=0, max=1024, help="Processes that hash; 0 is one for each core."),
]
TimeLimitOption = Annotated[
    float,
    typer.Option(
        metavar="SECONDS",
        min=0.1,
        help="A file that takes longer is given up; of a video, what is hashed by then is kept.",
    ),
]


class FileType(StrEnum):
    PDQ = "pdq"
    VPDQ = "vpdq"
    MD5 = "md5"
    SHA1 = "sha1"
    SHA256 = "sha256"


class ListFormat(StrEnum):
    CSV = "csv"
    JSONL = "jsonl"


#: What has which hash, and what it is called.
_KINDS = {FileType.PDQ: ("image", "picture"), FileType.VPDQ: ("video", "video")}
_REPORT_ENDINGS = (".csv", ".jsonl", ".html")


def hash(
    files: Annotated[list[str], typer.Argument(metavar="FILE", help="The files to hash.")],
    type: Annotated[
        FileType,
        typer.Option(help="pdq of pictures, vpdq of videos, or a digest of files of any kind."),
    ] = FileType.PDQ,
    format: Annotated[
        ListFormat | None,
        typer.Option(help="How the list is written.", show_default="csv, but jsonl for vpdq"),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Write to this file.", show_default="stdout"
        ),
    ] = None,
    on_error: Annotated[
        OnError,
        typer.Option(help="At a bad file stop, or skip it; skipped files are listed at the end."),
    ] = OnError.STOP,
    workers: WorkersOption = 0,
    time_limit: TimeLimitOption = 600.0,
) -> None:
    """Hash files, and write a list that `hashmatch match` and `hashmatch db load` read.

    Columns of CSV, and keys of JSON lines: hash, quality (PDQ only, 0 to 100: below 50 a picture
    has too little to tell it by) and name. In a database the name becomes the ref with
    `hashmatch db load --ref name`.

    vPDQ hashes a frame a second of each video. JSON lines then have ref and vpdq, the list of
    "hash,quality,seconds" that python-threatexchange calls a vPDQ string; CSV has the columns that
    `hashmatch db export` writes, and needs no options to be loaded.

    Values are those of python-threatexchange for the same file. Pictures need the extra "images" to
    be installed, videos "video".
    """
    from hashmatch.scanning.scan import hash_paths

    _require_libraries((type,))
    if format is None:
        format = ListFormat.JSONL if type is FileType.VPDQ else ListFormat.CSV
    begin = time.perf_counter()
    faults: list[str] = []
    with (
        closed_pipe_is_quiet(),
        open_output(output) as file,
        progress_bar("hashing", wanted=output is not None or not sys.stdout.isatty()) as bar,
    ):
        hashed = _sound(
            files, hash_paths(files, (type,), workers, time_limit, bar), type, on_error, faults
        )
        if format is ListFormat.JSONL:
            for name, each in hashed:
                file.write(f"{json_text(_list_record(name, each, type))}\n")
        else:
            rows = (row for name, each in hashed for row in _list_rows(name, each, type))
            CsvWriter(file).rows(chain([_list_columns(type)], rows))
    done = count(len(files) - len(faults), "file")
    tell(f"hashed {done}, {duration(time.perf_counter() - begin)}")
    tell_faults(faults, "file")


def _require_libraries(types: Sequence[str]) -> None:
    """ImportError names the extra, before any file is looked at."""
    if "pdq" in types:
        need("PIL", "images")
        need("pdqhash", "images")
    if "vpdq" in types:
        need("av", "video")


def _sound(
    files: Sequence[str],
    hashed: Iterator[FileHashes],
    type: FileType,
    on_error: OnError,
    faults: list[str],
) -> Iterator[tuple[str, FileHashes]]:
    """The files that have the hash in full, with their names."""
    from hashmatch.scanning.report import shown_name

    wanted, noun = _KINDS.get(type, ("file", "file"))
    for name, each in zip(files, hashed, strict=True):
        reason = each.reason
        if reason is None and wanted != "file" and each.kind != wanted:
            other = {"image": "picture: give --type pdq", "video": "video: give --type vpdq"}
            is_a = other.get(each.kind, "")
            reason = f"is a {is_a}" if is_a else f"is no {noun}"
        if reason is None:
            yield name, each
            continue
        fault = f"{shown_name(name)}: {reason}"
        if on_error is OnError.STOP:
            raise ValueError(f"{fault} (--on-error skip leaves bad files out)")
        faults.append(fault)


def _list_columns(type: FileType) -> Sequence[str]:
    if type is FileType.VPDQ:
        from hashmatch.formats.exported import EXPORT_COLUMNS

        return EXPORT_COLUMNS
    return ("hash", "quality", "name") if type is FileType.PDQ else ("hash", "name")


def _list_rows(name: str, hashes: FileHashes, type: FileType) -> Iterator[Sequence[object]]:
    from hashmatch.scanning.report import storable_name

    name = storable_name(name)
    if type is FileType.VPDQ:
        for frame in hashes.frames:
            digits = frame.code.tobytes().hex()
            yield name, "", "video", "pdq", digits, frame.quality, frame.time_ms, "[]", "[]"
    elif hashes.picture is not None:
        yield hashes.picture.code.tobytes().hex(), hashes.picture.quality, name
    else:
        yield hashes.digests[type].hex(), name


def _list_record(name: str, hashes: FileHashes, type: FileType) -> dict[str, object]:
    from hashmatch.scanning.report import storable_name
    from hashmatch.vpdq import frame_text

    if type is FileType.VPDQ:
        frames = [
            frame_text(frame.code.tobytes().hex(), frame.quality, frame.time_ms)
            for frame in hashes.frames
        ]
        return {"ref": storable_name(name), "vpdq": frames}
    row = next(iter(_list_rows(name, hashes, type)))
    return dict(zip(_list_columns(type), row, strict=True))


def scan(
    folder: Annotated[str, typer.Argument(metavar="FOLDER", help="Where the files are.")],
    db: Annotated[
        str, typer.Option(metavar="PATH", help="The folder of the database to match them against.")
    ],
    sets: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME", help="Only this set of the database; repeatable."),
    ] = None,
    verdicts: Annotated[
        list[str] | None,
        typer.Option(
            "--verdict",
            metavar="VERDICT",
            help="Only items on which somebody holds this verdict: positive, negative, "
            "investigate, or none for those without an opinion; repeatable.",
        ),
    ] = None,
    max_distance: Annotated[
        int | None,
        typer.Option(
            metavar="BITS",
            min=0,
            max=256,
            help="How many bits of PDQ may differ, inclusive.",
            show_default="each set's own",
        ),
    ] = None,
    min_quality: Annotated[
        int,
        typer.Option(
            metavar="N", min=0, max=100, help="Pictures and frames of less are not matched by PDQ."
        ),
    ] = 50,
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="A report: FILE.csv, FILE.jsonl or FILE.html."
        ),
    ] = None,
    workers: WorkersOption = 0,
    time_limit: TimeLimitOption = 600.0,
) -> None:
    """Hash every picture and video under a folder, and match them against a database.

    Files are told apart by their contents, whatever their names; symbolic links are not followed.
    Pictures are matched by PDQ (of an animation the first frame), videos by vPDQ, and files of any
    kind by those of MD5, SHA-1 and SHA-256 that the database holds. A file that cannot be read is
    listed with the reason, and the scan goes on.

    The report accounts for every file. CSV has a row for each match, and one for each file without;
    JSON lines have an object for each file. HTML is one page by itself, for a browser without a
    network: what matched, with thumbnails that are blurred until they are clicked, and what could
    not be read.

    Exit code: 0 if anything matched, 1 if nothing did, 2 after an error.
    """
    from hashmatch.scanning.matching import Asked, Matcher
    from hashmatch.scanning.scan import scan

    ending = _report_ending(output)
    begin = time.perf_counter()
    counts: Counter[str] = Counter()
    shown: list[Finding] = []
    with hashmatch.open(db) as database:
        matcher = Matcher(database, Asked(sets, verdicts, max_distance, min_quality))
        _require_libraries(matcher.types)

        def summary() -> Summary:
            return _summary(folder, matcher, counts, time.perf_counter() - begin)

        with (
            _report(output, ending, workers, summary) as write,
            progress_bar("scanning") as bar,
        ):
            for finding in scan(folder, matcher, workers, time_limit, bar):
                counts[finding.status] += 1
                counts[finding.hashes.kind] += 1
                if finding.matches:
                    shown.append(finding)
                write(finding)
        _print_matches(shown, folder)
        tell(_told(summary()))
    raise typer.Exit(0 if shown else 1)


def _report_ending(output: str | None) -> str | None:
    if output is None:
        return None
    ending = PurePath(output).suffix.lower()
    if ending not in _REPORT_ENDINGS:
        raise ValueError(f"{output}: a report is named {' or '.join(_REPORT_ENDINGS)}")
    return ending


@contextmanager
def _report(
    output: str | None, ending: str | None, workers: int, summary: Callable[[], Summary]
) -> Iterator[Callable[[Finding], object]]:
    """A function that takes the findings, one after another."""
    from hashmatch.scanning.findings import Status
    from hashmatch.scanning.page import page
    from hashmatch.scanning.report import COLUMNS, csv_rows, json_record
    from hashmatch.scanning.scan import thumbnails

    if output is None:
        yield lambda finding: None
        return
    with open_output(output) as file:
        if ending == ".csv":
            writer = CsvWriter(file)
            writer.rows([COLUMNS])
            yield lambda finding: writer.rows(csv_rows(finding))
        elif ending == ".jsonl":
            yield lambda finding: file.write(f"{json_text(json_record(finding))}\n")
        else:
            kept: list[Finding] = []
            told = (Status.MATCHED, Status.UNREADABLE)
            yield lambda each: kept.append(each) if each.status in told or each.reason else None
            matched = [finding for finding in kept if finding.matches]
            with progress_bar("thumbnails") as bar:
                pictures = thumbnails(matched, workers, progress=bar)
            file.writelines(page(summary(), kept, pictures))
    tell(f"wrote {output}")


def _summary(folder: str, matcher: Matcher, counts: Counter[str], seconds: float) -> Summary:
    from hashmatch.scanning.findings import Status
    from hashmatch.scanning.page import Summary

    return Summary(
        folder=folder,
        database=str(matcher.database.path),
        sets=matcher.asked.sets or [record.name for record in matcher.database.sets()],
        generation=matcher.database.generation,
        files=sum(counts[status] for status in Status),
        images=counts["image"],
        videos=counts["video"],
        matched=counts[Status.MATCHED],
        unreadable=counts[Status.UNREADABLE],
        seconds=seconds,
    )


def _told(summary: Summary) -> str:
    return (
        f"{summary.matched:,} of {count(summary.files, 'file')} matched: "
        f"{count(summary.images, 'picture')}, {count(summary.videos, 'video')}, "
        f"{summary.unreadable:,} unreadable, {duration(summary.seconds)}"
    )


def _print_matches(matched: Sequence[Finding], folder: str) -> None:
    from hashmatch.scanning.report import table_rows

    if matched:
        names = ("file", "type", "distance", "ref", "set", "contributor", "labels", "matches")
        print_table(names, table_rows(matched, folder))
