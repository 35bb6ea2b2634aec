"""JSON Lines and vPDQ JSON: what is written reads back to the same state."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from format_samples import SAMPLES, digest, read, state
from hashmatch.formats import jsonl, vpdq
from hashmatch.formats.model import Block, ListError, Options, Part, Removal, Source
from hashmatch.hash_types import HASH_TYPES
from hashmatch.vocabulary import Kind, Opinion

_texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=4)
_names = _texts.filter(bool)
#: Labels may have half a surrogate pair.
_labels = st.lists(_texts | st.just("\ud800"), max_size=3, unique=True)
_opinions = st.builds(
    Opinion,
    _names,
    _texts,
    st.sampled_from(["positive", "negative", "investigate"]),
    st.lists(_texts, max_size=2, unique=True).map(tuple),
)
_kinds: st.SearchStrategy[Kind] = st.sampled_from(["image", "video", "file"])


@st.composite
def _blocks(draw: st.DrawFn, of_videos: bool = False) -> Block:
    type = "pdq" if of_videos else draw(st.sampled_from(sorted(HASH_TYPES)))
    with_refs = of_videos or draw(st.booleans())
    sizes = draw(st.lists(st.integers(1, 3), max_size=4))
    n = sum(sizes) if with_refs else len(sizes)
    refs = draw(st.lists(_names, min_size=len(sizes), max_size=len(sizes), unique=True))

    def column(values: st.SearchStrategy[Any]) -> Any:
        return draw(st.lists(values, min_size=n, max_size=n))

    none = st.nothing() if of_videos else st.none()
    width = HASH_TYPES[type].width
    return Block(
        type,
        # Codes that differ are enough.
        np.repeat(np.array(column(st.integers(0, 255)), np.uint8), width).reshape(n, width),
        np.arange(n),
        [ref for ref, size in zip(refs, sizes, strict=True) for _ in range(size)]
        if with_refs
        else None,
        column(_labels) if draw(st.booleans()) else None,
        draw(st.none() | _texts),
        "video" if of_videos else draw(_kinds),
        column(none | st.integers(0, 100)),
        column(none | st.integers(0, 2**32 - 2)),
        draw(st.lists(_opinions, max_size=3)) if with_refs else (),
        {
            name: column(_texts)
            for name in draw(
                st.lists(_names | st.sampled_from(["ref", "columns", "vpdq"]), max_size=2)
            )
        },
    )


_removals = st.builds(
    lambda refs, contributor: Removal(refs, np.arange(len(refs)), contributor),
    st.lists(_names, max_size=3),
    st.none() | _texts,
)


def _numbered(parts: list[Part]) -> list[Part]:
    """With rows counted through all of them, as a reader counts."""
    for part in parts:
        part.rows[:] = 0
    row = 0
    for part in parts:
        part.rows[:] = np.arange(row, row + len(part.rows))
        row += len(part.rows)
    return parts


def _written(writer: Any, parts: list[Part]) -> str:
    file = io.StringIO()
    written = writer.write(iter(parts), file)
    assert written == file.getvalue().count("\n")
    return file.getvalue()


@settings(max_examples=200, deadline=None)
@given(st.lists(_blocks() | _removals, max_size=4).map(_numbered))
def test_json_lines_read_back(parts: list[Part]) -> None:
    text = _written(jsonl.FORMAT, parts)
    # Rows are lines: those without a hash come between.
    parts_again, faults = read("jsonl", text.encode())
    assert faults == []
    ours, theirs = state(parts), state(parts_again)
    assert ours["opinions"] == theirs["opinions"]
    assert _without_rows(ours) == _without_rows(theirs)


def _without_rows(whole: dict[Any, Any]) -> Any:
    """The items, in no order where they have no refs."""
    alone = [
        (key[0], repr(item)) for key, item in whole["items"].items() if key[1].startswith("row ")
    ]
    named = {key: item for key, item in whole["items"].items() if not key[1].startswith("row ")}
    return sorted(map(repr, alone)), named


@settings(max_examples=200, deadline=None)
@given(st.lists(_blocks(of_videos=True) | _removals, max_size=4).map(_numbered))
def test_vpdq_json_reads_back(parts: list[Part]) -> None:
    text = _written(vpdq.FORMAT, parts)
    parts_again, faults = read("vpdq-json", text.encode())
    assert faults == []
    assert state(parts_again) == state(parts)


@pytest.mark.parametrize("name", SAMPLES)
def test_every_format_as_json_lines(name: str) -> None:
    parts, _ = read(name, SAMPLES[name](30))
    again, faults = read("jsonl", _written(jsonl.FORMAT, parts).encode())
    assert faults == []
    assert state(again) == state(parts)


def test_vpdq_json_is_what_other_readers_take() -> None:
    block = Block(
        "pdq",
        np.full((2, 32), 255, np.uint8),
        np.arange(2),
        ["clip", "clip"],
        kind="video",
        quality=[100, 7],
        time_ms=[0, 1_020_500],
    )
    line = json.loads(_written(vpdq.FORMAT, [block]))
    assert line == {"ref": "clip", "vpdq": [f"{'ff' * 32},100,0.000", f"{'ff' * 32},7,1020.500"]}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kind": "image"}, "holds frames of videos .pdq., not pdq of kind image"),
        ({"hash_type": "sha256"}, "not sha256 of kind video"),
        ({"refs": None}, "of kind video without refs"),
        ({"quality": [1, None]}, "'a' has a frame without quality or time"),
        ({"time_ms": None}, "'a' has a frame without quality or time"),
    ],
)
def test_vpdq_json_holds_nothing_else(change: dict[str, Any], reason: str) -> None:
    usual: dict[str, Any] = {
        "hash_type": "pdq",
        "codes": np.zeros((2, 32), np.uint8),
        "rows": np.arange(2),
        "refs": ["a", "a"],
        "kind": "video",
        "quality": [1, 2],
        "time_ms": [0, 1],
    }
    with pytest.raises(ListError, match=reason):
        vpdq.FORMAT.write([Block(**usual | change)], io.StringIO())


# What JSON Lines may say besides.


def _lines(*lines: Any, **options: Any) -> tuple[list[Part], list[str]]:
    content = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    return read("jsonl", content.encode(), **options)


def test_plain_hashes_with_what_stands_beside_them() -> None:
    (block,), _ = _lines({"hash": digest("pdq", 1)}, {"hash": digest("pdq", 2).upper()})
    assert isinstance(block, Block)
    assert (block.refs, block.labels, block.columns, block.kind) == (None, None, {}, "image")
    assert [code.tobytes().hex() for code in block.codes] == [digest("pdq", 1), digest("pdq", 2)]
    line = {"sha": digest("sha1", 1), "name": 7, "hash": None, "tag": "t", "more": {"a": [1.5]}}
    options = Options("sha1", "sha", "name", "tag", kind="file")
    (block,), _ = _lines(line, options=options)
    assert isinstance(block, Block)
    assert (block.hash_type, block.refs, block.labels, block.kind) == (
        "sha1",
        ["7"],
        [("t",)],
        "file",
    )
    assert block.columns == {"hash": [""], "more": ['{"a": [1.5]}']}


def test_lines_of_one_item() -> None:
    frame = {"ref": "a", "type": "pdq", "kind": "video"}
    lines = [frame | {"hash": digest("pdq", n), "labels": [str(n % 2)]} for n in (1, 2)]
    parts, _ = _lines(*lines, frame | {"type": "md5", "hash": digest("md5", 1)})
    item = state(parts)["items"][None, "a"]
    assert item["labels"] == ["1", "0"]
    assert [(type, len(signals)) for type, signals in item["signals"].items()] == [
        ("pdq", 2),
        ("md5", 1),
    ]


def test_lines_of_one_item_that_are_apart() -> None:
    lines = [{"ref": ref, "hash": digest("pdq", 1)} for ref in ("a", "b", "a")]
    content = "\n".join(map(json.dumps, lines)).encode()

    def loaded(content: bytes) -> list[Part]:
        return list(jsonl.FORMAT.read(Source("list", io.BytesIO(content), for_database=True)))

    with pytest.raises(ListError, match="the ref of record 2 is that of record 0 too"):
        loaded(content)
    between = json.dumps({"ref": "a", "removed": True})
    parts = loaded("\n".join([json.dumps(lines[0]), between, json.dumps(lines[2])]).encode())
    assert [type(part) for part in parts] == [Block, Removal, Block]


def test_json_lines_faults() -> None:
    sound = {"ref": "a", "hash": digest("pdq", 1)}
    other = {"hash": digest("pdq", 1)}
    bad = [
        sound | {"hash": "12"},
        sound | {"hash": 12},
        sound | {"ref": ""},
        sound | {"ref": "x\0"},
        sound | {"ref": [1]},
        sound | {"type": "tmk"},
        sound | {"type": "md5"},
        sound | {"kind": "gif"},
        sound | {"quality": 101},
        sound | {"quality": 1.0},
        sound | {"time_ms": -1},
        sound | {"labels": [1]},
        sound | {"contributor": 3},
        sound | {"opinions": [{"contributor": "z", "verdict": "bad"}]},
        sound | {"opinions": {}},
        sound | {"removed": 1},
        other | {"opinions": [{}]},
        {"ref": "a"},
        {"removed": True},
        [],
        sound | {"note": "\ud800"},
        sound | {"kind": "video"},
    ]
    parts, faults = _lines(sound, *bad, sound | {"hash": digest("pdq", 2)}, skip=True)
    assert [fault.removeprefix("list:") for fault in faults] == [
        "2: hash has 2 hex digits, pdq needs 64",
        "3: hash is 12, not a hash as text",
        "4: ref is empty",
        "5: ref has a NUL character",
        "6: ref is a list, not text",
        "7: type is 'tmk', not one of pdq, phash, dhash, ahash, whash, simhash, md5, sha1, sha256",
        "8: hash has 64 hex digits, md5 needs 32",
        "9: kind is 'gif', not one of image, video, file",
        "10: quality is 101, not a whole number in 0..100",
        "11: quality is 1.0, not a whole number in 0..100",
        "12: time_ms is -1, not a whole number in 0..4,294,967,294",
        "13: labels is a list, not a list of texts",
        "14: contributor is 3, not text",
        "15: opinions[0].verdict is 'bad', not one of positive, negative, investigate",
        "16: opinions is an object, not a list",
        "17: removed is 1, not true or false",
        "18: opinions are on no 'ref'",
        "19: has no 'hash'",
        "20: has no 'ref'",
        "22: note has half a surrogate pair, so is no Unicode text",
        "23: kind is 'video', that of the item's lines before 'image'",
    ]
    assert len(state(parts)["items"][None, "a"]["signals"]["pdq"]) == 2
