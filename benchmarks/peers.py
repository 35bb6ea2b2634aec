"""Peers behind the little that is compared: searches whose distance is inclusive, as ours."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterable
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

import hashmatch

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of SWIG, from Python 3.12 on
    import faiss

Codes = NDArray[np.uint8]


class Faiss:
    """An index of faiss, on one thread."""

    def __init__(self, index: Any, codes: Codes) -> None:
        faiss.omp_set_num_threads(1)
        self._index = index
        index.add(codes)

    def search(self, queries: Codes, max_distance: int) -> tuple[Any, Any, Any]:
        found: tuple[Any, Any, Any] = self._index.range_search(queries, max_distance + 1)
        return found


def flat(codes: Codes) -> Faiss:
    """The linear scan."""
    return Faiss(faiss.IndexBinaryFlat(8 * codes.shape[1]), codes)


def multi_hash(codes: Codes, tables: int, bits: int, flips: int) -> Faiss:
    """Hash tables of so many bits, each probed within so many flips. Exact within a distance below
    tables * (flips + 1).
    """
    index = faiss.IndexBinaryMultiHash(8 * codes.shape[1], tables, bits)
    index.nflip = flips
    return Faiss(index, codes)


def assert_same(index: hashmatch.Index, peer: Faiss, queries: Codes, max_distance: int) -> None:
    """Before a time means anything: both find the same, distances included."""
    ours = index.search(queries, max_distance, threads=1)
    offsets, distance, label = peer.search(queries, max_distance)
    query = np.repeat(np.arange(len(queries)), np.diff(offsets.astype(np.int64)))
    order = np.lexsort((label, distance, query))
    same = (
        np.array_equal(query[order], ours.query)
        and np.array_equal(label[order].astype(np.uint64), ours.id)
        and np.array_equal(distance[order].astype(np.uint16), ours.distance)
    )
    if not same:
        raise AssertionError(f"faiss and hashmatch differ within {max_distance}")
    if len(ours) == 0:
        raise AssertionError("nothing matched: these queries compare nothing")


class ThreatExchange:
    """The PDQ index of Meta's threatexchange package, on one thread."""

    def __init__(self, codes: Codes) -> None:
        from threatexchange.signal_type.pdq.pdq_index import PDQIndex

        faiss.omp_set_num_threads(1)
        self._index = PDQIndex(entries=((code.tobytes().hex(), None) for code in codes))

    def add(self, code: Codes) -> None:
        self._index.add(code.tobytes().hex(), None)

    def matches(self, code: Codes) -> int:
        """How many codes are near that one."""
        return len(self._index.query(code.tobytes().hex()))


class ThreatExchangeVideos:
    """The vPDQ index of Meta's threatexchange package: known videos are vPDQ strings and names."""

    def __init__(self, videos: Iterable[tuple[str, str]]) -> None:
        # It imports a package that hashes files with FFmpeg, and of it needs but a name.
        stand_in = ModuleType("vpdq")
        stand_in.VpdqFeature = object  # type: ignore[attr-defined]
        sys.modules.setdefault("vpdq", stand_in)
        from threatexchange.extensions.vpdq.vpdq_index import VPDQIndex

        faiss.omp_set_num_threads(1)
        self._index: Any = VPDQIndex.build(videos)

    def query(self, video: str) -> dict[str, tuple[float, float]]:
        """Of the video and of each that it matches, how much of it does, in percent."""
        return {
            match.metadata: (
                match.similarity_info.query_match_percent,
                match.similarity_info.compared_match_percent,
            )
            for match in self._index.query(video)
        }
