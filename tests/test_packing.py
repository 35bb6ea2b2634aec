"""Signals out of their blobs: one by one and in columns, which say the same of sound blobs and
refuse the same damaged ones.
"""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from hashmatch._core import FormatError
from hashmatch.database.packing import (
    TYPE_NAMES,
    Signals,
    one_detail,
    pack_runs,
    replace_run,
)
from hashmatch.hash_types import HASH_TYPES

Detail = tuple[int, int, int, bytes]


def _numbers(count: int, most: int) -> st.SearchStrategy[list[int] | None]:
    return st.none() | st.lists(st.integers(-1, most), min_size=count, max_size=count)


def _column(numbers: list[int] | None) -> NDArray[np.int64] | None:
    return None if numbers is None else np.array(numbers, np.int64)


@st.composite
def runs(draw: st.DrawFn) -> tuple[bytes, list[Detail]]:
    """A run, and what it holds."""
    number = draw(st.sampled_from(sorted(TYPE_NAMES)))
    count = draw(st.integers(1, 4))
    width = HASH_TYPES[TYPE_NAMES[number]].width
    codes = np.frombuffer(draw(st.binary(min_size=count * width, max_size=count * width)), np.uint8)
    quality = draw(_numbers(count, 100))
    time_ms = draw(_numbers(count, 2**32 - 2))
    (run,) = pack_runs(
        number, codes.reshape(count, width), _column(quality), _column(time_ms), np.array([count])
    )
    held = [
        (
            number,
            -1 if quality is None else quality[place],
            -1 if time_ms is None else time_ms[place],
            codes[place * width : (place + 1) * width].tobytes(),
        )
        for place in range(count)
    ]
    return run, held


@st.composite
def blobs(draw: st.DrawFn) -> tuple[bytes, list[Detail]]:
    """An item's blob, and the signal in each place."""
    blob, held = b"", dict[int, list[Detail]]()
    for run, details in draw(st.lists(runs(), min_size=1, max_size=4)):
        blob, _ = replace_run(blob, run)
        held[details[0][0]] = details
    return blob, [detail for number in sorted(held) for detail in held[number]]


def by_columns(blob: bytes, place: int) -> Detail | None:
    """What columns say of it; None if they refuse the blob."""
    try:
        found = Signals.of([blob], np.array([7])).details(np.array([0]), np.array([place]))
    except FormatError as error:
        assert "7" in str(error)
        return None
    return (int(found.types[0]), int(found.quality[0]), int(found.time_ms[0]), found.codes[0])


def by_itself(blob: bytes, place: int) -> Detail | None:
    try:
        return one_detail(blob, 7, place)
    except FormatError as error:
        assert "7" in str(error)
        return None


@given(blobs())
def test_each_signal_of_an_item(packed: tuple[bytes, list[Detail]]) -> None:
    blob, held = packed
    assert [one_detail(blob, 7, place) for place in range(len(held))] == held
    assert [by_columns(blob, place) for place in range(len(held))] == held
    assert by_itself(blob, len(held)) is None and by_columns(blob, len(held)) is None


@settings(max_examples=300)
@given(blobs(), st.data())
def test_damaged_blobs(packed: tuple[bytes, list[Detail]], data: st.DataObject) -> None:
    blob, held = packed
    mutated = bytearray(blob[: data.draw(st.integers(0, len(blob)))])
    for _ in range(data.draw(st.integers(0, 3))):
        if mutated:
            mutated[data.draw(st.integers(0, len(mutated) - 1))] = data.draw(st.integers(0, 255))
    place = data.draw(st.integers(0, len(held)))
    assert by_itself(bytes(mutated), place) == by_columns(bytes(mutated), place)
