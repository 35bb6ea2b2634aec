"""The Python layer of the index: arguments, defaults, errors. Its answers against brute force."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hashmatch
from hashmatch import FormatError, Index
from hashmatch.hash_types import HASH_TYPES, WIDTHS
from oracle import flipped, random_codes
from oracle import search as brute_force

NAN = float("nan")


def table(codes: np.ndarray) -> dict[int, bytes]:
    return {row: code.tobytes() for row, code in enumerate(codes)}


# Making one.


@pytest.mark.parametrize(
    ("name", "bits", "max_distance"),
    [
        ("pdq", 256, 31),
        ("phash", 64, 8),
        ("dhash", 64, 8),
        ("ahash", 64, 8),
        ("whash", 64, 8),
        ("simhash", 64, 3),
        ("md5", 128, 0),
        ("sha1", 160, 0),
        ("sha256", 256, 0),
    ],
)
def test_types(name: str, bits: int, max_distance: int) -> None:
    index = Index(name)
    assert (index.hash_type, index.bits, index.max_distance) == (name, bits, max_distance)
    assert Index(name, max_distance=5).max_distance == 5
    assert len(HASH_TYPES) == 9


@pytest.mark.parametrize("bits", WIDTHS)
def test_plain_bits(bits: int) -> None:
    index = Index(bits=bits)
    assert (index.hash_type, index.bits, index.max_distance) == (None, bits, None)
    assert Index(bits=bits, max_distance=bits).max_distance == bits
    assert Index(bits=bits, max_distance=0).max_distance == 0


@pytest.mark.parametrize(
    ("arguments", "error", "reason"),
    [
        ({}, TypeError, "give a hash type, such as 'pdq', or bits"),
        ({"hash_type": "PDQ"}, ValueError, "unknown hash type 'PDQ': give one of pdq, phash"),
        ({"hash_type": ""}, ValueError, "unknown hash type"),
        ({"hash_type": 256}, TypeError, "hash_type must be a name such as 'pdq', not int"),
        ({"hash_type": "pdq", "bits": 256}, ValueError, "not both"),
        ({"bits": 65}, ValueError, "bits must be 64, 128, 160 or 256, not 65"),
        ({"bits": 0}, ValueError, "bits must be"),
        ({"bits": True}, ValueError, "bits must be"),
        ({"bits": "64"}, ValueError, "bits must be"),
        ({"bits": NAN}, ValueError, "bits must be"),
        ({"bits": 64, "max_distance": 65}, ValueError, "at most 64, not 65"),
        ({"bits": 64, "max_distance": -1}, ValueError, "max_distance must be a whole number"),
        ({"bits": 64, "max_distance": NAN}, TypeError, "not nan"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], error: type[Exception], reason: str) -> None:
    with pytest.raises(error, match=reason):
        Index(**arguments)


# Searching.


@settings(max_examples=60)
@given(
    bits=st.sampled_from(WIDTHS),
    rows=st.integers(0, 40),
    max_distance=st.integers(0, 256),
    limit=st.none() | st.integers(1, 50),
    seed=st.integers(0, 2**32),
)
def test_search_is_exact(
    bits: int, rows: int, max_distance: int, limit: int | None, seed: int
) -> None:
    codes = random_codes(rows, bits, seed)
    codes[rows // 2 :] = codes[: rows - rows // 2]  # Duplicates.
    index = Index(bits=bits)
    index.add(codes)
    max_distance = min(max_distance, bits)
    near = [flipped(code, max_distance, seed) for code in codes[:3]]
    far = [flipped(code, min(max_distance + 1, bits), seed) for code in codes[:3]]
    queries = np.array([*near, *far, *random_codes(3, bits, seed + 1)], dtype=np.uint8)
    expected = brute_force(queries, table(codes), max_distance, limit)
    assert index.search(queries, max_distance, limit=limit).to_list() == expected
    if limit:
        assert index.nearest(queries, limit, max_distance).to_list() == expected


@pytest.mark.parametrize("method", ["search", "nearest"])
def test_the_distance_falls_back_on_the_index(method: str) -> None:
    code = random_codes(1, 256)[0]
    index = Index("pdq")
    index.add(np.stack([flipped(code, count) for count in (31, 32, 0)]))
    look_up = getattr(index, method)
    assert [match.id for match in look_up(code)] == [2, 0]
    assert [match.id for match in look_up(code, max_distance=32)] == [2, 0, 1]
    assert [match.id for match in look_up(code, max_distance=np.uint8(0))] == [2]


@pytest.mark.parametrize("method", ["search", "nearest"])
def test_no_distance_at_all(method: str) -> None:
    index = Index(bits=64)
    index.add(7)
    with pytest.raises(ValueError, match=r"give max_distance, 0\.\.64"):
        getattr(index, method)(7)
    assert len(getattr(index, method)(7, max_distance=0)) == 1


BAD_DISTANCES = [-1, 257, 2**70, -(2**70), NAN, 1.0, 31.5, float("inf"), True, np.True_, "31"]
BAD_DISTANCES += [np.float64(3), np.int8(-1), np.array(3), np.array([3]), [3]]


@pytest.mark.parametrize("method", ["search", "nearest"])
@pytest.mark.parametrize("max_distance", BAD_DISTANCES, ids=repr)
def test_bad_distance(method: str, max_distance: Any) -> None:
    index = Index("pdq")
    reason = "max_distance must be a whole number of at least 0 and at most 256, not"
    with pytest.raises((TypeError, ValueError), match=reason):
        getattr(index, method)(bytes(32), max_distance=max_distance)


@pytest.mark.parametrize("value", [0, -1, 1.0, NAN, True, "1", np.array([1])], ids=repr)
def test_bad_limit_and_k(value: Any) -> None:
    index = Index("pdq")
    with pytest.raises((TypeError, ValueError), match="limit must be a whole number of at least 1"):
        index.search(bytes(32), limit=value)
    with pytest.raises((TypeError, ValueError), match="k must be a whole number of at least 1"):
        index.nearest(bytes(32), value)


@pytest.mark.parametrize("threads", [-1, 1025, 1.0, None, True], ids=repr)
def test_bad_threads(threads: Any) -> None:
    index = Index("pdq")
    calls: list[Callable[[], object]] = [
        lambda: index.search(bytes(32), threads=threads),
        lambda: index.nearest(bytes(32), threads=threads),
        lambda: index.add(bytes(32), threads=threads),
        lambda: index.compact(threads=threads),
    ]
    for call in calls:
        with pytest.raises((TypeError, ValueError), match="threads must be a whole number"):
            call()
    assert len(index) == 0


def test_limit_keeps_the_nearest_of_each_query() -> None:
    code = random_codes(1, 64)[0]
    index = Index(bits=64, max_distance=10)
    index.add(np.stack([flipped(code, count) for count in (9, 3, 0, 3)]))
    assert index.search([code, code], limit=2).id.tolist() == [2, 1, 2, 1]
    assert index.search(code, limit=2**62).id.tolist() == [2, 1, 3, 0]


def test_progress() -> None:
    index = Index("pdq")
    calls: list[tuple[int, int]] = []
    index.search(random_codes(50, 256), progress=lambda done, total: calls.append((done, total)))
    assert calls[-1] == (50, 50)
    assert calls == sorted(calls)
    with pytest.raises(TypeError, match="progress must be a function"):
        index.search(bytes(32), progress=cast("Any", 5))
    with pytest.raises(TypeError, match="progress must be a function"):
        index.nearest(bytes(32), progress=cast("Any", 0))


def test_progress_can_end_a_search() -> None:
    class Enough(Exception):
        pass

    def progress(done: int, total: int) -> None:
        raise Enough

    index = Index("pdq")
    with pytest.raises(Enough):
        index.search(random_codes(50, 256), progress=progress)
    assert not index.search(bytes(32))


def test_bad_codes_name_the_row() -> None:
    index = Index("pdq")
    bad = ["f0" * 32, "f0" * 31 + "f"]
    for call in (index.add, index.search, index.nearest):
        with pytest.raises(ValueError, match="row 1: hash has 63 hex digits, pdq needs 64"):
            call(bad)
    assert len(index) == 0


def test_bits() -> None:
    codes = random_codes(4, 64)
    bits = np.unpackbits(codes, axis=1)
    index = Index("phash")
    index.add(bits, bits=True)
    np.testing.assert_array_equal(index.codes(range(4)), codes)
    assert index.search(bits, 0, bits=True).id.tolist() == [0, 1, 2, 3]
    assert index.nearest(bits[2], 1, bits=True).id.tolist() == [2]
    for call in (index.add, index.search, index.nearest):
        with pytest.raises(ValueError, match="bits=True"):
            call(bits)


# Adding and removing.


def test_ids_are_consecutive() -> None:
    index = Index("phash")
    first, second = index.add([5, 6]), index.add(7)
    assert first.dtype == np.uint64
    assert (first.tolist(), second.tolist()) == ([0, 1], [2])
    assert index.add([]).tolist() == []
    assert len(index) == 3


@pytest.mark.parametrize(
    "ids",
    [
        [3, 2**64 - 1, 0],
        (3, 2**64 - 1, 0),
        np.array([3, 2**64 - 1, 0], np.uint64),
        np.array([3, 2**64 - 1, 0], ">u8"),
        [np.uint8(3), np.uint64(2**64 - 1), 0],
    ],
    ids=repr,
)
def test_own_ids(ids: Any) -> None:
    index = Index("phash")
    assert index.add([1, 2, 3], ids).tolist() == [3, 2**64 - 1, 0]
    assert 2**64 - 1 in index and 1 not in index
    assert index.codes(2**64 - 1).tobytes() == (2).to_bytes(8, "big")


def test_signed_ids() -> None:
    index = Index("phash")
    index.add([1, 2], np.array([40, 50], np.int16)[::-1])
    assert index.codes(range(50, 30, -10)).tolist() == index.codes([50, 40]).tolist()
    assert index.codes([50, 40])[:, 7].tolist() == [1, 2]


BAD_IDS: dict[str, tuple[Any, type[Exception], str]] = {
    "negative": ([1, -1], ValueError, "row 1: an id must be a whole number"),
    "too large": ([2**64, 1], ValueError, "row 0: an id must be a whole number"),
    "float": ([1, 1.0], TypeError, "row 1: an id must be"),
    "NaN": ([1, NAN], TypeError, "row 1: an id must be"),
    "bool": ([1, True], TypeError, "row 1: an id must be"),
    "str": (["1", "2"], TypeError, "row 0: an id must be"),
    "None": ([1, None], TypeError, "row 1: an id must be"),
    "a str": ("12", TypeError, "an id must be"),
    "bytes": (b"12", TypeError, "an id must be"),
    "one bool": (True, TypeError, "an id must be"),
    "one float": (1.0, TypeError, "an id must be"),
    "one negative": (-1, ValueError, "an id must be"),
    "generator": ((row for row in (1, 2)), TypeError, "an id must be"),
    "negative array": (np.array([1, -1]), ValueError, "row 1: an id must be"),
    "float array": (np.array([1.0, 2.0]), TypeError, "array of integers, not float64"),
    "bool array": (np.array([True, False]), TypeError, "array of integers, not bool"),
    "object array": (np.array([1, 2], object), TypeError, "array of integers, not object"),
    "2 dimensions": (np.array([[1, 2]]), ValueError, "one dimension"),
    "0 dimensions": (np.array(1), ValueError, "one dimension"),
    "masked": (np.ma.array([1, 2], mask=[False, True]), TypeError, "masked"),
}


@pytest.mark.parametrize("name", BAD_IDS)
def test_bad_ids(name: str) -> None:
    ids, error, reason = BAD_IDS[name]
    index = Index("phash")
    index.add([10, 11, 12])
    with pytest.raises(error, match=reason):
        index.add([1, 2], ids)
    for call in (index.remove, index.codes):
        with pytest.raises((error, TypeError), match="id"):
            call(ids)
    assert len(index) == 3


@pytest.mark.parametrize("ids", [[1], [1, 2, 3], 1, []])
def test_one_id_for_each_code(ids: Any) -> None:
    index = Index("phash")
    with pytest.raises(ValueError, match="for 2 codes: give one id for each code"):
        index.add([5, 6], ids)
    assert len(index) == 0


@pytest.mark.parametrize("ids", [[7, 3], [8, 8]])
def test_a_repeated_id_adds_nothing(ids: list[int]) -> None:
    index = Index("phash")
    index.add([1, 2], [3, 4])
    with pytest.raises(ValueError):
        index.add([5, 6], ids)
    assert len(index) == 2 and 7 not in index and 8 not in index
    assert not index.search(5, 0)


def test_remove() -> None:
    index = Index("phash")
    index.add([1, 2, 3, 4])
    index.remove(2)
    index.remove([0])
    index.remove(np.array([1], np.uint8))
    index.remove([])
    assert len(index) == 1 and 3 in index and 2 not in index
    index.compact()
    assert index.search([1, 2, 3, 4], 0).to_list() == [(3, 3, 0)]


def test_removing_an_unknown_id_removes_nothing() -> None:
    index = Index("phash")
    index.add([1, 2])
    with pytest.raises(KeyError, match="9"):
        index.remove([0, 9, 1])
    assert len(index) == 2 and 0 in index
    with pytest.raises(KeyError, match="9"):
        index.codes([0, 9])


@pytest.mark.parametrize(
    "id", [-1, 2**64, 2**80, 1.0, 0.0, NAN, "0", None, False, b"", (0,)], ids=repr
)
def test_what_is_no_id_is_not_in_an_index(id: object) -> None:
    index = Index("phash")
    index.add([1, 2])
    assert id not in index
    assert 0 in index and np.uint8(1) in index and np.int64(-1) not in index


# Files.


@pytest.mark.parametrize("memory", [False, True])
@pytest.mark.parametrize("form", [str, Path])
@pytest.mark.parametrize("name", ["known.hm", "n\u00e4mes \u6f22.hm"])
def test_save_and_open(tmp_path: Path, memory: bool, form: type, name: str) -> None:
    codes = random_codes(20, 256)
    index = Index("pdq", max_distance=12)
    index.add(codes, np.arange(100, 120))
    path = form(tmp_path / name)
    index.save(path)
    again = Index.open(path, memory=memory)
    assert type(again) is Index
    assert (again.hash_type, again.bits, again.max_distance, len(again)) == ("pdq", 256, 12, 20)
    assert again.search(codes).to_list() == index.search(codes).to_list()
    again.add(codes[0])
    assert len(again) == 21 and len(Index.open(path)) == 20


def test_an_index_without_type_or_distance_comes_back_so(tmp_path: Path) -> None:
    Index(bits=160).save(tmp_path / "empty.hm")
    index = Index.open(tmp_path / "empty.hm")
    assert (index.hash_type, index.bits, index.max_distance, len(index)) == (None, 160, None, 0)


@pytest.mark.parametrize("content", [b"", b"H", b"hash\n" + b"f0" * 32, bytes(5_000)])
def test_a_foreign_file(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "foreign.hm"
    path.write_bytes(content)
    with pytest.raises(FormatError, match=r"foreign.hm"):
        Index.open(path)
    assert issubclass(FormatError, ValueError)


def test_files_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        Index.open(tmp_path / "nothing.hm")
    with pytest.raises(OSError):
        Index.open(tmp_path)
    with pytest.raises(OSError):
        Index("pdq").save(tmp_path / "nowhere" / "known.hm")
    for path in (f"{tmp_path}/a\0b", "\0"):
        with pytest.raises(ValueError, match="zero byte"):
            Index.open(path)
        with pytest.raises(ValueError, match="zero byte"):
            Index("pdq").save(path)
    for number in (5, None, True):
        with pytest.raises(TypeError):
            Index.open(cast("Any", number))
    with pytest.raises(TypeError, match="memory must be True or False"):
        Index.open(tmp_path, memory=cast("Any", "yes"))


# The rest.


def test_an_index_is_not_pickled() -> None:
    index = Index("pdq")
    for call in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match=r"save\(path\) it, and Index\.open\(path\)"):
            call(index)


def test_what_an_index_says_of_itself() -> None:
    index = Index("pdq")
    index.add(random_codes(1_000, 256))
    assert repr(index) == "<hashmatch.Index: pdq, 256 bits, max_distance=31, 1,000 codes>"
    assert repr(Index(bits=64)) == "<hashmatch.Index: 64 bits, max_distance=None, 0 codes>"
    assert index.kernel in hashmatch.kernels()
    assert index.size_bytes >= 1_000 * 32
    for name in ("bits", "hash_type", "max_distance", "size_bytes", "kernel"):
        with pytest.raises(AttributeError):
            setattr(index, name, 1)
    with pytest.raises(AttributeError):
        index.maximum_distance = 5  # type: ignore[attr-defined]
