"""Labels as lists write them in one cell: a label, or a JSON list of labels."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import TypeVar, overload

T = TypeVar("T")

_CACHED_TEXTS = 4_096
_CACHED_LENGTH = 1_000


class Labels(Sequence[Sequence[str]]):
    """The labels of the cells of a column, read when they are asked for."""

    def __init__(self, cells: Sequence[str]) -> None:
        self._cells = cells

    def __len__(self) -> int:
        return len(self._cells)

    @overload
    def __getitem__(self, place: int) -> Sequence[str]: ...
    @overload
    def __getitem__(self, place: slice) -> Labels: ...
    def __getitem__(self, place: int | slice) -> Sequence[str] | Labels:
        cells = self._cells[place]
        return labels_of(cells) if isinstance(cells, str) else Labels(cells)


def short_texts_cached(read: Callable[[str], T]) -> Callable[[str], T]:
    """What reads a cell, with the last answers kept: few cells differ, and they are short."""
    cached = lru_cache(_CACHED_TEXTS)(read)
    return lambda cell: cached(cell) if len(cell) <= _CACHED_LENGTH else read(cell)


@short_texts_cached
def labels_of(cell: str) -> Sequence[str]:
    """The labels that a cell has: a JSON list of them, or one."""
    if cell.startswith("["):
        try:
            labels = json.loads(cell)
        except (ValueError, RecursionError):
            labels = None
        if isinstance(labels, list) and all(isinstance(label, str) for label in labels):
            return tuple(labels)
    return (cell,) if cell else ()
