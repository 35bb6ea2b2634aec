"""A catalog against dicts, through any sequence of changes, with snapshots held meanwhile."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from catalog_model import AddedRow, Model, assert_holds, live_ids
from hashmatch.database import changes
from hashmatch.database.catalog import Catalog
from hashmatch.database.changes import Change
from hashmatch.database.model import Batch, Counts
from hashmatch.database.snapshot import Snapshot
from hashmatch.hash_types import HASH_TYPES

SETS = ("films", "pictures")
OWNER = "owner"
REFS = st.sampled_from(["a", "b", "c", "ä/1", "123"])
CONTRIBUTORS = st.sampled_from([None, "", "other"])
LABELS = st.lists(st.sampled_from(["x", "y", "ß"]), max_size=2, unique=True)
ROW = st.tuples(
    REFS,
    st.tuples(
        st.integers(0, 2), st.none() | st.sampled_from([0, 100]), st.none() | st.integers(0, 2)
    ),
    LABELS,
)
ADD = st.tuples(
    st.just("add"),
    CONTRIBUTORS,
    st.sampled_from(["pdq", "md5", "phash"]),
    st.lists(ROW, max_size=6),
    st.sampled_from(["image", "video"]),
    st.booleans(),
)
REMOVE = st.tuples(st.just("remove"), CONTRIBUTORS, st.lists(REFS, max_size=3))
OPINION = st.tuples(
    st.just("opinion"),
    REFS,
    st.sampled_from(["p", "q"]),
    st.sampled_from(["positive", "negative", "investigate"]),
    LABELS,
)
CHECKPOINT = st.tuples(st.just("checkpoint"), st.text("0é\n", max_size=3))
STEPS = st.lists(ADD | REMOVE | OPINION | CHECKPOINT, max_size=5)


def rows_of(hash_type: str, rows: list[Any]) -> list[AddedRow]:
    width = HASH_TYPES[hash_type].width
    return [
        (ref, (bytes([code]) * width, quality, time_ms), labels)
        for ref, (code, quality, time_ms), labels in rows
    ]


def batch_of(step: Any) -> Batch:
    _, contributor, hash_type, drawn, kind, with_labels = step
    rows = rows_of(hash_type, drawn)
    return Batch(
        hash_type,
        [code for _, (code, _, _), _ in rows],
        [ref for ref, _, _ in rows],
        [labels for _, _, labels in rows] if with_labels else None,
        contributor,
        kind,
        [quality for _, (_, quality, _), _ in rows],
        [time_ms for _, (_, _, time_ms), _ in rows],
    )


def model_add(model: Model, counts: Counts, set_name: str, step: Any) -> None:
    _, contributor, hash_type, rows, kind, with_labels = step
    name = OWNER if contributor is None else contributor
    model.add(counts, set_name, name, hash_type, rows_of(hash_type, rows), kind, with_labels)


def take_step(change: Change, model: Model, counts: Counts, set_name: str, step: Any) -> None:
    match step:
        case ("add", *_):
            change.put(batch_of(step))
            model_add(model, counts, set_name, step)
        case ("remove", contributor, refs):
            change.remove(refs=refs, contributor=contributor)
            name = OWNER if contributor is None else contributor
            model.remove(counts, set_name, name, refs)
        case ("opinion", ref, contributor, verdict, labels):
            change.opinion(ref, contributor=contributor, verdict=verdict, labels=labels)
            model.opinion(counts, set_name, ref, contributor, verdict, labels)
        case ("checkpoint", text):
            change.checkpoint = text
            model.checkpoints[set_name] = text


class CatalogMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "known"
        self.catalog = Catalog.open(self.path, "c")
        for name in SETS:
            self.catalog.create_set(name, OWNER, {"pdq": 20})
        self.reader = Catalog.open(self.path, "r")
        self.model = Model()
        self.generation = 0
        #: Snapshots and what they are to show.
        self.held: list[tuple[ExitStack, Snapshot, Model]] = []
        #: Live signals of each generation, by type and id, and where its next ids began.
        self.past: list[tuple[dict[str, dict[int, bytes]], int]] = []

    def teardown(self) -> None:
        for stack, *_ in self.held:
            stack.close()
        assert self.catalog.check() == []
        self.reader.close()
        self.catalog.close()
        self.folder.cleanup()

    @rule(set_name=st.sampled_from(SETS), steps=STEPS, held_bytes=st.sampled_from([0, 1 << 20]))
    def change(self, set_name: str, steps: list[Any], held_bytes: int) -> None:
        counts = Counts()
        with pytest.MonkeyPatch.context() as patch:
            # With 0 every step is written before the next.
            patch.setattr(changes, "_HELD_BYTES", held_bytes)
            with self.catalog.change(set_name, "me") as change:
                for step in steps:
                    take_step(change, self.model, counts, set_name, step)
        self.generation += 1
        assert change.counts == counts
        assert change.generation == self.generation

    @rule(set_name=st.sampled_from(SETS), steps=STEPS, flush=st.booleans())
    def change_that_fails(self, set_name: str, steps: list[Any], flush: bool) -> None:
        model = self.model.copy()
        with pytest.raises(KeyError, match="thrown"), self.catalog.change(set_name) as change:
            for step in steps:
                take_step(change, model, Counts(), set_name, step)
            if flush:
                change.flush()
            raise KeyError("thrown")

    @rule(set_name=st.sampled_from([*SETS, "new"]), steps=st.lists(ADD, max_size=5))
    def load(self, set_name: str, steps: list[Any]) -> None:
        if set_name == "new":
            set_name = f"set {len(self.catalog.sets())}"
            self.catalog.create_set(set_name, OWNER, {})
        # To a load, labels that are empty are as good as none, where a ref comes up twice.
        steps = [(*step[:3], [row for row in step[3] if row[2]], *step[4:]) for step in steps]
        counts = Counts()
        for step in steps:
            model_add(self.model, counts, set_name, step)
        self.generation += 1
        assert self.catalog.load(set_name, map(batch_of, steps), "bulk") == counts

    @precondition(lambda self: len(self.held) < 3)
    @rule(reader=st.booleans())
    def hold_snapshot(self, reader: bool) -> None:
        stack = ExitStack()
        catalog = self.reader if reader else self.catalog
        snapshot = stack.enter_context(catalog.snapshot())
        self.held.append((stack, snapshot, self.model.copy()))

    @precondition(lambda self: self.held)
    @rule(place=st.integers(0, 2))
    def let_snapshot_go(self, place: int) -> None:
        stack, snapshot, model = self.held.pop(place % len(self.held))
        assert_holds(snapshot, model)
        stack.close()

    @rule()
    def reopen(self) -> None:
        self.catalog.close()
        self.catalog = Catalog.open(self.path, "r+")

    @invariant()
    def holds_the_same(self) -> None:
        for catalog in (self.catalog, self.reader):
            with catalog.snapshot() as snapshot:
                assert snapshot.generation == self.generation
                assert_holds(snapshot, self.model)

    @invariant()
    def follows_from_the_past(self) -> None:
        """What came and went since a generation leads from what was live then to what is now."""
        with self.reader.snapshot() as snapshot:
            now = live_ids(snapshot)
            if len(self.past) == snapshot.generation:
                self.past.append((now, snapshot.end_signal()))
            for generation in {0, self.generation // 2, max(self.generation - 1, 0)}:
                before, end = self.past[generation]
                firsts, counts = snapshot.removed_since(generation)
                gone = {
                    first + place
                    for first, count in zip(firsts.tolist(), counts.tolist(), strict=True)
                    for place in range(count)
                }
                added = live_ids(snapshot, end)
                for hash_type, codes in now.items():
                    kept = {id: code for id, code in before[hash_type].items() if id not in gone}
                    assert codes == kept | added[hash_type]


TestCatalog = CatalogMachine.TestCase
TestCatalog.settings = settings(
    max_examples=40, stateful_step_count=15, derandomize=True, deadline=None
)


def test_id_ranges_may_cut_items_apart(tmp_path: Path) -> None:
    with Catalog.open(tmp_path, "c") as catalog:
        catalog.create_set("a", "", {})
        codes = np.arange(12 * 8, dtype=np.uint8).reshape(12, 8)
        with catalog.change("a") as change:
            change.add("phash", codes, refs=list("aaaabbbbccdd"))
            change.add("dhash", codes[:2], refs=list("ab"))
        with catalog.snapshot() as snapshot:
            live = live_ids(snapshot)["phash"]
            for first in range(16):
                for end in range(16):
                    blocks = list(snapshot.live_signals("phash", first, end))
                    found = {
                        id: bytes(code)
                        for codes, ids in blocks
                        for id, code in zip(ids.tolist(), codes, strict=True)
                    }
                    assert found == {id: live[id] for id in live if first <= id < end}
