"""The catalog file: what it holds, how it is created, and how one of an older version is upgraded.

hash_set     one row a hash set, with the counts of what is live in it
contributor  names, so that rows hold numbers
generation   the log: one row a committed change
item         one row a version of an item. `id` is the id of its first signal; the others
             follow, packed in `signals` (see packing.py), so that an item is found from any of
             its signals by the greatest id that is not greater. Rows are only ever added; one
             that is updated or removed gets the generation in which that was in `removed`.
latest       the latest row of each ref of a contributor, live or removed. Not an index of
             `item`, so that a bulk load can add its entries at the end, sorted.
block        which set the signal ids from `first` on belong to, up to the next block
opinion      one row a version of an opinion
segment      the live segment files
feed         one row a feed that fills a hash set, and how following it went. How far it has got is
             the set's checkpoint.
answered     one row a change that was asked for under a key: what was asked, as a SHA-256, and what
             was answered, so that one asked for again is not made again
"""

from __future__ import annotations

import os
from pathlib import Path

from hashmatch._core import FormatError
from hashmatch.database.connections import Connection

#: "HMdb": tells a catalog from other SQLite files.
_APPLICATION_ID = 0x484D6462

#: For each version the statements that lead to it from the one before; version 0 is an empty file.
#: Steps that have been released never change.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE contributor (
            number INTEGER PRIMARY KEY,
            name TEXT NOT NULL UNIQUE
        )""",
        """CREATE TABLE hash_set (
            number INTEGER PRIMARY KEY,
            name TEXT NOT NULL UNIQUE,
            contributor INTEGER NOT NULL REFERENCES contributor,
            max_distance TEXT NOT NULL,   -- JSON: hash type to bits
            checkpoint TEXT NOT NULL,
            items INTEGER NOT NULL,
            signals INTEGER NOT NULL,
            types INTEGER NOT NULL,       -- bits of the hash types that it ever had
            created INTEGER NOT NULL,     -- this and other times: ms since 1970, UTC
            changed INTEGER NOT NULL
        )""",
        """CREATE TABLE generation (
            number INTEGER PRIMARY KEY,
            time INTEGER NOT NULL,
            hash_set INTEGER NOT NULL REFERENCES hash_set,
            who TEXT NOT NULL,
            added INTEGER NOT NULL,
            updated INTEGER NOT NULL,
            removed INTEGER NOT NULL,
            unchanged INTEGER NOT NULL,
            opinions INTEGER NOT NULL,
            rejected INTEGER NOT NULL
        )""",
        """CREATE TABLE item (
            id INTEGER PRIMARY KEY,
            hash_set INTEGER NOT NULL REFERENCES hash_set,
            contributor INTEGER NOT NULL REFERENCES contributor,
            ref TEXT NOT NULL,
            kind INTEGER NOT NULL,
            count INTEGER NOT NULL,
            types INTEGER NOT NULL,       -- bit 1 << number of each hash type
            labels TEXT,                  -- JSON list; NULL for none
            added INTEGER NOT NULL,
            removed INTEGER,
            previous INTEGER,             -- the earlier row of the same ref
            signals BLOB NOT NULL
        )""",
        # A row that its own change superseded was never live.
        "CREATE INDEX item_removed ON item (removed, count) WHERE removed > added",
        """CREATE TABLE latest (
            hash_set INTEGER NOT NULL,
            ref TEXT NOT NULL,
            contributor INTEGER NOT NULL,
            item INTEGER NOT NULL,
            PRIMARY KEY (hash_set, ref, contributor)
        ) WITHOUT ROWID""",
        """CREATE TABLE block (
            first INTEGER PRIMARY KEY,
            hash_set INTEGER NOT NULL REFERENCES hash_set
        )""",
        """CREATE TABLE opinion (
            number INTEGER PRIMARY KEY,
            hash_set INTEGER NOT NULL REFERENCES hash_set,
            ref TEXT NOT NULL,
            contributor INTEGER NOT NULL REFERENCES contributor,
            verdict INTEGER NOT NULL,     -- one bit
            labels TEXT,
            added INTEGER NOT NULL,
            removed INTEGER
        )""",
        "CREATE INDEX opinion_ref ON opinion (hash_set, ref, contributor)",
        """CREATE TABLE segment (
            file TEXT PRIMARY KEY,
            hash_type TEXT NOT NULL,
            first INTEGER NOT NULL,
            end INTEGER NOT NULL,
            rows INTEGER NOT NULL,
            generation INTEGER NOT NULL,
            size_bytes INTEGER NOT NULL
        )""",
    ),
    (
        """CREATE TABLE feed (
            name TEXT NOT NULL PRIMARY KEY,
            hash_set INTEGER NOT NULL UNIQUE REFERENCES hash_set,
            exchange TEXT NOT NULL,
            options TEXT NOT NULL,        -- JSON: name to text
            credentials TEXT NOT NULL,    -- where they are, never what they are
            created INTEGER NOT NULL,
            tried INTEGER,
            succeeded INTEGER,
            failures INTEGER NOT NULL,    -- since it last succeeded
            error TEXT,                   -- why it last failed; NULL if it did not
            next_try INTEGER,             -- not before, after a failure
            skipped INTEGER NOT NULL,     -- records that could not be read
            faults TEXT NOT NULL          -- JSON list: the last of those skipped, and why
        )""",
    ),
    (
        """CREATE TABLE answered (
            who TEXT NOT NULL,
            key TEXT NOT NULL,
            asked BLOB NOT NULL,
            answer TEXT NOT NULL,
            time INTEGER NOT NULL,
            PRIMARY KEY (who, key)
        )""",
        "CREATE INDEX answered_time ON answered (time)",
    ),
)


def create(path: Path) -> None:
    """Make an empty catalog. It appears under its name whole or not at all."""
    new = path.with_name(path.name + ".new")
    # What a creation that died left: a WAL would be taken for that of the new file.
    for suffix in ("", "-wal", "-shm"):
        Path(f"{new}{suffix}").unlink(missing_ok=True)
    connection = Connection(new, "mode=rwc")
    try:
        connection.run("PRAGMA journal_mode = WAL")
        _migrate(connection, 0)
    finally:
        connection.close()
    _sync(new)
    os.replace(new, path)
    _sync(path.parent)


def upgrade(connection: Connection) -> None:
    """Bring a file of an older version to this one, in one transaction."""
    version = read_version(connection)
    if version < len(MIGRATIONS):
        _migrate(connection, version)


def require_current(connection: Connection) -> None:
    """FormatError unless the file is of this version; a reader cannot upgrade it."""
    version = read_version(connection)
    if version < len(MIGRATIONS):
        raise FormatError(
            f"{connection.path}: has catalog version {version}, this hashmatch reads "
            f"{len(MIGRATIONS)}: open it once to write, as `hashmatch db compact` does, and "
            "it is upgraded"
        )


def read_version(connection: Connection) -> int:
    """The version of a catalog. FormatError if the file is none or this hashmatch is too old."""
    (application,) = connection.row("PRAGMA application_id")
    (version,) = connection.row("PRAGMA user_version")
    if application != _APPLICATION_ID:
        raise FormatError(f"{connection.path}: is no hashmatch catalog: give another folder")
    if version > len(MIGRATIONS):
        raise FormatError(
            f"{connection.path}: has catalog version {version}, this hashmatch knows those up to "
            f"{len(MIGRATIONS)}: a newer hashmatch is needed"
        )
    return int(version)


def _migrate(connection: Connection, version: int) -> None:
    connection.run("BEGIN IMMEDIATE")
    try:
        for statements in MIGRATIONS[version:]:
            for statement in statements:
                connection.run(statement)
        connection.run(f"PRAGMA application_id = {_APPLICATION_ID}")
        connection.run(f"PRAGMA user_version = {len(MIGRATIONS)}")
        connection.run("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.run("ROLLBACK")
        raise


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
