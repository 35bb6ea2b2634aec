"""Whether the segments hold what the catalog says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from hashmatch.database.catalog import Catalog
from hashmatch.database.engine import REPAIR, Segments, UnusableSegment, make_view
from hashmatch.database.model import SegmentRecord
from hashmatch.database.snapshot import Snapshot
from hashmatch.hash_types import HASH_TYPES
from hashmatch.index import Progress


def compare(catalog: Catalog, folder: Path, progress: Progress | None) -> list[str]:
    """What is wrong, in words, with a folder of segments. `progress(done, total)` counts files and
    hash types.
    """
    missing: set[str] = set()
    while True:
        # The files themselves, not what may have been copied from them earlier.
        segments = Segments(folder)
        with catalog.snapshot() as snapshot:
            records = snapshot.list_segments()
            faults = {record: _fault(segments.get, record) for record in records}
            gone = {record.file for record in records if not segments.path(record.file).exists()}
            # Merged away between listing and opening it, unless it is listed still.
            if gone <= missing:
                return _faults(snapshot, segments, faults, progress)
            missing |= gone


def _faults(
    snapshot: Snapshot,
    segments: Segments,
    opening: dict[SegmentRecord, str | None],
    progress: Progress | None,
) -> list[str]:
    types = snapshot.hash_types()
    total = len(opening) + len(types)
    faults: list[str] = []
    for done, (record, fault) in enumerate(opening.items()):
        if progress is not None:
            progress(done, total)
        fault = fault or _fault(lambda record: segments.get(record).check(), record)
        faults += [fault] if fault else []
    if faults:
        return faults
    for done, name in enumerate(types, len(opening)):
        if progress is not None:
            progress(done, total)
        own = [record for record in opening if record.hash_type == name]
        faults += _content_faults(snapshot, segments, name, own)
    return faults


def _fault(look: Callable[[SegmentRecord], object], record: SegmentRecord) -> str | None:
    """What `look` has to say against a segment, if anything."""
    try:
        look(record)
    except UnusableSegment as error:
        return str(error)
    except (OSError, ValueError) as error:
        return f"{error}: {REPAIR}"
    return None


def _content_faults(
    snapshot: Snapshot, segments: Segments, name: str, records: list[SegmentRecord]
) -> Iterator[str]:
    try:
        index = make_view(snapshot, segments, HASH_TYPES[name], records).index
    except (OSError, ValueError) as error:
        yield f"{name}: {error}: {REPAIR}"
        return
    live = 0
    for codes, ids in snapshot.live_signals(name, 0, snapshot.end_signal()):
        live += len(ids)
        held = index.contains_each(ids) != 0
        if not held.all():
            yield f"{name}: signal {ids[~held][0]} is in the catalog and in no segment"
            return
        wrong = (index.codes(ids) != codes).any(axis=1)
        if wrong.any():
            yield f"{name}: signal {ids[wrong][0]} has another code in its segment"
            return
    if live != len(index):
        yield f"{name}: the segments hold {len(index):,} signals, the catalog {live:,}"
