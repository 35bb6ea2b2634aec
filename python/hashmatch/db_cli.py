"""The `hashmatch db` commands: each parses, calls, and says what happened.

Exit codes: 0 done, 1 faults that `check` found, 2 an error.
"""

from __future__ import annotations

import sys
from datetime import datetime
from enum import StrEnum
from itertools import chain, islice
from typing import TYPE_CHECKING, Annotated, Literal, cast

import typer

import hashmatch
from hashmatch.console import (
    closed_pipe_is_quiet,
    count,
    print_table,
    size,
    tell,
    tell_faults,
    tell_lines,
)
from hashmatch.hash_types import HASH_TYPES
from hashmatch.options import (
    ColumnOption,
    DelimiterOption,
    FormatOption,
    LabelsOption,
    OnError,
    OnErrorOption,
    RefOption,
)
from hashmatch.progress import progress_bar
from hashmatch.texts import open_output

# Not everybody has a database: what only these commands need is imported by those that are run.
if TYPE_CHECKING:
    from hashmatch.database import Counts, HistoryRow, SetRecord
    from hashmatch.database.lookups import LookupRow

db = typer.Typer(
    no_args_is_help=True,
    help="Hash sets that change while they are searched, in a folder. `hashmatch match` searches "
    "them.",
)

#: A delta that is loaded into an empty set withdraws much that is not there.
_LISTED_REJECTED = 10

PathArgument = Annotated[str, typer.Argument(metavar="PATH", help="The database's folder.")]
SetArgument = Annotated[str, typer.Argument(metavar="SET", help="The name of a hash set.")]
ContributorOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="Whose items they are.", show_default="the set's owner"),
]
WhoOption = Annotated[str, typer.Option(metavar="NAME", help="Who does this, for the history.")]


class KindName(StrEnum):
    IMAGE = "image"
    VIDEO = "video"
    FILE = "file"


@db.command()
def create(
    path: Annotated[str, typer.Argument(metavar="PATH", help="The folder; made if missing.")],
    set: Annotated[str, typer.Argument(metavar="SET", help="The name of the new hash set.")],
    contributor: Annotated[
        str,
        typer.Option(metavar="NAME", help="The owner: who contributes where nobody else is named."),
    ] = "",
    max_distance: Annotated[
        list[str] | None,
        typer.Option(
            metavar="TYPE=BITS",
            help="How many bits a match of that hash type may differ by, inclusive; repeatable.",
            show_default="the type's: pdq=31, phash=8, ...",
        ),
    ] = None,
) -> None:
    """Make an empty hash set, and the database if there is none."""
    distances = dict(_distance(text) for text in max_distance or [])
    with hashmatch.open(path, "c") as database:
        database.create(set, contributor=contributor, max_distance=distances)
    tell(f"created set {set!r} in {path}")


def _distance(text: str) -> tuple[str, int]:
    type, _, bits = text.partition("=")
    if not (bits.isascii() and bits.isdecimal()):
        raise ValueError(f"--max-distance must be TYPE=BITS, such as pdq=31, not {text!r}")
    return type, int(bits)


@db.command()
def load(
    path: PathArgument,
    set: SetArgument,
    hashes: Annotated[str, typer.Argument(metavar="LIST", help='A list of hashes; "-" is stdin.')],
    type: Annotated[
        str | None,
        typer.Option(
            metavar="TYPE",
            help=f"Kind of hash: {', '.join(HASH_TYPES)}.",
            show_default="pdq, or all that the list names",
        ),
    ] = None,
    format: FormatOption = None,
    ref: RefOption = None,
    labels: LabelsOption = None,
    contributor: ContributorOption = None,
    kind: Annotated[
        KindName | None, typer.Option(help="What the items are.", show_default="image")
    ] = None,
    column: ColumnOption = None,
    delimiter: DelimiterOption = None,
    on_error: OnErrorOption = OnError.STOP,
    who: WhoOption = "",
) -> None:
    """Add a list to a hash set, in one step: all of it or, after an error, nothing.

    An item whose ref the set has is updated, and one that the list says is withdrawn is removed.
    Rows of one ref, such as a video's frames, are one item, and have to be beside each other. What
    `hashmatch db export` wrote needs no options and is read back as it was.
    """
    from hashmatch.database import BatchList, Kind

    skip = on_error is OnError.SKIP
    batches = BatchList(
        hashes,
        type,
        column,
        ref,
        labels,
        contributor,
        cast(Kind | None, kind),
        skip,
        delimiter=delimiter,
        format=format,
    )
    with hashmatch.open(path, "r+") as database:
        try:
            with progress_bar("loading") as batches.on_read:
                on_fault: Literal["skip", "raise"] = "skip" if skip else "raise"
                counts = database.load(set, batches, who=who, on_error=on_fault)
        except ValueError:
            tell_faults(batches.faults)
            raise
        # What is done is told first: the folding is not needed for it to stand.
        tell(f"loaded {'<stdin>' if hashes == '-' else hashes} into {set!r}: {_changes(counts)}")
        tell_faults(batches.faults)
        if counts.rejected:
            tell(f"rejected {count(len(counts.rejected), 'row')}:")
            tell_lines(
                [f"row {row}: {reason}" for row, reason in counts.rejected], _LISTED_REJECTED
            )
        with progress_bar("folding"):
            database.fold()


@db.command()
def remove(
    path: PathArgument,
    set: SetArgument,
    refs: Annotated[
        str,
        typer.Argument(
            metavar="REFS", help='Refs, one a line, or CSV with a column "ref"; "-" is stdin.'
        ),
    ],
    contributor: ContributorOption = None,
    who: WhoOption = "",
) -> None:
    """Remove items from a hash set, in one step. Refs that are not there are listed."""
    from hashmatch.database import read_refs

    texts = read_refs(refs)
    with hashmatch.open(path, "r+") as database:
        with progress_bar("removing"), database.change(set, who=who) as change:
            change.remove(refs=texts, contributor=contributor)
        tell(f"removed {count(change.counts.removed, 'item')} from {set!r}")
        if missing := [reason for _, reason in change.counts.rejected]:
            tell(f"{count(len(missing), 'ref')} not there:")
            tell_lines(missing)
        with progress_bar("folding"):
            database.fold()


@db.command()
def sets(path: PathArgument) -> None:
    """List the hash sets."""
    with hashmatch.open(path) as database:
        records = database.sets()
    names = ("set", "contributor", "items", "signals", "within", "changed (UTC)", "checkpoint")
    print_table(
        names,
        [
            (
                record.name,
                record.contributor,
                record.items,
                record.signals,
                _distances(record),
                record.changed,
                record.checkpoint,
            )
            for record in records
        ],
    )


def _distances(record: SetRecord) -> str:
    """Those of the types that the set has, and those that are not the usual ones."""
    shown = (
        f"{name} {bits}"
        for name, bits in record.max_distance.items()
        if name in record.hash_types or bits != HASH_TYPES[name].max_distance
    )
    return ", ".join(shown)


@db.command()
def status(path: PathArgument) -> None:
    """Say what is held and how, and who writes."""
    with hashmatch.open(path) as database:
        state = database.status()
    facts = {
        "path": str(state.path),
        "generation": f"{state.generation:,}",
        "sets": f"{state.sets:,}",
        "items": f"{state.items:,}",
        "writer": state.writer or "none",
        "trouble": state.trouble or "none",
    }
    with closed_pipe_is_quiet():
        for name, value in facts.items():
            print(f"{name:10}  {value}")
        sys.stdout.flush()
    if state.types:
        print()
        print_table(
            ("type", "signals", "segments", "unfolded", "size"),
            [
                (name, held.signals, held.segments, held.unfolded, size(held.size_bytes))
                for name, held in state.types.items()
            ],
        )


@db.command()
def check(path: PathArgument) -> None:
    """Read a database through and compare everything in it with everything else.

    Exit code: 0 if nothing is wrong, 1 if something is, 2 after an error.
    """
    with hashmatch.open(path) as database, progress_bar("checking") as bar:
        faults = database.check(bar)
    if faults:
        tell(f"{path}: {count(len(faults), 'fault')}:")
        tell_lines(faults)
        raise typer.Exit(1)
    tell(f"{path}: nothing wrong")


@db.command()
def repair(path: PathArgument) -> None:
    """Build all segments anew from the catalog, which itself stays as it is."""
    with hashmatch.open(path, "r+") as database, progress_bar("repairing"):
        database.repair()
    tell(f"{path}: all segments were built anew")


@db.command()
def compact(path: PathArgument) -> None:
    """Fold the signals of each hash type into one segment, for the fastest searches."""
    with hashmatch.open(path, "r+") as database, progress_bar("compacting"):
        database.compact()
        segments = sum(held.segments for held in database.status().types.values())
    tell(f"{path}: {count(segments, 'segment')}")


@db.command()
def export(
    path: PathArgument,
    set: SetArgument,
    output: Annotated[
        str | None,
        typer.Option(
            "--output", "-o", metavar="FILE", help="Write to this file.", show_default="stdout"
        ),
    ] = None,
    format: Annotated[
        str, typer.Option(metavar="FORMAT", help="`hashmatch formats` lists those written.")
    ] = "csv",
) -> None:
    """Write a hash set as a list, for `hashmatch db load`, which reads it back as it was.

    CSV has one row a signal and the columns ref, contributor, kind, type, hash, quality, time_ms,
    labels (a JSON list), opinions (a JSON list of objects with contributor, verdict, labels).
    Opinions on refs that no item has stand in rows without a hash at the end.
    """
    from hashmatch.database import export_parts
    from hashmatch.formats.registry import writer_named

    writer = writer_named(format)
    with (
        hashmatch.open(path) as database,
        closed_pipe_is_quiet(),
        open_output(output) as file,
        progress_bar("exporting", wanted=output is not None),
    ):
        parts = export_parts(database.contents(set))
        first = list(islice(parts, 1))  # If there is no such set, nothing is written.
        written = writer.write(chain(first, parts), file)
    tell(f"exported {set!r}: {count(written, 'row' if format == 'csv' else 'record')}")


@db.command()
def history(
    path: PathArgument,
    set: Annotated[str | None, typer.Argument(metavar="SET", help="Only of this hash set.")] = None,
    ref: Annotated[
        str | None, typer.Option(metavar="REF", help="Only changes that concerned this ref.")
    ] = None,
    changes: Annotated[bool, typer.Option("--changes", help="Only the changes.")] = False,
    lookups: Annotated[bool, typer.Option("--lookups", help="Only the lookups.")] = False,
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="At most so many rows.")] = 100,
) -> None:
    """List the changes, and who looked up how much, the newest first.

    Lookups are those of a database that is served (`hashmatch serve`): for each caller, minute and
    hash type how many hashes they were, and of which sets how many signals matched. With SET they
    are those that matched some of it. What was looked up is not kept.
    """
    from hashmatch.database.lookups import read_lookups

    if lookups and (changes or ref is not None):
        raise ValueError("--lookups goes with neither --changes nor --ref: give it alone")
    rows: list[HistoryRow | LookupRow] = []
    with hashmatch.open(path) as database:
        if lookups:
            # That of a set which is not there is an error, not an empty list.
            database.history(set, limit=1)
        else:
            rows += database.history(set, ref, limit)
        if not changes and ref is None:
            rows += read_lookups(database.path, set, limit)
    rows = sorted(rows, key=lambda row: row.time, reverse=True)[:limit]
    print_table(
        ("generation", "time (UTC)", "set", "who", "what"),
        [cells for row in rows for cells in _happened(row, ref is not None)],
    )


def _happened(row: HistoryRow | LookupRow, events: bool) -> list[tuple[str | int | datetime, ...]]:
    """The lines that say it."""
    from hashmatch.database import HistoryRow

    if isinstance(row, HistoryRow):
        whats = _events(row) if events else [_changes(row)]
        return [(row.generation, row.time, row.set, row.who, what) for what in whats]
    sets = ", ".join(f"{name} ({matches:,})" for name, matches in sorted(row.matches.items()))
    what = f"looked up {count(row.hashes, f'{row.hash_type} hash')}"
    matched = sum(row.matches.values())
    what += f" in {count(row.requests, 'request')}, {count(matched, 'signal')} matched"
    return [("", row.time, sets, row.who, what)]


def _changes(row: Counts | HistoryRow) -> str:
    rejected = row.rejected if isinstance(row.rejected, int) else len(row.rejected)
    numbers = {
        "added": row.added,
        "updated": row.updated,
        "removed": row.removed,
        "unchanged": row.unchanged,
        "opinions": row.opinions,
        "rejected": rejected,
    }
    return ", ".join(f"{number:,} {name}" for name, number in numbers.items() if number) or "none"


def _events(row: HistoryRow) -> list[str]:
    return [
        " ".join(
            (
                event.verdict or event.action,
                f"by {event.contributor}" if event.contributor else "",
                f"({', '.join(event.labels)})" if event.labels else "",
            )
        )
        for event in row.events
    ]
