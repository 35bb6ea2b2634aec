"""Signal types whose indices are hashmatch's, for what stores and matches signals by their type."""

from __future__ import annotations

import json
from abc import ABCMeta
from pathlib import Path

import numpy as np
from threatexchange.content_type.content_base import ContentType
from threatexchange.content_type.video import VideoContent
from threatexchange.signal_type import signal_base
from threatexchange.signal_type.pdq import signal as library

from hashmatch import _core
from hashmatch.hashing import video_frames
from hashmatch.threatexchange.engine import THRESHOLD
from hashmatch.threatexchange.frames import (
    INDEX_PERCENT,
    QUALITY_THRESHOLD,
    QUERY_PERCENT,
    parsed,
)
from hashmatch.threatexchange.pdq_index import PDQIndex
from hashmatch.threatexchange.vpdq_classes import VPDQSimilarityInfo
from hashmatch.threatexchange.vpdq_index import VPDQIndex
from hashmatch.vpdq import frame_text


class _EqualToPdqSignal(ABCMeta):
    """A class that is equal to the library's own PdqSignal.

    The NCMEC exchange gives its PDQ hashes to `PdqSignal`, if that is `in signal_types`, and stores
    look for them under the type they asked for. Both mean the library's class. If ours was none
    other to them, they would leave those hashes out without a word.
    """

    def __eq__(cls, other: object) -> bool:
        return cls is other or other is library.PdqSignal

    def __hash__(cls) -> int:
        return hash(library.PdqSignal)

    def __subclasscheck__(cls, subclass: type) -> bool:
        # ABCMeta remembers its answers by class, and would take one of the two for the other.
        return type.__subclasscheck__(cls, subclass)


class PdqSignal(library.PdqSignal, metaclass=_EqualToPdqSignal):
    """threatexchange's PDQ, matched by hashmatch."""

    @classmethod
    def get_index_cls(cls) -> type[PDQIndex]:  # type: ignore[override, type-arg]
        return PDQIndex


class VPDQSignal(signal_base.SimpleSignalType, signal_base.FileHasher):
    """threatexchange's vPDQ, hashed and matched by hashmatch."""

    @classmethod
    def get_content_types(cls) -> list[type[ContentType]]:
        return [VideoContent]

    @classmethod
    def get_index_cls(cls) -> type[VPDQIndex]:  # type: ignore[type-arg]
        return VPDQIndex

    @classmethod
    def validate_signal_str(cls, signal_str: str) -> str:
        """The signal as it is. ValueError or TypeError if it is no vPDQ signal."""
        parsed(signal_str)
        return signal_str

    @classmethod
    def compare_hash(
        cls,
        hash1: str,
        hash2: str,
        query_match_pct_thresh: float = QUERY_PERCENT,
        compare_match_pct_thresh: float = INDEX_PERCENT,
    ) -> signal_base.SignalComparisonResult:
        """Compare two videos as the library does here, which is not quite as its index does: of
        frames with the same hash the first counts, and only then those of low quality are left out.
        """
        query, known = (parsed(signal).distinct() for signal in (hash1, hash2))
        query, known = (frames.of_quality(QUALITY_THRESHOLD) for frames in (query, known))
        found = _core.scan(query.codes, known.codes, THRESHOLD, 1)
        query_percent = _percent(found.query, len(query))
        known_percent = _percent(found.id, len(known))
        return signal_base.SignalComparisonResult(
            query_percent >= query_match_pct_thresh and known_percent >= compare_match_pct_thresh,
            VPDQSimilarityInfo(query_percent, known_percent),
        )

    @classmethod
    def hash_from_file(cls, file: Path, seconds_per_hash: float = 1) -> str:
        """Hash a video, as vpdq does. ImportError names the extra that is to be installed."""
        frames = video_frames(file, seconds_per_hash=seconds_per_hash)
        return json.dumps(
            [frame_text(code.tobytes().hex(), quality, ms) for code, quality, ms in frames]
        )

    @staticmethod
    def get_examples() -> list[str]:
        examples = enumerate(library.PdqSignal.get_examples())
        return [json.dumps([f"{code},100,{float(second):.3}" for second, code in examples])]


def _percent(matched: np.ndarray, count: int) -> float:
    return len(np.unique(matched)) * 100 / count if count else 0.0
