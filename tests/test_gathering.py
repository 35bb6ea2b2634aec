"""Gathering against what the records come to one after another."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from format_samples import state
from hashmatch.formats import gathering
from hashmatch.formats.gathering import Gathering, Hash
from hashmatch.formats.model import Block, Options, Part, Removal, Source
from hashmatch.hash_types import HASH_TYPES
from hashmatch.vocabulary import Kind, Opinion

_refs = st.sampled_from(["a", "b", "c", "d"])
_contributors = st.sampled_from([None, "member-a", "member-b"])
_kinds: st.SearchStrategy[Kind] = st.sampled_from(["image", "video", "file"])
_hashes = st.lists(
    st.tuples(
        st.sampled_from(["pdq", "md5", "sha1"]),
        st.integers(0, 255),
        st.none() | st.integers(0, 100),
        st.dictionaries(st.sampled_from(["x", "y"]), st.sampled_from(["1", "2"])),
    ),
    min_size=1,
    max_size=4,
)
_opinions = st.lists(st.tuples(_refs, st.sampled_from(["z", "w"]), st.booleans()), max_size=2)
_labels = st.none() | st.lists(st.sampled_from(["p", "q"]), max_size=2, unique=True)
_adds = st.tuples(
    st.just("add"), st.none() | _refs, _contributors, _kinds, _hashes, _labels, _opinions
)
_removals = st.tuples(st.just("remove"), _refs, _contributors)
_steps = st.lists(_adds | _removals, max_size=30)


def _source(hash_type: str | None = None) -> Source:
    return Source("list", io.BytesIO(), Options(hash_type))


def _said(opinions: list[tuple[str, str, bool]]) -> list[Opinion]:
    return [
        Opinion(ref, who, "positive" if good else "negative", [who]) for ref, who, good in opinions
    ]


def _one_by_one(steps: list[Any]) -> list[Part]:
    """Parts with one record's hashes of a type each."""
    parts: list[Part] = []
    for row, step in enumerate(steps):
        if step[0] == "remove":
            parts.append(Removal([step[1]], np.array([row]), step[2]))
            continue
        _, ref, contributor, kind, hashes, labels, opinions = step
        for type in dict.fromkeys(hash[0] for hash in hashes):
            some = [hash for hash in hashes if hash[0] == type]
            width = HASH_TYPES[type].width
            parts.append(
                Block(
                    type,
                    np.array([[byte] * width for _, byte, _, _ in some], np.uint8),
                    np.full(len(some), row),
                    None if ref is None else [ref] * len(some),
                    None if labels is None else [labels] * len(some),
                    contributor,
                    kind,
                    [quality for _, _, quality, _ in some],
                    opinions=_said(opinions),
                    columns={
                        name: [texts.get(name, "") for *_, texts in some] for name in ("x", "y")
                    },
                )
            )
    return parts


def _gathered(steps: list[Any], source: Source) -> list[Part]:
    gathered = Gathering(source)
    parts: list[Part] = []
    for row, step in enumerate(steps):
        if step[0] == "remove":
            gathered.remove(row, step[1], step[2])
        else:
            _, ref, contributor, kind, hashes, labels, opinions = step
            gathered.item(
                ref,
                [
                    Hash(row, type, bytes([byte]) * HASH_TYPES[type].width, quality, None, columns)
                    for type, byte, quality, columns in hashes
                ],
                contributor=contributor,
                kind=kind,
                labels=labels,
                opinions=_said(opinions),
            )
        if gathered.ready:
            parts += gathered.take()
    return [*parts, *gathered.rest()]


@settings(max_examples=200, deadline=None)
@given(_steps, st.integers(1, 8))
def test_parts_come_to_what_the_records_do(steps: list[Any], held: int) -> None:
    before = gathering._HELD_SIGNALS
    gathering._HELD_SIGNALS = held
    try:
        parts = _gathered(steps, _source())
    finally:
        gathering._HELD_SIGNALS = before
    assert state(parts) == state(_one_by_one(steps))
    for part in parts:
        if isinstance(part, Block) and part.refs is not None:
            # An item's signals are beside each other, and once in a block.
            runs = [ref for at, ref in enumerate(part.refs) if not at or ref != part.refs[at - 1]]
            assert len(runs) == len(set(runs))


def test_opinions_go_with_the_blocks_that_are_wanted() -> None:
    gathered = Gathering(_source("sha1"))
    hashes = [Hash(0, type, bytes(HASH_TYPES[type].width)) for type in ("md5", "sha1", "pdq")]
    gathered.item("a", hashes, opinions=_said([("a", "z", True), ("b", "z", False)]))
    gathered.item("c", [], opinions=_said([("c", "z", True)]))
    parts = [part for part in gathered.rest() if isinstance(part, Block)]
    assert [(part.hash_type, len(part.rows), len(part.opinions)) for part in parts] == [
        ("md5", 1, 0),
        ("sha1", 1, 2),
        ("pdq", 1, 0),
        ("sha1", 0, 1),
    ]


def test_records_of_many_kinds_make_few_blocks() -> None:
    gathered = Gathering(_source())
    for row in range(3_000):
        hashes = [Hash(row, type, bytes(HASH_TYPES[type].width)) for type in ("md5", "sha1")]
        gathered.item(f"ref {row}", hashes, contributor=f"member {row % 3}")
    parts = list(gathered.rest())
    assert len(parts) == 6
    assert sum(len(part.rows) for part in parts) == 6_000


def test_little_is_held() -> None:
    gathered = Gathering(_source())
    text = "x" * 1_000_000
    for row in range(40):
        gathered.item(f"{row}", [Hash(row, "md5", bytes(16), columns={"note": text})])
    # Texts fill what may be held long before the signals do.
    assert sum(len(part.rows) for part in gathered.take()) == 34
