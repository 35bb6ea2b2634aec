"""The hashes of files, matched against a database."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from hashmatch.hashing import DIGESTS, FileHashes, VideoFrame
from hashmatch.scanning.findings import Finding, Match, Status
from hashmatch.vpdq import Frames

if TYPE_CHECKING:
    from hashmatch.database import Database, FramePair


@dataclass(frozen=True, slots=True)
class Asked:
    """What a file has to match."""

    #: Names of sets, and verdicts; None for all.
    sets: Sequence[str] | None = None
    verdicts: Sequence[str] | None = None
    #: Of pictures and frames, in bits; None for each set's own.
    max_distance: int | None = None
    #: Pictures and frames of less quality than this are not matched.
    min_quality: int = 50


@dataclass(frozen=True, slots=True)
class Matcher:
    """Matches files against those hash types of a database that files have."""

    database: Database
    asked: Asked

    @property
    def types(self) -> tuple[str, ...]:
        """The hashes that are of use: what `hash_file` is to make. ValueError if there are none."""
        held = self.database.status().types
        pictures = ("pdq", "vpdq") if "pdq" in held else ()
        digests = tuple(name for name in DIGESTS if name in held)
        if not (pictures or digests):
            there = ", ".join(held) or "no"
            raise ValueError(
                f"{self.database.path}: holds {there} hashes, where files are matched by pdq, "
                f"{' or '.join(DIGESTS)}"
            )
        return pictures + digests

    def match(self, file: str, hashes: FileHashes) -> Finding:
        """What a file matches."""
        matches: list[Match] = []
        reason = hashes.reason
        picture = hashes.picture
        if picture is not None:
            if picture.quality < self.asked.min_quality:
                least = self.asked.min_quality
                reason = f"quality {picture.quality} is below {least}: not matched by PDQ"
            else:
                matches += self._codes("pdq", picture.code.tobytes())
        if hashes.frames:
            matches += self._video(hashes.frames)
        for name, digest in hashes.digests.items():
            matches += self._codes(name, digest)
        return Finding(file, hashes, matches, _status(hashes, bool(matches)), reason)

    def _codes(self, name: str, code: bytes) -> list[Match]:
        """The items that have a hash near this one, each by its nearest."""
        asked = self.asked
        most = asked.max_distance if name == "pdq" else None
        found = self.database.match(name, code, asked.sets, most, asked.verdicts, threads=1)
        nearest: dict[tuple[str, str, str], Match] = {}
        for each, digits in zip(found, found.hash, strict=True):
            nearest.setdefault(
                (each.set, each.contributor, each.ref),
                Match(
                    name, each.ref, each.set, each.contributor, each.labels, each.verdicts,
                    each.distance, digits,
                ),
            )  # fmt: skip
        return list(nearest.values())

    def _video(self, frames: Sequence[VideoFrame]) -> list[Match]:
        """The known videos that a video matches, and the known pictures in it."""
        asked = self.asked
        upload = Frames(
            np.stack([frame.code for frame in frames]),
            [frame.quality for frame in frames],
            [frame.time_ms for frame in frames],
        )
        found = self.database.match_videos(
            upload, asked.sets, asked.max_distance, asked.verdicts, threads=1,
            quality_tolerance=asked.min_quality,
        )  # fmt: skip
        return [
            Match(
                "vpdq", each.ref, each.set, each.contributor, each.labels, each.verdicts,
                min(pair.distance for pair in each.frames), "",
                each.query_percent, each.video_percent, _nearest(each.frames),
            )
            for each in found
        ]  # fmt: skip


def _status(hashes: FileHashes, matched: bool) -> Status:
    if matched:
        return Status.MATCHED
    if hashes.picture is not None or hashes.frames or (hashes.digests and not hashes.reason):
        return Status.UNMATCHED
    return Status.UNREADABLE if hashes.reason else Status.OTHER


def _nearest(pairs: Sequence[FramePair]) -> list[FramePair]:
    """The nearest known frame of each of the upload's."""
    nearest: dict[int, FramePair] = {}
    for pair in pairs:
        nearest.setdefault(pair.frame, pair)
    return list(nearest.values())
