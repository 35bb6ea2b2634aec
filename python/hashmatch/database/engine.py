"""What of a catalog is searched: for each hash type an index of segment files, of the signals that
are in none yet, and of what was removed since. Brought up to date with the catalog step by step.

Segments of one type hold disjoint ranges of signal ids. A segment was built from the live signals
of one generation; what was removed later is removed again whenever it is opened. Ids in the range
of no segment (*gaps*, the last of them the newest signals) are read from the catalog.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hashmatch import _core
from hashmatch.database.catalog import Catalog
from hashmatch.database.model import SegmentRecord, SetRecord
from hashmatch.database.snapshot import Snapshot
from hashmatch.hash_types import HASH_TYPES, HashType

Ids = NDArray[np.uint64]

_NO_IDS: Ids = np.empty(0, np.uint64)

#: What to do about a segment file that is not as it should be.
REPAIR = "`hashmatch db repair` builds it again"


@dataclass(slots=True)
class View:
    """The index of one hash type, and what it was made of."""

    kind: HashType
    records: tuple[SegmentRecord, ...]
    index: _core.Index
    #: Signals with lower ids are in it, unless they are removed.
    end: int
    #: Rows of each segment that are removed since, in the order of `records`.
    dead: NDArray[np.int64]
    #: What was read from the catalog because no segment has it, ascending, removed since or not.
    gap_ids: Ids


@dataclass(frozen=True, slots=True)
class Verdicts:
    """The items that somebody has, or had, an opinion on."""

    #: Their signal ids, from the first to the last and one.
    firsts: Ids
    ends: Ids
    #: VERDICT_BITS.
    masks: NDArray[np.uint8]
    #: How far they were taken in: the number of the newest opinion, and the next signal id.
    opinion: int
    end: int

    def of(self, ids: Ids) -> NDArray[np.uint8]:
        """VERDICT_BITS of each signal's item, 0 where nobody has an opinion on it."""
        if not len(self.firsts):
            return np.zeros(len(ids), np.uint8)
        places = np.searchsorted(self.firsts, ids, "right") - 1
        inside = (places >= 0) & (ids < self.ends[places])
        return np.where(inside, self.masks[places], np.uint8(0))


@dataclass(frozen=True, slots=True)
class Owners:
    """Which set each signal is of."""

    #: Signal ids from firsts[i] on, up to the next, are of the set of number sets[i].
    firsts: Ids
    sets: NDArray[np.uint16]
    #: By number.
    names: Mapping[int, str]

    def counts(self, ids: Ids) -> dict[str, int]:
        """How many of some signals each set has, by its name; without those that have none."""
        if not len(ids):
            return {}
        counts = np.bincount(self._numbers(ids)).tolist()
        return {self.names[number]: count for number, count in enumerate(counts) if count}

    def of(self, ids: Ids) -> list[str]:
        """The name of each signal's set."""
        return [self.names[number] for number in self._numbers(ids).tolist()]

    def _numbers(self, ids: Ids) -> NDArray[np.uint16]:
        return self.sets[np.searchsorted(self.firsts, ids, "right") - 1]


class AsOf(NamedTuple):
    """What one generation says of the signals that were found in it, without the catalog."""

    generation: int
    owners: Owners
    verdicts: Verdicts


@dataclass(frozen=True, slots=True)
class State:
    """One generation, as searches see it. Never changes."""

    generation: int
    #: By the name of the hash type.
    snapshots: dict[str, _core.Snapshot]
    sets: dict[str, SetRecord]
    owners: Owners
    verdicts: Verdicts
    #: What searches worked out for their filters; see filters.py.
    limits: dict[object, Any] = field(default_factory=dict)

    @property
    def end(self) -> int:
        """Signals have lower ids."""
        return self.verdicts.end

    @property
    def as_of(self) -> AsOf:
        """What results keep of it: not what is searched, which takes memory."""
        return AsOf(self.generation, self.owners, self.verdicts)


class UnusableSegment(_core.FormatError):
    """A listed segment file that is damaged, another's or gone. The catalog can replace it."""


@contextmanager
def _usable() -> Iterator[None]:
    """What is wrong with a segment is told with what to do about it."""
    try:
        yield
    except _core.FormatError as error:
        raise UnusableSegment(f"{error}: {REPAIR}") from None


class Segments:
    """The open segment files of a folder, each mapped once however many indexes are made of it."""

    def __init__(self, folder: Path, memory: bool = False) -> None:
        self.folder = folder
        self._memory = memory
        self._open: dict[str, _core.Segment] = {}

    def path(self, file: str) -> Path:
        return self.folder / file

    def get(self, record: SegmentRecord) -> _core.Segment:
        """FileNotFoundError if it was merged away meanwhile."""
        segment = self._open.get(record.file)
        if segment is None:
            path = self.path(record.file)
            with _usable():
                segment = _core.Segment.open(os.fsencode(path), self._memory)
                require_recorded(path, record, segment)
            self._open[record.file] = segment
        return segment

    def keep_only(self, files: set[str]) -> None:
        """Let go of the others; indexes made of them keep theirs."""
        # Another thread may be opening one.
        kept = [(file, segment) for file, segment in list(self._open.items()) if file in files]
        self._open = dict(kept)


def require_recorded(path: Path, record: SegmentRecord, segment: _core.Segment) -> None:
    """FormatError if a sound file is not the one that was recorded."""
    if (len(segment), segment.hash_type) != (record.rows, record.hash_type):
        raise _core.FormatError(
            f"{path}: holds {len(segment):,} {segment.hash_type} signals, the catalog says "
            f"{record.rows:,} {record.hash_type}"
        )
    ids = segment.id_range
    if ids and not record.first <= ids[0] <= ids[1] < record.end:
        raise _core.FormatError(
            f"{path}: holds signals {ids[0]} to {ids[1]}, the catalog says {record.first} to "
            f"{record.end - 1}"
        )


def make_view(
    snapshot: Snapshot,
    segments: Segments,
    kind: HashType,
    records: Sequence[SegmentRecord],
    within: tuple[int, int] | None = None,
    before: tuple[View, int] | None = None,
) -> View:
    """A view of one type as of the snapshot, or of the signals with ids in a range of it.

    From a view `before`, of the given generation, it takes over what was removed from the segments
    that both have: a large one may have much.
    """
    records = tuple(sorted(records, key=lambda record: record.first))
    dead: dict[str, int] = {}
    if before is not None:
        dead = {r.file: n for r, n in zip(before[0].records, before[0].dead.tolist(), strict=True)}
    index = _core.Index.of(
        [segments.get(record) for record in records],
        kind.bits,
        -1 if kind.max_distance is None else kind.max_distance,
        kind.name,
        None if before is None else before[0].index,
    )
    first, end = within or (0, snapshot.end_signal())
    known_dead = np.array([dead.get(record.file, 0) for record in records], np.int64)
    view = View(kind, records, index, first, known_dead, _NO_IDS)
    as_of = [record.generation for record in records if record.file not in dead]
    if before is not None:
        as_of.append(before[1])
    if as_of:
        _change(view, [], expanded(*snapshot.removed_since(min(as_of))), first)
    for begin, stop in gaps(records, first, end):
        _change(view, list(snapshot.live_signals(kind.name, begin, stop)), _NO_IDS, stop)
    view.end = end
    return view


def advance(view: View, snapshot: Snapshot, generation: int) -> None:
    """Bring a view from that generation to the snapshot's, in one step."""
    end = snapshot.end_signal()
    removed = expanded(*snapshot.removed_since(generation))
    added = list(snapshot.live_signals(view.kind.name, view.end, end))
    _change(view, added, removed[removed < view.end], end)


def _change(view: View, added: list[tuple[NDArray[np.uint8], Ids]], removed: Ids, end: int) -> None:
    # Ids of other hash types, and of what was removed before a segment was built, are not held.
    with _usable():
        removed = removed[view.index.contains_each(removed) != 0]
    if not added and not len(removed):
        view.end = end
        return
    codes = np.concatenate([np.empty((0, view.kind.width), np.uint8), *(c for c, _ in added)])
    ids = np.concatenate([_NO_IDS, *(i for _, i in added)])
    gap_ids = np.concatenate([view.gap_ids, ids])
    dead = view.dead.copy()
    for number, record in enumerate(view.records):
        inside = (removed >= record.first) & (removed < record.end)
        dead[number] += np.count_nonzero(inside)
    # From here on nothing fails that leaves the view out of step with its index.
    with _usable():
        view.index.change(codes, ids, removed, 0)
    view.gap_ids, view.dead, view.end = gap_ids, dead, end


def gaps(records: Sequence[SegmentRecord], first: int, end: int) -> Iterator[tuple[int, int]]:
    """The ranges of ids in [first, end) that no record covers, of records in order of ids."""
    at = first
    for record in records:
        if at < record.first:
            yield at, record.first
        at = record.end
    if at < end:
        yield at, end


def expanded(firsts: Ids, counts: NDArray[np.uint32]) -> Ids:
    """All ids of the ranges [first, first + count)."""
    lengths = counts.astype(np.int64)
    begins = (np.cumsum(lengths) - lengths).astype(np.uint64)
    return np.repeat(firsts - begins, lengths) + np.arange(int(lengths.sum()), dtype=np.uint64)


class Engine:
    """The views of all hash types, kept in step with a catalog. Used by one thread at a time."""

    def __init__(self, catalog: Catalog, memory: bool = False) -> None:
        self.catalog = catalog
        self.segments = Segments(catalog.folder / "segments", memory)
        self.views: dict[str, View] = {}
        #: None until the first refresh that succeeds.
        self.state: State | None = None

    def refresh(self) -> State:
        """The catalog's newest generation. What failed on the way leaves the state as it was."""
        missing = ""
        while True:
            try:
                with self.catalog.snapshot() as snapshot:
                    self.state = self._taken(snapshot, self.state.generation if self.state else 0)
                    return self.state
            except FileNotFoundError as error:
                # Merged away between listing and opening it, unless it is listed still.
                if error.filename == missing:
                    raise UnusableSegment(f"{missing}: is gone: {REPAIR}") from error
                missing = error.filename

    def _taken(self, snapshot: Snapshot, generation: int) -> State:
        listed: dict[str, list[SegmentRecord]] = {}
        for record in snapshot.list_segments():
            listed.setdefault(record.hash_type, []).append(record)
        views: dict[str, View] = {}
        for name in snapshot.hash_types():
            records = listed.get(name, [])
            view = self.views.get(name)
            files = {record.file for record in records}
            if view is None or {record.file for record in view.records} != files:
                before = None if view is None else (view, generation)
                views[name] = make_view(
                    snapshot, self.segments, HASH_TYPES[name], records, before=before
                )
            else:
                views[name] = view
        for name, view in views.items():
            if view is self.views.get(name):
                advance(view, snapshot, generation)
        self.views = views
        self.segments.keep_only({r.file for view in views.values() for r in view.records})
        sets = snapshot.sets()
        return State(
            snapshot.generation,
            {name: view.index.snapshot() for name, view in views.items()},
            {record.name: record for record in sets},
            Owners(*snapshot.blocks(), {record.number: record.name for record in sets}),
            _verdicts(snapshot, self.state.verdicts if self.state else None),
        )


def _verdicts(snapshot: Snapshot, before: Verdicts | None) -> Verdicts:
    opinion, end = snapshot.newest_opinion(), snapshot.end_signal()
    if opinion == 0 or before is None or end - before.end > opinion:
        firsts, counts, masks = snapshot.verdicts()
        return Verdicts(firsts, firsts + counts, masks, opinion, end)
    firsts, counts, masks = snapshot.verdicts(before.opinion, before.end)
    kept = ~np.isin(before.firsts, firsts)
    held = masks != 0
    firsts, counts, masks = firsts[held], counts[held], masks[held]
    places = np.searchsorted(before.firsts[kept], firsts)
    return Verdicts(
        np.insert(before.firsts[kept], places, firsts),
        np.insert(before.ends[kept], places, firsts + counts),
        np.insert(before.masks[kept], places, masks),
        opinion,
        end,
    )
