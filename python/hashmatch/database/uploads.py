"""Uploaded videos, checked and brought into the form in which they are compared."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from hashmatch import _core
from hashmatch.arguments import whole
from hashmatch.codes import as_codes
from hashmatch.database.columns import as_numbers
from hashmatch.hash_types import HASH_TYPES
from hashmatch.vocabulary import MAX_QUALITY, MAX_TIME_MS
from hashmatch.vpdq import Frames

#: One video: its frames, or a vPDQ string, or a list of the frames that such a string has.
Upload: TypeAlias = Frames | str | Sequence[str]

#: Which of a video's frames count. "filter-dedupe": those of enough quality, then each code once.
#: "dedupe-filter": each code once, by its first frame, then those of enough quality. "filter":
#: those of enough quality, repeated codes as often as they are there.
Steps: TypeAlias = Literal["filter-dedupe", "dedupe-filter", "filter"]


@dataclass(frozen=True, slots=True)
class Rule:
    """What makes an upload match; see `Database.match_videos`."""

    query_percent: float = 80
    video_percent: float = 0
    quality_tolerance: int = 50
    steps: Steps = "filter-dedupe"
    pictures: bool = True

    def __post_init__(self) -> None:
        for name in ("query_percent", "video_percent"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float | np.number):
                raise TypeError(f"{name} must be a number in 0..100, not {value!r}")
            if not 0 <= value <= 100:
                raise ValueError(f"{name} must be a number in 0..100, not {value}")
        whole(self.quality_tolerance, "quality_tolerance", 0, MAX_QUALITY)
        if self.steps not in get_args(Steps):
            raise ValueError(
                f"steps must be one of {', '.join(get_args(Steps))}, not {self.steps!r}"
            )
        if not isinstance(self.pictures, bool | np.bool_):
            raise TypeError(f"pictures must be True or False, not {self.pictures!r}")


@dataclass(frozen=True, slots=True)
class Prepared:
    """The frames of an upload that count."""

    #: uint8[n, 32], each code once.
    codes: NDArray[np.uint8]
    #: int64[n]: how many frames each stands for: 1, unless repeated codes count repeatedly.
    weights: NDArray[np.int64]
    #: int64[n]: the first frame with the code, from 0, of those given; and its time, -1 for none.
    frames: NDArray[np.int64]
    time_ms: NDArray[np.int64]


def prepared(uploads: Upload | Sequence[Upload], rule: Rule) -> Iterator[Prepared]:
    """Each upload's frames that count. ValueError or TypeError names the upload and the frame."""
    several = [uploads] if isinstance(uploads, Frames | str) else uploads
    if not isinstance(several, Sequence):
        raise TypeError(
            "uploads must be a list of Frames, of vPDQ strings, or of lists of their frames, "
            f"not {type(several).__name__}"
        )
    for number, upload in enumerate(several):
        try:
            yield _prepared(upload, rule)
        except (TypeError, ValueError) as error:
            raise type(error)(f"upload {number}: {error}") from None


def _prepared(upload: Upload, rule: Rule) -> Prepared:
    if isinstance(upload, str) and not upload.lstrip().startswith("["):
        raise ValueError(
            f"a vPDQ string is a JSON list of frames, not {upload!r:.60}: give one list for each "
            "video, [[frame, frame, ...], ...]"
        )
    if not isinstance(upload, Frames):
        if not isinstance(upload, str | Sequence):
            raise TypeError(f"must be Frames or a vPDQ string, not {type(upload).__name__}")
        upload = Frames.parse(upload)
    codes = as_codes(upload.codes, HASH_TYPES["pdq"])
    quality = _checked(upload.quality, len(codes), "quality", MAX_QUALITY)
    time_ms = _checked(upload.time_ms, len(codes), "time_ms", MAX_TIME_MS)
    rows, weights = counted(codes, quality, np.zeros(len(codes), np.int64), rule)
    return Prepared(np.ascontiguousarray(codes[rows]), weights, rows, time_ms[rows])


def _checked(values: object, rows: int, name: str, top: int) -> NDArray[np.int64]:
    numbers, faults = as_numbers(values, rows, name, top)  # type: ignore[arg-type]
    if faults:
        frame, reason = faults[0]
        raise ValueError(f"frame {frame}: {reason}")
    return np.full(rows, -1) if numbers is None else numbers


def counted(
    codes: NDArray[np.uint8],
    quality: NDArray[np.int64],
    videos: NDArray[np.int64],
    rule: Rule,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The frames that count, of videos beside one another: ascending rows, and how many frames
    each stands for. Frames whose quality is not known (-1) are of enough.
    """
    good = (quality < 0) | (quality >= rule.quality_tolerance)
    if rule.steps == "dedupe-filter":
        rows, counts = _core.distinct(np.ascontiguousarray(codes), videos)
        return rows[good[rows]], np.ones(np.count_nonzero(good[rows]), np.int64)
    kept = np.flatnonzero(good)
    rows, counts = _core.distinct(codes[kept], videos[kept])
    return kept[rows], counts if rule.steps == "filter" else np.ones(len(rows), np.int64)
