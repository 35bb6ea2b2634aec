"""An index against a dict, through any sequence of changes, with searches on other threads."""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

import oracle
from hashmatch import Index
from oracle import flipped, random_codes


class IndexMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.index = Index(bits=64, max_distance=8)
        self.held: dict[int, bytes] = {}
        self.next_id = 0

    def teardown(self) -> None:
        self.folder.cleanup()

    @initialize(bits=st.sampled_from([64, 128, 160, 256]), max_distance=st.sampled_from([0, 3, 8]))
    def begin(self, bits: int, max_distance: int) -> None:
        self.index = Index(bits=bits, max_distance=max_distance)

    def codes(self, count: int, seed: int) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
        """Some new, some held already, some near those."""
        codes = random_codes(count, self.index.bits, seed)
        known = list(self.held.values())
        for row in range(count if known else 0):
            like = np.frombuffer(known[(seed + row) % len(known)], np.uint8)
            if row % 3:
                codes[row] = flipped(like, (row + seed) % 3, seed)
        return codes

    # Up to 3,000 rows, so that segments are searched by their bands.
    @rule(count=st.integers(0, 6) | st.sampled_from([200, 3000]), seed=st.integers(0, 10_000))
    def add(self, count: int, seed: int) -> None:
        codes = self.codes(count, seed)
        ids = self.index.add(codes)
        assert ids.tolist() == list(range(self.next_id, self.next_id + count))
        self.held.update(zip(ids.tolist(), map(bytes, codes), strict=True))
        self.next_id += count

    @rule(ids=st.lists(st.integers(0, 50) | st.integers(0, 2**62), max_size=6))
    def add_with_ids(self, ids: list[int]) -> None:
        codes = self.codes(len(ids), sum(ids) % 10_000)
        if len(set(ids)) < len(ids) or self.held.keys() & set(ids):
            with pytest.raises(ValueError, match="nothing was added"):
                self.index.add(codes, ids)
            return
        assert self.index.add(codes, ids).tolist() == ids
        self.held.update(zip(ids, map(bytes, codes), strict=True))
        self.next_id = max([self.next_id, *(id + 1 for id in ids)])

    @rule(chance=st.randoms(use_true_random=False), share=st.sampled_from([0.01, 0.3, 1.0]))
    def remove(self, chance: object, share: float) -> None:
        ids = sorted(self.held)[:: max(1, round(1 / share))]
        self.index.remove(ids)
        for id in ids:
            del self.held[id]

    @rule(id=st.integers(0, 60))
    def remove_an_unknown_one(self, id: int) -> None:
        ids = [*sorted(self.held)[:2], id]
        if id in self.held:
            return
        with pytest.raises(KeyError, match=str(id)):
            self.index.remove(ids)

    @rule()
    def compact(self) -> None:
        self.index.compact()

    @rule(memory=st.booleans())
    def save_and_open(self, memory: bool) -> None:
        path = Path(self.folder.name) / "index.hm"
        self.index.save(path)
        self.index = Index.open(path, memory=memory)
        # Removed ids past the last one held are forgotten with the index that held them.
        self.next_id = max(self.held, default=-1) + 1

    @rule(
        max_distance=st.sampled_from([0, 1, 3, 8, 20]),
        k=st.integers(1, 5),
        seed=st.integers(0, 10_000),
    )
    def search(self, max_distance: int, k: int, seed: int) -> None:
        queries = self.codes(12, seed)
        wanted = oracle.search(queries, self.held, max_distance)
        assert self.index.search(queries, max_distance).to_list() == wanted
        one = self.index.search(queries[0], max_distance).to_list()
        assert one == [match for match in wanted if match[0] == 0]
        nearest = oracle.search(queries, self.held, max_distance, k)
        assert self.index.nearest(queries, k, max_distance).to_list() == nearest

    @rule(seed=st.integers(0, 10_000))
    def search_during_a_compaction(self, seed: int) -> None:
        queries = self.codes(3, seed)
        wanted = oracle.search(queries, self.held, 3)
        folding = threading.Thread(target=self.index.compact)
        folding.start()
        answers = [self.index.search(queries, 3).to_list()]
        while folding.is_alive():
            answers.append(self.index.search(queries, 3).to_list())
        folding.join()
        assert all(answer == wanted for answer in answers)

    @invariant()
    def holds_the_same(self) -> None:
        assert len(self.index) == len(self.held)
        ids = sorted(self.held)[:: max(1, len(self.held) // 20)]
        if ids:
            assert self.index.codes(ids).tobytes() == b"".join(self.held[id] for id in ids)
        for id in (0, 7, 2**40, *ids[:3]):
            assert (id in self.index) == (id in self.held)


TestIndex = IndexMachine.TestCase
TestIndex.settings = settings(
    max_examples=40, stateful_step_count=30, derandomize=True, deadline=None
)


def test_searches_while_others_change_the_index() -> None:
    # Each code is held under two ids, which come and go together.
    codes = random_codes(400, 128, 1)
    index = Index(bits=128, max_distance=4)
    index.add(np.repeat(codes, 2, axis=0))
    done = threading.Event()
    failures: list[str] = []

    def look() -> None:
        chance = np.random.default_rng(threading.get_ident() % 2**32)
        while not done.is_set() and not failures:
            rows = chance.integers(0, 400, 20)
            for answer in (index.search(codes[rows]), index.nearest(codes[rows], 2)):
                ids = answer.id.tolist()
                pairs = list(zip(ids[::2], ids[1::2], strict=True))
                if any(even % 2 or odd != even + 1 for even, odd in pairs):
                    failures.append(f"half a pair: {ids}")

    readers = [threading.Thread(target=look) for _ in range(4)]
    for reader in readers:
        reader.start()
    try:
        for turn in range(600):
            pair = turn * 7 % 400
            index.remove([2 * pair, 2 * pair + 1])
            if turn % 50 == 0:
                index.compact()
            index.add(np.repeat(codes[pair : pair + 1], 2, axis=0), [2 * pair, 2 * pair + 1])
    finally:
        done.set()
        for reader in readers:
            reader.join()
    assert not failures
    assert len(index) == 800
