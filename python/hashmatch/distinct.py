"""The values of a column, each once."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

_Value = TypeVar("_Value", np.int64, np.uint64)


def distinct(values: NDArray[_Value]) -> NDArray[_Value]:
    """The values, ascending, each once.

    `np.unique` finds the same, but with a hash table, which from 100,000 values on takes a hundred
    times as long.
    """
    ordered = np.sort(values)
    new = np.ones(len(ordered), bool)
    np.not_equal(ordered[1:], ordered[:-1], out=new[1:])
    return ordered[new]
