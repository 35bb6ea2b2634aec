"""Columns of numbers that only grow, read by some threads while another adds to them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


class Column:
    """Numbers of one type. What `values` has returned never changes."""

    __slots__ = ("_room", "_size")

    def __init__(self, dtype: type[np.generic], values: ArrayLike = ()) -> None:
        self._room: NDArray[Any] = np.array(values, dtype)
        self._size = len(self._room)

    @property
    def values(self) -> NDArray[Any]:
        # The size first: room that was made later holds all that was there before.
        size = self._size
        return self._room[:size]

    def extend(self, values: NDArray[Any]) -> None:
        end = self._size + len(values)
        if end > len(self._room):
            room = np.empty(max(end, 2 * len(self._room)), self._room.dtype)
            room[: self._size] = self.values
            self._room = room
        self._room[self._size : end] = values
        self._size = end
