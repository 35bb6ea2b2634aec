"""Whether the rows of one item are beside each other in a list that is read block by block."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from hashmatch.formats.blocks import whole_items
from hashmatch.formats.model import Block, ListError, Part, Source


def by_item(parts: Iterable[Part], source: Source) -> Iterator[Part]:
    """The parts of a list of signals, each item's signals of a type in one block.

    For a database it notes every item in 16 bytes, and ListError names rows of one item that are
    apart, unless it was removed between them: those that come later would replace the earlier ones.
    """
    whole = whole_items(parts)
    if not source.for_database:
        yield from whole
        return
    hashes: list[NDArray[np.int64]] = []
    numbers: list[NDArray[np.int64]] = []
    removed: Counter[tuple[str | None, str]] = Counter()
    for part in whole:
        yield part
        if not isinstance(part, Block):
            removed.update((part.contributor, ref) for ref in part.refs)
        elif part.refs is not None:
            begins = _begins(list(part.refs))
            who, type = part.contributor, part.hash_type
            keys = (
                hash((type, who, ref, removed[who, ref] if removed else 0))
                for ref in map(part.refs.__getitem__, begins)
            )
            hashes.append(np.fromiter(keys, np.int64, len(begins)))
            numbers.append(part.rows[begins])
    if hashes:
        _require(source, np.concatenate(hashes), np.concatenate(numbers))


def _begins(refs: list[str]) -> list[int]:
    """Where the rows of an item begin."""
    return [row for row in range(len(refs)) if not row or refs[row] != refs[row - 1]]


def _require(source: Source, hashes: NDArray[np.int64], numbers: NDArray[np.int64]) -> None:
    order = np.argsort(hashes, kind="stable")
    again = np.flatnonzero(hashes[order][1:] == hashes[order][:-1])
    if len(again):
        first, second = numbers[order[again[0] : again[0] + 2]].tolist()
        raise ListError(
            f"{source.name}: the ref of row {second} is that of row {first} too, but the rows are "
            "not beside each other: sort the list by ref"
        )
