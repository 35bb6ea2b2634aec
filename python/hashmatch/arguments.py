"""Checks of arguments that are whole numbers: distances, counts and ids. Nothing is rounded."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any, SupportsIndex, TypeAlias

import numpy as np
from numpy.typing import NDArray

#: One id or many; an array may be of any integer type.
Ids: TypeAlias = "SupportsIndex | Sequence[SupportsIndex] | NDArray[np.integer[Any]]"

MAX_ID = 2**64 - 1
MAX_COUNT = 2**63 - 1


def whole(value: SupportsIndex, name: str, low: int, high: int) -> int:
    """`value` as an int in low..high. TypeError or ValueError says what is allowed."""
    if type(value) is int and low <= value <= high:
        return value
    top = "" if high == MAX_COUNT else f" and at most {high:,}"
    allowed = f"{name} must be a whole number of at least {low:,}{top}"
    # A bool and an array of one element can stand for an index too, but neither is meant as one.
    if isinstance(value, bool | np.bool_ | np.ndarray):
        raise TypeError(f"{allowed}, not {value!r}")
    try:
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{allowed}, not {value!r}") from None
    if not low <= number <= high:
        raise ValueError(f"{allowed}, not {number}")
    return number


def as_ids(ids: Ids) -> NDArray[np.uint64]:
    """Ids as a C-contiguous uint64[n]. TypeError or ValueError names the row of a bad one."""
    if isinstance(ids, np.ndarray):
        return _array_ids(ids)
    if isinstance(ids, str | bytes | bytearray | memoryview) or not isinstance(ids, Sequence):
        return np.array([whole(ids, "an id", 0, MAX_ID)], dtype=np.uint64)  # type: ignore[arg-type]
    if set(map(type, ids)) <= {int, np.uint64, np.int64}:
        try:
            return np.fromiter(ids, np.uint64, len(ids))
        except OverflowError:
            pass  # The loop below finds the row.
    return np.array(
        [whole(value, f"row {row}: an id", 0, MAX_ID) for row, value in enumerate(ids)],
        dtype=np.uint64,
    )


def _array_ids(ids: NDArray[Any]) -> NDArray[np.uint64]:
    if isinstance(ids, np.ma.MaskedArray):
        raise TypeError("ids are a masked array: give ids.compressed()")
    if ids.dtype.kind not in "ui":
        raise TypeError(f"ids must be an array of integers, not {ids.dtype}: give uint64[n]")
    if ids.ndim != 1:
        raise ValueError(f"ids must have one dimension, not shape {ids.shape}: give uint64[n]")
    if ids.dtype.kind == "i" and ids.size and ids.min() < 0:
        row = int(np.argmax(ids < 0))
        raise ValueError(f"row {row}: an id must be a whole number of at least 0, not {ids[row]}")
    # Only widens or swaps bytes: every value that passed the check above is kept as it is.
    return np.ascontiguousarray(ids, dtype=np.uint64)
