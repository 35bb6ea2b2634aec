"""Videos as sets of frames: each distinct code is held once, with the videos that it is in.

A black frame may be in every video. So the videos of a code are a column of numbers, which a query
counts with a few operations on whole columns, however many they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hashmatch.distinct import distinct
from hashmatch.threatexchange.columns import Column
from hashmatch.threatexchange.engine import Codes, new_engine, rows_of
from hashmatch.threatexchange.frames import Frames

Numbers = NDArray[np.int64]


class Videos:
    """Numbered from 0. One thread adds at a time; any number read meanwhile."""

    def __init__(self) -> None:
        #: Videos that readers may see; what is in the columns beyond them is being added.
        self.count = 0
        #: Ids are those of distinct codes.
        self.engine = new_engine()
        #: Of each video in turn: its frames' ids, qualities and times, and where they end.
        self.ids = Column(np.uint32)
        self.quality = Column(np.uint8)
        self.time = Column(np.float64)
        self.ends = Column(np.int64)
        #: Of each id: the first video that it is in, and the others if there are any.
        self.first = Column(np.uint32)
        self.others: dict[int, Column] = {}

    def add(self, videos: Sequence[Frames]) -> None:
        """Add videos, each of distinct codes."""
        sizes = [len(video) for video in videos]
        codes = np.concatenate([video.codes for video in videos])
        ids, new = self._numbered(codes)
        numbers = np.repeat(np.arange(self.count, self.count + len(videos)), sizes)
        self.first.extend(numbers[new])
        self._add_others(ids[~new], numbers[~new])
        self.engine.add(np.ascontiguousarray(codes[new]), None, 0)
        self.ends.extend(len(self.ids.values) + np.cumsum(sizes))
        self.ids.extend(ids)
        self.quality.extend(np.concatenate([video.quality for video in videos]))
        self.time.extend(np.concatenate([video.time for video in videos]))
        self.count += len(videos)

    @classmethod
    def stored(cls, codes: Codes, columns: Sequence[NDArray[Any]]) -> Self:
        """What `columns` and the codes of the ids were taken from. ValueError if they cannot be."""
        sizes, ids, quality, time = columns
        if not (int(sizes.sum()) == len(ids) == len(quality) == len(time) and sizes.all()):
            raise ValueError("its videos and their frames do not fit")
        held, first_rows = np.unique(ids, return_index=True)
        numbers = np.repeat(np.arange(len(sizes)), sizes)
        pairs = numbers * len(codes) + ids
        if not np.array_equal(held, np.arange(len(codes))) or len(distinct(pairs)) < len(pairs):
            raise ValueError("its frames and their codes do not fit")
        videos = cls()
        videos.engine.add(codes, None, 0)
        videos.first.extend(numbers[first_rows])
        videos._add_others(np.delete(ids, first_rows), np.delete(numbers, first_rows))
        videos.ends.extend(np.cumsum(sizes))
        videos.ids.extend(ids)
        videos.quality.extend(quality)
        videos.time.extend(time)
        videos.count = len(sizes)
        return videos

    def columns(self) -> list[NDArray[Any]]:
        """Sizes, ids, qualities and times, of every video."""
        return [
            self.sizes(self.count).astype(np.uint32),
            *(column.values for column in (self.ids, self.quality, self.time)),
        ]

    def _numbered(self, codes: Codes) -> tuple[Numbers, NDArray[np.bool_]]:
        """The id of each code, and whether it is the first of a code that is not held yet."""
        held = len(self.engine)
        ids = np.full(len(codes), -1, np.int64)
        found = self.engine.search(codes, 0, 0, 0, None)
        ids[found.query] = found.id
        unknown = np.flatnonzero(ids < 0)
        numbers: dict[bytes, int] = {}
        ids[unknown] = [
            numbers.setdefault(code, held + len(numbers)) for code in rows_of(codes[unknown])
        ]
        new = np.zeros(len(codes), np.bool_)
        new[unknown[np.unique(ids[unknown], return_index=True)[1]]] = True
        return ids, new

    def _add_others(self, ids: Numbers, numbers: Numbers) -> None:
        order = np.argsort(ids, kind="stable")
        ids, numbers = ids[order], numbers[order]
        several, begins, sizes = np.unique(ids, return_index=True, return_counts=True)
        groups = (several.tolist(), begins.tolist(), sizes.tolist())
        for id, begin, size in zip(*groups, strict=True):
            if id not in self.others:
                self.others[id] = Column(np.uint32)
            self.others[id].extend(numbers[begin : begin + size])

    def matched(self, codes: Codes, distance: int) -> tuple[Numbers, Numbers, Numbers]:
        """Of each video: how many of these codes are within `distance` of one of its frames, how
        many of its frames are within it of one of these codes, and how many frames it has.
        """
        count = self.count
        found = self.engine.search(codes, distance, 0, 1, None)
        query, ids, offsets = found.query, found.id.astype(np.int64), found.offsets
        of_videos = np.bincount(self._videos(distinct(ids), count), minlength=count)
        # Most codes match one frame, of one video: those are counted at once.
        alone = np.fromiter((id not in self.others for id in ids.tolist()), np.bool_, len(ids))
        alone &= np.diff(offsets)[query] == 1
        of_query = np.bincount(self._first(ids[alone], count), minlength=count)
        for number in np.unique(query[~alone]).tolist():
            videos = self._videos(ids[offsets[number] : offsets[number + 1]], count)
            of_query[videos] += 1  # Once, however often a video is among them.
        return of_query, of_videos, self.sizes(count)

    def _first(self, ids: Numbers, count: int) -> NDArray[np.uint32]:
        """The first video of each id, those below `count`."""
        videos = self.first.values[ids]
        return videos[videos < count]

    def _videos(self, ids: Numbers, count: int) -> NDArray[np.uint32]:
        """The videos of each id, those below `count`."""
        parts = [self._first(ids, count)]
        for id in ids.tolist():
            if (others := self.others.get(id)) is not None:
                videos = others.values
                parts.append(videos[videos < count])
        return np.concatenate(parts)

    def sizes(self, count: int) -> Numbers:
        """How many frames each of the first so many has."""
        return np.diff(self.ends.values[:count], prepend=0)

    def frames(self, video: int) -> Frames:
        ends = self.ends.values
        part = slice(int(ends[video - 1]) if video else 0, int(ends[video]))
        codes = self.engine.codes(self.ids.values[part].astype(np.uint64))
        return Frames(codes, self.quality.values[part], self.time.values[part])

    def of_code(self, id: int) -> list[int]:
        """The videos that a code is in."""
        videos: list[int] = self._videos(np.array([id]), self.count).tolist()
        return videos
