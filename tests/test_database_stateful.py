"""A database against dicts, through any sequence of changes, loads, folds and reopenings, while
readers here and in another process each answer from one generation.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import hashmatch
from database_model import (
    TYPES,
    Add,
    Model,
    Step,
    answers,
    assert_answers,
    assert_equal,
    codes_near,
    make,
    random_steps,
)
from database_reader import RemoteReader
from fresh_process import FreshProcesses
from hashmatch import Database
from hashmatch.database import Batch, folding, snapshot

ROUNDS = int(os.environ.get("HASHMATCH_ROUNDS", "60"))
SEEDS = st.integers(0, 10_000)
SETS = ("films", "pictures")
DISTANCES = {"films": {"phash": 4}, "pictures": {"pdq": 9, "md5": 2}}


@pytest.fixture(autouse=True)
def small_folds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folds, merges and gaps come up with a few dozen rows, and what is read is read in pieces."""
    monkeypatch.setattr(snapshot, "_BLOCK_IDS", 7)
    monkeypatch.setattr(folding, "FOLD_ROWS", 12)
    monkeypatch.setattr(folding, "FOLD_IDS", 60)
    monkeypatch.setattr(folding, "MAX_SEGMENTS", 2)


@pytest.fixture(scope="module")
def remote() -> Iterator[RemoteReader]:
    with RemoteReader() as reader:
        yield reader


class DatabaseMachine(RuleBasedStateMachine):
    remote: RemoteReader

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name)
        self.database = hashmatch.open(self.path, "c")
        self.model = Model()
        for name in SETS:
            self.create(name, DISTANCES[name])
        #: By generation.
        self.models = {0: self.model.copy()}
        self.reader: Database | None = None
        self.remote.open(self.path)

    def teardown(self) -> None:
        try:
            assert self.database.check() == self.remote.check() == []
            assert self.database.status().trouble is None
            self.reopen(memory=False)
            files = {file.name for file in (self.path / "segments").iterdir()}
            with self.database._upkeep.catalog.snapshot() as snapshot:
                assert files == {record.file for record in snapshot.list_segments()}
        finally:
            self.remote.close()
            if self.reader:
                self.reader.close()
            self.database.close()
            self.folder.cleanup()

    def create(self, name: str, max_distance: dict[str, int]) -> None:
        self.database.create(name, contributor=f"{name} inc", max_distance=max_distance)
        self.model.sets[name] = (f"{name} inc", max_distance)

    def made(self, generation: int) -> None:
        self.models[generation] = self.model.copy()

    @rule(name=st.sampled_from(SETS), seed=SEEDS, rows=st.sampled_from([1, 12, 40]))
    def change(self, name: str, seed: int, rows: int) -> None:
        steps = random_steps(seed, rows)
        with self.database.change(name) as change:
            make(change, steps)
        self.model.make(name, steps)
        self.made(self.model.generation)

    @rule(name=st.sampled_from(SETS), seed=SEEDS)
    def failed_change(self, name: str, seed: int) -> None:
        with pytest.raises(ZeroDivisionError), self.database.change(name) as change:
            make(change, random_steps(seed))
            raise ZeroDivisionError

    @rule(
        name=st.sampled_from(SETS),
        seed=SEEDS,
        types=st.lists(st.sampled_from(TYPES), max_size=3),
        rows=st.sampled_from([1, 20, 60]),
    )
    def load(self, name: str, seed: int, types: list[str], rows: int) -> None:
        steps = [
            Add(
                kind,
                None,
                [f"ref-{(row * 7 + seed) % 40}" for row in range(rows)],
                codes_near(kind, rows, seed + place),
            )
            for place, kind in enumerate(types)
        ]
        self.database.load(name, [Batch(s.hash_type, s.codes, s.refs) for s in steps])
        self.model.make(name, steps)
        self.made(self.model.generation)

    @rule(name=st.sampled_from(SETS))
    def remove_all(self, name: str) -> None:
        with self.database.change(name) as change:
            for key in [key for key in self.model.items if key[0] == name]:
                change.remove(refs=[key[2]], contributor=key[1])
                del self.model.items[key]
        self.model.make(name, [])
        self.made(self.model.generation)

    @rule()
    def compact(self) -> None:
        self.database.compact()
        for held in self.database.status().types.values():
            assert (held.segments, held.unfolded) == (1, 0)

    @rule()
    def repair(self) -> None:
        self.database.repair()

    @rule()
    def settle(self) -> None:
        """Until the background has nothing to fold."""
        upkeep = self.database._upkeep
        upkeep._wake.set()
        end = time.monotonic() + 20
        while any(folding.range_to_fold(view) for view in upkeep._engine.views.values()):
            assert time.monotonic() < end, self.database.status()
            time.sleep(0.002)

    @rule(memory=st.booleans())
    def reopen(self, memory: bool) -> None:
        self.database.close()
        self.database = hashmatch.open(self.path, "r+", memory=memory)
        assert_equal(self.database, self.model)

    @rule(memory=st.booleans())
    def open_a_reader(self, memory: bool) -> None:
        if self.reader:
            self.reader.close()
        self.reader = hashmatch.open(self.path, memory=memory)
        assert_equal(self.reader, self.model)

    @precondition(lambda self: self.reader)
    @rule(seed=SEEDS, newest=st.booleans())
    def ask_the_reader(self, seed: int, newest: bool) -> None:
        assert self.reader
        if newest:
            assert self.reader.refresh() == self.model.generation
        assert_answers(self.reader, self.models, seed)

    @rule(seed=SEEDS, newest=st.booleans(), hash_type=st.sampled_from(TYPES))
    def ask_the_other_process(self, seed: int, newest: bool, hash_type: str) -> None:
        if newest:
            assert self.remote.refresh() == self.model.generation
        queries = codes_near(hash_type, 4, seed)
        generation, found = self.remote.match(hash_type, queries, 12)
        if newest:
            assert generation == self.model.generation
        wanted = self.models[generation].answer(hash_type, queries, max_distance=12)
        assert [row[:-1] for row in found] == [row[:-1] for row in wanted]

    @rule(
        seed=SEEDS,
        hash_type=st.sampled_from(TYPES),
        max_distance=st.sampled_from([None, 0, 5, 60]),
        sets=st.none() | st.lists(st.sampled_from(SETS), max_size=2),
        verdicts=st.none() | st.lists(st.sampled_from(["none", "positive", "negative"])),
    )
    def ask(
        self,
        seed: int,
        hash_type: str,
        max_distance: int | None,
        sets: list[str] | None,
        verdicts: list[str] | None,
    ) -> None:
        queries = codes_near(hash_type, 5, seed)
        found = self.database.match(hash_type, queries, sets, max_distance, verdicts)
        assert found.generation == self.model.generation
        assert answers(found) == self.model.answer(hash_type, queries, sets, max_distance, verdicts)

    @rule(seed=SEEDS)
    def change_during_a_compaction(self, seed: int) -> None:
        folder = threading.Thread(target=self.database.compact)
        folder.start()
        for turn in range(3):
            self.change(SETS[turn % 2], seed + turn, 12)
            assert_answers(self.database, self.models)
        folder.join()

    @invariant()
    def holds_the_same(self) -> None:
        assert_equal(self.database, self.model, self.model.generation)


def test_any_sequence(remote: RemoteReader) -> None:
    DatabaseMachine.remote = remote
    run_state_machine_as_test(
        DatabaseMachine,
        settings=settings(
            max_examples=ROUNDS // 3, stateful_step_count=25, derandomize=True, deadline=None
        ),
    )


@pytest.mark.parametrize("seed", range(2))
def test_threads(tmp_path: Path, seed: int) -> None:
    """Searches on three threads, changes on two, folds and refreshes all along."""
    database, lock = hashmatch.open(tmp_path, "c"), threading.Lock()
    model = Model()
    for name in SETS:
        database.create(name, max_distance=DISTANCES[name])
        model.sets[name] = ("", DISTANCES[name])
    models = {0: model.copy()}
    with hashmatch.open(tmp_path) as reader:
        done = threading.Event()
        failures: list[BaseException] = []
        asked = [0]

        def guarded(work: object, *arguments: object) -> None:
            try:
                assert callable(work)
                work(*arguments)
            except BaseException as error:
                failures.append(error)
                done.set()

        def record(name: str, steps: list[Step]) -> None:
            # Called within a change, so that no other can come between.
            with lock:
                model.make(name, steps)
                models[model.generation] = model.copy()

        def write(name: str, first: int) -> None:
            for number in range(first, first + 45):
                if done.is_set():
                    return
                steps = random_steps(number)
                with database.change(name) as change:
                    make(change, steps)
                    record(name, steps)
                if number % 8 == 0:
                    refs = [f"ref-{row % 30}" for row in range(number % 50)]
                    added = Add("pdq", None, refs, codes_near("pdq", len(refs), number))
                    database.load(
                        name,
                        [Batch("pdq", added.codes, refs)],
                        progress=lambda *_, added=added: record(name, [added]),
                    )
                if number % 6 == 0:
                    database.compact()
                if number % 15 == 0:
                    database.repair()
                if number % 20 == 0:
                    assert database.check() == []

        def search(searched: Database, number: int) -> None:
            while not done.is_set():
                number += 1
                if number % 5 == 0:
                    searched.refresh()
                if number % 11 == 0:
                    searched.status()
                for hash_type in TYPES:
                    queries = codes_near(hash_type, 3, number % 50)
                    matches = searched.match(hash_type, queries, max_distance=10, threads=1)
                    rows = [row[:-1] for row in answers(matches)]
                    state = models[matches.generation]
                    wanted = state.answer(hash_type, queries, max_distance=10)
                    assert rows == [row[:-1] for row in wanted]
                asked[0] += 1

        writers = [
            threading.Thread(target=guarded, args=(write, name, 1000 * (seed + place)))
            for place, name in enumerate(SETS)
        ]
        others = [
            threading.Thread(target=guarded, args=(search, each, place))
            for place, each in enumerate([database, database, reader])
        ]
        for thread in (*writers, *others):
            thread.start()
        for thread in writers:
            thread.join()
        done.set()
        for thread in others:
            thread.join()
        if failures:
            raise failures[0]
        assert asked[0] > 20
        assert_equal(database, model)
        assert reader.refresh() == model.generation
        assert_equal(reader, model)
        assert database.status().trouble is reader.status().trouble is None
        assert database.check() == reader.check() == []
    database.close()


def closed_amid(path: Path, seed: int) -> None:
    """Threads use a database as hard as they can while it is closed."""
    folding.FOLD_ROWS = 12
    database = hashmatch.open(path, "c")
    model = Model({"films": ("", {})})
    database.create("films")
    models = {0: model.copy()}
    acknowledged = [0]
    failures: list[str] = []

    def again(use: Callable[[], object]) -> None:
        try:
            while True:
                use()
        except ValueError as error:
            if "closed" not in str(error):
                failures.append(traceback.format_exc())
        except BaseException:
            failures.append(traceback.format_exc())

    def change() -> None:
        steps = random_steps(model.generation)
        with database.change("films") as change:
            make(change, steps)
            model.make("films", steps)
            models[model.generation] = model.copy()
        acknowledged[0] = model.generation

    queries = codes_near("pdq", 4, seed)
    uses: list[Callable[[], object]] = [
        change,
        database.compact,
        database.check,
        lambda: database.match("pdq", queries, max_distance=20).ref,
        database.status,
        database.repair,
        database.history,
    ]
    threads = [threading.Thread(target=again, args=(use,)) for use in uses]
    for thread in threads:
        thread.start()
    time.sleep(0.02 * (seed % 20))
    closing = [threading.Thread(target=database.close) for _ in range(2)]
    for thread in closing:
        thread.start()
    for thread in (*closing, *threads):
        thread.join()
    assert not failures, failures[0]
    for mode in ("r+", "r"):
        with hashmatch.open(path, "r" if mode == "r" else "r+") as database:
            assert database.generation in (acknowledged[0], acknowledged[0] + 1)
            assert_equal(database, models[database.generation])
            assert database.check() == []
            listed = {record.file for record in database._upkeep.catalog.list_segments()}
            if mode == "r":
                assert {file.name for file in (path / "segments").iterdir()} == listed


def test_closed_amid_its_use(tmp_path: Path) -> None:
    with FreshProcesses() as processes:
        for seed in range(max(12, ROUNDS // 5)):
            processes.run(closed_amid, tmp_path / f"{seed}", seed)
