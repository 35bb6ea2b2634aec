"""vPDQ: a video as the PDQ hashes of frames of it, each with a quality and a time.

As text it is what python-threatexchange calls a vPDQ string, a JSON list of frames:

    ["<64 hex digits>,<quality, 0 to 100>,<seconds>", ...]

Seconds may be in scientific notation: python-threatexchange keeps three significant digits, so that
1234.5 is written 1.23e+03.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from hashmatch.codes import Codes, as_codes, decode_digits, encode_hex
from hashmatch.hash_types import HASH_TYPES

if TYPE_CHECKING:
    from hashmatch.vocabulary import Numbers

_FRAME = re.compile(
    r"([0-9a-f]{64}),([0-9]{1,3}),([0-9]+(?:\.[0-9]*)?(?:e[+-]?[0-9]{1,3})?)",
    re.IGNORECASE | re.ASCII,
)
_MAX_SECONDS = (2**32 - 2) / 1000


@dataclass(frozen=True, slots=True)
class Frames:
    """The hashed frames of one video, in the order in which they are shown."""

    #: PDQ codes: anything that `hashmatch.codes.as_codes` takes.
    codes: Codes
    #: 0..100 for each code, None where it is not known; or None for all.
    quality: Numbers = None
    #: Place in the video in ms for each code, likewise.
    time_ms: Numbers = None

    @classmethod
    def parse(cls, text: str | Sequence[str]) -> Self:
        """The frames of a vPDQ string, or of a list of such frames as it holds. ValueError names
        the frame that is none.
        """
        return cls(*_columns(_listed(text) if isinstance(text, str) else text))


def format_frames(frames: Frames) -> str:
    """The vPDQ string. Frames without a quality get 100, and those without a time 0."""
    hashes = encode_hex(as_codes(frames.codes, HASH_TYPES["pdq"]))
    quality = [100] * len(hashes) if frames.quality is None else frames.quality
    times = [0] * len(hashes) if frames.time_ms is None else frames.time_ms
    return json.dumps(
        [
            f"{code},{100 if good is None else int(good)},{(ms or 0) / 1000:.3f}"
            for code, good, ms in zip(hashes, quality, times, strict=True)
        ]
    )


def _listed(text: str) -> list[str]:
    try:
        frames = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"a vPDQ string is a JSON list of frames: {error}") from None
    if not isinstance(frames, list):
        raise ValueError(f"a vPDQ string is a JSON list of frames, not {text[:40]!r}")
    return frames


def _columns(texts: Sequence[str]) -> tuple[NDArray[np.uint8], list[int], list[int]]:
    digits, quality, time_ms = [], [], []
    for place, text in enumerate(texts):
        match = _FRAME.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise ValueError(
                f'frame {place}: must be "<64 hex digits>,<quality>,<seconds>", not {text!r:.100}'
            )
        good, seconds = int(match[2]), float(match[3])
        if good > 100:
            raise ValueError(f"frame {place}: quality is {good}, not in 0..100")
        if seconds > _MAX_SECONDS:
            raise ValueError(f"frame {place}: {match[3]} seconds are more than {_MAX_SECONDS:,.0f}")
        digits.append(match[1])
        quality.append(good)
        time_ms.append(round(seconds * 1000))
    if not digits:
        return np.empty((0, 32), np.uint8), [], []
    codes = decode_digits(np.frombuffer("".join(digits).encode(), np.uint8).reshape(-1, 64))
    assert codes is not None
    return codes, quality, time_ms
