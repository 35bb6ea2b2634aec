"""The index of vPDQ videos that takes the place of threatexchange's."""

from __future__ import annotations

from collections.abc import Iterable
from threading import Lock
from typing import Any, BinaryIO, Generic, Self

import numpy as np
from threatexchange.signal_type.index import (
    IndexMatchUntyped,
    SignalTypeIndex,
)

from hashmatch.threatexchange import blob
from hashmatch.threatexchange.engine import (
    THRESHOLD,
    code_pieces,
    still,
    stored_codes,
    whole_threshold,
)
from hashmatch.threatexchange.entries import decoded, encoded
from hashmatch.threatexchange.frames import (
    INDEX_PERCENT,
    QUALITY_THRESHOLD,
    QUERY_PERCENT,
    Frames,
    prepared,
)
from hashmatch.threatexchange.pdq_index import Entry
from hashmatch.threatexchange.videos import Videos
from hashmatch.threatexchange.vpdq_classes import VpdqCompactFeature, VPDQSimilarityInfo

_OPTIONS = (
    "quality_threshold",
    "query_match_threshold_pct",
    "index_match_threshold_pct",
    "threshold",
)
#: As they are stored; see Videos.columns.
_COLUMNS = ("<u4", "<u4", "u1", "<f8")


class VPDQIndex(SignalTypeIndex[Entry], Generic[Entry]):
    """Videos as vPDQ signals, each with an entry: whatever is to be known when it matches.

    It answers as threatexchange's VPDQIndex does. Of a video, known or asked for, the frames of at
    least `quality_threshold` count, each hash once. A known video matches when at least
    `query_match_threshold_pct` percent of the query's frames are within `threshold` bits of one of
    its own, and at least `index_match_threshold_pct` percent of its own are of one of the query's.
    Here the best matches come first, by the one percentage, then the other, then as they were
    added.

    Any number of threads may query while others add. An addition is there for every query that
    begins after it has returned; `add_all` adds all or, if it raises, nothing.
    """

    kind = "vpdq"

    quality_threshold: int
    query_match_threshold_pct: float
    index_match_threshold_pct: float

    def __init__(
        self,
        quality_threshold: int = QUALITY_THRESHOLD,
        query_match_threshold_pct: float = QUERY_PERCENT,
        index_match_threshold_pct: float = INDEX_PERCENT,
        *,
        threshold: int = THRESHOLD,
    ) -> None:
        super().__init__()
        options = (quality_threshold, query_match_threshold_pct, index_match_threshold_pct)
        self._begin((*options, threshold), Videos(), [])

    def _begin(self, options: Iterable[Any], videos: Videos, entries: list[Entry]) -> None:
        self._lock = Lock()
        for name, option in zip(_OPTIONS, options, strict=True):
            setattr(self, name, option)
        #: None once they are disposed of. Read once a query, so that it sees both of one state.
        self._held: tuple[Videos, list[Entry]] | None = (videos, entries)

    @classmethod
    def build(
        cls,
        entries: Iterable[tuple[str, Entry]],
        quality_threshold: int = QUALITY_THRESHOLD,
        query_match_threshold_pct: float = QUERY_PERCENT,
        index_match_threshold_pct: float = INDEX_PERCENT,
        *,
        threshold: int = THRESHOLD,
    ) -> Self:
        """An index of `entries`; see the class for the options."""
        index = cls(
            quality_threshold,
            query_match_threshold_pct,
            index_match_threshold_pct,
            threshold=threshold,
        )
        index.add_all(entries)
        return index

    @property
    def threshold(self) -> int:
        """The largest distance of two frames that match, in bits: a whole number in 0..256."""
        return self._threshold

    @threshold.setter
    def threshold(self, threshold: int) -> None:
        self._threshold = whole_threshold(threshold)

    def __len__(self) -> int:
        """How many videos it holds."""
        return len(self._held[1]) if self._held else 0

    def query(self, query_hash: str) -> list[IndexMatchUntyped[VPDQSimilarityInfo, Entry]]:
        """Every video that matches, the best first. ValueError if `query_hash` is no vPDQ signal.

        A signal without a frame that counts matches nothing.
        """
        videos, entries = still(self._held)
        frames = prepared(query_hash, self.quality_threshold)
        if not len(frames):
            return []
        asked, known, sizes = videos.matched(frames.codes, self.threshold)
        touched = np.flatnonzero(asked)
        query_percent = asked[touched] * 100 / len(frames)
        index_percent = known[touched] * 100 / sizes[touched]
        enough = (query_percent >= self.query_match_threshold_pct) & (
            index_percent >= self.index_match_threshold_pct
        )
        order = np.lexsort((-index_percent, -query_percent))
        order = order[enough[order]]
        columns = (touched[order], query_percent[order], index_percent[order])
        return [
            IndexMatchUntyped(VPDQSimilarityInfo(of_query, of_video), entries[number])
            for number, of_query, of_video in zip(*(c.tolist() for c in columns), strict=True)
        ]

    def add(self, signal_str: str, entry: Entry) -> None:
        """Add a video. ValueError if it is no vPDQ signal, or if no frame of it counts."""
        self.add_all([(signal_str, entry)])

    def add_all(self, entries: Iterable[tuple[str, Entry]]) -> None:
        """Add all of them, or none: ValueError names the first that cannot be added."""
        videos: list[Frames] = []
        added: list[Entry] = []
        for signal, entry in entries:
            try:
                frames = prepared(signal, self.quality_threshold)
                if not len(frames):
                    raise ValueError(f"no frame is of quality {self.quality_threshold} or more")
            except (ValueError, TypeError) as fault:
                raise type(fault)(f"entry {len(added):,}: {fault}") from None
            videos.append(frames)
            added.append(entry)
        if added:
            self._add(videos, added)

    def _add(self, frames: list[Frames], added: list[Entry]) -> None:
        with self._lock:
            videos, entries = still(self._held)
            try:
                # Entries first: a query that sees a video has to find its entry.
                entries += added
                videos.add(frames)
            except BaseException:
                # What was interrupted half way must not answer.
                self._held = None
                raise

    def serialize(self, fout: BinaryIO) -> None:
        """Write the index to a binary file. TypeError names an entry that cannot be stored."""
        state = self.__getstate__()
        codes, columns, entries = (state.pop(name) for name in ("codes", "columns", "entries"))
        contents = [
            codes,
            *(
                column.astype(type).tobytes()
                for column, type in zip(columns, _COLUMNS, strict=True)
            ),
        ]
        sections = [blob.Section(len(content), [content]) for content in contents]
        blob.write(fout, self.kind, state, [*sections, encoded(entries)])

    @classmethod
    def deserialize(cls, fin: BinaryIO) -> Self:
        """The index that `serialize` wrote.

        ValueError if it is damaged or something else. Nothing in it is run; a pickle, as which
        threatexchange's own indices are stored, is refused.
        """
        return cls._of(blob.read(fin, cls.kind))

    @classmethod
    def _of(cls, stored: blob.Stored) -> Self:
        index = cls.__new__(cls)
        with blob.reading():
            codes, *columns, lines = stored.sections
            arrays = [
                np.frombuffer(column, type) for column, type in zip(columns, _COLUMNS, strict=True)
            ]
            options = [_number(stored.options[name]) for name in _OPTIONS]
            videos = Videos.stored(stored_codes(codes), arrays)
            index._begin(options, videos, decoded(lines, videos.count))
        return index

    def dispose(self) -> None:
        """Give the memory back. Whatever the index is used for later raises ValueError."""
        with self._lock:
            self._held = None

    def __getstate__(self) -> dict[str, Any]:
        with self._lock:
            videos, entries = still(self._held)
            codes = b"".join(code_pieces(videos.engine, len(videos.engine)))
            held = {"codes": codes, "columns": videos.columns(), "entries": entries.copy()}
        return {name: getattr(self, name) for name in _OPTIONS} | held

    def __setstate__(self, state: dict[str, Any]) -> None:
        videos = Videos.stored(stored_codes(state["codes"]), state["columns"])
        self._begin([state[name] for name in _OPTIONS], videos, list(state["entries"]))

    # What the library's class keeps under these names, for those who look there.

    @property
    def _entry_idx_to_features_and_entries(self) -> list[tuple[list[VpdqCompactFeature], Entry]]:
        videos, entries = still(self._held)
        return [
            (videos.frames(number).features(), entries[number]) for number in range(videos.count)
        ]

    @property
    def _index_idx_to_vpdqHex_and_entry(self) -> list[tuple[int, list[int]]]:
        videos, _ = still(self._held)
        return [(id, videos.of_code(id)) for id in range(len(videos.engine))]


def _number(value: Any) -> int | float:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    raise ValueError(f"an option is {value!r}, not a number")
