"""Folding: signals that are in no segment yet, and segments of like size, become larger segments,
while searches and changes go on.

A fold writes a file, lists it in the place of those it was made of in one transaction of the
catalog, and only then deletes those. Whatever is interrupted leaves a file that no list names,
which the next writer deletes.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from hashmatch.database.catalog import Catalog
from hashmatch.database.connections import SyncError
from hashmatch.database.engine import Segments, View, gaps, make_view
from hashmatch.database.model import SegmentRecord
from hashmatch.database.snapshot import Snapshot
from hashmatch.hash_types import HashType

#: Scanning as many rows takes half as long as a search of a large segment.
FOLD_ROWS = 8_192
MAX_SEGMENTS = 5
#: Ids of other types' signals are gone through too, wherever a gap is read.
FOLD_IDS = 1 << 18
#: A neighbour so many times as large as what is folded is taken in too. A search pays some 4 us for
#: every segment: with less there are more of them, with more each signal is written more often.
_GROWTH = 8
#: Share of a segment's rows that may be removed before it is built anew.
_DEAD_SHARE = 0.25


@dataclass(frozen=True, slots=True)
class _Piece:
    """A segment, or the signals of a gap between segments."""

    first: int
    end: int
    rows: int
    segment: bool


def range_to_fold(view: View) -> tuple[int, int] | None:
    """The range of signal ids that is to become one segment next; None if nothing is to be done.

    A gap of many signals takes in its neighbours unless they are much larger than what is taken
    already, so that a signal is folded a logarithmic number of times.
    """
    pieces = _pieces(view)
    due = [
        piece
        for piece in pieces
        if not piece.segment and (piece.rows >= FOLD_ROWS or piece.end - piece.first >= FOLD_IDS)
    ]
    if due:
        gap = pieces.index(max(due, key=lambda piece: piece.rows))
        return _grown(pieces, gap, gap)
    for record, dead in zip(view.records, view.dead.tolist(), strict=True):
        if dead > _DEAD_SHARE * record.rows:
            return record.first, record.end
    if len(view.records) > MAX_SEGMENTS:
        return _smallest_pair(pieces)
    return None


def whole_range(view: View) -> tuple[int, int] | None:
    """The range of all signal ids; None if they are one segment already, beside which nothing is
    to be folded.
    """
    pieces = _pieces(view)
    if len(pieces) == 1 and pieces[0].segment and not view.dead.any():
        return None
    return 0, view.end


def _pieces(view: View) -> list[_Piece]:
    live = [
        _Piece(record.first, record.end, record.rows - dead, True)
        for record, dead in zip(view.records, view.dead.tolist(), strict=True)
    ]
    for first, end in gaps(view.records, 0, view.end):
        low, high = np.searchsorted(view.gap_ids, np.array([first, end], np.uint64))
        if high > low or end - first >= FOLD_IDS:
            live.append(_Piece(first, end, int(high - low), False))
    return sorted(live, key=lambda piece: piece.first)


def _grown(pieces: Sequence[_Piece], low: int, high: int) -> tuple[int, int]:
    taken = pieces[low].rows
    while True:
        beside = [at for at in (low - 1, high + 1) if 0 <= at < len(pieces)]
        least = min(beside, key=lambda at: pieces[at].rows, default=None)
        if least is None or pieces[least].rows > _GROWTH * taken:
            return pieces[low].first, pieces[high].end
        taken += pieces[least].rows
        low, high = min(low, least), max(high, least)


def _smallest_pair(pieces: Sequence[_Piece]) -> tuple[int, int]:
    """Two segments that follow one another, and the gap between."""
    segments = [piece for piece in pieces if piece.segment]
    low, high = min(pairwise(segments), key=lambda pair: pair[0].rows + pair[1].rows)
    return low.first, high.end


def fold(
    catalog: Catalog, segments: Segments, kind: HashType, within: tuple[int, int], threads: int
) -> None:
    """Make one segment of the live signals of one type with ids in a range, which no segment may
    reach into from outside.
    """
    first, end = within
    with catalog.snapshot() as snapshot:
        parts = [
            record
            for record in snapshot.list_segments()
            if record.hash_type == kind.name and first <= record.first and record.end <= end
        ]
        view = make_view(snapshot, segments, kind, parts, within)
        generation = snapshot.generation
    _replace(catalog, segments, parts, view, within, generation, threads)


def rebuild(catalog: Catalog, segments: Segments, kind: HashType, threads: int) -> None:
    """Make one segment of all live signals of one type from the catalog alone, in the place of
    those that there are.
    """
    with catalog.snapshot() as snapshot:
        parts = [record for record in snapshot.list_segments() if record.hash_type == kind.name]
        view = make_view(snapshot, segments, kind, [])
        generation = snapshot.generation
    _replace(catalog, segments, parts, view, (0, view.end), generation, threads)


def _replace(
    catalog: Catalog,
    segments: Segments,
    parts: Sequence[SegmentRecord],
    view: View,
    within: tuple[int, int],
    generation: int,
    threads: int,
) -> None:
    replaced = [part.file for part in parts]
    with unlisted_files(segments) as files:
        made = _save(view, segments, files, within, generation, threads)
        catalog.replace_segments(remove=replaced, add=[made])
    delete_files(segments, replaced)


def make_segments(
    snapshot: Snapshot,
    segments: Segments,
    files: list[str],
    kinds: Iterable[HashType],
    within: tuple[int, int],
    generation: int,
    threads: int,
) -> list[SegmentRecord]:
    """A segment of each hash type, of signals that are in none yet and have ids in a range. The
    files' names are added to `files` before they are written.
    """
    return [
        _save(
            make_view(snapshot, segments, kind, [], within),
            segments, files, within, generation, threads,
        )
        for kind in kinds
    ]  # fmt: skip


def _save(
    view: View,
    segments: Segments,
    files: list[str],
    within: tuple[int, int],
    generation: int,
    threads: int,
) -> SegmentRecord:
    # No two files ever have the same name: who has one open under it need not look again.
    name = f"{generation:012}-{view.kind.name}-{within[0]}-{within[1]}-{secrets.token_hex(4)}.seg"
    files.append(name)
    path = segments.path(name)
    view.index.save(os.fsencode(path), threads)
    size_bytes = path.stat().st_size
    return SegmentRecord(name, view.kind.name, *within, len(view.index), generation, size_bytes)


@contextmanager
def unlisted_files(segments: Segments) -> Iterator[list[str]]:
    """The files that the block writes in order to list them: they are deleted if it raises."""
    files: list[str] = []
    try:
        yield files
    except SyncError:
        # The list on the disk may have them. If not, the next writer deletes them.
        raise
    except BaseException:
        with suppress(OSError):
            delete_files(segments, files)
        raise


def delete_files(segments: Segments, files: Iterable[str]) -> None:
    for file in files:
        with suppress(FileNotFoundError):
            segments.path(file).unlink()


def sweep(catalog: Catalog, segments: Segments) -> None:
    """Delete what an interrupted fold or load left: files that the catalog does not list."""
    folder = segments.folder
    # It may be missing in a copy of a database: all that it holds can be built again.
    folder.mkdir(exist_ok=True)
    listed = {record.file for record in catalog.list_segments()}
    with os.scandir(folder) as entries:
        left = [entry.name for entry in entries if entry.name not in listed and entry.is_file()]
    delete_files(segments, left)
