"""Lookups of videos: how they are sent, and cut into requests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hashmatch.client.calls import Call, Talk
from hashmatch.client.lookups import Where, in_parts
from hashmatch.client.records import encoded
from hashmatch.client.video_results import videos_of
from hashmatch.codes import as_codes
from hashmatch.database.columns import as_numbers
from hashmatch.database.uploads import Rule, Upload, prepared
from hashmatch.database.video_matches import VideoMatches
from hashmatch.hash_types import HASH_TYPES
from hashmatch.index import Progress
from hashmatch.vocabulary import MAX_QUALITY, MAX_TIME_MS
from hashmatch.vpdq import Frames, format_frames

_PDQ = HASH_TYPES["pdq"]
#: Frames and videos of one request, at most, or a video more.
_MOST_FRAMES = 20_000
_MOST_VIDEOS = 256


def match_videos(
    server: str,
    uploads: Upload | Sequence[Upload],
    where: Where,
    rule: Rule,
    progress: Progress | None,
) -> Talk[VideoMatches]:
    """`Database.match_videos`."""
    # For the errors that it has for an upload that is none.
    for _ in prepared(uploads, rule):
        pass
    several = [uploads] if isinstance(uploads, Frames | str) else list(uploads)
    sent = [_Sent.of(upload) for upload in several]
    members = {
        **where.members(_PDQ.bits),
        "query_percent": float(rule.query_percent),
        "video_percent": float(rule.video_percent),
        "quality_tolerance": int(rule.quality_tolerance),
        "steps": rule.steps,
        "pictures": bool(rule.pictures),
        "pairs": True,
    }

    def call(part: Sequence[_Sent]) -> Call:
        body = encoded({**members, "videos": [each.text for each in part]}).encode()
        return Call("POST", "/v1/match/video", body=body, divisible=True)

    answers = yield from in_parts(server, _cut(sent), 1, call, progress)
    return videos_of(answers, [each.time_ms for each in sent], server)


@dataclass(frozen=True, slots=True)
class _Sent:
    """An upload as it is sent."""

    text: str
    #: int64[n] of all its frames, -1 where it is not known; which no text says.
    time_ms: NDArray[np.int64]

    @classmethod
    def of(cls, upload: Upload) -> _Sent:
        frames = upload if isinstance(upload, Frames) else Frames.parse(upload)
        count = len(as_codes(frames.codes, _PDQ))
        quality, _ = as_numbers(frames.quality, count, "quality", MAX_QUALITY)
        time_ms, _ = as_numbers(frames.time_ms, count, "time_ms", MAX_TIME_MS)
        whole = replace(frames, quality=_listed(quality), time_ms=_listed(time_ms))
        return cls(format_frames(whole), np.full(count, -1) if time_ms is None else time_ms)


def _listed(numbers: NDArray[np.int64] | None) -> list[int | None] | None:
    if numbers is None:
        return None
    return [None if number < 0 else number for number in numbers.tolist()]


def _cut(sent: Sequence[_Sent]) -> list[Sequence[_Sent]]:
    """The uploads in parts that fit a request; one at least."""
    parts: list[Sequence[_Sent]] = []
    begin = frames = 0
    for end, each in enumerate(sent, 1):
        frames += len(each.time_ms)
        if frames >= _MOST_FRAMES or end - begin >= _MOST_VIDEOS:
            parts.append(sent[begin:end])
            begin, frames = end, 0
    if begin < len(sent) or not parts:
        parts.append(sent[begin:])
    return parts
