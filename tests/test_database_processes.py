"""Databases in other processes: readers that follow, pickled and forked ones."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest

import hashmatch
from database_model import (
    answers,
    assert_equal,
    codes_near,
    random_steps,
)
from databases import changed, filled, wait_until
from hashmatch import Database, FormatError
from hashmatch.database import Batch
from hashmatch.database.engine import Engine
from oracle import random_codes


def test_a_reader_follows(tmp_path: Path) -> None:
    """Within a second, without being told to, and without a generation lost."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)], stdout=subprocess.PIPE, stdin=subprocess.PIPE
    )
    assert writer.stdin and writer.stdout
    with writer, hashmatch_after(tmp_path, writer) as reader:
        for generation in range(1, 6):
            writer.stdin.write(b"more\n")
            writer.stdin.flush()
            assert writer.stdout.readline() == b"%d\n" % generation
            wait_until(lambda wanted=generation: reader.generation == wanted, 1.0)
            assert len(reader.match("phash", bytes(8))) == generation
        assert reader.history()[0].who == "writer"
        writer.stdin.close()


WRITER = """
import sys, hashmatch
database = hashmatch.open(sys.argv[1], "c")
database.create("films")
print(0, flush=True)
for line in sys.stdin:
    with database.change("films", who="writer") as change:
        change.add("phash", [bytes(8)], refs=[str(database.generation)])
    print(database.generation, flush=True)
"""


def hashmatch_after(path: Path, writer: subprocess.Popen[bytes]) -> Database:
    assert writer.stdout and writer.stdout.readline() == b"0\n"
    return hashmatch.open(path)


def test_pickling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database, model = filled(tmp_path / "known")
    with pytest.raises(TypeError, match='"r"'):
        pickle.dumps(database)
    with hashmatch.open(tmp_path / "known") as reader:
        packed = pickle.dumps(reader)
        with pickle.loads(packed) as again:
            assert_equal(again, model)
        monkeypatch.chdir(tmp_path)
        with hashmatch.open("known") as reader:
            here = pickle.dumps(reader)
        monkeypatch.chdir("/")
        with pickle.loads(here) as again:
            assert_equal(again, model)
        changed(database, model, "films", random_steps(5))
        with pickle.loads(packed) as again:
            assert_equal(again, model)
    database.close()
    for file in (tmp_path / "known").glob("catalog.db*"):
        file.unlink()
    for file in (tmp_path / "known" / "segments").iterdir():
        file.unlink()
    hashmatch.open(tmp_path / "known", "c").close()
    with pytest.raises(ValueError, match="another database"):
        pickle.loads(packed)


def asked(reader: Database, queries: Any) -> tuple[int, list[Any], int, int]:
    """In another process: its id, the answers, private KiB, and those of its mapped segments."""
    found = answers(reader.match("pdq", queries))
    private = shared = 0
    for line in Path("/proc/self/smaps_rollup").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name in ("Private_Clean", "Private_Dirty"):
            private += int(rest.split()[0])
        if name in ("Shared_Clean", "Shared_Dirty"):
            shared += int(rest.split()[0])
    time.sleep(0.2)
    return os.getpid(), found, private, shared


_READER: Database


def keep(reader: Database) -> None:
    global _READER
    _READER = reader


def ask_kept(queries: Any) -> tuple[int, list[Any], int, int]:
    return asked(_READER, queries)


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("method", ["spawn", "fork"])
def test_a_pool_of_readers(tmp_path: Path, method: str) -> None:
    """Each has the segments mapped, so that four take hardly more memory than one."""
    database, _ = filled(tmp_path, 0)
    rows = 150_000
    codes = random_codes(rows, 256)
    refs = [f"{row}" for row in range(rows)]
    database.load("films", [Batch("pdq", codes, refs)])
    database.close()
    size_bytes = sum(file.stat().st_size for file in tmp_path.rglob("*.seg"))
    reader = hashmatch.open(tmp_path)
    reader.match("pdq", codes[:3000])
    with ProcessPoolExecutor(4, get_context(method), initializer=keep, initargs=(reader,)) as pool:
        rounds = list(
            pool.map(ask_kept, [codes[row : row + 3000] for row in range(0, 24000, 3000)])
        )
    assert len({process for process, *_ in rounds}) == 4
    for number, (_, found, private_kib, _) in enumerate(rounds):
        begin = 3000 * number
        assert found == [
            (row, 0, "films", "studio", str(begin + row), (), ()) for row in range(3000)
        ]
        assert private_kib << 10 < size_bytes + (60 << 20)
    reader.close()


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_forks_at_any_moment(tmp_path: Path) -> None:
    """A child searches and follows on, whatever its parent's threads were doing at the fork."""
    database, model = filled(tmp_path)
    readers = [hashmatch.open(tmp_path) for _ in range(2)]
    done = threading.Event()

    def work() -> None:
        seed = 1000
        while not done.is_set():
            changed(database, model, "films", random_steps(seed))
            readers[0].refresh()
            seed += 1

    worker = threading.Thread(target=work)
    worker.start()
    try:
        for _ in range(25):
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    readers[0].match("pdq", codes_near("pdq", 2, 0), threads=2).ref  # noqa: B018
                    at = readers[0].refresh()
                    readers[1].status()
                    wait_until(lambda at=at: readers[1].generation >= at, 5)
                    found = readers[1].match("pdq", codes_near("pdq", 2, 0), max_distance=20)
                    assert len(found.ref) == len(found)
                    with pytest.raises(ValueError, match="fork"):
                        database.create("more")
                    code = 0
                finally:
                    os._exit(code)
            waited = 0.0
            while (status := os.waitpid(child, os.WNOHANG)) == (0, 0) and waited < 20:
                time.sleep(0.01)
                waited += 0.01
            if status == (0, 0):
                os.kill(child, 9)
                os.waitpid(child, 0)
            assert status[1] == 0 and status[0] == child
    finally:
        done.set()
        worker.join()
    assert_equal(database, model)
    for each in (*readers, database):
        each.close()


@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_a_fork_that_cannot_begin_tries_again(tmp_path: Path) -> None:
    database, model = filled(tmp_path, 3)
    reader = hashmatch.open(tmp_path)
    made = reader.generation
    child = os.fork()
    if child == 0:
        code = 1
        try:
            refresh = Engine.refresh
            Engine.refresh = None  # type: ignore[method-assign, assignment]
            for _ in range(2):
                with pytest.raises(TypeError):
                    reader.refresh()
            Engine.refresh = refresh  # type: ignore[method-assign]
            wait_until(lambda: reader.generation == made + 1, 5)
            code = 0
        finally:
            os._exit(code)
    changed(database, model, "films", [])
    assert os.waitpid(child, 0)[1] == 0
    reader.close()
    database.close()


def test_two_of_a_kind(tmp_path: Path) -> None:
    """A folder without a database is none; one whose catalog is gone is not made anew."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError):
        hashmatch.open(tmp_path / "file", "c")
    database, _ = filled(tmp_path / "known")
    database.compact()
    database.close()
    (tmp_path / "known" / "catalog.db").unlink()
    with pytest.raises(FormatError, match="restore"):
        hashmatch.open(tmp_path / "known", "c")
