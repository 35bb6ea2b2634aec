"""The measured work of the index that takes the place of python-threatexchange's."""

from __future__ import annotations

import ctypes
import gc
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib import import_module
from multiprocessing import get_context
from typing import Any

import numpy as np

import datasets
from datasets import Codes
from processes import resident
from record import Figure, faster
from timing import in_turns, median

OURS = ("hashmatch.threatexchange", "PDQIndex")
THEIRS = ("threatexchange.signal_type.pdq.pdq_index", "PDQIndex")
PDQ = 31


def dropin(rows: int) -> Iterator[Figure]:
    """250k hashes with a number each, as HMA has them, against python-threatexchange's PDQIndex."""
    data = datasets.make("uniform", rows // 40)
    name = f"{len(data.codes):,} hashes"
    known = list(entries(data.codes))
    uploads = hexes(data.uploads(2_000, PDQ))
    ours, theirs = (getattr(import_module(module), index) for module, index in (OURS, THEIRS))

    built = in_turns(3, [partial(ours.build, known)] * 3, [partial(theirs.build, known)] * 3)
    index, peer = ours.build(known), theirs.build(known)
    assert_same(index, peer, uploads[:500])
    asked = in_turns(
        4,
        [partial(index.query, code) for code in uploads],
        [partial(peer.query, code) for code in uploads[:400]],
    )
    new = hexes(datasets.uniform(np.random.Generator(np.random.SFC64(8)), 2_000, 256))
    added = in_turns(
        4,
        [partial(index.add, code, number) for number, code in enumerate(new)],
        [partial(peer.add, code, number) for number, code in enumerate(new[:8])],
    )
    assert all(index.query(code)[0].metadata == number for number, code in enumerate(new))
    for work, (our_times, peer_times), asked_for in (
        ("add one", added, 1_000),
        ("query", asked, 20),
        ("build", built, 8),
    ):
        yield faster(
            f"{name}: {work}",
            median(our_times) * 1e6,
            "python-threatexchange's PDQIndex",
            median(peer_times) * 1e6,
            asked_for,
        )
    our_bytes, peer_bytes = (in_a_process(memory, kind, rows // 40) for kind in (OURS, THEIRS))
    yield Figure(
        f"{name}: memory of the index",
        *(our_bytes / len(known), "bytes/hash"),
        *("python-threatexchange's PDQIndex", peer_bytes / len(known)),
        ratio=our_bytes / peer_bytes,
        at_most=0.25,
    )


def entries(codes: Codes) -> Iterator[tuple[str, int]]:
    return ((code.tobytes().hex(), number) for number, code in enumerate(codes))


def hexes(codes: Codes) -> list[str]:
    return [code.tobytes().hex() for code in codes]


def assert_same(index: Any, peer: Any, queries: list[str]) -> None:
    """Before a time means anything: both find the same, distances included."""
    found = 0
    for query in queries:
        ours, theirs = (
            sorted((match.similarity_info.distance, match.metadata) for match in each.query(query))
            for each in (index, peer)
        )
        if ours != theirs:
            raise AssertionError(f"the two differ on {query}")
        found += len(ours)
    if not found:
        raise AssertionError("nothing matched: these queries compare nothing")


def in_a_process(function: Callable[..., int], *arguments: Any) -> int:
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


def memory(kind: tuple[str, str], rows: int) -> int:
    """What an index that is all that is kept adds to a process."""
    index_class = getattr(import_module(kind[0]), kind[1])
    codes = datasets.make("uniform", rows).codes
    # Whatever is made once and for all.
    index_class.build(entries(codes[:1_000])).query("0" * 64)
    before = settled()
    index = index_class.build(entries(codes))
    index.query("0" * 64)
    return settled() - before


def settled() -> int:
    """Resident bytes once what is free has been given back to the system."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    return resident()


DROPIN_JOBS: dict[str, Callable[[int], Iterator[Figure]]] = {"dropin": dropin}
