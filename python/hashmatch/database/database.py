"""Named hash sets from many contributors in one folder, changed while they are searched."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from hashmatch import _core
from hashmatch.arguments import MAX_COUNT, whole
from hashmatch.codes import Codes, as_codes
from hashmatch.database.answered import Asked
from hashmatch.database.bounded import search
from hashmatch.database.catalog import Mode
from hashmatch.database.changes import Change, OnError
from hashmatch.database.contents import Contents
from hashmatch.database.feeds import FeedTable
from hashmatch.database.filters import limits_for
from hashmatch.database.folding import make_segments, unlisted_files
from hashmatch.database.locking import writer_of
from hashmatch.database.matches import DatabaseMatches
from hashmatch.database.model import (
    Batch,
    Counts,
    HistoryRow,
    Removal,
    SegmentRecord,
    SetRecord,
    TypeStatus,
)
from hashmatch.database.opened import Opened
from hashmatch.database.snapshot import Snapshot
from hashmatch.database.uploads import Rule, Steps, Upload, prepared
from hashmatch.database.video_ids import VideoIds
from hashmatch.database.video_matches import VideoMatches, pairing
from hashmatch.database.video_search import VideoSearch
from hashmatch.hash_types import HASH_TYPES, hash_type
from hashmatch.index import Progress

_MAX_THREADS = 1024


@dataclass(frozen=True, slots=True)
class Status:
    """A database's state."""

    path: Path
    mode: Mode
    generation: int
    #: When the newest change that searches see was made, or a set; None before the first.
    changed: datetime | None
    sets: int
    items: int
    types: Mapping[str, TypeStatus]
    #: Who has it open for writing.
    writer: str | None
    #: What kept the newest generation from being taken in, or a fold from being made.
    trouble: str | None


class Database(Opened):
    """Hash sets in a folder. `hashmatch.open(path, mode)` opens one.

    Mode "c" creates the folder if there is none and opens it to write, "r+" opens it to write, "r"
    to read. One process at a time may write; any number may read, and follow it within a second.
    Searches answer from one generation, which the result names, and wait neither for a change nor
    for the folding of what changed.

    Any number of threads may use a database. A forked child may go on searching, and with a read
    handle goes on following the writer. A read handle can be pickled: it is opened again where it
    arrives, at the generation that it had or a newer one.
    """

    def __init__(
        self, path: str | os.PathLike[str], mode: Mode = "r", *, memory: bool = False
    ) -> None:
        super().__init__(path, mode, memory=memory)
        self._videos = VideoIds()

    # Reading.

    def match(
        self,
        type: str,
        codes: Codes,
        sets: Sequence[str] | None = None,
        max_distance: int | None = None,
        verdicts: Iterable[str] | None = None,
        limit: int | None = None,
        threads: int = 0,
        *,
        bits: bool = False,
        progress: Progress | None = None,
        most_matches: int | None = None,
    ) -> DatabaseMatches:
        """Every known signal of that hash type near each code, nearest first, ties by signal.

        `sets` are the names of those to look in; without it all are. A match is within
        `max_distance` bits, inclusive; without it within that of its set. `verdicts` keeps the
        items on which somebody holds one of them ("none" stands for items that nobody has an
        opinion on). `limit` keeps the first so many matches of each query, of those that the other
        arguments leave. `codes`, `bits`, `threads` and `progress` are those of `Index.search`.

        `most_matches` bounds the memory that an answer may take: one with more matches in all is
        refused with TooManyMatches, a ValueError.
        """
        kind = hash_type(type)
        rows = as_codes(codes, kind, bits)
        if max_distance is not None:
            max_distance = whole(max_distance, "max_distance", 0, kind.bits)
        kept = 0 if limit is None else whole(limit, "limit", 1, MAX_COUNT)
        threads = whole(threads, "threads", 0, _MAX_THREADS)
        state = self._open_state()
        limits = limits_for(state, kind, sets, max_distance, verdicts)
        snapshot = state.snapshots.get(kind.name) or _empty(kind.name)
        if most_matches is not None:
            most_matches = whole(most_matches, "most_matches", 1, MAX_COUNT)
        columns = search(snapshot, rows, limits, kept, threads, progress, most_matches)
        return DatabaseMatches(columns, state.as_of, self._join)

    def match_videos(
        self,
        uploads: Upload | Sequence[Upload],
        sets: Sequence[str] | None = None,
        max_distance: int | None = None,
        verdicts: Iterable[str] | None = None,
        threads: int = 0,
        *,
        query_percent: float = 80,
        video_percent: float = 0,
        quality_tolerance: int = 50,
        steps: Steps = "filter-dedupe",
        pictures: bool = True,
        progress: Progress | None = None,
        most_matches: int | None = None,
    ) -> VideoMatches:
        """Every known video that each upload matches, the most of the upload first, ties by item.

        An upload is `Frames`, or a vPDQ string, or a list of the frames that such a string has.
        Frames of a quality below `quality_tolerance` are left out, of the uploads and of the known
        videos; then repeated codes count once. `steps` may be "dedupe-filter", the other way
        round, or "filter": then repeated codes count as often as they are there.

        A known video matches if of the upload's frames at least `query_percent`, and of its own at
        least `video_percent`, are near one of the other's, and at least one is. Items of other
        kinds, such as pictures, match if any frame is near one of theirs; with `pictures=False`
        never. `sets`, `max_distance`, `verdicts` and `threads` are those of `match`; `progress` is
        told of uploads. `most_matches` bounds the matches in all, and the pairs of frames, that are
        looked up later. VIDEO.md in this package says how other matchers differ.
        """
        rule = Rule(query_percent, video_percent, quality_tolerance, steps, pictures)
        ready = list(prepared(uploads, rule))
        if max_distance is not None:
            max_distance = whole(max_distance, "max_distance", 0, HASH_TYPES["pdq"].bits)
        if most_matches is not None:
            most_matches = whole(most_matches, "most_matches", 1, MAX_COUNT)
        threads = whole(threads, "threads", 0, _MAX_THREADS)
        state = self._open_state()
        limits = limits_for(state, HASH_TYPES["pdq"], sets, max_distance, verdicts)
        signals = state.snapshots.get("pdq") or _empty("pdq")
        # Of two threads that bring them up to date, either may be last.
        self._videos = videos = self._videos.up_to(state.end, self._snapshot)
        search = VideoSearch(signals, videos, limits, rule, threads, self._snapshot, most_matches)
        answers = search.answers(ready, progress)
        pair = pairing(ready, answers, search)
        return VideoMatches(answers, state.as_of, self._join, pair)

    @property
    def set_names(self) -> Collection[str]:
        """The names of the hash sets, in no order, as of the current generation."""
        return self._open_state().sets.keys()

    def sets(self) -> list[SetRecord]:
        """The hash sets, in the order of their names, as of the current generation."""
        return sorted(self._open_state().sets.values(), key=lambda record: record.name)

    def status(self) -> Status:
        """What is held and how."""
        state = self._open_state()
        items = sum(record.items for record in state.sets.values())
        return Status(
            self._path,
            self._mode,
            state.generation,
            max((record.changed for record in state.sets.values()), default=None),
            len(state.sets),
            items,
            self._upkeep.types(),
            writer_of(self._path),
            self._upkeep.trouble,
        )

    def contents(self, set: str) -> Contents:
        """Every item of a set with its signals and the opinions on it, then the opinions on refs
        that no item has; all as of one generation, and read as they are asked for.
        """
        return Contents(self._snapshot(), set)

    def history(
        self, set: str | None = None, ref: str | None = None, limit: int = 100
    ) -> list[HistoryRow]:
        """The latest changes, newest first: of all sets or one, or those of one ref."""
        return self._usable_catalog().history(set, ref, limit)

    def refresh(self) -> int:
        """Take in the newest generation now, and return it. Readers do so by themselves."""
        self._usable_catalog()
        return self._upkeep.refresh().generation

    # Writing.

    def create(
        self, name: str, *, contributor: str = "", max_distance: Mapping[str, int] | None = None
    ) -> None:
        """Make an empty hash set. `max_distance` gives the distance of each hash type, in bits;
        that of a type that is not given is its usual one. SetExists, a ValueError, if there is one
        of that name.
        """
        self._usable_catalog().create_set(name, contributor, dict(max_distance or {}))
        self._upkeep.take_in()

    @contextmanager
    def change(self, set: str, *, who: str = "", on_error: OnError = "raise") -> Iterator[Change]:
        """A change of one set, as one transaction: made when the block ends, all of it or nothing.

        What the block raises undoes it. A change that has been made survives the end of the
        process. Searches of this database see it when the block has ended, or, where something is
        in the way, as soon as that is gone; `status().trouble` says what.
        """
        with self._usable_catalog().change(set, who, on_error) as change:
            yield change
        self._upkeep.take_in()

    def change_once(
        self,
        set: str,
        asked: Asked,
        make: Callable[[Change], str],
        *,
        on_error: OnError = "raise",
    ) -> str:
        """Have `make` make a change, for one who may ask again because they heard no answer.

        What it returns is kept with the change, and returned. Where the same is asked for again
        within seven days, nothing is changed, and that is returned once more. KeyTaken, a
        ValueError, if they asked for something else under that key.
        """
        answer = self._usable_catalog().change_once(set, asked, make, on_error)
        self._upkeep.take_in()
        return answer

    def load(
        self,
        set: str,
        batches: Iterable[Batch | Removal],
        *,
        who: str = "",
        on_error: OnError = "raise",
        progress: Progress | None = None,
        threads: int = 0,
    ) -> Counts:
        """A change of many batches, such as tens of millions of rows, and their segments with it:
        searches see all of it in one step. A load that dies leaves nothing behind.

        A `Removal` among them removes what was there or came before it; a ref that is not there is
        noted in `rejected`. Some 100,000 rows are a good size for a batch. `progress(rows, 0)` is
        called after each; what it raises ends the load.
        """
        threads = whole(threads, "threads", 0, _MAX_THREADS)
        catalog, segments = self._usable_catalog(), self._upkeep.segments
        with unlisted_files(segments) as files:

            def make(
                snapshot: Snapshot, types: Sequence[str], ids: tuple[int, int], generation: int
            ) -> list[SegmentRecord]:
                kinds = [HASH_TYPES[name] for name in types]
                return make_segments(snapshot, segments, files, kinds, ids, generation, threads)

            counts = catalog.load(set, batches, who, progress, on_error, make)
        self._upkeep.take_in()
        return counts

    def fold(self, *, threads: int = 0) -> None:
        """Do the folding that is due, which else is done in the background: for a process that ends
        soon after its change.
        """
        threads = whole(threads, "threads", 0, _MAX_THREADS)
        self._require_writable()
        self._upkeep.fold(threads)

    def compact(self, *, threads: int = 0) -> None:
        """Fold each hash type's signals into one segment, for the fastest searches."""
        threads = whole(threads, "threads", 0, _MAX_THREADS)
        self._require_writable()
        self._upkeep.compact(threads)

    def check(self, progress: Progress | None = None) -> list[str]:
        """What is wrong with the database, in words; nothing, if it is as it should be.

        Reads all of it: the catalog's own consistency, every segment file's checksums and numbers,
        and whether the segments hold what the catalog says.
        """
        self._usable_catalog()
        return self._upkeep.check(progress)

    def repair(self, *, threads: int = 0) -> None:
        """Build all segments anew from the catalog, one for each hash type. What the catalog says
        of items is not changed.
        """
        threads = whole(threads, "threads", 0, _MAX_THREADS)
        self._require_writable()
        self._upkeep.rebuild(threads)

    @property
    def feeds(self) -> FeedTable:
        """The feeds that fill the sets. `hashmatch.feeds` defines and follows them."""
        return FeedTable(self._usable_catalog())


def open(path: str | os.PathLike[str], mode: Mode = "r", *, memory: bool = False) -> Database:
    """Open the database in a folder; see `Database` for the modes.

    `memory=True` copies the segments into this process's memory (huge pages, where the system has
    them): slower to open, faster to search.
    """
    return Database(path, mode, memory=memory)


def _empty(name: str) -> _core.Snapshot:
    kind = HASH_TYPES[name]
    return _core.Index(kind.bits, -1, name).snapshot()
