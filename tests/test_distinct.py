"""The values of a column, each once: what NumPy finds."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hashmatch.distinct import distinct


@given(st.lists(st.integers(0, 2**63 - 1) | st.integers(0, 9)))
def test_values_are_there_once(values: list[int]) -> None:
    signed, unsigned = np.array(values, np.int64), np.array(values, np.uint64)
    for column in (signed, -signed):
        found = distinct(column)
        assert found.dtype == np.int64
        assert found.tolist() == sorted(set(column.tolist()))
    ids = distinct(unsigned)
    assert ids.dtype == np.uint64
    assert ids.tolist() == sorted(set(values))
    assert unsigned.tolist() == values
