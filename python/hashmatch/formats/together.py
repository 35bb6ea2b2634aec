"""Whether the rows of one item are beside each other in a list that is read block by block."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Iterator, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from hashmatch.formats.blocks import whole_items
from hashmatch.formats.model import Block, ListError, Part, Source


class Together:
    """Notes every item in 16 bytes: rows that come later would else replace the earlier ones."""

    def __init__(self, name: str, unit: str) -> None:
        """`unit` is what the numbers of rows count, in the list called `name`."""
        self._name = name
        self._unit = unit
        self._last: Hashable = None
        self._hashes: list[NDArray[np.int64]] = []
        self._numbers: list[NDArray[np.int64]] = []

    def note(self, items: Sequence[Hashable], numbers: Sequence[int] | NDArray[np.int64]) -> None:
        """The item of each row, None for none."""
        before = chain([self._last], items)
        begins = [
            at
            for at, (last, item) in enumerate(zip(before, items, strict=False))
            if item is not None and item != last
        ]
        if items:
            self._last = items[-1]
        hashes = (hash(items[at]) for at in begins)
        self._hashes.append(np.fromiter(hashes, np.int64, len(begins)))
        self._numbers.append(np.asarray(numbers, np.int64)[begins])

    def require(self) -> None:
        """ListError names rows of one item that are apart."""
        if not self._hashes:
            return
        hashes, numbers = np.concatenate(self._hashes), np.concatenate(self._numbers)
        order = np.argsort(hashes, kind="stable")
        again = np.flatnonzero(hashes[order][1:] == hashes[order][:-1])
        if len(again):
            first, second = numbers[order[again[0] : again[0] + 2]].tolist()
            raise ListError(
                f"{self._name}: the ref of {self._unit} {second} is that of {self._unit} {first} "
                "too, but the rows are not beside each other: sort the list by ref"
            )


def by_item(parts: Iterable[Part], source: Source) -> Iterator[Part]:
    """The parts of a list of signals, each item's signals of a type in one block.

    For a database, ListError names rows of one item that are apart, unless the item was removed
    between them.
    """
    whole = whole_items(parts)
    if not source.for_database:
        yield from whole
        return
    together = Together(source.name, "row")
    removed: Counter[tuple[str | None, str]] = Counter()
    for part in whole:
        yield part
        if not isinstance(part, Block):
            removed.update((part.contributor, ref) for ref in part.refs)
        elif part.refs is not None:
            type, who = part.hash_type, part.contributor
            items = [(type, who, ref, removed[who, ref] if removed else 0) for ref in part.refs]
            together.note(items, part.rows)
    together.require()
