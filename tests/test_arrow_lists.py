"""Parquet and Arrow IPC, as their libraries write them."""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from format_samples import BY_NAME, arrow, digest, read, state, table
from hashmatch.formats.model import Block, ListError, Options, Part, Source


def _parquet(rows: Any, **options: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(rows, file, **options)
    return file.getvalue()


def _ipc(rows: Any, stream: bool = False, **options: Any) -> bytes:
    file = io.BytesIO()
    make = pa.ipc.new_stream if stream else pa.ipc.new_file
    with make(file, rows.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(rows)
    return file.getvalue()


def _every_way(rows: Any) -> list[tuple[str, bytes]]:
    return [
        ("parquet", _parquet(rows)),
        ("parquet", _parquet(rows, compression="zstd", use_dictionary=False, row_group_size=3)),
        ("arrow", _ipc(rows)),
        ("arrow", _ipc(rows, stream=True)),
        ("arrow", _ipc(rows, compression="zstd")),
        ("arrow", _ipc(rows, stream=True, compression="lz4")),
    ]


def _only_block(parts: list[Part]) -> Block:
    (block,) = parts
    assert isinstance(block, Block)
    return block


def test_all_columns() -> None:
    for name, content in _every_way(table(7)):
        assert BY_NAME[name].recognises(content[: 1 << 16])
        parts, faults = read(name, content)
        assert faults == []
        items = state(parts)["items"]
        assert items[None, "ref é 1"] == {
            "kind": "video",
            "labels": ["a", "é"],
            "signals": {
                "pdq": [
                    (digest("pdq", 2), 2, 2_000, {"note": "carried 2"}),
                    (digest("pdq", 3), 3, 3_000, {"note": "carried 3"}),
                ]
            },
        }
        assert [len(item["signals"]["pdq"]) for item in items.values()] == [2, 2, 2, 1]


@pytest.mark.parametrize(
    "type",
    [
        *(pa.binary(32), pa.binary(), pa.large_binary(), pa.string(), pa.large_string()),
        pa.dictionary(pa.int32(), pa.string()),
    ],
    ids=str,
)
def test_hashes_of_every_type(type: Any) -> None:
    digits = [digest("pdq", number) for number in range(5)]
    is_text = "string" in str(type)
    values = digits if is_text else [bytes.fromhex(text) for text in digits]
    rows = pa.table({"hash": pa.array(values, type), "n": range(5)})
    for name, content in _every_way(rows):
        parts, _ = read(name, content)
        codes = [code.tobytes().hex() for part in parts for code in _block(part).codes]
        assert codes == digits
        assert [row for part in parts for row in part.rows.tolist()] == list(range(5))
        assert [text for part in parts for text in _block(part).columns["n"]] == list("01234")


def _block(part: Part) -> Block:
    assert isinstance(part, Block) and part.refs is None
    return part


def test_options_name_columns() -> None:
    rows = pa.table({"sha": [digest("sha1", 1)], "key": [7], "tag": ['["a","b"]']})
    options = Options("sha1", "sha", "key", "tag", kind="file")
    block = _only_block(read("parquet", _parquet(rows), options=options)[0])
    assert (block.hash_type, block.refs, block.labels, block.kind) == (
        "sha1",
        ["7"],
        [("a", "b")],
        "file",
    )
    for options, column in (
        (Options(), "hash"),
        (Options(column="sha", ref="r"), "r"),
        (Options(column="sha", labels="l"), "l"),
    ):
        with pytest.raises(ListError, match=f"no column '{column}' among 'sha', 'key', 'tag'"):
            read("parquet", _parquet(rows), options=options)


def test_faults_name_the_row() -> None:
    sound = digest("pdq", 1)
    rows = pa.table(
        {
            "hash": [sound, "12", None, sound, sound, sound, sound, sound, sound],
            "ref": ["a", "b", "c", None, "", "f", "g", "h", "i"],
            "type": ["pdq", "pdq", "pdq", "pdq", "pdq", "tmk", "pdq", "pdq", "pdq"],
            "quality": [1.0, 1, 1, 1, 1, 1, 1.5, None, float("nan")],
            "opinions": ["[]", "", None, "[]", "[]", "[]", "[]", "{", "[]"],
            "labels": ["x", "", None, "[]", '["y"]', "[", "z", "z", "z"],
        }
    )
    parts, faults = read("parquet", _parquet(rows), skip=True)
    assert faults == [
        "list:row 1: hash has 2 hex digits, pdq needs 64",
        "list:row 2: hash is null, not a hash as text",
        "list:row 3: ref is null",
        "list:row 4: ref is empty",
        "list:row 5: type is 'tmk', not one of pdq, phash, dhash, ahash, whash, simhash, md5, "
        "sha1, sha256",
        "list:row 6: quality is 1.5, not a whole number in 0..100",
        "list:row 7: opinions is text that is not a JSON list",
    ]
    items = state(parts)["items"]
    assert [(ref, item["signals"]["pdq"][0][1]) for (_, ref), item in items.items()] == [
        ("a", 1),
        ("i", None),
    ]
    with pytest.raises(ListError, match=r"row 1: hash has 2 hex digits.*--on-error skip"):
        read("parquet", _parquet(rows))
    short = pa.table({"hash": pa.array([bytes(16), bytes(32)], pa.binary())})
    parts, faults = read("arrow", _ipc(short), skip=True)
    assert faults == ["list:row 0: hash has 16 bytes, pdq needs 32"]
    assert len(_only_block(parts).codes) == 1


_rows = st.lists(
    st.fixed_dictionaries(
        {
            "hash": st.sampled_from([digest("pdq", 1), digest("pdq", 2), "12", ""]),
            "ref": st.sampled_from(["a", "b", "c", ""]),
            "labels": st.lists(st.sampled_from(["x", "y"]), max_size=2, unique=True),
            "quality": st.none() | st.sampled_from([0, 100, 101]),
            "note": st.sampled_from(["p", "q"]),
        }
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(_rows, st.sampled_from([1, 2, 100]), st.booleans())
def test_tables_say_what_json_lines_do(rows: list[Any], batch_rows: int, with_type: bool) -> None:
    rows.sort(key=lambda row: str(row["ref"]))
    if with_type:
        rows = [row | {"type": "pdq"} for row in rows]
    lines = b"\n".join(json.dumps(row).encode() for row in rows)
    parts, faults = read("jsonl", lines, skip=True)
    schema = [("labels", pa.list_(pa.string())), ("quality", pa.int32())]
    others = [(name, pa.string()) for name in ("hash", "ref", "note", "type")[: 3 + with_type]]
    whole = pa.Table.from_pylist(rows, pa.schema(schema + others))
    file = io.BytesIO()
    with pa.ipc.new_stream(file, whole.schema) as writer:
        writer.write_table(whole, max_chunksize=batch_rows)
    ours, found = read("arrow", file.getvalue(), skip=True)
    assert state(ours) == state(parts)
    assert len(found) == len(faults)


def test_opinions_alone_and_carried_values_of_every_type() -> None:
    rows = pa.table(
        {
            "hash": [None, digest("pdq", 1)],
            "ref": ["a", "b"],
            "opinions": ['[{"contributor": "z", "verdict": "negative", "labels": []}]', None],
            "bytes": [b"\xff", b"\xff"],
            "number": [1.5, float("inf")],
            "list": [[1], [1, 2]],
        }
    )
    whole = state(read("parquet", _parquet(rows))[0])
    assert whole["opinions"] == {"a": {"z": ("negative", ())}}
    assert whole["items"][None, "b"]["signals"]["pdq"] == [
        (digest("pdq", 1), None, None, {"bytes": "ff", "number": "inf", "list": "[1, 2]"})
    ]


def test_items_may_go_on_in_the_next_batch() -> None:
    frames = 40_000
    rows = pa.table(
        {
            "hash": pa.array([number.to_bytes(32) for number in range(frames)], pa.binary(32)),
            "ref": ["a"] * (frames - 1) + ["b"],
        }
    )
    for name, content in (("parquet", _parquet(rows)), ("arrow", _ipc(rows))):
        parts, _ = read(name, content)
        assert [list(dict.fromkeys(_refs(part))) for part in parts] == [["a"], ["b"]]


def _refs(part: Part) -> Any:
    return part.refs


def test_files_that_are_mapped(tmp_path: Path) -> None:
    for name, content in _every_way(table(5)):
        path = tmp_path / "list"
        path.write_bytes(content)
        with path.open("rb") as file:
            source = Source(str(path), file, path=str(path))
            assert len(state(BY_NAME[name].read(source))["items"]) == 3


@pytest.mark.parametrize("name", ["parquet", "arrow"])
def test_damaged_files_are_refused(name: str) -> None:
    whole = dict(_every_way(table(5)))[name]
    for content in (whole[: len(whole) // 2], whole[:8], b"PAR1PAR1", b"ARROW1\0\0", b"\xff" * 40):
        with pytest.raises(ListError, match=r"^list: cannot be read: "):
            read(name, content)
    with pytest.raises(ListError, match="a column name is there twice in 'hash', 'hash'"):
        twice = pa.table([pa.array(["x"])] * 2, names=["hash", "hash"])
        read(name, dict(_every_way(twice))[name])


def test_one_long_text_for_many_rows_takes_little_memory() -> None:
    text = "x" * 100_000
    rows = pa.table(
        {
            "hash": [digest("pdq", 1)] * 20_000,
            "note": pa.DictionaryArray.from_arrays(pa.array([0] * 20_000, pa.int32()), [text]),
        }
    )
    content = _parquet(rows, store_schema=False)
    assert len(content) < 300_000
    before = pa.total_allocated_bytes()
    pool = pa.default_memory_pool()
    for part in BY_NAME["parquet"].read(Source("list", io.BytesIO(content))):
        assert set(_block(part).columns["note"]) == {text}
    assert pool.max_memory() - before < 100_000_000


def test_without_pyarrow(monkeypatch: pytest.MonkeyPatch) -> None:
    content = arrow(2)
    for module in ("pyarrow", "pyarrow.ipc"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r"pip install 'hashmatch\[arrow\]'"):
        list(BY_NAME["arrow"].read(Source("list", io.BytesIO(content))))
