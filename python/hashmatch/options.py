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
ColumnOption = Annotated[str, typer.Option(metavar="NAME", help="CSV column that holds the hash.")]
ThreadsOption = Annotated[int, typer.Option(min=0, max=1024, help="0 is one for each core.")]
