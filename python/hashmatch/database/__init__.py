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

__all__ = [
    "EXPORT_COLUMNS",
    "Batch",
    "BatchList",
    "Change",
    "Counts",
    "Database",
    "DatabaseMatch",
    "DatabaseMatches",
    "HistoryRow",
    "Item",
    "Kind",
    "Opinion",
    "SetRecord",
    "Signal",
    "Status",
    "TypeStatus",
    "export_rows",
    "open",
    "read_refs",
]
