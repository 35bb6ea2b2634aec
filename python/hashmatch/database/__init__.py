"""Named hash sets that change while they are searched, in one folder."""

from hashmatch.database.batches import BatchList, read_refs
from hashmatch.database.changes import Change
from hashmatch.database.database import Database, Status, open
from hashmatch.database.exchange import EXPORT_COLUMNS, export_rows
from hashmatch.database.matches import DatabaseMatch, DatabaseMatches
from hashmatch.database.model import (
    Batch,
    Counts,
    HistoryRow,
    Item,
    Kind,
    Opinion,
    SetRecord,
    Signal,
    TypeStatus,
)
from hashmatch.database.video_matches import FramePair, FramePairs, VideoMatch, VideoMatches
from hashmatch.vpdq import Frames

__all__ = [
    "EXPORT_COLUMNS",
    "Batch",
    "BatchList",
    "Change",
    "Counts",
    "Database",
    "DatabaseMatch",
    "DatabaseMatches",
    "FramePair",
    "FramePairs",
    "Frames",
    "HistoryRow",
    "Item",
    "Kind",
    "Opinion",
    "SetRecord",
    "Signal",
    "Status",
    "TypeStatus",
    "VideoMatch",
    "VideoMatches",
    "export_rows",
    "open",
    "read_refs",
]
