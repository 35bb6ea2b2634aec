"""Work that needs a process of its own: another kernel, a cold file, a clean count of memory."""

from __future__ import annotations

import os
import time
from concurrent.futures import ProcessPoolExecutor
from functools import cache, partial
from multiprocessing import get_context
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

import hashmatch
from timing import median, pin, seconds


class Worker:
    """One new process, on the same core as this one, with a kernel of choice."""

    def __init__(self, kernel: str = "") -> None:
        self._process = ProcessPoolExecutor(
            1, mp_context=get_context("spawn"), initializer=_start, initargs=(kernel,)
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.shutdown()

    def resident_bytes(self, path: Path) -> int:
        """What opening an index in memory adds to the process."""
        return self._process.submit(_resident_bytes, path).result()

    def open_ms(self, path: Path, cached: bool) -> tuple[float, float]:
        """Until an index is open, and until a query is answered. If it is not to be cached, the
        system is made to read it from the disk.
        """
        return self._process.submit(_open_ms, path, cached).result()

    def us_per_query(self, path: Path, queries: NDArray[np.uint8], distance: int) -> float:
        """Up to 10,000 queries one by one, their median; more of them in one call, the mean."""
        return self._process.submit(_us_per_query, path, queries, distance).result()


def _start(kernel: str) -> None:
    if kernel:
        os.environ["HASHMATCH_KERNEL"] = kernel
    pin()


@cache
def _opened(path: Path) -> hashmatch.Index:
    return hashmatch.Index.open(path, memory=True)


def _resident_bytes(path: Path) -> int:
    before = resident()
    index = hashmatch.Index.open(path, memory=True)
    after = resident()
    del index
    return after - before


def resident() -> int:
    """Bytes of this process that are in memory."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _open_ms(path: Path, cached: bool) -> tuple[float, float]:
    if not cached:
        with path.open("rb") as file:
            os.fsync(file.fileno())
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    begin = time.perf_counter()
    index = hashmatch.Index.open(path)
    opened = time.perf_counter()
    index.search(np.zeros((1, index.bits // 8), np.uint8), threads=1)
    return (opened - begin) * 1e3, (time.perf_counter() - begin) * 1e3


def _us_per_query(path: Path, queries: NDArray[np.uint8], distance: int) -> float:
    index = _opened(path)
    if len(queries) > 10_000:
        call = partial(index.search, queries, distance, threads=1)
        return seconds(call) / len(queries) * 1e6
    rows = [queries[at : at + 1] for at in range(len(queries))]
    times = [seconds(partial(index.search, row, distance, threads=1)) for row in rows]
    return median(np.array(times)) * 1e6
