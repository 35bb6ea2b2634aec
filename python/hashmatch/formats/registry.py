"""The formats there are."""

from __future__ import annotations

from collections.abc import Mapping

from hashmatch.codes import hex_fault
from hashmatch.formats import (
    arrow_list,
    csv_list,
    hex_lines,
    jsonl,
    ncmec_xml,
    npy,
    project_vic_json,
    stopncii_json,
    tat_json,
    threatexchange_cache,
    threatexchange_json,
    threatexchange_local,
    typed_csv,
    vpdq,
    vpdq_text,
)
from hashmatch.formats.lines import first_line, plain_text
from hashmatch.formats.model import Format, Options, Writer
from hashmatch.hash_types import hash_type

#: Each recognises its own files among those that none before it does.
FORMATS: tuple[Format, ...] = (
    npy,
    arrow_list.PARQUET,
    arrow_list.IPC,
    ncmec_xml.FORMAT,
    stopncii_json.FORMAT,
    tat_json.FORMAT,
    threatexchange_json.FORMAT,
    project_vic_json.FORMAT,
    vpdq.FORMAT,
    vpdq_text.FORMAT,
    jsonl.FORMAT,
    typed_csv,
    threatexchange_cache,
    threatexchange_local,
    csv_list,
    hex_lines,
)
WRITERS: tuple[Writer, ...] = (csv_list, jsonl.FORMAT, vpdq.FORMAT)

#: The extra that a format needs, for those that need one.
EXTRAS: Mapping[str, str] = {"parquet": "arrow", "arrow": "arrow"}
#: The format that a file is written in whose name ends like this.
SUFFIXES: Mapping[str, str] = {
    ".csv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".json": "vpdq-json",
}


def format_named(name: str) -> Format:
    """The format of that name. ValueError lists the names there are."""
    for format in FORMATS:
        if format.name == name:
            return format
    names = ", ".join(format.name for format in FORMATS)
    raise ValueError(f"unknown format {name!r}: give one of {names}")


def detected(head: bytes, options: Options, path: str) -> Format:
    """The format of a file that begins like this."""
    format = next(format for format in FORMATS if format.recognises(head))
    return csv_list if format is hex_lines and _is_header(head, options, path) else format


def _is_header(head: bytes, options: Options, path: str) -> bool:
    """Whether the first line is a header, as the options have it, rather than a faulty hash."""
    first = plain_text(first_line(head))
    if not first or first.strip('"') == (options.column or "hash"):
        return bool(first)
    if options.delimiter and options.delimiter in first:
        return True
    # Only the file's name can tell a header without the wanted column from a faulty hash.
    named_csv = path.lower().endswith(".csv")
    return named_csv and hex_fault(first, hash_type(options.hash_type or "pdq")) is not None


def writer_named(name: str) -> Writer:
    """The writer of that name. ValueError lists the names there are."""
    for writer in WRITERS:
        if writer.name == name:
            return writer
    names = ", ".join(writer.name for writer in WRITERS)
    raise ValueError(f"{name!r} is no format that is written: give one of {names}")
