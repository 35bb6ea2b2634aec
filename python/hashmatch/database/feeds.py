"""The feeds that a catalog names: what each follows, which set it fills, and how that went."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from hashmatch.database.connections import Connection
from hashmatch.database.model import as_time, now_ms
from hashmatch.database.rows import no_such_set
from hashmatch.vocabulary import require_text

if TYPE_CHECKING:
    from hashmatch.database.catalog import Catalog

#: The last so many records that were skipped are kept.
KEPT_FAULTS = 20

_FEEDS = """
    SELECT feed.name, hash_set.name, exchange, options, credentials, feed.created, tried, succeeded,
        failures, error, next_try, skipped, faults, checkpoint, items
    FROM feed JOIN hash_set ON hash_set.number = feed.hash_set ORDER BY feed.name"""


@dataclass(frozen=True, slots=True)
class FeedRecord:
    """A feed and how following it went. Times are in UTC."""

    name: str
    #: The set that it fills, and no other feed does.
    set: str
    exchange: str
    options: Mapping[str, str]
    #: "env:NAME", "file:PATH", or "" where none are needed.
    credentials: str
    created: datetime
    tried: datetime | None
    succeeded: datetime | None
    #: Since it last succeeded.
    failures: int
    #: Why it last failed; None if it did not.
    error: str | None
    #: After a failure it is not tried before.
    next_try: datetime | None
    #: Records that could not be read, in all, and why, of the last of them.
    skipped: int
    faults: Sequence[str]
    #: Of the set, as are the items.
    checkpoint: str
    items: int


class FeedTable:
    """The feeds of one database, which `Database.feeds` gives."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog

    def list(self) -> list[FeedRecord]:
        """All feeds, in the order of their names, as they are now."""
        with self._catalog.reading() as connection:
            rows = connection.rows(_FEEDS)
            with connection.sound():
                return [_record(*row) for row in rows]

    def get(self, name: str) -> FeedRecord:
        """ValueError says which there are."""
        records = {record.name: record for record in self.list()}
        if name not in records:
            raise self._no_such_feed(list(records), name)
        return records[name]

    def add(
        self, name: str, set: str, exchange: str, options: Mapping[str, str], credentials: str
    ) -> None:
        """ValueError if there is a feed of that name, or one that fills the set; or no set."""
        require_text(name, "feed name")
        with self._catalog.writing() as connection:
            for other, filled in connection.rows(
                "SELECT feed.name, hash_set.name FROM feed JOIN hash_set ON number = hash_set"
            ):
                if other == name:
                    raise ValueError(f"{self._catalog.folder}: has a feed {name!r} already")
                if filled == set:
                    raise ValueError(
                        f"{self._catalog.folder}: the set {set!r} is filled by feed {other!r}: "
                        "give each feed a set of its own"
                    )
            connection.run(
                "INSERT INTO feed VALUES (?, ?, ?, ?, ?, ?, NULL, NULL, 0, NULL, NULL, 0, '[]')",
                (
                    name,
                    _set_number(connection, set),
                    exchange,
                    json.dumps(dict(options)),
                    credentials,
                    now_ms(),
                ),
            )

    def remove(self, name: str) -> None:
        """Forget a feed. Its set stays as it is. ValueError if there is no such feed."""
        with self._catalog.writing() as connection:
            if not connection.run("DELETE FROM feed WHERE name = ?", (name,)):
                names = connection.rows("SELECT name FROM feed ORDER BY name")
                raise self._no_such_feed([other for (other,) in names], name)

    def note_success(self, name: str) -> None:
        """The feed was followed as far as it goes."""
        self._note(name, "failures = 0, error = NULL, next_try = NULL, succeeded = ?", now_ms())

    def note_failure(self, name: str, error: str, next_try: datetime) -> None:
        """It could not be, and is not to be tried again before that."""
        sql = "failures = failures + 1, error = ?, next_try = ?"
        self._note(name, sql, error, int(next_try.timestamp() * 1000))

    def note_skipped(self, name: str, faults: Sequence[str]) -> Sequence[str]:
        """Records that were skipped, each with why. Those that are not among the last ones known:
        exchanges give some records again and again.
        """
        new = list(dict.fromkeys(faults))
        with self._catalog.writing() as connection:
            for (text,) in connection.rows("SELECT faults FROM feed WHERE name = ?", (name,)):
                with connection.sound():
                    known = list(json.loads(text))
                new = [fault for fault in new if fault not in known]
                connection.run(
                    "UPDATE feed SET skipped = skipped + ?, faults = ? WHERE name = ?",
                    (len(new), json.dumps([*known, *new][-KEPT_FAULTS:]), name),
                )
        return new

    def set_checkpoint(self, set: str, checkpoint: str) -> None:
        """Keep how far a set was followed where nothing came of it: no generation is made."""
        with self._catalog.writing() as connection:
            number = _set_number(connection, set)
            connection.run(
                "UPDATE hash_set SET checkpoint = ? WHERE number = ?", (checkpoint, number)
            )

    def _note(self, name: str, sql: str, *values: object) -> None:
        with self._catalog.writing() as connection:
            connection.run(
                f"UPDATE feed SET {sql}, tried = ? WHERE name = ?", (*values, now_ms(), name)
            )

    def _no_such_feed(self, names: Sequence[str], name: str) -> ValueError:
        there = f"; there are: {', '.join(map(repr, names))}" if names else ""
        return ValueError(f"{self._catalog.folder}: has no feed {name!r}{there}")


def _set_number(connection: Connection, name: str) -> int:
    rows = connection.rows("SELECT number FROM hash_set WHERE name = ?", (name,))
    if not rows:
        raise no_such_set(connection, name)
    return int(rows[0][0])


def _record(
    name: str,
    set: str,
    exchange: str,
    options: str,
    credentials: str,
    created: int,
    tried: int | None,
    succeeded: int | None,
    failures: int,
    error: str | None,
    next_try: int | None,
    skipped: int,
    faults: str,
    checkpoint: str,
    items: int,
) -> FeedRecord:
    return FeedRecord(
        name, set, exchange, json.loads(options), credentials, as_time(created), _time(tried),
        _time(succeeded), failures, error, _time(next_try), skipped, json.loads(faults),
        checkpoint, items,
    )  # fmt: skip


def _time(ms: int | None) -> datetime | None:
    return None if ms is None else as_time(ms)
