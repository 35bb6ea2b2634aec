"""vPDQ signals: a video's frames, each a PDQ hash, a quality and a time, as a JSON list of
"<64 hex digits>,<quality 0..100>,<seconds>".
"""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hashmatch.codes import encode_hex
from hashmatch.threatexchange.engine import Codes, many_codes, rows_of
from hashmatch.threatexchange.vpdq_classes import VpdqCompactFeature

#: threatexchange's: frames of less quality are left out, and a match is at least so much of the
#: query and of the known video, in percent.
QUALITY_THRESHOLD = 50
QUERY_PERCENT = 80.0
INDEX_PERCENT = 0.0

_SHOWN_CHARACTERS = 90


@dataclass(frozen=True, slots=True, eq=False)
class Frames:
    """Frames of one video, in their order."""

    codes: Codes
    quality: NDArray[np.uint8]
    #: Seconds from the beginning.
    time: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.codes)

    def of_quality(self, least: float) -> Frames:
        """Those of at least that quality."""
        return self._chosen(np.flatnonzero(self.quality >= least))

    def distinct(self) -> Frames:
        """The first of each code."""
        seen: dict[bytes, int] = {}
        for row, code in enumerate(rows_of(self.codes)):
            seen.setdefault(code, row)
        return self if len(seen) == len(self) else self._chosen(np.array([*seen.values()], int))

    def features(self) -> list[VpdqCompactFeature]:
        columns = encode_hex(self.codes), self.quality.tolist(), self.time.tolist()
        return [VpdqCompactFeature(*frame) for frame in zip(*columns, strict=True)]

    def _chosen(self, rows: NDArray[np.int64]) -> Frames:
        return Frames(self.codes[rows], self.quality[rows], self.time[rows])


def parsed(signal: str) -> Frames:
    """The frames of a signal; "" has none. ValueError or TypeError says what is wrong with it."""
    listed = _listed(signal)
    digits: list[str] = []
    quality = np.empty(len(listed), np.uint8)
    time = np.empty(len(listed), np.float64)
    for row, text in enumerate(listed):
        try:
            code, level, seconds = text.split(",")
            digits.append(code)
            quality[row] = _quality(int(level))
            time[row] = _seconds(float(seconds))
        except (ValueError, AttributeError) as error:
            shown = repr(text)[:_SHOWN_CHARACTERS]
            raise ValueError(
                f"frame {row:,} must be hash,quality,seconds, not {shown}: {error}"
            ) from None
    return Frames(many_codes(digits, "frame"), quality, time)


def prepared(signal: str, quality: float) -> Frames:
    """What counts for an index: the frames of at least that quality, each code once."""
    return parsed(signal).of_quality(quality).distinct()


def _listed(signal: str) -> list[str]:
    if not isinstance(signal, str):
        raise TypeError(f"a vPDQ signal must be a str, not {type(signal).__name__}")
    try:
        listed = json.loads(signal or "[]")
    except (ValueError, RecursionError) as error:
        raise ValueError(f"a vPDQ signal must be a JSON list of frames: {error}") from None
    if not isinstance(listed, list):
        raise ValueError(f"a vPDQ signal must be a JSON list of frames, not {signal[:40]!r}")
    return listed


def _quality(level: int) -> int:
    if not 0 <= level <= 100:
        raise ValueError(f"quality must be in 0..100, not {level}")
    return level


def _seconds(time: float) -> float:
    if time < 0:
        raise ValueError(f"seconds must be at least 0, not {time}")
    return time
