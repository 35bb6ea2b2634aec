"""Whether the segments hold what the catalog says."""

from __future__ import annotations

import os
from collections.abc import Iterator

from hashmatch import _core
from hashmatch.database.catalog import Catalog
from hashmatch.database.engine import REPAIR, Segments, make_view, require_recorded
from hashmatch.database.model import SegmentRecord
from hashmatch.database.snapshot import Snapshot
from hashmatch.hash_types import HASH_TYPES
from hashmatch.index import Progress

_ATTEMPTS = 5


def compare(catalog: Catalog, segments: Segments, progress: Progress | None) -> list[str]:
    """What is wrong, in words. `progress(done, total)` counts files and hash types."""
    faults: list[str] = []
    for _ in range(_ATTEMPTS):
        with catalog.snapshot() as snapshot:
            records = snapshot.list_segments()
            faults = _faults(snapshot, segments, records, progress)
        # That a file was merged away meanwhile is no fault.
        if not faults or {*records} <= {*catalog.list_segments()}:
            break
    return faults


def _faults(
    snapshot: Snapshot,
    segments: Segments,
    records: list[SegmentRecord],
    progress: Progress | None,
) -> list[str]:
    faults: list[str] = []
    types = snapshot.hash_types()
    total = len(records) + len(types)
    for done, record in enumerate(records):
        if progress is not None:
            progress(done, total)
        faults += _file_faults(segments, record)
    if faults:
        return faults
    for done, name in enumerate(types, len(records)):
        if progress is not None:
            progress(done, total)
        own = [record for record in records if record.hash_type == name]
        faults += _content_faults(snapshot, segments, name, own)
    return faults


def _file_faults(segments: Segments, record: SegmentRecord) -> Iterator[str]:
    path = segments.path(record.file)
    try:
        _core.check(os.fsencode(path), None)
        require_recorded(path, record, _core.Segment.open(os.fsencode(path), False).id_range)
    except (OSError, ValueError) as error:
        yield f"{error}: {REPAIR}"


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
