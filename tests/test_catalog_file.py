"""The catalog's file: its lock and versions, processes that die or fork, disks that fail."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest

from catalog_model import Model, assert_holds, contents
from catalog_writer import SET, change_number, model_after
from hashmatch import FormatError
from hashmatch.database import Asked, Change, schema, writer
from hashmatch.database.catalog import Catalog
from hashmatch.database.connections import Connection, SyncError
from hashmatch.database.feeds import FeedTable
from hashmatch.database.model import SegmentRecord
from hashmatch.hash_types import HASH_TYPES
from oracle import random_codes

HERE = Path(__file__).parent
NOBODY = 65534


def fill(folder: Path, generations: int = 6) -> Model:
    with Catalog.open(folder, "c") as catalog:
        catalog.create_set(SET, "", {})
        for number in range(1, generations + 1):
            with catalog.change(SET) as change:
                change_number(change, number)
    return model_after(generations)


def assert_still_holds(folder: Path, model: Model) -> None:
    with Catalog.open(folder, "r") as catalog, catalog.snapshot() as snapshot:
        assert_holds(snapshot, model)


# Opening.


def test_creating_and_opening(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "known"
    for mode in ("r", "r+"):
        with pytest.raises(FileNotFoundError, match='holds no database; mode "c" or '):
            Catalog.open(folder, mode)
    assert not folder.exists()
    with pytest.raises(ValueError, match="mode must be"):
        Catalog.open(folder, "w")  # type: ignore[arg-type]
    model = fill(folder)
    assert sorted(path.name for path in folder.iterdir()) == [
        "catalog.db",
        "segments",
        "writer.lock",
    ]
    with Catalog.open(str(folder), "c") as catalog:
        assert catalog.writable and catalog.folder == folder
        assert catalog.generation() == 6
    with Catalog.open(folder, "r") as catalog:
        assert not catalog.writable
        with pytest.raises(PermissionError, match='open it with mode "r\\+"'):
            catalog.create_set("b", "", {})
    assert_still_holds(folder, model)


def test_a_closed_catalog_says_so(tmp_path: Path) -> None:
    fill(tmp_path)
    catalog = Catalog.open(tmp_path, "r+")
    with catalog.snapshot() as snapshot:
        catalog.close()
        # What was lent is still good, and closed when it comes back.
        assert_holds(snapshot, model_after(6))
    catalog.close()
    for use in (catalog.generation, catalog.data_version, lambda: catalog.create_set("b", "", {})):
        with pytest.raises(ValueError, match="closed"):
            use()
    Catalog.open(tmp_path, "r+").close()


@pytest.mark.parametrize("content", [b"", b"x", b"SQLite format 3\0", b"\0" * 8192, b"{}" * 3000])
def test_a_file_that_is_no_catalog(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "catalog.db").write_bytes(content)
    for mode in ("r", "r+", "c"):
        with pytest.raises(FormatError, match=r"catalog\.db.* no .*catalog"):
            Catalog.open(tmp_path, mode)
    assert (tmp_path / "catalog.db").read_bytes() == content


def test_another_programs_database_is_left_alone(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "catalog.db") as other:
        other.execute("CREATE TABLE theirs (a)")
    other.close()
    content = (tmp_path / "catalog.db").read_bytes()
    for mode in ("r", "r+", "c"):
        with pytest.raises(FormatError, match="is no hashmatch catalog"):
            Catalog.open(tmp_path, mode)
    assert (tmp_path / "catalog.db").read_bytes() == content


def test_a_lost_catalog_is_not_begun_anew(tmp_path: Path) -> None:
    fill(tmp_path)
    (tmp_path / "segments" / "1.seg").touch()
    (tmp_path / "catalog.db").unlink()
    with pytest.raises(FormatError, match="is missing, but the rest of the database is there"):
        Catalog.open(tmp_path, "c")


def test_a_creation_that_died_is_begun_again(tmp_path: Path) -> None:
    connection = Connection(tmp_path / "catalog.db.new", "mode=rwc")
    connection.run("PRAGMA journal_mode = WAL")
    connection.run("CREATE TABLE contributor (a)")
    for suffix in ("", "-wal", "-shm"):
        shutil.copy(tmp_path / f"catalog.db.new{suffix}", tmp_path / f"kept{suffix}")
    connection.close()
    for suffix in ("", "-wal", "-shm"):
        shutil.move(tmp_path / f"kept{suffix}", tmp_path / f"catalog.db.new{suffix}")
    model = fill(tmp_path)
    assert_still_holds(tmp_path, model)


def test_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = fill(tmp_path)
    steps = ("ALTER TABLE hash_set ADD COLUMN colour TEXT", "CREATE TABLE colour (name TEXT)")
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS, (*steps, "no SQL")))
    current = len(schema.MIGRATIONS) - 1
    words = f"has catalog version {current}, this hashmatch reads {current + 1}: open it"
    with pytest.raises(FormatError, match=words):
        Catalog.open(tmp_path, "r")
    with pytest.raises(FormatError, match="syntax error"):
        Catalog.open(tmp_path, "r+")
    # The upgrade that failed left nothing.
    monkeypatch.setattr(schema, "MIGRATIONS", (*schema.MIGRATIONS[:-1], steps))
    Catalog.open(tmp_path, "r+").close()
    assert_still_holds(tmp_path, model)
    monkeypatch.undo()
    for mode in ("r", "r+", "c"):
        words = rf"version {current + 1}, .* up to {current}: a newer hashmatch is needed"
        with pytest.raises(FormatError, match=words):
            Catalog.open(tmp_path, mode)


@pytest.mark.parametrize("version", range(1, len(schema.MIGRATIONS)))
def test_a_catalog_of_an_older_version_is_upgraded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: int
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(schema, "MIGRATIONS", schema.MIGRATIONS[:version])
        model = fill(tmp_path)
    words = rf"has catalog version {version}, this hashmatch reads 3: open it once to write"
    with pytest.raises(FormatError, match=words):
        Catalog.open(tmp_path, "r")
    with Catalog.open(tmp_path, "r+") as catalog:
        assert FeedTable(catalog).list() == []
        FeedTable(catalog).add("f", catalog.sets()[0].name, "ncmec", {"environment": "NGO"}, "")
        with pytest.raises(KeyError), catalog.change(SET) as change:
            change_number(change, 7)
            raise KeyError
        asked = Asked("me", "key", b"digest")
        for _ in range(2):
            assert catalog.change_once(SET, asked, changed_to(7), "raise") == "changed to 7"
        assert catalog.check() == []
    assert_still_holds(tmp_path, model_after(7))
    assert model != model_after(7)


def changed_to(number: int) -> Callable[[Change], str]:
    def make(change: Change) -> str:
        change_number(change, number)
        return f"changed to {number}"

    return make


# The one writer.


def test_a_second_writer_is_told_who_the_first_is(tmp_path: Path) -> None:
    fill(tmp_path)
    with Catalog.open(tmp_path, "r+"):
        for mode in ("r+", "c"):
            with pytest.raises(BlockingIOError, match=rf"by process {os.getpid()} on .* since 20"):
                Catalog.open(tmp_path, mode)
        script = "import sys\nfrom hashmatch.database.catalog import Catalog\n"
        script += "Catalog.open(sys.argv[1], 'r+')"
        command = [sys.executable, "-c", script, str(tmp_path)]
        other = subprocess.run(command, capture_output=True, text=True)
        assert f"by process {os.getpid()} on" in other.stderr
        Catalog.open(tmp_path, "r").close()
    Catalog.open(tmp_path, "c").close()


def test_a_lock_that_was_never_signed(tmp_path: Path) -> None:
    fill(tmp_path)
    with Catalog.open(tmp_path, "r+"):
        (tmp_path / "writer.lock").write_bytes(b"")
        with pytest.raises(BlockingIOError, match="by another process"):
            Catalog.open(tmp_path, "r+")


FORK = """
import os, sys, time
from hashmatch.database.catalog import Catalog
catalog = Catalog.open(sys.argv[1], "r+")
generation = catalog.generation()
change = catalog.change("a")
with catalog.snapshot() as snapshot:
    change.__enter__()
    child = os.fork()
    if child == 0:
        refused = 0
        for use in (catalog.generation, catalog.data_version, snapshot.sets, catalog.sets,
                    lambda: change.__exit__(None, None, None)):
            try:
                use()
            except ValueError as error:
                refused += "before a fork" in str(error)
        catalog.close()
        reader = Catalog.open(sys.argv[1], "r")
        ok = refused == 5 and reader.generation() == generation
        reader.close()
        print("child" if ok else f"refused {refused}", flush=True)
        time.sleep(30)
    os.read(int(sys.argv[2]), 1)
    change.__exit__(None, None, None)
    assert catalog.generation() == generation + 1
print("parent", child, flush=True)
os.kill(os.getpid(), 9)
"""


def test_a_forked_child_must_open_anew_and_holds_no_lock(tmp_path: Path) -> None:
    fill(tmp_path)
    wait, go = os.pipe()
    command = [sys.executable, "-c", FORK, str(tmp_path), str(wait)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, pass_fds=[wait]) as parent:
        assert parent.stdout
        heard = parent.stdout.readline()
        if heard != "child\n":
            parent.kill()
        assert heard == "child\n"
        with pytest.raises(BlockingIOError, match=f"by process {parent.pid}"):
            Catalog.open(tmp_path, "r+")
        os.write(go, b"x")
        word, child = parent.stdout.readline().split()
        assert word == "parent"
        parent.wait()
        try:
            # The child lives, but the lock went with its parent.
            with Catalog.open(tmp_path, "r+") as catalog:
                assert catalog.generation() == 7 and catalog.check() == []
        finally:
            os.kill(int(child), signal.SIGKILL)
    os.close(wait)
    os.close(go)


@pytest.mark.parametrize("what", ["changes", "load"])
def test_killed_at_any_moment(tmp_path: Path, what: str) -> None:
    chance = random.Random(7)
    fill(tmp_path, 3)
    for _ in range(10):
        command = [sys.executable, str(HERE / "catalog_writer.py"), str(tmp_path), what]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            first = process.stdout.readline()
            time.sleep(chance.uniform(0, 0.06))
            process.kill()
            said = [first, *process.stdout]
        with Catalog.open(tmp_path, "r+") as catalog:
            generation = catalog.generation()
            if what == "changes":
                # The last one may have been killed between its commit and its word.
                assert generation - int(said[-1]) in (0, 1)
            else:
                assert generation == 3
            with catalog.snapshot() as snapshot:
                assert_holds(snapshot, model_after(generation))
            assert catalog.check() == []
        assert not (tmp_path / "catalog.db-wal").exists()


def test_threads_share_a_catalog(tmp_path: Path) -> None:
    fill(tmp_path, 0)
    codes = random_codes(40, 64)
    failures: list[str] = []
    done = threading.Event()

    def write(catalog: Catalog, name: str) -> None:
        for number in range(25):
            with catalog.change(SET) as change:
                change.add("phash", codes[:2], refs=[f"{name} {number}", f"{number} {name}"])
                change.remove(refs=[f"{name} {number - 3}", f"{number - 3} {name}"])

    def look(catalog: Catalog) -> None:
        while not done.is_set():
            catalog.data_version()
            with catalog.snapshot() as snapshot:
                refs = {" ".join(sorted(ref.split())) for _, _, ref in contents(snapshot)}
                (record,) = snapshot.sets()
                if record.items != 2 * len(refs):
                    failures.append(f"{record.items} items, {len(refs)} pairs")

    with Catalog.open(tmp_path, "r+") as catalog, Catalog.open(tmp_path, "r") as reader:
        readers = [
            threading.Thread(target=look, args=[each]) for each in (catalog, reader, catalog)
        ]
        writers = [threading.Thread(target=write, args=[catalog, name]) for name in "pqr"]
        for thread in (*readers, *writers):
            thread.start()
        for thread in writers:
            thread.join()
        done.set()
        for thread in readers:
            thread.join()
        assert not failures
        assert catalog.generation() == 75 and catalog.check() == []


# Disks.


@contextmanager
def unwritable(folder: Path) -> Iterator[None]:
    """The folder as somebody sees it who cannot write there."""
    root = os.geteuid() == 0
    before = {path: path.stat().st_mode for path in (*folder.iterdir(), folder)}
    for path, mode in before.items():
        path.chmod(mode & ~0o222 | 0o444)
    if root:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        for path, mode in before.items():
            path.chmod(mode)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that everybody may enter, unlike tmp_path."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_an_unwritable_folder_is_read_as_it_is(open_folder: Path) -> None:
    model = fill(open_folder)
    before = sorted(open_folder.iterdir())
    with unwritable(open_folder):
        assert_still_holds(open_folder, model)
        with Catalog.open(open_folder, "r") as catalog:
            assert catalog.check() == []
            assert catalog.data_version() == catalog.data_version()
        with pytest.raises(PermissionError):
            Catalog.open(open_folder, "r+")
    assert sorted(open_folder.iterdir()) == before


def test_a_writer_that_comes_to_an_unwritable_folder_is_noticed(open_folder: Path) -> None:
    fill(open_folder)
    with pytest.raises(OSError, match="was written to while it was read"), ExitStack() as stack:
        with unwritable(open_folder):
            reader = stack.enter_context(Catalog.open(open_folder, "r"))
            before = reader.data_version()
            snapshot = stack.enter_context(reader.snapshot())
        fill_more(open_folder)
        with unwritable(open_folder):
            assert snapshot.generation == 6
            assert reader.data_version() != before
            assert reader.generation() == 7


def fill_more(folder: Path) -> None:
    with Catalog.open(folder, "r+") as catalog, catalog.change(SET) as change:
        change_number(change, 7)


def test_an_unwritable_folder_beside_its_writer(open_folder: Path) -> None:
    fill(open_folder)
    with Catalog.open(open_folder, "r+") as catalog:
        with catalog.change(SET) as change:
            change_number(change, 7)
        with unwritable(open_folder):
            assert_still_holds(open_folder, model_after(7))


def test_changes_that_only_a_wal_holds_are_not_passed_over(open_folder: Path) -> None:
    fill(open_folder)
    copy = open_folder / "copy"
    copy.mkdir()
    with Catalog.open(open_folder, "r+") as catalog:
        with catalog.change(SET) as change:
            change_number(change, 7)
        for name in ("catalog.db", "catalog.db-wal"):
            shutil.copy(open_folder / name, copy)
    with unwritable(copy), pytest.raises(PermissionError, match=r"catalog\.db"):
        Catalog.open(copy, "r")
    assert_still_holds(copy, model_after(7))


def test_a_full_disk_costs_the_change_alone(tmp_path: Path) -> None:
    model = fill(tmp_path)
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    with Catalog.open(tmp_path, "r+") as catalog:
        codes = random_codes(40_000, 256)
        refs = [str(row) for row in range(len(codes))]
        for size_bytes in (100_000, 1_000_000, 3_000_000):
            resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, usual[1]))
            try:
                with pytest.raises(OSError, match=r"catalog\.db"), catalog.change(SET) as change:
                    change.add("pdq", codes, refs=refs)
                with catalog.snapshot() as snapshot:
                    assert_holds(snapshot, model)
            finally:
                resource.setrlimit(resource.RLIMIT_FSIZE, usual)
        with catalog.change(SET) as change:
            change_number(change, 7)
        assert catalog.check() == []
    assert_still_holds(tmp_path, model_after(7))


def test_a_full_database_says_so(tmp_path: Path) -> None:
    model = fill(tmp_path)
    with Catalog.open(tmp_path, "r+") as catalog:
        assert catalog._writer
        catalog._writer._connection.run("PRAGMA max_page_count = 60")
        with pytest.raises(OSError, match="full: make room"), catalog.change(SET) as change:
            change.add("pdq", random_codes(9_000, 256), refs=[str(row) for row in range(9_000)])
        with catalog.snapshot() as snapshot:
            assert_holds(snapshot, model)


def test_after_a_failed_sync_nothing_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = fill(tmp_path)
    run = Connection.run

    def run_unsynced(self: Connection, sql: str, values: tuple[object, ...] = ()) -> int:
        if sql == "COMMIT":
            raise SyncError(5, "the disk could not be synced", str(self.path))
        return run(self, sql, values)

    with Catalog.open(tmp_path, "r+") as catalog:
        monkeypatch.setattr(Connection, "run", run_unsynced)
        with pytest.raises(OSError, match="could not be synced"), catalog.change(SET) as change:
            change_number(change, 7)
        monkeypatch.undo()
        with pytest.raises(OSError, match="before: close and open again"):
            catalog.create_set("b", "", {})
        with catalog.snapshot() as snapshot:
            assert_holds(snapshot, model)
    fill_more(tmp_path)


def test_a_change_that_could_not_be_undone_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As without memory: the next one begins by undoing it."""
    fill(tmp_path)
    run = Connection.run

    def run_without_memory(self: Connection, sql: str, values: tuple[object, ...] = ()) -> int:
        if sql == "ROLLBACK":
            raise MemoryError
        return run(self, sql, values)

    with Catalog.open(tmp_path, "r+") as catalog:
        monkeypatch.setattr(Connection, "run", run_without_memory)
        for _ in range(2):
            with pytest.raises(MemoryError), catalog.change(SET) as change:
                change_number(change, 8)
                raise ZeroDivisionError
        monkeypatch.undo()
        with catalog.change(SET) as change:
            change_number(change, 7)
        with catalog.snapshot() as snapshot:
            assert_holds(snapshot, model_after(7))


def test_checkpoints_are_made_beside_the_commits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path / "known")
    monkeypatch.setattr(writer, "_CHECKPOINT_ROWS", 1)
    with Catalog.open(tmp_path / "known", "r+") as catalog:
        with catalog.change(SET) as change:
            change_number(change, 7)
        wait_for_checkpoint(catalog)
        # The file alone, without its WAL, has the change.
        (tmp_path / "copy").mkdir()
        shutil.copy(tmp_path / "known" / "catalog.db", tmp_path / "copy")
        assert_still_holds(tmp_path / "copy", model_after(7))


def test_a_checkpoint_that_fails_costs_no_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(tmp_path)
    run = Connection.run
    failures: list[Exception] = [OSError(28, "full"), SyncError(5, "could not be synced")]

    def run_failing(self: Connection, sql: str, values: tuple[object, ...] = ()) -> int:
        if "wal_checkpoint" in sql:
            raise failures.pop(0)
        return run(self, sql, values)

    monkeypatch.setattr(Connection, "run", run_failing)
    monkeypatch.setattr(writer, "_CHECKPOINT_ROWS", 1)
    with Catalog.open(tmp_path, "r+") as catalog:
        for number in (7, 8):
            with catalog.change(SET) as change:
                change_number(change, number)
            wait_for_checkpoint(catalog)
        # Only a sync that failed leaves doubt of what is on the disk.
        with pytest.raises(OSError, match="before: close and open again"):
            catalog.create_set("b", "", {})
    assert_still_holds(tmp_path, model_after(8))


def wait_for_checkpoint(catalog: Catalog) -> None:
    assert catalog._writer and catalog._writer._checkpointing
    catalog._writer._checkpointing.join()


def test_no_files_left_to_open(tmp_path: Path) -> None:
    model = fill(tmp_path)
    usual = resource.getrlimit(resource.RLIMIT_NOFILE)
    with Catalog.open(tmp_path, "r+") as catalog:
        highest = os.open(tmp_path, os.O_RDONLY)
        os.close(highest)
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest, usual[1]))
        try:
            for _ in range(20):
                with pytest.raises(OSError), ExitStack() as stack:
                    for _ in range(2):
                        stack.enter_context(catalog.snapshot())
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, usual)
        with catalog.snapshot() as snapshot:
            assert_holds(snapshot, model)


# Damage.


def look_at_everything(folder: Path) -> tuple[bool, int]:
    """Whether the check finds faults, and how many signals are live; whatever is raised."""
    with Catalog.open(folder, "r") as catalog:
        faults = catalog.check()
        with catalog.snapshot() as snapshot:
            live = sum(len(ids) for name in HASH_TYPES for _, ids in snapshot.live_signals(name))
            joined = snapshot.join(np.arange(min(snapshot.end_signal(), 300)))
            for row in range(len(joined)):
                joined.labels(row)
            snapshot.sets()
            snapshot.blocks()
            snapshot.verdicts()
            snapshot.removed_since(0)
            snapshot.list_segments()
            snapshot.history()
            snapshot.history(ref="1 1")
    return bool(faults), live


def damaged_copies(folder: Path, chance: np.random.Generator) -> Iterator[tuple[str, bytes]]:
    whole = (folder / "catalog.db").read_bytes()
    for size in (0, 1, 16, 99, 100, 4095, *range(4096, len(whole), 4096)):
        yield f"cut to {size}", whole[:size]
        yield f"cut to {size + 1}", whole[: size + 1]
    for _ in range(150):
        place, value = int(chance.integers(len(whole))), int(chance.integers(256))
        yield f"byte {place} is {value}", whole[:place] + bytes([value]) + whole[place + 1 :]
    for _ in range(40):
        # Where a page says what is in it, damage is worst.
        place = int(chance.integers(len(whole) // 4096)) * 4096 + int(chance.integers(40))
        value = int(chance.integers(256))
        yield f"head byte {place} is {value}", whole[:place] + bytes([value]) + whole[place + 1 :]
    for _ in range(20):
        place = int(chance.integers(len(whole) // 4096)) * 4096
        yield f"page at {place} is gone", whole[:place] + bytes(4096) + whole[place + 4096 :]


def test_damage_is_an_error_or_found_by_the_check(tmp_path: Path) -> None:
    fill(tmp_path)
    with Catalog.open(tmp_path, "r+") as catalog:
        catalog.replace_segments([], [SegmentRecord("1.seg", "pdq", 0, 9, 9, 1, 99)])
    sound = look_at_everything(tmp_path)
    assert sound == (False, sum(1 for _ in model_after(6).items))
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    for what, content in damaged_copies(tmp_path, np.random.default_rng(3)):
        (damaged / "catalog.db").write_bytes(content)
        try:
            found = look_at_everything(damaged)
        except (FormatError, OSError) as error:
            assert "catalog.db" in str(error), what
        else:
            assert found[0] or (found == sound and not what.startswith("cut")), what
        for path in damaged.glob("catalog.db-*"):
            path.unlink()


def test_a_write_to_a_damaged_catalog_is_refused(tmp_path: Path) -> None:
    fill(tmp_path)
    whole = (tmp_path / "catalog.db").read_bytes()
    refused = 0
    for page in range(1, len(whole) // 4096):
        (tmp_path / "catalog.db").write_bytes(
            whole[: page * 4096] + b"\xff" * 4096 + whole[(page + 1) * 4096 :]
        )
        try:
            with Catalog.open(tmp_path, "r+") as catalog:
                with catalog.change(SET) as change:
                    change_number(change, 7)
                assert catalog.check() != []
        except (FormatError, OSError) as error:
            assert "catalog.db" in str(error)
            refused += 1
    assert refused > 5
