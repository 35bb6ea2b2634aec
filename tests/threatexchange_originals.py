"""threatexchange's own indices, to compare with, and hashes that are near each other."""

from __future__ import annotations

import json
import sys
import warnings
from collections import Counter
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from hypothesis import strategies as st

with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)  # of SWIG, from Python 3.12 on
    # Loaded first, so that it meets the environment as it is.
    from threatexchange.signal_type.pdq.pdq_index import PDQIndex
    from threatexchange.signal_type.pdq.pdq_index2 import PDQIndex2

    import hashmatch.threatexchange as ours

    # The package vpdq hashes videos, which takes FFmpeg. The index only has to find its name.
    standing_in = "vpdq" not in sys.modules
    if standing_in:
        sys.modules["vpdq"] = ModuleType("vpdq")
        sys.modules["vpdq"].VpdqFeature = object  # type: ignore[attr-defined]
    from threatexchange.extensions.vpdq.vpdq_index import VPDQIndex

    if standing_in:
        del sys.modules["vpdq"]

__all__ = ["PDQIndex", "PDQIndex2", "VPDQIndex", "ours"]

CENTRES = ["f8f8f0cee0f4a84f06370a22038f63f0b36e2ed596621e1d33e6b39c4e9c9b22", "0" * 64, "5a" * 32]


def flipped(code: str, bits: Iterable[int]) -> str:
    """The hash that differs in these bits."""
    number = int(code, 16)
    for bit in bits:
        number ^= 1 << bit
    return f"{number:064x}"


def hashes() -> st.SearchStrategy[str]:
    """Hashes of which many are within 31 of each other, many just beyond, and some the same."""
    bits = st.one_of(
        st.sets(st.integers(0, 255), max_size=4),
        st.sets(st.integers(0, 255), min_size=28, max_size=36),
        st.integers(0, 40).map(range),
    )
    return st.builds(flipped, st.sampled_from(CENTRES), bits)


def video(frames: Iterable[tuple[str, int]]) -> str:
    """A vPDQ signal of hashes and qualities, one a second."""
    return json.dumps([f"{code},{quality},{time}.0" for time, (code, quality) in enumerate(frames)])


def distances(matches: Iterable[Any]) -> Counter[tuple[int, Any]]:
    """Every match of a PDQ index, in no order."""
    return Counter((int(match.similarity_info.distance), match.metadata) for match in matches)


def percentages(matches: Iterable[Any]) -> Counter[tuple[float, float, Any]]:
    """Every match of a vPDQ index, in no order."""
    return Counter(
        (
            match.similarity_info.query_match_percent,
            match.similarity_info.compared_match_percent,
            match.metadata,
        )
        for match in matches
    )
