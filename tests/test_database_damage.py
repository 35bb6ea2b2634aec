"""Damaged, foreign and unwritable folders: an error that says what to do, and all well again when
that is done.
"""

from __future__ import annotations

import os
import random
import shutil
import sqlite3
import subprocess
import time
from pathlib import Path

import pytest

import hashmatch
from database_model import (
    TYPES,
    Add,
    Model,
    Remove,
    assert_equal,
    codes_near,
    random_steps,
)
from films import MODES, NOBODY, ROUNDS, changed, filled, loaded, small_disk
from fresh_process import FreshProcesses
from hashmatch import FormatError, _core
from hashmatch.database import Batch


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
