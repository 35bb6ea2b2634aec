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
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from hashmatch.codes import Codes, as_codes, encode_hex, hex_fault
from hashmatch.hash_types import HASH_TYPES
from hashmatch.vocabulary import MAX_QUALITY, MAX_TIME_MS

if TYPE_CHECKING:
    from hashmatch.vocabulary import Numbers

_PDQ = HASH_TYPES["pdq"]

_QUALITY = re.compile(r"\d{1,3}", re.ASCII)
_SECONDS = re.compile(r"\d{1,20}(?:\.\d{0,20})?(?:[eE][+-]?\d{1,3})?", re.ASCII)
_FRAME = re.compile(rf"([0-9a-fA-F]{{64}}),({_QUALITY.pattern}),({_SECONDS.pattern})", re.ASCII)


class Frame(NamedTuple):
    """A frame out of its text."""

    code: bytes
    quality: int
    time_ms: int


def parse_frame(text: object) -> Frame:
    """The frame of a text as vPDQ strings hold it. ValueError says what is wrong with it."""
    if not isinstance(text, str):
        # Lists within lists are more than Python can write out.
        nested = isinstance(text, list | dict)
        what = f"a {type(text).__name__}" if nested else f"{text!r:.60}"
        raise ValueError(f"is {what}, not a frame as text")
    match = _FRAME.fullmatch(text)
    parts = match.groups() if match else text.split(",")
    if len(parts) != 3:
        raise ValueError(f"has {len(parts):,} parts, where a frame is hash,quality,seconds")
    return frame_of(*parts)


def frame_of(digits: str, quality: str, seconds: str) -> Frame:
    """The frame of the three parts of its text. ValueError says what is wrong with one."""
    fault = hex_fault(digits, _PDQ)
    if fault:
        raise ValueError(fault)
    if not _QUALITY.fullmatch(quality) or int(quality) > MAX_QUALITY:
        raise ValueError(f"quality is {quality!r:.60}, not a number in 0..{MAX_QUALITY}")
    time_ms = float(seconds) * 1000 if _SECONDS.fullmatch(seconds) else -1
    if not 0 <= time_ms <= MAX_TIME_MS:
        top = MAX_TIME_MS // 1000
        raise ValueError(f"timestamp is {seconds!r:.60}, not seconds in 0..{top:,}")
    return Frame(bytes.fromhex(digits), int(quality), round(time_ms))


def frame_text(digits: str, quality: int, time_ms: int) -> str:
    """The text of a frame."""
    return f"{digits},{quality},{time_ms / 1000:.3f}"


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
    hashes = encode_hex(as_codes(frames.codes, _PDQ))
    quality = [100] * len(hashes) if frames.quality is None else frames.quality
    times = [0] * len(hashes) if frames.time_ms is None else frames.time_ms
    return json.dumps(
        [
            frame_text(code, 100 if good is None else int(good), ms or 0)
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
    frames: list[Frame] = []
    for place, text in enumerate(texts):
        try:
            frames.append(parse_frame(text))
        except ValueError as error:
            raise ValueError(f"frame {place}: {error}") from None
    codes = np.frombuffer(b"".join(frame.code for frame in frames), np.uint8)
    return (
        codes.reshape(-1, _PDQ.width),
        [frame.quality for frame in frames],
        [frame.time_ms for frame in frames],
    )
