"""What a scan says of each file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from hashmatch.hashing import FileHashes

if TYPE_CHECKING:
    from hashmatch.database import FramePair


class Status(StrEnum):
    """What became of a file."""

    MATCHED = "matched"
    UNMATCHED = "unmatched"
    #: It could not be hashed; the reason says why.
    UNREADABLE = "unreadable"
    #: It is neither a picture nor a video, and the database has no digests to match it by.
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class Match:
    """A known item that a file matches."""

    #: "pdq", "vpdq", or the type of a digest.
    hash_type: str
    ref: str
    set: str
    contributor: str
    labels: Sequence[str]
    verdicts: Sequence[str]
    #: In bits; of a video the least of its frames.
    distance: int
    #: Hex of the known hash; empty for a video, which has many.
    hash: str = ""
    #: Of a video: how much of it matched, and how much of the known item that is.
    query_percent: float | None = None
    video_percent: float | None = None
    #: Of a video: its frames that matched, each with the nearest known one.
    frames: Sequence[FramePair] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """One file, and what it matched."""

    #: From the folder on.
    file: str
    hashes: FileHashes
    matches: Sequence[Match]
    status: Status
    #: Why it was not matched in full, if it was not.
    reason: str | None = None

    @property
    def shown_ms(self) -> int:
        """Place of the first frame that matched, in a video."""
        return next((pair.time_ms or 0 for match in self.matches for pair in match.frames), 0)
