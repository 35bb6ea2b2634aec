"""What uploaded videos match: columns, what the catalog says of each match, and pairs of frames."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from hashmatch.database.described import Described, Join
from hashmatch.database.engine import AsOf
from hashmatch.database.model import verdicts_of
from hashmatch.database.uploads import Prepared
from hashmatch.database.video_search import Answer, VideoSearch
from hashmatch.vocabulary import Kind, Verdict

if TYPE_CHECKING:
    import pyarrow


class FramePair(NamedTuple):
    """A frame of an upload and a known one that is near it. Of frames with one code it is the
    first.
    """

    #: The upload's frame, from 0, of those given.
    frame: int
    #: Its place in the video in ms; None where it is not known.
    time_ms: int | None
    #: The known frame's signal, and place in the video.
    signal: int
    signal_ms: int | None
    #: Hamming distance, in bits.
    distance: int


class VideoMatch(NamedTuple):
    """One known video, or picture, that an upload matches."""

    #: The number of the upload, from 0.
    query: int
    #: The id of the item's first signal.
    item: int
    #: How many of the upload's frames are near one of the item's, and the other way round.
    query_percent: float
    video_percent: float
    kind: Kind
    #: The item's name within its set and contributor.
    ref: str
    set: str
    contributor: str
    labels: list[str]
    #: Of all who have an opinion on the item.
    verdicts: tuple[Verdict, ...]
    #: By the upload's frame, nearest first.
    frames: list[FramePair]


@dataclass(frozen=True, slots=True)
class FramePairs:
    """All pairs of frames of some matches, as columns ordered by match, frame, distance, signal."""

    #: int64[p]: row of the match, from 0.
    match: NDArray[np.int64]
    #: int64[p]: the upload's frame, from 0, of those given; of frames with one code the first.
    frame: NDArray[np.int64]
    #: int64[p]: its place in the video in ms, -1 where it is not known.
    time_ms: NDArray[np.int64]
    #: uint64[p]: the known frame's signal.
    signal: NDArray[np.uint64]
    #: int64[p], likewise.
    signal_ms: NDArray[np.int64]
    #: uint16[p]: Hamming distance, in bits.
    distance: NDArray[np.uint16]
    #: int64[matches + 1]: where each match's pairs begin; the last is p.
    offsets: NDArray[np.int64]

    def of(self, match: int) -> list[FramePair]:
        """Those of one match."""
        rows = slice(*self.offsets[match : match + 2].tolist())
        return [
            FramePair(frame, _known(ms), signal, _known(signal_ms), distance)
            for frame, ms, signal, signal_ms, distance in zip(
                self.frame[rows].tolist(),
                self.time_ms[rows].tolist(),
                self.signal[rows].tolist(),
                self.signal_ms[rows].tolist(),
                self.distance[rows].tolist(),
                strict=True,
            )
        ]


def _known(ms: int) -> int | None:
    return None if ms < 0 else ms


#: Finds the pairs of frames of matches, given `item` and `offsets` of `VideoMatches`.
Pair = Callable[[NDArray[np.uint64], NDArray[np.int64]], FramePairs]


def pairing(uploads: Sequence[Prepared], answers: Sequence[Answer], search: VideoSearch) -> Pair:
    """What finds the pairs of frames, given what was searched for, and each upload's answer."""
    # Of uploads that matched nothing, nothing more will be asked.
    kept = {n: upload for n, upload in enumerate(uploads) if len(answers[n].items)}
    return partial(_paired, kept, search)


def _paired(
    uploads: Mapping[int, Prepared],
    search: VideoSearch,
    item: NDArray[np.uint64],
    offsets: NDArray[np.int64],
) -> FramePairs:
    none, no_ids = np.empty(0, np.int64), np.empty(0, np.uint64)
    parts = [FramePairs(none, none, none, no_ids, none, np.empty(0, np.uint16), none)]
    for number, upload in uploads.items():
        begin, end = offsets[number : number + 2].tolist()
        items = item[begin:end]
        pairs = search.pairs(upload, items)
        by_id = np.argsort(items)
        match = begin + by_id[np.searchsorted(items, pairs.item, sorter=by_id)]
        order = np.argsort(match, kind="stable")
        frame = pairs.frame[order]
        parts.append(
            FramePairs(
                match[order],
                upload.frames[frame],
                upload.time_ms[frame],
                pairs.signal[order],
                pairs.signal_ms[order],
                pairs.distance[order],
                none,
            )
        )
    match = np.concatenate([part.match for part in parts])
    return FramePairs(
        match,
        np.concatenate([part.frame for part in parts]),
        np.concatenate([part.time_ms for part in parts]),
        np.concatenate([part.signal for part in parts]),
        np.concatenate([part.signal_ms for part in parts]),
        np.concatenate([part.distance for part in parts]),
        np.searchsorted(match, np.arange(len(item) + 1)),
    )


class VideoMatches(Described):
    """What some uploads match, as columns ordered by query, query_percent (highest first), item.

    `query`, `item`, `query_percent`, `video_percent` and `offsets` are at hand. `kind`, `ref`,
    `set`, `contributor`, `labels` and `verdicts` are lists with one entry a match; the first that
    is asked for looks all matches up in the catalog, as `pairs` does. What they say is of the
    answer's generation, whenever it is looked up, and so are `verdicts`.
    `len(matches)` counts matches; `matches[i]` is the list of the `VideoMatch`es of upload i.
    """

    #: int64[m]: number of the upload, from 0.
    query: NDArray[np.int64]
    #: uint64[m]: id of the item's first signal.
    item: NDArray[np.uint64]
    #: float64[m]: of the upload's frames that count, how many are near one of the item's.
    query_percent: NDArray[np.float64]
    #: float64[m]: of the item's frames that count, how many are near one of the upload's.
    video_percent: NDArray[np.float64]
    #: int64[uploads + 1]: where each upload's matches begin; the last is m.
    offsets: NDArray[np.int64]

    def __init__(self, answers: Sequence[Answer], as_of: AsOf, join: Join, pair: Pair) -> None:
        """`answers` has one for each upload; `pair` finds the pairs of frames of all of them."""
        counts = np.array([len(answer.items) for answer in answers], np.int64)
        self.offsets = np.append(0, np.cumsum(counts))
        self.query = np.repeat(np.arange(len(answers)), counts)
        self.item = np.concatenate([np.empty(0, np.uint64), *(a.items for a in answers)])
        self.query_percent = np.concatenate([np.empty(0), *(a.query_percent for a in answers)])
        self.video_percent = np.concatenate([np.empty(0), *(a.video_percent for a in answers)])
        for column in (
            self.query, self.item, self.query_percent, self.video_percent, self.offsets
        ):  # fmt: skip
            column.flags.writeable = False
        self._as_of = as_of
        self._join = join
        self._joined = None
        self._pair = pair
        self._pairs: FramePairs | None = None

    @property
    def queries(self) -> int:
        """How many videos were searched for."""
        return len(self.offsets) - 1

    @property
    def kind(self) -> list[Kind]:
        """What each match's item is: "video", "image" or "file"."""
        joined, rows = self._looked_up()
        return [joined.kinds[row] for row in rows]

    @property
    def pairs(self) -> FramePairs:
        """The frames that are near each other."""
        if self._pairs is None:
            self._pairs = self._pair(self.item, self.offsets)
        return self._pairs

    @property
    def _ids(self) -> NDArray[np.uint64]:
        return self.item

    def __len__(self) -> int:
        return len(self.item)

    def __getitem__(self, query: SupportsIndex) -> list[VideoMatch]:
        number = operator.index(query)
        queries = self.queries
        if number < 0:
            number += queries
        if not 0 <= number < queries:
            raise IndexError(f"upload {query} of {queries:,}: give a number in 0..{queries - 1:,}")
        return list(self._rows(*self.offsets[number : number + 2].tolist()))

    def __iter__(self) -> Iterator[VideoMatch]:
        return self._rows(0, len(self))

    #: `len` counts matches and `[i]` uploads, so Python's own fallback would be wrong.
    __reversed__ = None

    def _rows(self, begin: int, end: int) -> Iterator[VideoMatch]:
        if begin == end:
            return
        joined, rows = self._looked_up()
        columns = (self.query, self.item, self.query_percent, self.video_percent)
        for place, (query, item, query_percent, video_percent) in enumerate(
            zip(*(column[begin:end].tolist() for column in columns), strict=True), begin
        ):
            row = int(rows[place])
            yield VideoMatch(
                query,
                item,
                query_percent,
                video_percent,
                joined.kinds[row],
                joined.refs[row],
                joined.sets[row],
                joined.contributors[row],
                joined.labels(row),
                verdicts_of(int(joined.verdicts[row])),
                self.pairs.of(place),
            )

    def to_list(self) -> list[VideoMatch]:
        """Every match, in order."""
        return list(self)

    def to_arrow(self) -> pyarrow.Table:
        """A `pyarrow.Table`: query, item, query_percent, video_percent, kind, ref, set,
        contributor, labels, verdicts, and frames, a list of structs as `FramePair`.

        ImportError if pyarrow is not installed.
        """
        try:
            import pyarrow
        except ImportError as error:
            raise ImportError(
                'to_arrow needs pyarrow: pip install "hashmatch[arrow]"', name=error.name
            ) from None
        word = pyarrow.string()
        words = pyarrow.list_(word)
        texts = {name: pyarrow.array(getattr(self, name), word) for name in _TEXTS}
        pairs = self.pairs
        structs = pyarrow.StructArray.from_arrays(
            [
                pairs.frame,
                pyarrow.array(pairs.time_ms, mask=pairs.time_ms < 0),
                pairs.signal,
                pyarrow.array(pairs.signal_ms, mask=pairs.signal_ms < 0),
                pairs.distance,
            ],
            list(FramePair._fields),
        )
        return pyarrow.table(
            {
                "query": self.query,
                "item": self.item,
                "query_percent": self.query_percent,
                "video_percent": self.video_percent,
                **texts,
                "labels": pyarrow.array(self.labels, words),
                "verdicts": pyarrow.array(map(list, self.verdicts), words),
                "frames": pyarrow.LargeListArray.from_arrays(pairs.offsets, structs),
            }
        )

    def __reduce__(self) -> Any:
        raise TypeError("VideoMatches cannot be pickled: send to_list() or to_arrow()")

    def __repr__(self) -> str:
        return (
            f"<hashmatch.VideoMatches: {len(self):,} of {self.queries:,} uploads, "
            f"generation {self.generation:,}>"
        )


_TEXTS = ("kind", "ref", "set", "contributor")
