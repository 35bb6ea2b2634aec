"""Classes of threatexchange's vPDQ extension, which loads only where the package vpdq is installed.

Where it is, they are its own, so that instances compare equal; elsewhere the same under our names.
"""

from __future__ import annotations

from dataclasses import dataclass

from threatexchange.signal_type.index import SignalSimilarityInfo

__all__ = ["VPDQSimilarityInfo", "VpdqCompactFeature"]

try:
    from threatexchange.extensions.vpdq.vpdq_index import VPDQSimilarityInfo
    from threatexchange.extensions.vpdq.vpdq_util import VpdqCompactFeature
except ImportError:

    @dataclass
    class VpdqCompactFeature:  # type: ignore[no-redef]
        """One frame."""

        pdq_hex: str
        quality: int
        #: Seconds from the beginning.
        timestamp: float

    @dataclass
    class VPDQSimilarityInfo(SignalSimilarityInfo):  # type: ignore[no-redef]
        """How much of the query is in the known video, and how much of that in the query."""

        query_match_percent: float
        compared_match_percent: float

        def pretty_str(self) -> str:
            return f"{self.query_match_percent:.0f}%[{self.compared_match_percent:.0f}%]"
