"""Disks that fail or are full, too little memory, too few files, and damaged folders: an error that
names the file, nothing acknowledged lost, and all well again when the cause is gone.
"""

from __future__ import annotations

import errno
import os
import random
import resource
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import hashmatch
from database_model import (
    TYPES,
    Add,
    Model,
    Remove,
    Step,
    assert_answers,
    assert_equal,
    codes_near,
    make,
    random_steps,
)
from fresh_process import FAIL, SHORT, FreshProcesses, arm, compiled_faults, disarm
from hashmatch import Database, FormatError, _core
from hashmatch.database import Batch, folding
from hashmatch.database.catalog import Mode
from oracle import random_codes

ROUNDS = int(os.environ.get("HASHMATCH_ROUNDS", "60"))
NOBODY = 65534
MODES: tuple[Mode, ...] = ("r+", "r", "c")


def filled(path: Path, changes: int = 10) -> tuple[Database, Model]:
    database, model = hashmatch.open(path, "c"), Model({"films": ("", {})})
    database.create("films")
    for seed in range(changes):
        changed(database, model, random_steps(seed))
    return database, model


def changed(database: Database, model: Model, steps: Sequence[Step]) -> None:
    with database.change("films") as change:
        make(change, steps)
    model.make("films", steps)


def loaded(seed: int, rows: int = 60) -> Add:
    refs = [f"ref-{row}" for row in range(rows)]
    return Add("pdq", None, refs, codes_near("pdq", rows, seed))


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


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    folder.mkdir()
    made = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(made, capture_output=True).returncode:
        pytest.skip("may not mount a disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


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


@pytest.fixture(scope="module")
def plain_processes() -> Iterator[FreshProcesses]:
    with FreshProcesses() as server:
        yield server


def test_few_files(plain_processes: FreshProcesses, tmp_path: Path) -> None:
    plain_processes.run(with_few_files, tmp_path / "known")


def test_little_memory(plain_processes: FreshProcesses, tmp_path: Path) -> None:
    failed = 0
    for turn in range(max(8, ROUNDS // 8)):
        room = 200_000 * 2 ** (turn % 8)
        asked = (tmp_path / f"{turn}", room, turn)
        failed += plain_processes.run(with_little_memory, *asked).result
    assert failed > 5


# Damage.


def flip(file: Path, at: int) -> None:
    contents = bytearray(file.read_bytes())
    contents[at] ^= 0xFF
    rewrite(file, contents)


def rewrite(file: Path, contents: bytes | bytearray) -> None:
    # A file is never changed in place: whoever has it mapped would be hurt.
    file.with_name("new").write_bytes(contents)
    file.with_name("new").replace(file)


def damage(segments: list[Path], kind: str, chance: random.Random) -> Path:
    """Damage one of the files. Which one."""
    file = chance.choice(segments)
    contents = file.read_bytes()
    match kind:
        case "header":
            flip(file, chance.randrange(240))
        case "section":
            flip(file, chance.randrange(4096, len(contents)))
        case "truncated":
            rewrite(file, contents[: chance.choice([0, 100, 4096, len(contents) - 1])])
        case "deleted":
            file.unlink()
        case "swapped":
            other = chance.choice([other for other in segments if other != file])
            rewrite(file, other.read_bytes())
            rewrite(other, contents)
    return file


def test_a_damaged_segment_that_opens(tmp_path: Path) -> None:
    """What a removal after it was built is looked up in is damaged: the rest goes on."""
    database, model = filled(tmp_path, 0)
    changed(database, model, [loaded(1)])
    database.compact()
    changed(database, model, [Remove(None, ["ref-30"])])
    database.close()
    (file,) = tmp_path.rglob("*.seg")
    sections = _core.inspect(os.fsencode(file))["sections"]
    (entries,) = (each for each in sections if each["name"] == "entries by id")
    with file.open("r+b") as opened:
        # The first and the last are looked at when it is opened.
        opened.seek(entries["offset"] + 20)
        opened.write(b"\xff" * 20)
    with hashmatch.open(tmp_path) as reader:
        assert reader.check()
        with pytest.raises(FormatError, match="repair"):
            assert_equal(reader, model)
    with hashmatch.open(tmp_path, "r+") as database:
        database.repair()
        assert_equal(database, model)
        assert database.check() == []


KINDS = ["header", "section", "truncated", "deleted", "swapped"]


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_segments(tmp_path: Path, kind: str) -> None:
    database, model = filled(tmp_path / "sound")
    for seed in range(3):
        types = TYPES if seed else [*TYPES, "dhash"]
        refs = [f"ref-{row}" for row in range(40)]
        steps = [Add(name, None, refs, codes_near(name, 40, seed)) for name in types]
        database.load("films", [Batch(s.hash_type, s.codes, s.refs) for s in steps])
        model.make("films", steps)
    changed(database, model, random_steps(40))
    database.close()
    for turn in range(max(8, ROUNDS // 6)):
        path = tmp_path / f"{turn}"
        shutil.copytree(tmp_path / "sound", path)
        chance = random.Random(turn)
        file = damage(sorted(path.rglob("*.seg")), kind, chance)
        with hashmatch.open(path) as reader:
            assert any(file.name in fault for fault in reader.check())
            # A mapped file's codes are looked at by check alone, a copied one's by the open.
            with hashmatch.open(path, memory=True) as copied:
                for searched in (copied,) if kind == "section" else (copied, reader):
                    with pytest.raises(FormatError) as caught:
                        assert_equal(searched, model)
                    assert str(path / "segments") in str(caught.value)
                    assert "repair" in str(caught.value)
            with hashmatch.open(path, "r+") as database:
                # Changes are safe, whatever becomes of searches.
                changed_here = model.copy()
                changed(database, changed_here, random_steps(turn))
                if chance.random() < 0.5:
                    with hashmatch.open(path) as late:
                        # A fold may have taken all that is sound out of the damaged file.
                        if not late.check():
                            assert_equal(late, changed_here)
                database.repair()
                assert_equal(database, changed_here)
                assert database.check() == []
            reader.refresh()
            assert_equal(reader, changed_here)
            assert reader.check() == []
        shutil.rmtree(path)


def test_segments_can_all_be_built_again(tmp_path: Path) -> None:
    """A copy of the catalog is a copy of the database."""
    database, model = filled(tmp_path / "known")
    database.compact()
    changed(database, model, random_steps(30))
    database.close()
    (tmp_path / "copy").mkdir()
    shutil.copy(tmp_path / "known" / "catalog.db", tmp_path / "copy")
    with hashmatch.open(tmp_path / "copy", "r+") as copy:
        with pytest.raises(FormatError, match=r"gone: .*repair"):
            copy.match("pdq", codes_near("pdq", 1, 0))
        with pytest.raises(FormatError, match="gone"):
            copy.compact()
        copy.repair()
        assert_equal(copy, model)
        assert copy.check() == []


def test_leftovers_are_swept(tmp_path: Path) -> None:
    database, model = filled(tmp_path)
    database.compact()
    database.close()
    segments = tmp_path / "segments"
    before = sorted(segments.iterdir())
    for name in ("000000000009-pdq-0-5-00000000.seg", before[0].name + ".tmp3", "notes.txt"):
        (segments / name).write_bytes(b"x")
    (segments / "folder").mkdir()
    (tmp_path / "catalog.db.new").write_bytes(b"x")
    with hashmatch.open(tmp_path) as reader:
        assert_equal(reader, model)
    assert len(list(segments.iterdir())) == len(before) + 4
    with hashmatch.open(tmp_path, "r+") as database:
        assert_equal(database, model)
    assert sorted(segments.iterdir()) == sorted([*before, segments / "folder"])


@pytest.mark.parametrize("where", ["header", "pages"])
def test_a_damaged_catalog(tmp_path: Path, where: str) -> None:
    database, model = filled(tmp_path / "sound", 60)
    database.close()
    size = (tmp_path / "sound" / "catalog.db").stat().st_size
    found = 0
    for turn in range(max(20, ROUNDS // 3)):
        path = tmp_path / f"{turn}"
        shutil.copytree(tmp_path / "sound", path)
        chance = random.Random(turn)
        at = chance.randrange(100) if where == "header" else chance.randrange(4096, size - 200)
        contents = (path / "catalog.db").read_bytes()
        noise = b"\xff" * (1 if where == "header" else 200)
        (path / "catalog.db").write_bytes(contents[:at] + noise + contents[at + len(noise) :])
        try:
            with hashmatch.open(path, "r" if turn % 2 else "r+") as database:
                faults = database.check()
                if not faults:
                    assert_equal(database, model)
                found += bool(faults)
        except (FormatError, OSError, MemoryError) as error:
            found += 1
            assert str(path) in str(error), error
        shutil.rmtree(path)
    assert found > (1 if where == "header" else 3)


def test_what_is_no_database(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="holds no database"):
        hashmatch.open(tmp_path)
    (tmp_path / "catalog.db").write_text("not a catalog at all")
    with pytest.raises(FormatError, match=r"catalog\.db"):
        hashmatch.open(tmp_path)
    with pytest.raises(FormatError, match=r"catalog\.db"):
        hashmatch.open(tmp_path, "c")
    (tmp_path / "catalog.db").unlink()
    foreign = sqlite3.connect(tmp_path / "catalog.db")
    foreign.execute("CREATE TABLE theirs (x)")
    foreign.commit()
    foreign.close()
    for mode in MODES:
        with pytest.raises(FormatError, match="no hashmatch catalog"):
            hashmatch.open(tmp_path, mode)


def test_a_newer_version(tmp_path: Path) -> None:
    database, _ = filled(tmp_path)
    database.close()
    newer = sqlite3.connect(tmp_path / "catalog.db")
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    for mode in MODES:
        with pytest.raises(FormatError, match="newer hashmatch is needed"):
            hashmatch.open(tmp_path, mode)


def test_a_read_only_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "10m") as disk:
        database, model = filled(disk / "known")
        database.compact()
        changed(database, model, random_steps(20))
        database.close()
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        with hashmatch.open(disk / "known") as reader:
            assert_equal(reader, model)
            assert reader.check() == []
            time.sleep(0.5)
            assert reader.status().trouble is None
        with pytest.raises(OSError, match=str(disk)):
            hashmatch.open(disk / "known", "r+")
        with pytest.raises(OSError, match=str(disk)):
            hashmatch.open(disk / "new", "c")


def as_nobody(path: Path, model: Model) -> None:
    os.setgid(NOBODY)
    os.setuid(NOBODY)
    with hashmatch.open(path) as reader:
        assert_equal(reader, model)
    with pytest.raises(PermissionError, match=str(path)):
        hashmatch.open(path, "r+")


@pytest.mark.skipif(os.geteuid() != 0, reason="may not become another user")
def test_another_users_folder(plain_processes: FreshProcesses, tmp_path: Path) -> None:
    path = tmp_path / "known"
    database, model = filled(path)
    database.compact()
    database.close()
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_uid == 0 and not folder.stat().st_mode & 1:
            folder.chmod(0o755)
    plain_processes.run(as_nobody, path, model)
