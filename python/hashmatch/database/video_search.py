"""Which known videos and pictures an uploaded video matches.

The naive version, which every answer is equal to: for each upload and each known video, count the
upload's frames that are near one of the video's, and the video's that are near one of the upload's.

Only those are compared that the index of all signals finds to have enough in common with the
upload, or nearly so; the engine's groups.h says how, without a look at what many videos share.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hashmatch import _core
from hashmatch.database.bounded import TooManyMatches
from hashmatch.database.filters import Limits
from hashmatch.database.snapshot import ItemFrames
from hashmatch.database.uploads import Prepared, Rule, counted
from hashmatch.database.video_ids import OpenCatalog, VideoIds
from hashmatch.distinct import distinct
from hashmatch.index import Progress

#: Items compared at a time, and pairs of frames, which bounds the memory.
_ITEMS_AT_ONCE = 256
_PAIRS_AT_ONCE = 1 << 23


@dataclass(frozen=True, slots=True)
class Pairs:
    """Frames of an upload and of known items that are near each other, as columns."""

    #: uint64[n]: the known item's first signal, and the frame's.
    item: NDArray[np.uint64]
    signal: NDArray[np.uint64]
    #: int64[n]: place of the upload's frame among those that count.
    frame: NDArray[np.int64]
    #: int64[n], ms, -1 for none: the known frame's.
    signal_ms: NDArray[np.int64]
    distance: NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class Answer:
    """What one upload matches, as columns with a row for each item."""

    #: uint64[n]: the items' first signals.
    items: NDArray[np.uint64]
    #: float64[n]
    query_percent: NDArray[np.float64]
    video_percent: NDArray[np.float64]


_NOTHING = Answer(np.empty(0, np.uint64), np.empty(0), np.empty(0))


def _needed(frames: int, percent: float) -> int:
    """The least number of an upload's frames that is so much of it; 1 at least."""
    enough = np.arange(1, frames + 1) * 100 / frames >= percent
    return int(np.argmax(enough)) + 1


@dataclass(frozen=True, slots=True)
class VideoSearch:
    """One generation's signals, and what is asked of them."""

    signals: _core.Snapshot
    videos: VideoIds
    limits: Limits
    rule: Rule
    threads: int
    open_catalog: OpenCatalog = field(repr=False)
    #: How many matches there may be in all, and how many pairs; None for any number.
    most: int | None = None

    def answers(self, uploads: Sequence[Prepared], progress: Progress | None) -> list[Answer]:
        """What each upload matches. TooManyMatches if that is more than there is room for."""
        found = []
        total = 0
        for number, upload in enumerate(uploads, 1):
            found.append(self.answer(upload))
            total += len(found[-1].items)
            self._require_room(total, "matches")
            if progress is not None:
                progress(number, len(uploads))
        return found

    def answer(self, upload: Prepared) -> Answer:
        """What an upload matches, ordered by query_percent, highest first, then by item."""
        found = self._candidates(upload) if len(upload.codes) else _NOTHING.items
        if not len(found):
            return _NOTHING
        with self.open_catalog() as catalog:
            items = catalog.item_ids(found)
            parts = [
                self._compared(upload, catalog.item_frames("pdq", items[at : at + _ITEMS_AT_ONCE]))
                for at in range(0, len(items), _ITEMS_AT_ONCE)
            ]
        items = np.concatenate([part.items for part in parts])
        query_percent = np.concatenate([part.query_percent for part in parts])
        video_percent = np.concatenate([part.video_percent for part in parts])
        order = np.lexsort((items, -query_percent))
        return Answer(items[order], query_percent[order], video_percent[order])

    def pairs(self, upload: Prepared, items: NDArray[np.uint64]) -> Pairs:
        """The pairs of frames that are near each other, of an upload and items that it matches;
        those of each item ordered by the upload's frame, distance and signal. Of the frames with
        one code the first stands for all. TooManyMatches if they are more than there is room for.
        """
        parts = []
        total = 0
        with self.open_catalog() as catalog:
            for at in range(0, len(items), _ITEMS_AT_ONCE):
                known = catalog.item_frames("pdq", items[at : at + _ITEMS_AT_ONCE])
                rows, _ = self._counted(known)
                frames = known.frames
                for frame, near, distance in self._near(upload, known, rows):
                    owners = known.firsts[frames.items[near]]
                    parts.append((owners, frames.ids[near], frame, frames.time_ms[near], distance))
                    total += len(near)
                    self._require_room(total, "pairs of frames")
        return Pairs(*(np.concatenate(column) for column in zip(*parts, strict=True)))

    def _candidates(self, upload: Prepared) -> NDArray[np.uint64]:
        """Videos that may match, and the signals near a frame that are no video's."""
        limits = self.limits
        numbers, others = self.signals.near_groups(
            upload.codes,
            limits.max_distance,
            self.threads,
            self.videos.firsts,
            self.videos.until,
            upload.weights.astype(np.uint32),
            _needed(int(upload.weights.sum()), self.rule.query_percent),
            self.rule.pictures,
            limits.firsts,
            limits.most,
        )
        return np.concatenate([self.videos.firsts[numbers], others])

    def _compared(self, upload: Prepared, known: ItemFrames) -> Answer:
        """Which of the known items an upload matches."""
        rule, count = self.rule, len(known.firsts)
        rows, weights = self._counted(known)
        items = known.frames.items
        totals = np.bincount(items[rows], weights, count)
        # A frame counts once, however many frames of the item are near it; so do the item's.
        parts = [
            (distinct(items[near] * len(upload.codes) + frame), distinct(near))
            for frame, near, _ in self._near(upload, known, rows)
        ]
        seen, near = (np.concatenate(column) for column in zip(*parts, strict=True))
        owners, frames = np.divmod(seen, len(upload.codes))
        query = np.bincount(owners, upload.weights[frames], count)
        near = distinct(near)
        video = np.bincount(items[near], weights[np.searchsorted(rows, near)], count)
        query_percent = query * 100 / upload.weights.sum()
        video_percent = video * 100 / np.maximum(totals, 1)
        enough = (query_percent >= rule.query_percent) & (video_percent >= rule.video_percent)
        of_video = np.array([kind == "video" for kind in known.kinds])
        matches = (query > 0) & np.where(of_video, enough, rule.pictures)
        return Answer(known.firsts[matches], query_percent[matches], video_percent[matches])

    def _counted(self, known: ItemFrames) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        frames = known.frames
        return counted(frames.codes, frames.quality, frames.items, self.rule)

    def _near(
        self, upload: Prepared, known: ItemFrames, rows: NDArray[np.int64]
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.uint16]]]:
        """Places of the upload's frames and rows of the known ones, of `rows`, that are near each
        other, and their distances; ordered by frame, distance, row, some frames at a time.
        """
        codes = np.ascontiguousarray(known.frames.codes[rows])
        # Each item is of a set that may have a distance of its own.
        limits = self.limits.of(known.firsts)[known.frames.items]
        step = max(1, _PAIRS_AT_ONCE // max(1, len(codes)))
        for begin in range(0, len(upload.codes), step):
            frames = upload.codes[begin : begin + step]
            found = _core.scan(frames, codes, self.limits.max_distance, self.threads)
            near = rows[found.id.astype(np.int64)]
            within = found.distance <= limits[near]
            yield found.query[within] + begin, near[within], found.distance[within]

    def _require_room(self, count: int, what: str) -> None:
        if self.most is not None and count > self.most:
            raise TooManyMatches(f"there are more than {self.most:,} {what}: send fewer videos")
