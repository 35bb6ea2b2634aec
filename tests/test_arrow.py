"""Arrow columns, whoever made them, through the PyCapsule protocol."""

from __future__ import annotations

import ctypes
import errno
import gc
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hashmatch import Index, arrow
from hashmatch.codes import as_codes, encode_hex
from hashmatch.hash_types import HASH_TYPES
from oracle import random_codes

pa = pytest.importorskip("pyarrow")

PDQ = HASH_TYPES["pdq"]
CODES = random_codes(9, 256)
RAW = [row.tobytes() for row in CODES]
HEX = encode_hex(CODES)
TYPES = {
    "fixed": (pa.binary(32), RAW),
    "binary": (pa.binary(), RAW),
    "large_binary": (pa.large_binary(), RAW),
    "string": (pa.string(), HEX),
    "large_string": (pa.large_string(), [text.upper() for text in HEX]),
    "string_view": (pa.string_view(), HEX),
    "binary_view": (pa.binary_view(), RAW),
}
BAD = {
    "binary": bytes(31),
    "large_binary": bytes(33),
    "string": "f0" * 31 + "f",
    "large_string": "f0" * 31 + "g0",
    "string_view": "f0" * 6,
    "binary_view": bytes(33),
}


@pytest.fixture(params=TYPES)
def column(request: pytest.FixtureRequest) -> Any:
    kind, values = TYPES[request.param]
    return pa.array(values, kind)


def test_arrays(column: Any) -> None:
    np.testing.assert_array_equal(as_codes(column, PDQ), CODES)


def test_slices(column: Any) -> None:
    for begin in range(10):
        for end in range(begin, 10):
            got = as_codes(column[begin:end], PDQ)
            np.testing.assert_array_equal(got, CODES[begin:end])
            assert got.flags.c_contiguous


def test_chunks(column: Any) -> None:
    chunked = pa.chunked_array([column[:3], column[3:3], column[3:8], column[8:]])
    np.testing.assert_array_equal(as_codes(chunked, PDQ), CODES)
    np.testing.assert_array_equal(as_codes(chunked[2:8], PDQ), CODES[2:8])


def test_no_rows(column: Any) -> None:
    assert as_codes(column[:0], PDQ).shape == (0, 32)
    assert as_codes(pa.chunked_array([], column.type), PDQ).shape == (0, 32)


def test_the_codes_outlive_the_column(column: Any) -> None:
    got = as_codes(pa.chunked_array([column, column]), PDQ)
    one = as_codes(column, PDQ)
    del column
    np.testing.assert_array_equal(got, np.concatenate([CODES, CODES]))
    np.testing.assert_array_equal(one, CODES)


def test_the_codes_are_a_copy() -> None:
    memory = CODES.copy()
    column = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(32), len(memory), [None, pa.py_buffer(memory)]
    )
    got = as_codes(column, PDQ)
    memory[:] = 0
    np.testing.assert_array_equal(got, CODES)


def test_nulls_that_are_not_counted() -> None:
    """A producer may leave the count of nulls open, as -1."""

    class Column:
        def __arrow_c_array__(self, requested_schema: object = None) -> tuple[object, object]:
            schema, array = pa.array([RAW[0], None], pa.binary(32)).__arrow_c_array__()
            address = arrow._capsule_pointer(array, b"arrow_array")
            arrow._Array.from_address(address).null_count = -1
            return schema, array

    with pytest.raises(ValueError, match=r"^row 1: the code is null"):
        as_codes(Column(), PDQ)


def test_memory_is_given_back(column: Any) -> None:
    """Every struct is released, whether reading goes well or stops at a bad row."""
    before = pa.total_allocated_bytes()
    for _ in range(20):
        copy = pa.concat_arrays([column, column])  # Memory of its own.
        as_codes(copy, PDQ)
        as_codes(pa.chunked_array([copy, copy[1:]]), PDQ)
        for bad in (copy, pa.chunked_array([copy, copy])):
            with pytest.raises((TypeError, ValueError)):
                as_codes(bad, HASH_TYPES["phash"])
        del copy, bad
    assert pa.total_allocated_bytes() == before


@pytest.mark.parametrize("row", range(9))
def test_a_null_is_named(column: Any, row: int) -> None:
    values = column.to_pylist()
    values[row] = None
    bad = pa.array(values, column.type)
    chunked = pa.chunked_array([column, bad])
    with pytest.raises(ValueError, match=f"^row {row}: the code is null"):
        as_codes(bad, PDQ)
    with pytest.raises(ValueError, match=f"^row {9 + row}: the code is null"):
        as_codes(chunked, PDQ)
    np.testing.assert_array_equal(as_codes(bad[row + 1 :], PDQ), CODES[row + 1 :])
    np.testing.assert_array_equal(as_codes(bad[:row], PDQ), CODES[:row])


@given(st.lists(st.booleans(), min_size=1, max_size=40), st.data())
def test_nulls_in_slices(valid: list[bool], data: st.DataObject) -> None:
    begin = data.draw(st.integers(0, len(valid)))
    end = data.draw(st.integers(begin, len(valid)))
    column = pa.array([b"12345678" if good else None for good in valid], pa.binary(8))[begin:end]
    if all(valid[begin:end]):
        assert len(as_codes(column, HASH_TYPES["phash"])) == end - begin
    else:
        with pytest.raises(ValueError, match=f"^row {valid[begin:end].index(False)}: "):
            as_codes(column, HASH_TYPES["phash"])


@pytest.mark.parametrize("kind", [*BAD])
def test_a_bad_value_is_named(kind: str) -> None:
    arrow_type, values = TYPES[kind]
    bad = pa.array([*values[:4], BAD[kind], *values[4:]], arrow_type)
    with pytest.raises(ValueError, match=r"^row 4: hash has "):
        as_codes(bad, PDQ)
    with pytest.raises(ValueError, match=r"^row 2: hash has "):
        as_codes(bad[2:], PDQ)
    with pytest.raises(ValueError, match=r"^row 13: hash has "):
        as_codes(pa.chunked_array([values, bad], arrow_type), PDQ)


@pytest.mark.parametrize("kind", [pa.string_view(), pa.binary_view()])
def test_short_and_long_views(kind: Any) -> None:
    """Views hold values of up to 12 bytes themselves; longer ones are in one of several buffers."""
    codes = random_codes(200, 64)
    values = encode_hex(codes) if kind == pa.string_view() else [code.tobytes() for code in codes]
    column = pa.array(values, kind)
    if kind == pa.string_view():
        column = pa.concat_arrays([pa.array(values[:70], kind), pa.array(values[70:], kind)])
    np.testing.assert_array_equal(as_codes(column, HASH_TYPES["phash"]), codes)
    np.testing.assert_array_equal(as_codes(column[60:90], HASH_TYPES["phash"]), codes[60:90])
    with pytest.raises(ValueError, match=r"^row 0: hash has "):
        as_codes(column, PDQ)


def test_lengths_that_add_up_are_still_wrong() -> None:
    texts = pa.array([HEX[0][:63], HEX[1] + "0"])
    with pytest.raises(ValueError, match=r"^row 0: hash has 63 hex digits"):
        as_codes(texts, PDQ)


@pytest.mark.parametrize(
    "text", ["\u0661" * 32, "\u0661" * 64, "0x" + "f" * 62, " " * 64, "\0" * 64]
)
def test_text_that_is_not_hex(text: str) -> None:
    with pytest.raises(ValueError, match=r"^row 1: hash "):
        as_codes(pa.array([HEX[0], text]), PDQ)


@pytest.mark.parametrize(
    "bad",
    [
        pa.array(HEX).dictionary_encode(),
        pa.array([1, 2], pa.uint64()),
        pa.array([1.5]),
        pa.array([None, None]),
        pa.array([True]),
        pa.array([[1]]),
        pa.table({"hash": HEX}),
        pa.record_batch({"hash": HEX}),
        pa.chunked_array([pa.array(HEX).dictionary_encode()]),
    ],
    ids=lambda bad: str(getattr(bad, "type", type(bad).__name__)),
)
def test_other_columns_are_refused(bad: Any) -> None:
    with pytest.raises(TypeError, match=r"Arrow column is .*give one column of"):
        as_codes(bad, PDQ)


def test_another_width_is_refused() -> None:
    with pytest.raises(ValueError, match="holds values of 16 bytes, codes of 256 bits have 32"):
        as_codes(pa.array([bytes(16)], pa.binary(16)), PDQ)


class FailingStream:
    """A stream of text columns that gives one chunk and then fails."""

    def __init__(self, column: Any) -> None:
        chunks = [column]
        self.reason = ctypes.create_string_buffer(b"the disk is on fire")

        def get_schema(stream: int, schema: int) -> int:
            column.type._export_to_c(schema)
            return 0

        def get_next(stream: int, array: int) -> int:
            if not chunks:
                return errno.EIO
            chunks.pop()._export_to_c(array)
            return 0

        fields: dict[str, Any] = dict(arrow._Stream._fields_)
        self.stream = arrow._Stream(
            fields["get_schema"](get_schema),
            fields["get_next"](get_next),
            fields["get_last_error"](lambda stream: ctypes.addressof(self.reason)),
        )

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        new = ctypes.pythonapi.PyCapsule_New
        new.restype = ctypes.py_object
        new.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p)
        return new(ctypes.addressof(self.stream), b"arrow_array_stream", None)


def test_a_stream_that_fails() -> None:
    before = pa.total_allocated_bytes()
    stream = FailingStream(pa.array(HEX))
    with pytest.raises(OSError, match="the Arrow stream failed: the disk is on fire"):
        as_codes(stream, PDQ)
    del stream
    gc.collect()
    assert pa.total_allocated_bytes() == before


def test_an_index_takes_columns() -> None:
    index = Index("pdq")
    index.add(pa.array(RAW, pa.binary(32)))
    assert [match.id for match in index.search(pa.chunked_array([HEX[4:6]]), 0)] == [4, 5]


def test_pyarrow_is_not_imported() -> None:
    program = "import sys, hashmatch; sys.exit('pyarrow' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True)
