"""Disks that fail or are full, too little memory, too few files: an error that names the file,
nothing acknowledged lost, and all well again when the cause is gone.
"""

from __future__ import annotations

import errno
import os
import random
import resource
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import hashmatch
from database_model import (
    Add,
    Model,
    Step,
    assert_answers,
    assert_equal,
    make,
    random_steps,
)
from films import MODES, ROUNDS, changed, filled, loaded, small_disk
from fresh_process import FAIL, SHORT, FreshProcesses, arm, compiled_faults, disarm
from hashmatch.database import Batch, folding
from oracle import random_codes

# Calls that fail.


def faulty(path: Path, actions: list[str], fault: tuple[int, int, int, int]) -> tuple[Any, ...]:
    """In a process of its own: do this while calls fail. What came of it."""
    # Nothing but the actions: a fold in the background would take its share of the failing calls.
    folding.FOLD_ROWS, folding._DEAD_SHARE = 1 << 40, 1
    what, first, last, number = fault
    database, model = filled(path)
    database.compact()
    changed(database, model, random_steps(20))
    held = [model.copy()]
    raised: list[BaseException] = []
    stopped, unsynced = False, held[0]
    arm(what, first, last, number)
    for action in actions:
        steps: list[Step] = [loaded(7)] if action == "load" else random_steps(30)
        after = held[-1].copy()
        if action in ("load", "change"):
            after.make("films", steps)
        try:
            match action:
                case "load":
                    step = loaded(7)
                    database.load("films", [Batch(step.hash_type, step.codes, step.refs)])
                case "change":
                    with database.change("films") as change:
                        make(change, steps)
                case "compact":
                    database.compact()
                case "repair":
                    database.repair()
                case "reopen":
                    database.close()
                    database = hashmatch.open(path, "r+")
        except BaseException as error:
            raised.append(error)
            if action == "reopen":
                break
            if not stopped and "synced" in str(error):
                stopped, unsynced = True, after
            # What was there is still there, and is searched on.
            assert database.generation in (held[-1].generation, after.generation)
            assert_answers(database, {held[-1].generation: held[-1], after.generation: after})
            if database.generation == after.generation:
                held.append(after)
        else:
            if action in ("load", "change"):
                held.append(after)
    calls = disarm()
    # Well again, unless it is not known what the disk holds: then nothing more is written.
    if not (raised and action == "reopen") and not stopped:
        changed(database, held[-1], random_steps(50))
        database.compact()
        assert_equal(database, held[-1])
        assert database.check() == []
        after = held[-1]
    elif stopped:
        with pytest.raises(OSError, match="open again"), database.change("films"):
            pass
    # As at the end of a process, without a close that brings the WAL into the file.
    perhaps = unsynced if stopped else after
    return held[-1], perhaps, [(type(error), str(error)) for error in raised], calls


def sound(path: Path, models: dict[int, Model]) -> int:
    for mode in MODES:
        with hashmatch.open(path, mode) as database:
            assert_equal(database, models[database.generation])
            assert database.check() == []
            generation = database.generation
    with hashmatch.open(path, "r+") as database:
        listed = {record.file for record in database._upkeep.catalog.list_segments()}
        assert {file.name for file in (path / "segments").iterdir()} == listed
    return generation


FAULTS = {
    "EIO": (FAIL, errno.EIO, 1),
    "ENOSPC from here on": (FAIL, errno.ENOSPC, 1 << 40),
    "a short write": (SHORT, errno.ENOSPC, 1),
    "short writes from here on": (SHORT, errno.ENOSPC, 1 << 40),
}


@pytest.fixture(scope="module")
def processes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FreshProcesses]:
    with FreshProcesses(compiled_faults(tmp_path_factory.mktemp("faults"))) as server:
        yield server


@pytest.mark.parametrize("name", FAULTS)
@pytest.mark.parametrize("action", ["change", "load", "compact", "repair", "reopen"])
def test_failing_calls(processes: FreshProcesses, tmp_path: Path, action: str, name: str) -> None:
    what, number, count = FAULTS[name]
    asked = [action, "change"]
    *_, calls = processes.run(faulty, tmp_path / "none", asked, (FAIL, 0, 0, 0)).result
    assert calls > 3
    rounds = max(1, ROUNDS // 20)
    chosen = range(1, calls + 2) if rounds > calls else random.Random(name).sample(
        range(1, calls + 2), rounds
    )  # fmt: skip
    failed = 0
    for first in sorted(chosen):
        path = tmp_path / f"{first}"
        fault = (what, first, first + count - 1, number)
        held, after, raised, _ = processes.run(faulty, path, asked, fault).result
        failed += bool(raised)
        for kind, words in raised:
            assert issubclass(kind, OSError), (kind, words)
            assert str(path) in words, words
        # If it was not acknowledged, it may be there all the same after a failed sync.
        models = {held.generation: held, after.generation: after}
        assert processes.run(sound, path, models).result in models
        shutil.rmtree(path)
    if count > 1:
        assert failed


def test_a_full_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "3m") as disk:
        path = disk / "known"
        database, model = filled(path)
        filler = disk / "filler"
        refused = 0
        for turn in range(60):
            free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
            room = random.Random(turn).randrange(40) << 12
            # A fold in the background may take some of it first.
            with suppress(OSError):
                filler.write_bytes(bytes(max(0, free - room)))
            step = loaded(turn, 300)
            try:
                match turn % 3:
                    case 0:
                        changed(database, model, [step])
                    case 1:
                        database.load("films", [Batch(step.hash_type, step.codes, step.refs)])
                        model.make("films", [step])
                    case _:
                        database.compact()
            except OSError as error:
                refused += 1
                assert error.errno == errno.ENOSPC, error
                assert str(path) in str(error)
            assert_equal(database, model)
            filler.unlink()
            if turn % 10 == 9:
                changed(database, model, random_steps(turn))
                database.compact()
                assert database.check() == []
                listed = {record.file for record in database._upkeep.catalog.list_segments()}
                assert {file.name for file in (path / "segments").iterdir()} == listed
        assert refused > 5
        database.close()
        with hashmatch.open(path) as reader:
            assert_equal(reader, model)


# Limits.


def with_few_files(path: Path) -> None:
    database, model = filled(path)
    reader = hashmatch.open(path)
    open_files = len(os.listdir("/proc/self/fd"))
    assert open_files < 40
    held = []
    models = {model.generation: model.copy()}
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    for _ in range(200):
        # Whoever uses a database again and again uses up none.
        reader.refresh()
        assert_answers(reader, models)
    try:
        while True:
            held.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    failed = 0
    for spare in (0, 0, 1, 1, 2):
        for _ in range(spare):
            os.close(held.pop())
        uses: list[Callable[[], object]] = [
            database.compact,
            database.repair,
            reader.check,
            lambda: hashmatch.open(path).close(),
            lambda: changed(database, model, [loaded(1)]),
            lambda: changed(reader, model, []),
        ]
        for use in uses:
            try:
                use()
            except OSError as error:
                failed += 1
                assert str(path) in str(error), error
            models[model.generation] = model.copy()
            assert_answers(reader, models)
            assert_answers(database, models)
    assert failed > 5
    for file in held:
        os.close(file)
    deadline = time.monotonic() + 5
    while database.generation < model.generation or reader.generation < model.generation:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert_equal(database, model)
    assert_equal(reader, model)
    changed(database, model, random_steps(60))
    database.compact()
    assert reader.refresh() == model.generation
    assert database.check() == reader.check() == []
    assert len(os.listdir("/proc/self/fd")) < open_files + 12
    reader.close()
    database.close()


def with_little_memory(path: Path, room: int, seed: int) -> int:
    """How many uses had too little."""
    database, model = filled(path)
    reader = hashmatch.open(path)
    queries = random_codes(20_000, 256)
    refs = [f"ref-{row}" for row in range(20_000)]
    kept, hard = resource.getrlimit(resource.RLIMIT_AS)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    failed = 0
    uses: list[Callable[[], object]] = [
        database.compact,
        database.repair,
        lambda: reader.match("pdq", queries, max_distance=100, threads=2),
        lambda: database.load("films", [Batch("pdq", queries, refs)]),
        reader.refresh,
        lambda: hashmatch.open(path, memory=True).close(),
    ]
    random.Random(seed).shuffle(uses)
    for use in uses:
        resource.setrlimit(resource.RLIMIT_AS, (used + room, hard))
        loads = database.generation
        try:
            use()
        except (MemoryError, OSError, RuntimeError, SystemError) as error:
            failed += 1
            # So Python names a thread that cannot be begun, and NumPy some failed allocations.
            foreign = ("can't start new thread", "error return without exception set")
            assert not isinstance(error, RuntimeError | SystemError) or str(error) in foreign
            if isinstance(error, OSError):
                assert str(path) in str(error), error
        finally:
            resource.setrlimit(resource.RLIMIT_AS, (kept, hard))
        with database._upkeep.catalog.snapshot() as snapshot:
            if snapshot.generation > loads:
                model.make("films", [Add("pdq", None, refs, queries)])
    database.refresh()
    reader.refresh()
    assert_equal(database, model)
    assert_equal(reader, model)
    database.compact()
    assert database.check() == []
    database.close()
    reader.close()
    return failed


def test_few_files(plain_processes: FreshProcesses, tmp_path: Path) -> None:
    plain_processes.run(with_few_files, tmp_path / "known")


def test_little_memory(plain_processes: FreshProcesses, tmp_path: Path) -> None:
    failed = 0
    for turn in range(max(8, ROUNDS // 8)):
        room = 200_000 * 2 ** (turn % 8)
        asked = (tmp_path / f"{turn}", room, turn)
        failed += plain_processes.run(with_little_memory, *asked).result
    assert failed > 5
