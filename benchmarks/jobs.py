"""The measured work, one function a job. All of it on one thread and one core unless it says so."""

from __future__ import annotations

import ctypes
import os
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

import datasets
import hashmatch
import peers
from datasets import Codes
from hashmatch import _core
from processes import Worker
from record import Figure, faster
from timing import Call, in_turns, median, on_cores, p99, pin, seconds, timed, unpin

#: Sizes at which the figures asked for hold.
LARGE = 10_000_000
SMALL = 1_000_000

BULK = 100_000
PDQ = 31
DISTANCES_64 = (3, 8, 10)
#: Handing a match over costs something whatever the index does; worst cases are judged without it.
MATCH_US = 0.02


def built(codes: Codes) -> hashmatch.Index:
    index = hashmatch.Index(bits=8 * codes.shape[1], max_distance=_usual_distance(codes))
    index.add(codes, threads=1)
    return index


def one_by_one(index: hashmatch.Index, queries: Codes, max_distance: int) -> list[Call]:
    rows = [queries[at : at + 1] for at in range(len(queries))]
    return [partial(index.search, row, max_distance, threads=1) for row in rows]


def pdq_against_flat(rows: int) -> Iterator[Figure]:
    """256 bits, uniform, r = 31: against faiss's linear scan."""
    for size, single, bulk in ((rows // 10, 60, 150), (rows, 200, 600)):
        codes = datasets.make("uniform", size)
        yield from _against_flat(codes, PDQ, single, bulk)


def phash_against_flat(rows: int) -> Iterator[Figure]:
    """64 bits, uniform, r = 3, 8 and 10: against faiss's linear scan."""
    codes = datasets.make("uniform", rows, 64)
    index, flat = built(codes.codes), peers.flat(codes.codes)
    required = zip(DISTANCES_64, (800, 200, 80), (4_000, 200, 80), strict=True)
    for distance, single, bulk in required:
        yield from _side_by_side(codes, index, flat, distance, single, bulk)


def _against_flat(
    codes: datasets.DataSet, distance: int, single: float, bulk: float
) -> Iterator[Figure]:
    index, flat = built(codes.codes), peers.flat(codes.codes)
    yield from _side_by_side(codes, index, flat, distance, single, bulk)


def _side_by_side(
    codes: datasets.DataSet,
    index: hashmatch.Index,
    flat: peers.Faiss,
    distance: int,
    single: float,
    bulk: float,
) -> Iterator[Figure]:
    name = f"{_short(len(codes.codes))} x {codes.bits}, r = {distance}"
    uploads = codes.uploads(BULK, distance)
    peers.assert_same(index, flat, uploads[:100], distance)
    # Turns long enough for an index to fill the caches again that a scan has emptied.
    ours, theirs = in_turns(
        4,
        one_by_one(index, uploads[:8_000], distance),
        [partial(flat.search, uploads[at : at + 1], distance) for at in range(100)],
    )
    yield faster(
        f"{name}, one query a call",
        median(ours) * 1e6,
        "faiss flat",
        median(theirs) * 1e6,
        single,
    )
    # faiss takes minutes for a batch as large as ours; its time a query does not depend on it.
    batch = uploads[:256]
    ours, theirs = in_turns(
        3,
        [partial(index.search, uploads, distance, threads=1)] * 3,
        [partial(flat.search, batch, distance)] * 3,
    )
    yield faster(
        f"{name}, one call of {_short(BULK)}",
        median(ours) / len(uploads) * 1e6,
        "faiss flat, one call of 256",
        median(theirs) / len(batch) * 1e6,
        bulk,
    )


def adversarial(rows: int) -> Iterator[Figure]:
    """Hard sets, 256 bits, r = 31: time a query less 20 ns a match reported, against uniform's
    median and against one linear scan by our own kernel.
    """
    ordinary = datasets.make("uniform", rows)
    uniform = built(ordinary.codes)
    uniform_calls = one_by_one(uniform, ordinary.uploads(4_000, PDQ), PDQ)
    for name in datasets.ADVERSARIAL:
        hard = datasets.make(name, rows)
        index = built(hard.codes)
        kinds = {"uploads": hard.uploads, "hostile uploads": hard.hostile_uploads}
        for kind, draw in kinds.items():
            queries = draw(2_000, PDQ)
            _assert_exact(index, hard.codes, queries[:20], PDQ)
            ours, usual, scan = in_turns(
                2,
                one_by_one(index, queries, PDQ),
                uniform_calls,
                _scans(hard.codes, queries[:1], PDQ, 10),
            )
            counts = np.diff(index.search(queries, PDQ, threads=1).offsets)
            net = ours * 1e6 - counts * MATCH_US
            work = f"{name}, {kind}"
            usual_us, scan_us = median(usual) * 1e6, median(scan) * 1e6
            yield Figure(
                f"{work}: median",
                *(median(net), "us", "uniform", usual_us),
                ratio=median(net) / usual_us,
                at_most=3,
            )
            yield Figure(
                f"{work}: p99",
                *(p99(net), "us", "one scan", scan_us),
                ratio=p99(net) / scan_us,
                at_most=1.5,
            )
            many = draw(_bulk_size(float(counts.mean())), PDQ)
            found, bulk = timed(partial(index.search, many, PDQ, threads=1))
            bulk_us = (bulk * 1e6 - len(found) * MATCH_US) / len(many)
            yield Figure(
                f"{work}: one call of {_short(len(many))}, mean",
                *(bulk_us, "us", "one by one", float(net.mean())),
            )
        del index, hard


def linear_scan(rows: int) -> Iterator[Figure]:
    """256 bits: the scan against reading the same bytes in the fastest way Python has here."""
    codes = datasets.make("uniform", rows).codes
    words = codes.view(np.uint64).reshape(-1)
    full = np.full(codes.size, 1, np.uint8)
    query = codes[:1]
    # glibc's memchr reads as fast as the machine does, as long as it finds nothing.
    memchr = ctypes.CDLL(None).memchr
    memchr.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
    memchr.restype = ctypes.c_void_p
    scan, by_numpy, by_memchr = in_turns(
        15,
        _scans(codes, query, PDQ, 45),
        [partial(np.bitwise_or.reduce, words)] * 45,
        [partial(memchr, full.ctypes.data, 0, full.size)] * 45,
    )
    speed = codes.size / 1e9 / np.array([median(scan), median(by_numpy), median(by_memchr)])
    how = "memchr" if speed[2] > speed[1] else "numpy's bitwise_or.reduce"
    fastest = float(speed[1:].max())
    yield Figure(
        f"{_short(rows)} x 256, one query: bytes read",
        *(float(speed[0]), "GB/s", how, fastest),
        ratio=float(speed[0]) / fastest,
        at_least=0.9,
    )
    batch = datasets.make("uniform", rows).uploads(256, PDQ)
    times = in_turns(3, _scans(codes, batch, PDQ, 3))[0]
    yield Figure(
        f"{_short(rows)} x 256, batches of 256: comparisons",
        *(rows * len(batch) / median(times) / 1e9, "G/s"),
        at_least=4,
    )


def build(rows: int) -> Iterator[Figure]:
    """From an array of codes to a searchable index."""
    for bits, required in ((256, 1.5), (64, 5.0)):
        codes = datasets.make("uniform", rows, bits).codes
        times = in_turns(3, [partial(built, codes)] * 3)[0]
        rate = rows / median(times) / 1e6
        yield Figure(f"{_short(rows)} x {bits}: built", rate, "M codes/s", at_least=required)


def memory(rows: int) -> Iterator[Figure]:
    """Bytes a code, and opening the file in a new process, from the page cache and the disk."""
    for bits, required in ((256, 130), (64, 42)):
        name = f"{_short(rows)} x {bits}"
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "index.hm"
            index = built(datasets.make("uniform", rows, bits).codes)
            index.save(path)
            size = index.size_bytes / rows
            del index
            yield Figure(f"{name}: size_bytes", size, "bytes/code", at_most=required)
            with Worker() as worker:
                resident = worker.resident_bytes(path) / rows
            yield Figure(f"{name}: memory of a process that opens it", resident, "bytes/code")
            for where, cached in (("", True), (", nothing cached", False)):
                with Worker() as worker:
                    open_ms, first_ms = worker.open_ms(path, cached)
                bound = 50 if cached else None
                yield Figure(f"{name}: opened by mmap{where}", open_ms, "ms", at_most=bound)
                yield Figure(f"{name}: and a first query answered{where}", first_ms, "ms")


def two_threads(rows: int) -> Iterator[Figure]:
    """One call of 100k queries on two threads, against one thread on each of the two cores: those
    of one machine may differ.
    """
    cores = range(os.cpu_count() or 1)[-2:]
    for bits, distance in ((256, PDQ), (64, 8)):
        codes = datasets.make("uniform", rows, bits)
        index = built(codes.codes)
        search = partial(index.search, codes.uploads(BULK, distance), distance)
        two, first, last = in_turns(
            7,
            [partial(on_cores, cores, partial(search, threads=2))] * 7,
            [partial(on_cores, cores[:1], partial(search, threads=1))] * 7,
            [partial(on_cores, cores[1:], partial(search, threads=1))] * 7,
        )
        pin()
        queries_per_s = np.array([BULK / median(times) for times in (two, first, last)])
        one = float(queries_per_s[1:].mean())
        yield faster(
            f"{_short(rows)} x {bits}, r = {distance}, one call of {_short(BULK)}, two threads",
            1e6 / float(queries_per_s[0]),
            "one thread, mean of two cores",
            1e6 / one,
            1.8,
        )


def kernels(rows: int) -> Iterator[Figure]:
    """AVX2 forced against AVX-512, each in a process of its own."""
    if not {"avx2", "avx512"} <= set(hashmatch.kernels()):
        return
    for bits, distances in ((256, (PDQ,)), (64, DISTANCES_64)):
        codes = datasets.make("uniform", rows, bits)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "index.hm"
            built(codes.codes).save(path)
            with Worker("avx2") as avx2, Worker("avx512") as avx512:
                for distance in distances:
                    singles = codes.uploads(1_000, distance)
                    bulk = codes.uploads(BULK, distance)
                    for kind, queries in (("one query a call", singles), ("bulk", bulk)):
                        turns = [
                            [worker.us_per_query(path, queries, distance) for worker in turn]
                            for turn in [(avx2, avx512)] * 3
                        ]
                        slow, fast = np.median(turns, axis=0)
                        yield Figure(
                            f"{_short(rows)} x {bits}, r = {distance}, {kind}, AVX2",
                            *(float(slow), "us", "AVX-512", float(fast)),
                            ratio=float(slow / fast),
                            at_most=2.5,
                        )


def multi_hash(rows: int) -> Iterator[Figure]:
    """faiss's own hash index with the best and the usual settings, at a tenth of the rows."""
    codes = datasets.make("uniform", rows // 10)
    index = built(codes.codes)
    uploads = codes.uploads(2_000, PDQ)
    for tables, bits, flips in ((11, 23, 2), (16, 16, 1)):
        peer = peers.multi_hash(codes.codes, tables, bits, flips)
        peers.assert_same(index, peer, uploads[:100], PDQ)
        ours, theirs = in_turns(
            5,
            one_by_one(index, uploads, PDQ),
            [partial(peer.search, uploads[at : at + 1], PDQ) for at in range(500)],
        )
        yield faster(
            f"{_short(rows // 10)} x 256, r = 31, one query a call",
            median(ours) * 1e6,
            f"faiss MultiHash, {tables} x {bits} bits, nflip {flips}",
            median(theirs) * 1e6,
        )


def large(rows: int, bits: int, distances: tuple[int, ...]) -> Iterator[Figure]:
    """A size that faiss has no time for: checked against our own scan instead."""
    codes = datasets.make("uniform", rows, bits)
    name = f"{_short(rows)} x {bits}"
    index = hashmatch.Index(bits=bits, max_distance=_usual_distance(codes.codes))
    unpin()
    took = seconds(partial(index.add, codes.codes))
    pin()
    yield Figure(f"{name}: built on all cores", rows / took / 1e6, "M codes/s")
    yield Figure(f"{name}: size_bytes", index.size_bytes / rows, "bytes/code")
    for distance in distances:
        uploads = codes.uploads(BULK, distance)
        _assert_exact(index, codes.codes, uploads[:50], distance)
        times = in_turns(1, one_by_one(index, uploads[:2_000], distance))[0] * 1e6
        work = f"{name}, r = {distance}"
        yield Figure(f"{work}, one query a call: median", median(times), "us")
        yield Figure(f"{work}, one query a call: p99", p99(times), "us")
        bulk = seconds(partial(index.search, uploads, distance, threads=1))
        yield Figure(f"{work}, one call of {_short(BULK)}", bulk / BULK * 1e6, "us")
    scan = median(in_turns(1, _scans(codes.codes, codes.codes[:1], distances[0], 3))[0])
    yield Figure(f"{name}: one linear scan", scan * 1e6, "us")


#: By name, in the order in which they run.
JOBS: dict[str, Callable[[int], Iterator[Figure]]] = {
    "pdq": pdq_against_flat,
    "phash": phash_against_flat,
    "adversarial": adversarial,
    "scan": linear_scan,
    "build": build,
    "memory": memory,
    "threads": two_threads,
    "kernels": kernels,
    "multi-hash": multi_hash,
}
#: Each in a process of its own: they need most of 24 GB. The rows are theirs, not those asked for.
LARGE_JOBS: dict[str, Callable[[], Iterator[Figure]]] = {
    "large-pdq": partial(large, 100_000_000, 256, (PDQ,)),
    "large-phash": partial(large, 300_000_000, 64, DISTANCES_64),
}


def _bulk_size(matches_per_query: float) -> int:
    """Queries for one call that reports some 20 million matches at most."""
    return int(min(10_000, 20e6 / (matches_per_query + 1)))


def _scans(codes: Codes, queries: Codes, distance: int, times: int) -> list[Call]:
    return [partial(_core.scan, queries, codes, distance, 1)] * times


def _assert_exact(index: hashmatch.Index, codes: Codes, queries: Codes, distance: int) -> None:
    """What the index finds is what comparing with every code finds."""
    found = index.search(queries, distance, threads=1)
    scanned = _core.scan(queries, codes, distance, 1)
    if not (
        np.array_equal(found.query, scanned.query)
        and np.array_equal(found.id, scanned.id)
        and np.array_equal(found.distance, scanned.distance)
    ):
        raise AssertionError(f"index and scan differ within {distance}")


def _usual_distance(codes: Codes) -> int:
    return PDQ if codes.shape[1] == 32 else 8


def _short(rows: int) -> str:
    for unit, size in (("M", 1_000_000), ("k", 1_000)):
        if rows >= size:
            return f"{rows / size:g}{unit}"
    return str(rows)
