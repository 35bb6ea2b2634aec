"""A new state of a feed, gathered beside the catalog until it is all there.

A fetch from the start may take hours. As one transaction of the catalog it would keep every other
change waiting for it, and its WAL growing. So what comes is put into a file of its own, each delta
with its position in one transaction: a fetch that was killed goes on from there. Only when all is
there does one change of the catalog, which takes seconds, replace the old state by the new.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from hashmatch._core import FormatError
from hashmatch.database.connections import Connection
from hashmatch.feeds.model import Delta, Entry, Hash, Position, Said

_VERSION = 1
_TABLES = (
    "CREATE TABLE entry (ref TEXT NOT NULL PRIMARY KEY, entry TEXT NOT NULL) WITHOUT ROWID",
    "CREATE TABLE skipped (ref TEXT NOT NULL PRIMARY KEY) WITHOUT ROWID",
    "CREATE TABLE fetch (identity TEXT NOT NULL, position TEXT)",
)
_ROWS = 5_000


class Staging:
    """What was fetched so far of one feed's new state."""

    def __init__(self, folder: Path, set_name: str, identity: str) -> None:
        """In a database's folder, for one set. What is there of another `identity`, or cannot be
        read, is forgotten.
        """
        self._path = _path(folder, set_name)
        self._identity = identity
        try:
            self._connection = self._open()
        except (FormatError, ValueError):
            discard(folder, set_name)
            self._connection = self._open()

    def _open(self) -> Connection:
        connection = Connection(self._path, "mode=rwc")
        try:
            connection.run("PRAGMA journal_mode = WAL")
            connection.run("PRAGMA synchronous = NORMAL")
            if connection.row("PRAGMA user_version") == (0,):
                connection.run("BEGIN")
                for table in _TABLES:
                    connection.run(table)
                connection.run("INSERT INTO fetch VALUES (?, NULL)", (self._identity,))
                connection.run(f"PRAGMA user_version = {_VERSION}")
                connection.run("COMMIT")
            if connection.row("SELECT identity FROM fetch") != (self._identity,):
                raise FormatError(f"{self._path}: was begun for another feed")
        except BaseException:
            connection.close()
            raise
        return connection

    @property
    def position(self) -> Position | None:
        """How far the fetch has come; None if it is to begin."""
        (text,) = self._connection.row("SELECT position FROM fetch")
        return None if text is None else dict(json.loads(text))

    def clear(self) -> None:
        """Begin again."""
        self._connection.run("BEGIN")
        self._connection.run("DELETE FROM entry")
        self._connection.run("DELETE FROM skipped")
        self._connection.run("UPDATE fetch SET position = NULL")
        self._connection.run("COMMIT")

    def put(self, delta: Delta) -> None:
        """Take a delta and its position in, both or neither."""
        connection = self._connection
        connection.run("BEGIN")
        try:
            for ref in delta.skipped:
                connection.run("INSERT OR IGNORE INTO skipped VALUES (?)", (ref,))
            for ref, entry in delta.updates.items():
                connection.run("DELETE FROM skipped WHERE ref = ?", (ref,))
                if entry is None:
                    connection.run("DELETE FROM entry WHERE ref = ?", (ref,))
                else:
                    connection.run(
                        "INSERT OR REPLACE INTO entry VALUES (?, ?)", (ref, _text(entry))
                    )
            if delta.position is not None:
                text = json.dumps(delta.position)
                connection.run("UPDATE fetch SET position = ?", (text,))
            connection.run("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.run("ROLLBACK")
            raise

    def read(self) -> Iterator[dict[str, Entry | None]]:
        """All entries, some at a time."""
        for rows in self._connection.stream("SELECT * FROM entry ORDER BY ref", size=_ROWS):
            yield {ref: _entry(text) for ref, text in rows}

    def read_skipped(self) -> Iterator[list[str]]:
        """The refs of records that could not be read, and never were since, some at a time."""
        for rows in self._connection.stream("SELECT ref FROM skipped ORDER BY ref", size=_ROWS):
            yield [ref for (ref,) in rows]

    def is_empty(self) -> bool:
        return not self._connection.rows("SELECT 1 FROM entry LIMIT 1")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._connection.close()


def discard(folder: Path, set_name: str) -> None:
    """Delete what was gathered for a set, if anything was."""
    path = _path(folder, set_name)
    for suffix in ("", "-wal", "-shm"):
        Path(f"{path}{suffix}").unlink(missing_ok=True)


def _path(folder: Path, set_name: str) -> Path:
    # A name may hold what no file's name can.
    return folder / f"feed-{hashlib.sha256(set_name.encode()).hexdigest()[:32]}.new"


def _text(entry: Entry) -> str:
    return json.dumps([entry.hashes, entry.kind, entry.labels, entry.opinions])


def _entry(text: str) -> Entry:
    hashes, kind, labels, opinions = json.loads(text)
    return Entry(
        tuple(Hash(*each) for each in hashes),
        kind,
        tuple(labels),
        tuple(Said(owner, verdict, tuple(texts)) for owner, verdict, texts in opinions),
    )
