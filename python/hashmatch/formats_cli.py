"""The commands about formats of lists."""

from __future__ import annotations

from dataclasses import replace
from pathlib import PurePath
from typing import Annotated

import typer

from hashmatch.console import closed_pipe_is_quiet, count, print_table, tell, tell_faults
from hashmatch.formats.model import Block, Options, Part
from hashmatch.formats.reading import HashList
from hashmatch.formats.registry import EXTRAS, FORMATS, SUFFIXES, WRITERS, writer_named
from hashmatch.hash_types import HASH_TYPES
from hashmatch.options import (
    ColumnOption,
    DelimiterOption,
    LabelsOption,
    OnError,
    OnErrorOption,
    RefOption,
)
from hashmatch.progress import progress_bar
from hashmatch.texts import open_output


def formats() -> None:
    """List the formats of lists that are read, and those that are written too.

    What a list is shows in its first bytes, not in its name. Each may be compressed by gzip, or by
    zstd (needs the extra zstd).
    """
    written = {writer.name for writer in WRITERS}
    print_table(
        ("format", "what it is", "use", "needs"),
        [
            (
                format.name,
                format.about,
                "read, written" if format.name in written else "read",
                f"hashmatch[{EXTRAS[format.name]}]" if format.name in EXTRAS else "",
            )
            for format in FORMATS
        ],
        wrapped=True,
    )


def convert(
    source: Annotated[
        str, typer.Argument(metavar="IN", help='The list to read; "-" is standard input.')
    ],
    target: Annotated[
        str, typer.Argument(metavar="OUT", help='The file to write; "-" is standard output.')
    ],
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="FORMAT",
            help="What IN is; `hashmatch formats` lists the formats.",
            show_default="what its content shows",
        ),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(metavar="FORMAT", help="What to write.", show_default="by OUT's ending"),
    ] = None,
    type: Annotated[
        str | None,
        typer.Option(
            metavar="TYPE",
            help=f"Kind of hash: {', '.join(HASH_TYPES)}.",
            show_default="pdq, or all that IN names",
        ),
    ] = None,
    ref: RefOption = None,
    labels: LabelsOption = None,
    column: ColumnOption = None,
    delimiter: DelimiterOption = None,
    on_error: OnErrorOption = OnError.STOP,
) -> None:
    """Write a list anew in another format, which loads to the same state as the list itself.

    Columns of a list that no format of ours has a place for are left out.
    """
    writer = writer_named(to or _by_ending(target))
    options = Options(type, column, ref, labels, delimiter)
    hash_list = HashList(source, from_, options, on_error is OnError.SKIP)
    output = None if target == "-" else target
    with (
        closed_pipe_is_quiet(),
        open_output(output) as file,
        progress_bar("converting", wanted=output is not None) as hash_list.on_read,
    ):
        written = writer.write((_said_once(part, options) for part in hash_list), file)
    tell(f"wrote {'<stdout>' if output is None else output}: {count(written, 'record')}")
    tell_faults(hash_list.faults)


def _said_once(part: Part, options: Options) -> Part:
    """Without the columns that a CSV's refs and labels are from."""
    if not isinstance(part, Block):
        return part
    said = {
        options.ref or "ref": part.refs is not None,
        options.labels or "labels": part.labels is not None,
    }
    columns = {name: texts for name, texts in part.columns.items() if not said.get(name)}
    return replace(part, columns=columns)


def _by_ending(target: str) -> str:
    ending = PurePath(target).suffix.lower()
    if ending not in SUFFIXES:
        names = ", ".join(writer.name for writer in WRITERS)
        raise ValueError(f"{target}: does not end as a format does: give --to, one of {names}")
    return SUFFIXES[ending]
