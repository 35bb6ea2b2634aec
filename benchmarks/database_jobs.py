"""The measured work of databases, one function a job: changes, loads, opening, matching.

Folders are made beside each other in the system's place for temporary files, which should be on the
disk that is meant: commits are synced to it.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import datasets
import hashmatch
import peers
from datasets import Codes
from hashmatch.database import Batch, Database
from record import Figure, faster
from timing import in_turns, median, p99, pin, seconds, timed, unpin

BATCH_ROWS = 100_000
VIDEO_FRAMES = 300
SET = "shared"


@contextmanager
def folder() -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="hashmatch-"))
    try:
        yield path
    finally:
        shutil.rmtree(path)


def random_refs(count: int, seed: int = 3) -> list[str]:
    numbers = np.random.default_rng(seed).integers(0, 2**63, count).tolist()
    return [f"{number:016x}" for number in numbers]


def pictures(codes: Codes, refs: list[str], labels: list[str] | None = None) -> Iterator[Batch]:
    for at in range(0, len(codes), BATCH_ROWS):
        rows = slice(at, at + BATCH_ROWS)
        yield Batch("pdq", codes[rows], refs[rows], labels)


def video_refs(frames: int) -> list[str]:
    videos = [f"video-{number:08}" for number in range(-(-frames // VIDEO_FRAMES))]
    return [ref for ref in videos for _ in range(VIDEO_FRAMES)][:frames]


def frames(codes: Codes, refs: list[str]) -> Iterator[Batch]:
    """Videos of 300 frames, one a second."""
    rows = BATCH_ROWS // VIDEO_FRAMES * VIDEO_FRAMES
    for at in range(0, len(codes), rows):
        part = slice(at, at + rows)
        times = np.arange(at, at + len(codes[part])) % VIDEO_FRAMES * 1000
        quality = np.full(len(times), 100)
        yield Batch("pdq", codes[part], refs[part], None, None, "video", quality, times)


def filled(path: Path, codes: Codes, labels: list[str] | None = None) -> Database:
    database = hashmatch.open(path, "c")
    database.create(SET, contributor="member")
    database.load(SET, pictures(codes, random_refs(len(codes)), labels))
    return database


def changes(rows: int) -> Iterator[Figure]:
    """1,000 rows at a time into a tenth of `rows`, seen by a reader in another process."""
    codes = datasets.make("uniform", rows // 10).codes
    new = datasets.uniform(np.random.Generator(np.random.SFC64(5)), 30_000, 256)
    with folder() as path, filled(path, codes) as database:
        commits, seen = [], []
        context = get_context("spawn")
        ours, theirs = context.Pipe()
        reader = context.Process(target=_tell_when_seen, args=(path, theirs), daemon=True)
        reader.start()
        assert ours.recv() == "ready"
        for at in range(0, len(new), 1_000):
            part = new[at : at + 1_000]
            ours.send(part[-1:])
            assert ours.recv() == "looking"
            begin = time.monotonic()
            with database.change(SET) as change:
                change.add("pdq", part, refs=[f"new-{at + k}" for k in range(len(part))])
            commits.append(time.monotonic() - begin)
            seen.append(float(ours.recv()) - begin)
        ours.send(None)
        reader.join()
    work = f"1,000 rows into {len(codes) / 1e6:g}M"
    yield Figure(f"{work}, durable: the change", median(np.array(commits)) * 1e3, "ms", at_most=50)
    yield Figure(
        f"{work}: until another process finds it", median(np.array(seen)) * 1e3, "ms", at_most=1000
    )


def _tell_when_seen(path: Path, pipe: Connection) -> None:
    database = hashmatch.open(path)
    pipe.send("ready")
    while (code := pipe.recv()) is not None:
        pipe.send("looking")
        while not len(database.match("pdq", code, max_distance=0)):
            time.sleep(0.002)
        pipe.send(time.monotonic())


def one_row(rows: int) -> Iterator[Figure]:
    """One row at a time into 250k, against python-threatexchange's index, which is not durable."""
    codes = datasets.make("uniform", rows // 40).codes
    new = datasets.uniform(np.random.Generator(np.random.SFC64(6)), 200, 256)
    peer = peers.ThreatExchange(codes)
    with folder() as path, filled(path, codes) as database:

        def add(row: int) -> None:
            with database.change(SET) as change:
                change.add("pdq", new[row : row + 1], refs=[f"new-{row}"])

        ours, theirs = in_turns(
            4,
            [partial(add, row) for row in range(len(new))],
            [partial(peer.add, new[row : row + 1]) for row in range(8)],
        )
        assert len(database.match("pdq", new, max_distance=0)) == len(new)
    yield faster(
        f"one row into {len(codes):,}, durable",
        median(ours) * 1e6,
        "python-threatexchange's PDQIndex, in memory",
        median(theirs) * 1e6,
        50,
    )


def under_change(rows: int, duration_s: float = 60) -> Iterator[Figure]:
    """200 changes a second of 100 rows while two threads search."""
    data = datasets.make("uniform", rows // 10)
    uploads = data.uploads(2_000, 31)
    new = datasets.uniform(np.random.Generator(np.random.SFC64(7)), 2_000_000, 256)
    unpin()
    with folder() as path, filled(path, data.codes) as database:
        alone = _search_for(database, uploads, duration_s / 6, threading.Event())
        quiet, _ = _searched_meanwhile(database, uploads, lambda: time.sleep(duration_s / 6))
        busy, made = _searched_meanwhile(
            database, uploads, lambda: _change_for(database, new, duration_s)
        )
        found = database.match("pdq", new[: 100 * made : 97], max_distance=0)
        lost = len(range(0, 100 * made, 97)) - len(found)
        status = database.status().types["pdq"]
    pin()
    yield Figure("100 rows a change: changes made", made / duration_s, "a second", at_least=190)
    for name, figure, bound in (("median", median, 2), ("p99", p99, None)):
        yield Figure(
            f"one query a call on each of two threads meanwhile: {name}",
            figure(busy) * 1e6,
            *("us", "the same, nothing changed", figure(quiet) * 1e6),
            ratio=figure(busy) / figure(quiet),
            at_most=bound,
        )
    yield Figure("on one thread alone, nothing changed: median", median(alone) * 1e6, "us")
    yield Figure("rows lost", lost, "rows", at_most=0)
    yield Figure("segments at the end", status.segments, "segments", at_most=5)


def _searched_meanwhile(
    database: Database, uploads: Codes, work: Callable[[], Any]
) -> tuple[NDArray[np.float64], Any]:
    """What two threads' searches took while something was done, and what that returned."""
    stop = threading.Event()
    times: list[NDArray[np.float64]] = []

    def search() -> None:
        times.append(_search_for(database, uploads, math.inf, stop))

    threads = [threading.Thread(target=search) for _ in range(2)]
    for thread in threads:
        thread.start()
    result = work()
    stop.set()
    for thread in threads:
        thread.join()
    return np.concatenate(times), result


def _search_for(
    database: Database, uploads: Codes, duration_s: float, stop: threading.Event
) -> NDArray[np.float64]:
    times = []
    end = time.monotonic() + duration_s
    at = 0
    while time.monotonic() < end and not stop.is_set():
        row = uploads[at : at + 1]
        times.append(seconds(partial(database.match, "pdq", row, threads=1)))
        at = (at + 1) % len(uploads)
    return np.array(times)


def _change_for(database: Database, new: Codes, duration_s: float) -> int:
    begin = time.monotonic()
    made = 0
    while (now := time.monotonic()) < begin + duration_s:
        if made > (now - begin) * 200:
            time.sleep(0.001)
            continue
        part = new[100 * made : 100 * made + 100]
        with database.change(SET) as change:
            change.add("pdq", part, refs=[f"new-{made}-{k}" for k in range(100)])
        made += 1
    return made


def load(rows: int) -> Iterator[Figure]:
    """Ten million pictures with random refs, and as many frames in videos of 300."""
    for name, kind, asked in (("pictures", _load_pictures, 150), ("frames", _load_frames, 800)):
        with folder() as path:
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                took, peak, segments = process.submit(kind, path, rows).result()
            yield Figure(
                f"{rows / 1e6:g}M {name} loaded", rows / took / 1e3, "k a second", at_least=asked
            )
            yield Figure(
                f"{rows / 1e6:g}M {name}: peak memory beyond the codes given",
                *(peak / 1e9, "GB", "finished segment", segments / 1e9),
                ratio=peak / segments,
                at_most=3,
            )


def _load_pictures(path: Path, rows: int) -> tuple[float, float, float]:
    codes, refs = datasets.make("uniform", rows).codes, random_refs(rows)
    return _loaded(path, lambda: pictures(codes, refs))


def _load_frames(path: Path, rows: int) -> tuple[float, float, float]:
    codes, refs = datasets.make("uniform", rows).codes, video_refs(rows)
    return _loaded(path, lambda: frames(codes, refs))


def _loaded(path: Path, batches: Callable[[], Iterator[Batch]]) -> tuple[float, float, float]:
    # From here on the peak is counted anew.
    Path("/proc/self/clear_refs").write_text("5")
    before = _peak_bytes()
    with hashmatch.open(path, "c") as database:
        database.create(SET)
        _, took = timed(lambda: database.load(SET, batches()))
        segments = sum(file.stat().st_size for file in (path / "segments").iterdir())
    return took, _peak_bytes() - before, segments


def _peak_bytes() -> int:
    # Not ru_maxrss, which a process inherits from the one that starts it.
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def reading(rows: int) -> Iterator[Figure]:
    """Opening, joining, and what the database adds to a search."""
    data = datasets.make("uniform", rows)
    uploads = data.uploads(4_000, 31)
    with folder() as path:
        unpin()
        filled(path, data.codes, ["label-a", "label-b"]).close()
        pin()
        name = f"{rows / 1e6:g}M"
        for where, cached in (("", True), (", nothing cached", False)):
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
                took = process.submit(_first_answer_s, path, uploads[:1], cached).result()
            bound = 500 if cached else None
            yield Figure(
                f"{name} opened to the first answer, new process{where}",
                *(took * 1e3, "ms"),
                at_most=bound,
            )
        with hashmatch.open(path) as database:
            many = data.codes[:: rows // 10_000][:10_000]
            took = median(np.array([seconds(partial(_joined, database, many)) for _ in range(5)]))
            yield Figure("10k matches with refs, sets and labels", took * 1e3, "ms", at_most=100)
            (file,) = (path / "segments").iterdir()
            index = hashmatch.Index.open(file)
            ours, theirs = in_turns(
                6,
                [partial(database.match, "pdq", row[None], threads=1) for row in uploads],
                [partial(index.search, row[None], threads=1) for row in uploads],
            )
            yield Figure(
                f"{name}, one query a call through the database",
                *(median(ours) * 1e6, "us", "bare index", median(theirs) * 1e6),
                ratio=median(ours) / median(theirs),
                at_most=1.2,
            )


def _joined(database: Database, codes: Codes) -> None:
    result = database.match("pdq", codes, max_distance=0, threads=1)
    assert len(result.ref) == len(result.set) == len(result.labels) >= len(codes)


def _first_answer_s(path: Path, code: Codes, cached: bool) -> float:
    if not cached:
        for file in (path / "catalog.db", *(path / "segments").iterdir()):
            with file.open("rb") as opened:
                os.fsync(opened.fileno())
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    begin = time.perf_counter()
    with hashmatch.open(path) as database:
        database.match("pdq", code)
        return time.perf_counter() - begin


#: By name, in the order in which they run.
DATABASE_JOBS: dict[str, Callable[[int], Iterator[Figure]]] = {
    "db-changes": changes,
    "db-one-row": one_row,
    "db-under-change": under_change,
    "db-load": load,
    "db-reading": reading,
}
