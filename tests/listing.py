"""Lists in memory, read by a format's reader, in a form that tests compare."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hashmatch.codes import encode_hex
from hashmatch.formats import Block, Format, ListError, Options, Part, Removal, Source
from hashmatch.formats.registry import detected

NAME = "list"


def source_of(
    content: bytes, options: Options | None = None, skip: bool = False, for_database: bool = False
) -> Source:
    file = io.BufferedReader(io.BytesIO(content))
    return Source(NAME, file, options or Options(), None, skip, for_database)


def parts_of(
    content: bytes,
    format: Format | None = None,
    options: Options | None = None,
    skip: bool = False,
    for_database: bool = False,
) -> tuple[list[Part], list[str]]:
    """The parts of a list, which is of the format that it looks like or of the given one; and its
    faults.
    """
    source = source_of(content, options, skip, for_database)
    chosen = format or detected(content[:65_536], source.options, NAME)
    return list(chosen.read(source)), source.faults


def plain(parts: list[Part]) -> list[tuple[Any, ...]]:
    """What they say row by row, with neighbouring blocks of one kind as if they were one."""
    rows: list[tuple[Any, ...]] = []
    for part in parts:
        rows += _removed(part) if isinstance(part, Removal) else _signals(part)
    return rows


def _removed(part: Removal) -> list[tuple[Any, ...]]:
    return [
        ("removed", row, ref, part.contributor)
        for row, ref in zip(part.rows.tolist(), part.refs, strict=True)
    ]


def _signals(block: Block) -> list[tuple[Any, ...]]:
    assert len(block.codes) == len(block.rows)
    columns = {name: list(texts) for name, texts in block.columns.items()}
    beside = [block.refs, block.labels, block.quality, block.time_ms, *columns.values()]
    assert all(column is None or len(column) == len(block.rows) for column in beside)
    return [
        (
            block.hash_type,
            row,
            digits,
            None if block.refs is None else block.refs[place],
            None if block.labels is None else tuple(block.labels[place]),
            block.contributor,
            block.kind,
            None if block.quality is None else block.quality[place],
            None if block.time_ms is None else block.time_ms[place],
            {name: texts[place] for name, texts in columns.items()},
        )
        for place, (row, digits) in enumerate(
            zip(block.rows.tolist(), encode_hex(block.codes), strict=True)
        )
    ]


def outcome(
    content: bytes, format: Format | None = None, options: Options | None = None, skip: bool = False
) -> tuple[list[tuple[Any, ...]], list[str]] | str:
    """What is read, with the faults; or the error's words."""
    try:
        parts, faults = parts_of(content, format, options, skip, for_database=True)
        return plain(parts), faults
    except ListError as error:
        return str(error)


@contextmanager
def memory_within(most_bytes: int) -> Iterator[None]:
    """What is done within takes at most so much more memory than there was before, at any time."""
    # So that the kernel forgets the peak of what was before.
    Path("/proc/self/clear_refs").write_text("5")
    before = _status_bytes("VmRSS")
    yield
    assert _status_bytes("VmHWM") - before <= most_bytes


def _status_bytes(name: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith(f"{name}:"))) << 10
