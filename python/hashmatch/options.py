"""Options that several commands have."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from hashmatch.hash_types import HASH_TYPES


class OnError(StrEnum):
    STOP = "stop"
    SKIP = "skip"


OnErrorOption = Annotated[
    OnError,
    typer.Option(help="At a bad row stop, or skip it; skipped rows are listed at the end."),
]
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
FormatOption = Annotated[
    str | None,
    typer.Option(
        metavar="FORMAT",
        help="What the list is; `hashmatch formats` lists the formats.",
        show_default="what its content shows",
    ),
]
ColumnOption = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="CSV column that holds the hash.", show_default="hash"),
]
RefOption = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        help="CSV column with the ref, by which its contributor knows an item.",
        show_default='"ref", or without one the hash itself',
    ),
]
LabelsOption = Annotated[
    str | None,
    typer.Option(
        metavar="COLUMN",
        help="CSV column with a label, or a JSON list of labels.",
        show_default='"labels", if there is one',
    ),
]
DelimiterOption = Annotated[
    str | None,
    typer.Option(
        metavar="CHARACTER",
        help="What separates the fields of a CSV.",
        show_default="what its header shows: comma, semicolon or tab",
    ),
]
ThreadsOption = Annotated[int, typer.Option(min=0, max=1024, help="0 is one for each core.")]
