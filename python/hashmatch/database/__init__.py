"""Named hash sets that change while they are searched, in one folder."""

from hashmatch.database.answered import Asked, KeyTaken
from hashmatch.database.batches import BatchList, read_refs
from hashmatch.database.bounded import TooManyMatches
from hashmatch.database.catalog import SetExists
from hashmatch.database.changes import Change
from hashmatch.database.database import Database, Status, open
from hashmatch.database.exchange import export_parts
from hashmatch.database.matches import DatabaseMatch, DatabaseMatches
from hashmatch.database.model import (
    Batch,
    Counts,
    HistoryRow,
    Item,
    Removal,
    SetRecord,
    Signal,
    TypeStatus,
)
from hashmatch.database.rows import NoSuchSet
from hashmatch.database.video_matches import FramePair, FramePairs, VideoMatch, VideoMatches
from hashmatch.vocabulary import Kind, Opinion
from hashmatch.vpdq import Frames

__all__ = [
    "Asked",
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
    "KeyTaken",
    "Kind",
    "NoSuchSet",
    "Opinion",
    "Removal",
    "SetExists",
    "SetRecord",
    "Signal",
    "Status",
    "TooManyMatches",
    "TypeStatus",
    "VideoMatch",
    "VideoMatches",
    "export_parts",
    "open",
    "read_refs",
]
