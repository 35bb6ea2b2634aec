"""Blocks cut and put together."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashmatch.formats.model import Block, Part

_PER_ROW = ("refs", "labels", "quality", "time_ms")


def rows_between(block: Block, begin: int, end: int) -> Block:
    """Some consecutive rows of a block; the opinions go with the first."""
    some = _each(block, lambda column: column[begin:end])
    return replace(some, opinions=()) if begin else some


def rows_at(block: Block, places: NDArray[np.int64]) -> Block:
    """The rows at these places."""
    listed = places.tolist()

    def taken(column: Any) -> Any:
        if isinstance(column, np.ndarray):
            return column[places]
        return [column[place] for place in listed]

    return _each(block, taken)


def _each(block: Block, change: Callable[[Any], Any]) -> Block:
    changed: dict[str, Any] = {
        name: None if (column := getattr(block, name)) is None else change(column)
        for name in _PER_ROW
    }
    return replace(
        block,
        codes=change(block.codes),
        rows=change(block.rows),
        columns={name: change(column) for name, column in block.columns.items()},
        **changed,
    )


def joined(blocks: Sequence[Block]) -> Block:
    """Blocks of one type, contributor, kind and list, one after another."""
    first = blocks[0]
    if len(blocks) == 1:
        return first
    columns: dict[str, Any] = {
        name: None
        if getattr(first, name) is None
        else [value for block in blocks for value in getattr(block, name)]
        for name in _PER_ROW
    }
    return replace(
        first,
        codes=np.concatenate([block.codes for block in blocks]),
        rows=np.concatenate([block.rows for block in blocks]),
        opinions=[each for block in blocks for each in block.opinions],
        columns={
            name: [text for block in blocks for text in block.columns[name]]
            for name in first.columns
        },
        **columns,
    )


def whole_items(parts: Iterable[Part]) -> Iterator[Part]:
    """Parts in which each item's signals of a type are in one block, of parts in which they are
    beside each other.
    """
    #: The last item of a block, which may go on in the next one, by type, contributor and kind.
    held: dict[tuple[str, str | None, str], list[Block]] = {}
    for part in parts:
        if not isinstance(part, Block):
            yield from map(joined, held.values())
            held.clear()
            yield part
            continue
        if part.refs is None or not len(part.rows):
            yield part
            continue
        key = (part.hash_type, part.contributor, part.kind)
        begin, end = 0, len(part.rows)
        before = held.pop(key, [])
        if before and before[0].refs is not None:
            begin = _run_end(part.refs, before[0].refs[0])
            before += [rows_between(part, 0, begin)] if begin else []
            if begin == end:
                held[key] = before
                continue
            yield joined(before)
        last = _run_begin(part.refs, begin)
        if last > begin:
            yield rows_between(part, begin, last)
        held[key] = [rows_between(part, last, end)]
    yield from map(joined, held.values())


def _run_end(refs: Sequence[str], ref: str) -> int:
    """How many of the first refs are that one."""
    end = 0
    while end < len(refs) and refs[end] == ref:
        end += 1
    return end


def _run_begin(refs: Sequence[str], first: int) -> int:
    """Where the refs that are the last one begin, at `first` or later."""
    begin = len(refs) - 1
    last = refs[begin]
    while begin > first and refs[begin - 1] == last:
        begin -= 1
    return begin
