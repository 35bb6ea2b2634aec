"""The writer is killed, at random moments and at every named point; nothing acknowledged is lost.

HASHMATCH_ROUNDS kills in all, of which every folder sees some one after another.
"""

from __future__ import annotations

import os
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import hashmatch
from database_model import (
    TYPES,
    Add,
    Model,
    Step,
    assert_equal,
    codes_near,
    make,
    random_steps,
)
from fresh_process import KILL_AFTER, KILL_BEFORE, FreshProcesses, arm, compiled_faults
from hashmatch import Database, _core
from hashmatch.database import Batch, changes, connections, folding, schema
from hashmatch.database.catalog import Catalog

ROUNDS = int(os.environ.get("HASHMATCH_ROUNDS", "60"))
ROUNDS_PER_FOLDER = 6
ACTIONS = 16
SETS = {"films": {"phash": 3}, "pictures": {"pdq": 20}}

#: Functions of the writer, and words that their arguments must have to count.
POINTS: list[tuple[Any, str, str]] = [
    (os, "replace", ""),
    (os, "fsync", ""),
    (os, "mkdir", ""),
    (Path, "unlink", ""),
    (_core.Index, "save", ""),
    (folding, "delete_files", ""),
    (schema, "create", ""),
    (changes.Change, "flush", ""),
    (changes.Change, "finish", ""),
    (Catalog, "replace_segments", ""),
    (Database, "refresh", ""),
    (connections.Connection, "run", "BEGIN"),
    (connections.Connection, "run", "COMMIT"),
    (connections.Connection, "run", "INSERT INTO generation"),
    (connections.Connection, "run", "INSERT INTO segment"),
    (connections.Connection, "run", "DELETE FROM segment"),
    (connections.Connection, "insert", ""),
    (connections.Connection, "close", ""),
]


class Kill(NamedTuple):
    """Before or after the so-manieth call of a point, or any call to the system for None."""

    point: int | None
    call: int
    before: bool


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def lay(kill: Kill) -> None:
    """Have this process killed there."""
    if kill.point is None:
        arm(KILL_BEFORE if kill.before else KILL_AFTER, kill.call, kill.call)
        return
    owner, name, words = POINTS[kill.point]
    function: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def counted(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        mine = words in "".join(part for part in arguments if isinstance(part, str))
        calls += mine
        if mine and calls == kill.call and kill.before:
            die()
        result = function(*arguments, **named)
        if mine and calls == kill.call:
            die()
        return result

    setattr(owner, name, counted)


def small_folds() -> None:
    folding.FOLD_ROWS = 15
    folding.FOLD_IDS = 80
    folding.MAX_SEGMENTS = 2


def change_after(generation: int) -> tuple[str, list[Step], bool]:
    """The set, the steps, and whether it is a load: what follows each generation."""
    name = list(SETS)[generation % 2]
    if generation % 5 != 3:
        return name, random_steps(generation), False
    refs = [f"ref-{row % 25}" for row in range(generation % 37 + 1)]
    return (
        name,
        [
            Add(kind, None, refs, codes_near(kind, len(refs), generation))
            for kind in TYPES[generation % 3 :]
        ],
        True,
    )


def write(path: Path, acknowledged: Path, kill: Kill | None, seed: int, actions: int) -> None:
    """The writer: acknowledges each generation in a file."""
    small_folds()
    if kill:
        lay(kill)
    chance = random.Random(seed)
    acknowledgements = os.open(acknowledged, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    database = hashmatch.open(path, "c")
    held = {record.name for record in database.sets()}
    for name, max_distance in SETS.items():
        if name not in held:
            database.create(name, max_distance=max_distance)
    for _ in range(actions):
        match chance.choice(["change"] * 8 + ["compact", "repair", "reopen"]):
            case "change":
                name, steps, bulk = change_after(database.generation)
                if bulk:
                    loaded = (step for step in steps if isinstance(step, Add))
                    database.load(name, (Batch(s.hash_type, s.codes, s.refs) for s in loaded))
                else:
                    with database.change(name) as change:
                        make(change, steps)
                os.write(acknowledgements, b"%d\n" % database.generation)
            case "compact":
                database.compact()
            case "repair":
                database.repair()
            case "reopen":
                database.close()
                database = hashmatch.open(path, "r+")
    database.close()


def look(path: Path, models: dict[int, Model]) -> int:
    """A fresh process finds one of these states, whole and sound. Which one."""
    with hashmatch.open(path) as reader:
        model = models[reader.generation]
        model.sets = {record.name: ("", SETS[record.name]) for record in reader.sets()}
        assert_equal(reader, model)
        assert reader.check() == []
    with hashmatch.open(path, "r+") as writer:
        assert_equal(writer, model)
        assert writer.check() == []
        listed = {record.file for record in writer._upkeep.catalog.list_segments()}
        assert {file.name for file in (path / "segments").iterdir()} == listed
    left = {file.name for file in path.iterdir()} - {"catalog.db", "segments", "writer.lock"}
    assert left <= {"catalog.db-wal", "catalog.db-shm"}
    return model.generation


@pytest.fixture(scope="module", params=["points", "calls", "moments"])
def processes(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, FreshProcesses]]:
    preload = None
    if request.param == "calls":
        preload = compiled_faults(tmp_path_factory.mktemp("faults"))
    with FreshProcesses(preload) as server:
        yield request.param, server


def test_killed(processes: tuple[str, FreshProcesses], tmp_path: Path) -> None:
    kind, server = processes
    chance = random.Random(kind)
    killed = 0
    model = Model()
    path = acknowledged = tmp_path
    for turn in range(ROUNDS // 3):
        if turn % ROUNDS_PER_FOLDER == 0:
            path, acknowledged = tmp_path / f"{turn}", tmp_path / f"{turn}.txt"
            acknowledged.touch()
            model = Model({name: ("", bits) for name, bits in SETS.items()})
        kill: Kill | None = None
        kill_after_s: float | None = None
        match kind:
            case "points":
                # Some points come up when a folder is made only.
                few = turn % ROUNDS_PER_FOLDER == 0
                kill = Kill(turn % len(POINTS), 1 if few else chance.randint(1, 3), turn % 4 < 2)
            case "calls":
                kill = Kill(
                    None, chance.choice([5, 50, 300]) + chance.randrange(100), turn % 2 == 0
                )
            case _:
                kill_after_s = chance.random() * 0.4
        actions = 1_000_000 if kill is None else ACTIONS
        asked = (path, acknowledged, kill, turn, actions)
        outcome = server.run(write, *asked, kill_after_s=kill_after_s)
        killed += outcome.killed
        last = max([model.generation, *map(int, acknowledged.read_text().split())])
        # What was in flight is there wholly or not at all.
        while model.generation < last:
            model.make(*change_after(model.generation)[:2])
        after = model.copy()
        after.make(*change_after(last)[:2])
        if not last and not (path / "catalog.db").exists():
            continue
        found = server.run(look, path, {last: model, last + 1: after}).result
        if found > last:
            model = after
    assert killed > ROUNDS // 3 * 0.5
