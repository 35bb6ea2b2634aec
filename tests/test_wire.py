"""The packed form of answers: what is encoded comes back, and damage is an error."""

from __future__ import annotations

import json
import struct
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashmatch import wire
from hashmatch.hash_types import HASH_TYPES
from hashmatch.vocabulary import KINDS, VERDICT_BITS
from mutation import mutants

_WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_NUMBERS = st.none() | st.integers(0, 100)
_ABOUT: dict[str, st.SearchStrategy[Any]] = {
    "first": st.integers(0, 2**63),
    "type": st.sampled_from([*HASH_TYPES]),
    "hash": _WORDS,
    "ref": _WORDS,
    "set": _WORDS,
    "contributor": _WORDS,
    "kind": st.sampled_from(KINDS),
    "labels": st.lists(_WORDS, max_size=3),
    "verdicts": st.lists(st.sampled_from([*VERDICT_BITS]), max_size=3),
    "quality": _NUMBERS,
    "time_ms": _NUMBERS,
}


@st.composite
def _answers(draw: st.DrawFn) -> wire.Packed:
    signals = draw(st.lists(st.lists(st.integers(0, 2**64 - 1), max_size=4), max_size=5))
    signal = np.array([id for query in signals for id in query], np.uint64)
    offsets = np.cumsum([0, *map(len, signals)]).astype(np.int64)
    distance = None
    if draw(st.booleans()):
        distance = np.array([draw(st.integers(0, 256)) for _ in signal], np.uint16)
    joined = None
    if draw(st.booleans()):
        ids = np.unique(signal).tolist()
        names = [name for name in wire.JOINED[1:] if name != wire.HASH or distance is not None]
        joined = {"signal": ids} | {name: [draw(_ABOUT[name]) for _ in ids] for name in names}
    return wire.Packed(draw(st.integers(0, 2**64 - 1)), offsets, signal, distance, joined)


def _plain(answer: wire.Packed) -> tuple[Any, ...]:
    distance = None if answer.distance is None else answer.distance.tolist()
    return (
        answer.generation, answer.queries, answer.offsets.tolist(), answer.signal.tolist(),
        distance, answer.joined,
    )  # fmt: skip


@given(_answers())
def test_what_is_encoded_comes_back(answer: wire.Packed) -> None:
    assert _plain(wire.decode(wire.encode(answer))) == _plain(answer)


def _sample() -> wire.Packed:
    about: dict[str, list[Any]] = {
        "signal": [4, 9], "first": [4, 8], "type": ["pdq", "md5"], "hash": ["00", "ff"],
        "ref": ["a", "b"], "set": ["s", "s"], "contributor": ["", "c"], "kind": ["image", "file"],
        "labels": [[], ["x"]], "verdicts": [["positive"], []], "quality": [None, 99],
        "time_ms": [0, None],
    }  # fmt: skip
    return wire.Packed(
        7, np.array([0, 2, 2, 3]), np.array([9, 4, 9], np.uint64),
        np.array([0, 31, 256], np.uint16), about,
    )  # fmt: skip


def test_the_layout_is_that_which_is_written_down() -> None:
    packed = wire.encode(_sample())
    joined = json.dumps(_sample().joined).encode()
    assert packed == (
        b"HMANSWER"
        + struct.pack("<5Q", 7, 3, 3, 1, len(joined))
        + struct.pack("<4q", 0, 2, 2, 3)
        + struct.pack("<3Q", 9, 4, 9)
        + struct.pack("<3H", 0, 31, 256)
        + joined
    )


def test_damage_is_an_error() -> None:
    """Every mutant is refused, or is an answer that encodes to what it says."""
    refused = 0
    for mutant in mutants(wire.encode(_sample()), 4_000, 5):
        try:
            answer = wire.decode(mutant)
        except ValueError as error:
            assert str(error).startswith("a packed answer is damaged: ")
            refused += 1
            continue
        assert answer.offsets[-1] == len(answer.signal)
        assert _plain(wire.decode(wire.encode(answer))) == _plain(answer)
    assert 2_000 < refused < 4_000


@pytest.mark.parametrize(
    ("about", "reason"),
    [
        (b"[]", "no object"),
        (b"{}", "no object"),
        (b"NaN", "no JSON"),
        (b"[" * 100_000, "no JSON"),
        (b"\xff", "no JSON"),
        ({"signal": [4]}, "each signal once"),
        ({"signal": [9, 4]}, "each signal once"),
        ({"signal": [4, 9, 9]}, "each signal once"),
        ({"signal": [4.0, 9]}, "not a list of ids"),
        ({"signal": [True, 9]}, "not a list of ids"),
        ({"signal": [4, 2**64]}, "no id"),
        ({"first": [-1, 8]}, "no id"),
        ({"ref": ["a"]}, "not a list of 2"),
        ({"ref": "ab"}, "not a list of 2"),
        ({"ref": ["a", None]}, "ref has a value"),
        ({"labels": [[], "x"]}, "labels has a value"),
        ({"labels": [[], [1]]}, "labels has a value"),
        ({"verdicts": [["maybe"], []]}, "verdicts has a value"),
        ({"verdicts": [[["positive"]], []]}, "verdicts has a value"),
        ({"kind": ["image", {}]}, "kind has a value"),
        ({"type": ["pdq", ["md5"]]}, "type has a value"),
        ({"quality": [None, True]}, "quality has a value"),
        ({"time_ms": [-1, None]}, "time_ms has a value"),
        ({"more": []}, "no object"),
    ],
)
def test_a_damaged_joined_part(about: bytes | dict[str, Any], reason: str) -> None:
    sample = _sample()
    if isinstance(about, dict):
        about = json.dumps({**(sample.joined or {}), **about}).encode()
    head = wire.header(7, 3, 3, True, len(about))
    columns = wire.encode(sample)[wire.HEADER.size :][: 8 * 4 + 8 * 3 + 2 * 3]
    with pytest.raises(ValueError, match=reason):
        wire.decode(head + columns + about)


def test_sizes_that_nothing_has() -> None:
    for place in range(1, 5):
        for value in (2**64 - 1, 2**63, 2**61 - 1, 2):
            numbers = [7, 0, 0, 0, 0]
            numbers[place] = value
            with pytest.raises(ValueError, match="damaged"):
                wire.decode(wire.HEADER.pack(wire.MAGIC, *numbers) + bytes(8))
    with pytest.raises(ValueError, match="damaged"):
        wire.decode(b"")
