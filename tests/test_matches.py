"""What a search gives back."""

from __future__ import annotations

import pickle
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from hashmatch import Index, Match, Matches
from oracle import flipped, random_codes
from oracle import search as brute_force

BITS = 64
KNOWN = random_codes(30, BITS)
QUERIES = np.stack([KNOWN[3], random_codes(1, BITS, seed=9)[0], flipped(KNOWN[5], 4), KNOWN[3]])


@pytest.fixture
def matches() -> Matches:
    index = Index(bits=BITS, max_distance=24)
    index.add(KNOWN)
    return index.search(QUERIES)


@pytest.fixture
def expected() -> list[tuple[int, int, int]]:
    return brute_force(QUERIES, {row: code.tobytes() for row, code in enumerate(KNOWN)}, 24)


def test_rows(matches: Matches, expected: list[tuple[int, int, int]]) -> None:
    assert len(expected) > 6
    assert matches.to_list() == list(matches) == expected
    assert len(matches) == len(expected)
    assert matches.queries == 4
    assert all(type(match) is Match for match in matches)
    assert {type(value) for match in matches for value in match} == {int}


def test_columns(matches: Matches, expected: list[tuple[int, int, int]]) -> None:
    columns = (matches.query, matches.id, matches.distance)
    assert [column.dtype for column in columns] == [np.int64, np.uint64, np.uint16]
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == expected
    assert matches.offsets.dtype == np.int64
    counts = [sum(query == number for query, _, _ in expected) for number in range(4)]
    assert matches.offsets.tolist() == [0, *np.cumsum(counts).tolist()]
    for column in (*columns, matches.offsets):
        with pytest.raises(ValueError, match="read-only"):
            column[0] = 0


def test_a_column_is_fetched_once(matches: Matches) -> None:
    assert matches.id is matches.id
    assert matches.offsets is matches.offsets


def test_matches_of_one_query(matches: Matches, expected: list[tuple[int, int, int]]) -> None:
    for query in range(4):
        own = [row for row in expected if row[0] == query]
        assert matches[query] == own
        assert matches[query - 4] == own
        assert matches[np.int64(query)] == own
    assert matches[0][0] == Match(query=0, id=3, distance=0)


@pytest.mark.parametrize("query", [4, -5, 2**70, -(2**70)])
def test_no_such_query(matches: Matches, query: int) -> None:
    with pytest.raises(IndexError, match=f"query {query} of 4: give a number in 0..3"):
        matches[query]


@pytest.mark.parametrize("query", ["0", 1.0, None, slice(2), np.array([0, 1])])
def test_not_a_query(matches: Matches, query: Any) -> None:
    with pytest.raises(TypeError, match="takes the number of a query"):
        matches[query]


def test_nothing_found() -> None:
    matches = Index(bits=BITS, max_distance=0).search(QUERIES)
    assert not matches and matches.to_list() == [] and matches[2] == [] and matches.queries == 4
    assert matches.offsets.tolist() == [0] * 5


def test_nothing_asked() -> None:
    matches = Index(bits=BITS, max_distance=0).search([])
    assert not matches and matches.queries == 0 and matches.offsets.tolist() == [0]
    with pytest.raises(IndexError):
        matches[0]


def test_iteration_over_many() -> None:
    rows = 150_001
    columns = SimpleNamespace(
        query=np.arange(rows), id=np.arange(rows) * 2, distance=np.arange(rows) % 9
    )
    listed = Matches(columns).to_list()
    assert len(listed) == rows
    assert all(match == (row, row * 2, row % 9) for row, match in enumerate(listed))


def test_there_is_no_reverse(matches: Matches) -> None:
    """Python's own would take `len`, which counts matches, for the number of queries."""
    with pytest.raises(TypeError):
        reversed(matches)


def test_other_attributes_are_errors(matches: Matches) -> None:
    with pytest.raises(AttributeError, match="no attribute 'ids'"):
        _ = matches.ids


def test_matches_travel(matches: Matches, expected: list[tuple[int, int, int]]) -> None:
    copy = pickle.loads(pickle.dumps(matches))
    assert copy.to_list() == expected
    assert copy[2] == matches[2] and copy.queries == 4
    assert pickle.loads(pickle.dumps(copy)).to_list() == expected


def test_repr(matches: Matches) -> None:
    assert repr(matches) == f"<hashmatch.Matches: {len(matches)} of 4 queries>"


def test_arrow(matches: Matches, expected: list[tuple[int, int, int]]) -> None:
    pa = pytest.importorskip("pyarrow")
    table = matches.to_arrow()
    assert table.schema == pa.schema(
        {"query": pa.int64(), "id": pa.uint64(), "distance": pa.uint16()}
    )
    assert [tuple(row.values()) for row in table.to_pylist()] == expected


def test_arrow_is_an_extra(matches: Matches, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r'pip install "hashmatch\[arrow\]"'):
        matches.to_arrow()
