"""The log of lookups, in a file beside the catalog: who looked up how much, and which sets matched.
What was looked up, and what it matched, is never in it.

lookup  one row for what one caller looked up of one hash type within a second, in one process
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from hashmatch._core import FormatError
from hashmatch.database.connections import Connection, Row
from hashmatch.database.model import as_time
from hashmatch.database.readers import Readers

FILE = "audit.db"
#: "HMal": tells this file from others of SQLite.
_APPLICATION_ID = 0x484D616C
_VERSION = 1
_MAKE = (
    """CREATE TABLE lookup (
        time INTEGER NOT NULL,    -- ms since 1970, UTC
        who TEXT NOT NULL,
        type TEXT NOT NULL,
        requests INTEGER NOT NULL,
        hashes INTEGER NOT NULL,
        matches INTEGER NOT NULL,
        sets TEXT NOT NULL        -- JSON: set to matches
    )""",
    "CREATE INDEX lookup_time ON lookup (time)",
    f"PRAGMA application_id = {_APPLICATION_ID}",
    f"PRAGMA user_version = {_VERSION}",
)
_INSERT = "INSERT INTO lookup VALUES (?, ?, ?, ?, ?, ?, ?)"
_PRUNE = "DELETE FROM lookup WHERE rowid IN (SELECT rowid FROM lookup WHERE time < ? LIMIT 10000)"
_NEWEST = """
    SELECT time, who, type, requests, hashes, matches, sets FROM lookup
    WHERE ?1 IS NULL OR EXISTS (SELECT 1 FROM json_each(sets) WHERE key = ?1)
    ORDER BY time DESC, rowid DESC"""
#: How long another process that is writing is waited for.
_PATIENCE_MS = 1_000
_MINUTE_MS = 60_000


@dataclass(frozen=True, slots=True)
class LookupRow:
    """What one caller looked up of one hash type within a time, which begins at `time`, in UTC."""

    time: datetime
    who: str
    hash_type: str
    requests: int
    hashes: int
    #: How many known signals matched, by set.
    matches: Mapping[str, int]


#: The time in ms, then as `LookupRow` has it.
Noted = tuple[int, str, str, int, int, Mapping[str, int]]


class LookupLog:
    """The file, to write to. Any number of processes may, each waiting for the others.

    Errors are builtins that name the file. Used by one thread at a time.
    """

    def __init__(self, folder: Path) -> None:
        """The log of the database in a folder; it is made if there is none."""
        path = folder / FILE
        self._connection = Connection(path, "mode=rwc")
        try:
            for pragma in (
                f"busy_timeout = {_PATIENCE_MS}",
                "journal_mode = WAL",
                "synchronous = NORMAL",
            ):
                self._connection.run(f"PRAGMA {pragma}")
            self._begin()
            if not self._connection.rows("SELECT 1 FROM sqlite_schema"):
                for statement in _MAKE:
                    self._connection.run(statement)
            _require_log(self._connection)
            self._connection.run("COMMIT")
        except BaseException:
            self._connection.close()
            raise

    def append(self, rows: Iterable[Noted]) -> None:
        """All of them or, after an error, none."""
        self._begin()
        try:
            for time, who, hash_type, requests, hashes, matches in rows:
                sets = json.dumps(matches, ensure_ascii=False)
                total = sum(matches.values())
                values = (time, who, hash_type, requests, hashes, total, sets)
                self._connection.run(_INSERT, values)
            self._connection.run("COMMIT")
        except BaseException:
            self._roll_back()
            raise

    def prune(self, before_ms: int) -> bool:
        """Clear some of the rows before a time away; False if there are no more."""
        return self._connection.run(_PRUNE, (before_ms,)) > 0

    def close(self) -> None:
        """Closing twice is as good as once."""
        self._connection.close()

    def _begin(self) -> None:
        # Where even the end of the last one failed.
        self._roll_back()
        self._connection.run("BEGIN IMMEDIATE")

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.run("ROLLBACK")


def read_lookups(folder: Path, set_name: str | None = None, limit: int = 100) -> list[LookupRow]:
    """The newest lookups first, those of one minute, caller and hash type as one row; with
    `set_name` those that matched something of that set. No rows if the database was never served.
    """
    path = folder / FILE
    if not path.is_file():
        return []
    rows: dict[tuple[int, str, str], _Sum] = {}
    with ExitStack() as undo:
        readers = Readers(path)
        undo.callback(readers.close)
        connection = undo.enter_context(readers.transaction())
        _require_log(connection)
        for some in connection.stream(_NEWEST, (set_name,)):
            with connection.sound():
                if _add(rows, some, limit):
                    break
    return [
        LookupRow(
            as_time(minute * _MINUTE_MS), who, hash_type, each.requests, each.hashes, each.sets
        )
        for (minute, who, hash_type), each in rows.items()
    ]


@dataclass(slots=True)
class _Sum:
    requests: int
    hashes: int
    sets: Counter[str]


def _add(rows: dict[tuple[int, str, str], _Sum], some: list[Row], limit: int) -> bool:
    """Add rows, the newest first, to those of their minutes. Whether there are enough."""
    for time, who, hash_type, requests, hashes, _, sets in some:
        key = (time // _MINUTE_MS, who, hash_type)
        if key not in rows:
            # A minute is not left half read.
            if len(rows) >= limit and key[0] != next(reversed(rows))[0]:
                return True
            rows[key] = _Sum(0, 0, Counter())
        rows[key].requests += requests
        rows[key].hashes += hashes
        rows[key].sets.update(json.loads(sets))
    return False


def _require_log(connection: Connection) -> None:
    (application,) = connection.row("PRAGMA application_id")
    (version,) = connection.row("PRAGMA user_version")
    if application != _APPLICATION_ID:
        raise FormatError(f"{connection.path}: is no log of lookups: move it away")
    if version != _VERSION:
        raise FormatError(
            f"{connection.path}: has version {version}, this hashmatch knows {_VERSION}: a newer "
            "hashmatch is needed"
        )
