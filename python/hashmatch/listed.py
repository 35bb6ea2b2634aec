"""What lists say beside their hashes, as columns of a report."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashmatch.formats.blocks import rows_at
from hashmatch.formats.model import Block, Part, Removal
from hashmatch.texts import json_text


class Texts(list[str]):
    """Some texts in one cell: a list in JSON, and a JSON list where a cell is text."""

    def __str__(self) -> str:
        return json_text(self)


Cell: TypeAlias = str | int | Texts


def names_of(block: Block) -> tuple[str, ...]:
    """The names of what a block says beside its hashes; a CSV's columns are in their own order."""
    said = {
        "ref": block.refs is not None,
        "contributor": block.contributor is not None,
        "labels": block.labels is not None,
        "quality": block.quality is not None,
        "time_ms": block.time_ms is not None,
    }
    known = (name for name, there in said.items() if there and name not in block.columns)
    return (*known, *block.columns)


def cell(block: Block, name: str, row: int) -> Cell:
    """What a block says under a name of a row; "" for nothing."""
    if name in block.columns:
        return block.columns[name][row]
    if name == "ref" and block.refs is not None:
        return block.refs[row]
    if name == "contributor":
        return block.contributor or ""
    if name == "labels" and block.labels is not None:
        return Texts(block.labels[row])
    numbers = {"quality": block.quality, "time_ms": block.time_ms}.get(name)
    number = None if numbers is None else numbers[row]
    return "" if number is None else number


class Listed:
    """The blocks of a list, one after another, without what it withdraws."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self._blocks = [block for block in blocks if len(block.rows)]
        #: Where each block begins, among all rows.
        self._begins = [0]
        for block in self._blocks:
            self._begins.append(self._begins[-1] + len(block.rows))
        #: The names of the columns: all that some block has.
        self.names = tuple(dict.fromkeys(name for each in blocks for name in names_of(each)))

    @classmethod
    def of(cls, parts: Iterable[Part], beside: bool = True) -> Listed:
        """A removal withdraws what comes before it. Without `beside`, hashes and refs are kept."""
        blocks: list[Block] = []
        #: How many blocks come before the last removal of an item.
        withdrawn: dict[tuple[str | None, str], int] = {}
        for part in parts:
            if isinstance(part, Removal):
                withdrawn.update(((part.contributor, ref), len(blocks)) for ref in part.refs)
            else:
                blocks.append(part if beside else replace(part, labels=None, columns={}))
        if withdrawn:
            blocks = [_kept(block, place, withdrawn) for place, block in enumerate(blocks)]
        return cls(blocks)

    def __len__(self) -> int:
        return self._begins[-1]

    @property
    def codes(self) -> NDArray[np.uint8]:
        """uint8[n, width]"""
        return np.concatenate([block.codes for block in self._blocks])

    @property
    def rows(self) -> NDArray[np.int64]:
        """int64[n]: row numbers in the list."""
        return np.concatenate([block.rows for block in self._blocks])

    def beside(self, places: NDArray[np.int64]) -> list[Sequence[Cell]]:
        """Each of the columns `names` of the rows at these places."""
        if not self.names:
            return []
        found = []
        for place in places.tolist():
            number = bisect_right(self._begins, place) - 1
            found.append((self._blocks[number], place - self._begins[number]))
        return [[cell(block, name, row) for block, row in found] for name in self.names]


def _kept(block: Block, place: int, withdrawn: dict[tuple[str | None, str], int]) -> Block:
    if block.refs is None:
        return block
    who = block.contributor
    kept = [row for row, ref in enumerate(block.refs) if withdrawn.get((who, ref), 0) <= place]
    return block if len(kept) == len(block.refs) else rows_at(block, np.array(kept, np.int64))
