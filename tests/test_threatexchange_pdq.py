"""PDQIndex beside those of threatexchange."""

from __future__ import annotations

import copy
import io
import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threatexchange.signal_type.index import (
    SignalSimilarityInfoWithIntDistance,
    SignalTypeIndex,
)

from threatexchange_originals import (
    CENTRES,
    PDQIndex,
    PDQIndex2,
    distances,
    flipped,
    hashes,
    ours,
)

HASH = CENTRES[0]

Step = tuple[str, Any]
signals = hashes()
steps = st.lists(
    st.one_of(
        st.tuples(st.just("add"), signals),
        st.tuples(st.just("add_all"), st.lists(signals, max_size=8)),
        st.tuples(st.just("stored"), st.none()),
        st.tuples(st.just("pickled"), st.none()),
    ),
    max_size=12,
)


def stored(index: Any) -> Any:
    """What is read of what was written."""
    file = io.BytesIO()
    index.serialize(file)
    file.seek(0)
    return type(index).deserialize(file)


@given(st.lists(signals, max_size=8), steps, st.lists(signals, min_size=1, max_size=6))
@settings(max_examples=100, deadline=None)
def test_same_matches_as_the_originals(
    first: list[str], made: list[Step], queries: list[str]
) -> None:
    index = ours.PDQIndex.build([(code, number) for number, code in enumerate(first)])
    peers = [
        kind.build([(code, number) for number, code in enumerate(first)])
        for kind in (PDQIndex, PDQIndex2)
    ]
    count = len(first)
    for kind, codes in made:
        if kind == "add":
            for each in (index, *peers):
                each.add(codes, count)
            count += 1
        elif kind == "add_all":
            for each in (index, *peers):
                each.add_all((code, count + row) for row, code in enumerate(codes))
            count += len(codes)
        elif kind == "stored":
            index = stored(index)
        else:
            index = pickle.loads(pickle.dumps(index))
    assert len(index) == len(peers[0]) == count
    for query in queries:
        found = distances(index.query(query))
        assert found == distances(peers[0].query(query)) == distances(peers[1].query(query))


@given(st.lists(signals, max_size=20), signals, st.integers(0, 256))
@settings(max_examples=50, deadline=None)
def test_any_threshold(codes: list[str], query: str, threshold: int) -> None:
    entries = [(code, number) for number, code in enumerate(codes)]
    index = ours.PDQIndex(entries=entries, threshold=threshold)
    peer = PDQIndex2(entries=entries, threshold=threshold)
    assert distances(stored(index).query(query)) == distances(peer.query(query))


def test_nearest_first_then_as_added() -> None:
    index = ours.PDQIndex[int]()
    for number, far in enumerate([9, 0, 31, 9, 32, 0]):
        index.add(flipped(HASH, range(far)), number)
    found = [(match.similarity_info, match.metadata) for match in index.query(HASH)]
    near = SignalSimilarityInfoWithIntDistance
    assert found == [(near(0), 1), (near(0), 5), (near(9), 0), (near(9), 3), (near(31), 2)]
    assert type(found[0][0].distance) is int
    assert found[0][0].pretty_str() == "0"


def test_ways_to_begin() -> None:
    entries = [(HASH, "a"), (HASH.upper(), "b")]
    for index in (
        ours.PDQIndex(None, entries),
        ours.PDQIndex(entries),
        ours.PDQIndex(entries=iter(entries)),
        ours.PDQIndex.build(dict.fromkeys([HASH], "a").items()),
    ):
        assert isinstance(index, SignalTypeIndex)
        assert index.query(HASH)[0].metadata == "a"
        assert index.threshold == 31
    assert len(ours.PDQIndex.build([])) == 0
    assert ours.PDQIndex().query(HASH) == []
    with pytest.raises(TypeError, match="hashmatch has its own engine"):
        ours.PDQIndex(object())  # type: ignore[arg-type]
    for threshold in (-1, 257):
        with pytest.raises(ValueError, match="threshold must be"):
            ours.PDQIndex(threshold=threshold)


def test_a_subclass_of_another_threshold() -> None:
    class Wide(ours.PDQIndex[int]):
        @classmethod
        def get_match_threshold(cls) -> int:
            return 52

    index = Wide.build([(HASH, 1)])
    assert len(index.query(flipped(HASH, range(52)))) == 1
    assert len(index.query(flipped(HASH, range(53)))) == 0
    assert type(stored(index)) is Wide
    assert stored(index).threshold == 52


def test_many_rows_come_in_blocks() -> None:
    index = ours.PDQIndex.build((f"{number << 40:064x}", number) for number in range(140_000))
    assert len(index) == 140_000
    assert (0, 139_999) in distances(stored(index).query(f"{139_999 << 40:064x}"))


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("", "hash is empty"),
        ("f" * 63, "63 hex digits"),
        ("f" * 32, "32 hex digits"),
        ("g" + "f" * 63, "'g' as character 1"),
        (None, "must be a str, not NoneType"),
        (b"f" * 64, "must be a str, not bytes"),
    ],
)
def test_bad_hashes_change_nothing(bad: Any, reason: str) -> None:
    index = ours.PDQIndex.build([(HASH, 0)])
    kind = ValueError if isinstance(bad, str) else TypeError
    with pytest.raises(kind, match=reason):
        index.query(bad)
    with pytest.raises(kind, match=reason):
        index.add(bad, 1)
    with pytest.raises(kind, match=f"entry 70,001: .*{reason}"):
        index.add_all([*[(HASH, 1)] * 70_001, (bad, 2)])
    with pytest.raises(ValueError, match="unpack"):
        index.add_all([(HASH, 1), (HASH, 2, 3)])  # type: ignore[list-item]
    assert len(index) == 1
    index.add(HASH, 3)
    assert distances(index.query(HASH)) == {(0, 0): 1, (0, 3): 1}


def test_an_iterator_that_fails_adds_nothing() -> None:
    def failing() -> Any:
        yield HASH, 1
        raise OSError("no more")

    index = ours.PDQIndex[int]()
    with pytest.raises(OSError, match="no more"):
        index.add_all(failing())
    assert len(index) == 0
    assert index.query(HASH) == []


class Interrupted:
    """An engine in which an addition is broken off, before it is made or after."""

    def __init__(self, engine: Any, made: bool) -> None:
        self.engine, self.made = engine, made

    def __len__(self) -> int:
        return len(self.engine)

    def add(self, *arguments: Any) -> None:
        if self.made:
            self.engine.add(*arguments)
        raise KeyboardInterrupt


@pytest.mark.parametrize("made", [False, True])
def test_an_interrupted_addition_is_there_or_not(made: bool) -> None:
    index = ours.PDQIndex.build([(HASH, 0)])
    assert index._held
    engine, entries = index._held
    index._held = Interrupted(engine, made), entries  # type: ignore[assignment]
    with pytest.raises(KeyboardInterrupt):
        index.add_all([(HASH, 1), (HASH, 2)])
    index._held = engine, entries
    assert len(index) == (3 if made else 1)
    index.add(HASH, 9)
    assert [match.metadata for match in index.query(HASH)] == [*range(3 if made else 1), 9]


def test_dispose() -> None:
    index = ours.PDQIndex.build([(HASH, 1)])
    index.dispose()
    index.dispose()
    assert len(index) == 0
    for use in (lambda: index.query(HASH), lambda: index.add(HASH, 1), lambda: stored(index)):
        with pytest.raises(ValueError, match="disposed of"):
            use()


def test_copies_are_independent() -> None:
    marker = object()
    index = ours.PDQIndex(entries=[(HASH, marker)], threshold=5)
    for other in (copy.copy(index), copy.deepcopy(index)):
        other.add(HASH, marker)
        assert (len(other), other.threshold) == (2, 5)
    assert len(index) == 1
    assert copy.copy(index).query(HASH)[0].metadata is marker


def test_queries_while_others_add() -> None:
    index = ours.PDQIndex[int]()
    codes = [flipped(HASH, [bit]) for bit in range(200)]
    returned = 0
    done = threading.Event()

    def ask() -> list[int]:
        seen = []
        while not done.is_set():
            least = returned
            found = {match.metadata for match in index.query(HASH)}
            assert found >= set(range(least))
            seen.append(len(found))
        return seen

    with ThreadPoolExecutor(2) as threads:
        asking = [threads.submit(ask) for _ in range(2)]
        try:
            for number in range(0, 200, 10):
                part = slice(number, number + 9)
                index.add_all(zip(codes[part], range(200)[part], strict=True))
                index.add(codes[number + 9], number + 9)
                returned = number + 10
                time.sleep(0.005)
        finally:
            done.set()
        for thread in asking:
            seen = thread.result()
            assert seen
            assert seen == sorted(seen)
    assert len(index.query(HASH)) == 200
