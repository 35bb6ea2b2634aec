"""`hashmatch bench`: how fast this machine matches, measured on random codes."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from hashmatch import _core
from hashmatch.hash_types import HashType
from hashmatch.index import Index

_SEED = 1
_ONE_BY_ONE = 1_000
_BULK = 100_000
_SCANNED = 20


@dataclass(frozen=True, slots=True)
class Timing:
    """One line of the table."""

    work: str
    figure: str


def measure(kind: HashType, rows: int, threads: int) -> list[Timing]:
    """Build an index of `rows` uniform codes and search it, one query a call and in bulk.

    Half of the queries lie within max_distance of a code in the index. Before anything is timed,
    answers are compared with those of a linear scan.
    """
    random = np.random.default_rng(_SEED)
    width = kind.width
    codes = random.integers(0, 256, (rows, width), dtype=np.uint8)
    queries = random.integers(0, 256, (_BULK, width), dtype=np.uint8)
    distance = kind.max_distance or 0
    near = random.integers(0, rows, _BULK // 2)
    queries[::2] = _perturbed(codes[near], distance, random)

    index = Index(kind.name)
    build_s = _seconds(lambda: index.add(codes, threads=threads))
    compact_s = _seconds(lambda: index.compact(threads=threads))

    sample = queries[:_SCANNED]
    found = index.search(sample, threads=threads)
    scanned = _core.scan(sample, codes, distance, threads)
    if found.to_list() != list(zip(scanned.query, scanned.id, scanned.distance, strict=True)):
        raise RuntimeError("the index and a linear scan disagree: please report this as a bug")

    singles = [queries[row : row + 1] for row in range(_ONE_BY_ONE)]
    one_us = np.array([_seconds(partial(index.search, one, threads=1)) for one in singles]) * 1e6
    bulk_s = _seconds(lambda: index.search(queries, threads=threads))
    scan_s = _seconds(lambda: _core.scan(sample, codes, distance, threads)) / len(sample)
    median_us, slow_us = np.percentile(one_us, [50, 99])
    return [
        Timing("kernel", f"{index.kernel} (of {', '.join(_core.kernels())})"),
        Timing("codes", f"{rows:,} of {kind.bits} bits ({kind.name}), within {distance}"),
        Timing("build", f"{rows / (build_s + compact_s):,.0f} codes/s"),
        Timing("memory", f"{index.size_bytes / rows:,.1f} bytes/code"),
        Timing("one query a call, median", f"{median_us:,.1f} us"),
        Timing("one query a call, 99th percentile", f"{slow_us:,.1f} us"),
        Timing(f"bulk of {_BULK:,} queries", f"{_BULK / bulk_s:,.0f} queries/s"),
        Timing(f"linear scan, {_SCANNED} queries together", f"{scan_s * 1e6:,.1f} us/query"),
    ]


def _perturbed(
    codes: NDArray[np.uint8], distance: int, random: np.random.Generator
) -> NDArray[np.uint8]:
    """The codes with up to `distance` bits flipped, at random places."""
    bits = np.unpackbits(codes, axis=1)
    for _ in range(distance):
        bits[np.arange(len(bits)), random.integers(0, bits.shape[1], len(bits))] ^= 1
    return np.packbits(bits, axis=1)


def _seconds(work: Callable[[], object]) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin
