"""The log of changes, and what they did to one ref."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from typing import SupportsIndex

from hashmatch.arguments import MAX_COUNT, whole
from hashmatch.database.connections import Connection, Row
from hashmatch.database.model import (
    VERDICT_BITS,
    Event,
    HistoryRow,
    as_time,
    kind_of,
    labels_of,
)

_LOG = """
    SELECT generation.number, time, hash_set.name, who, added, updated, removed, unchanged,
        opinions, rejected
    FROM generation JOIN hash_set ON hash_set.number = generation.hash_set"""
_SET = "SELECT 1 FROM hash_set WHERE name = ?"
#: From the latest row of a ref back through the earlier ones. UNION ends even a damaged circle.
_VERSIONS = """
    WITH RECURSIVE version (id) AS (
        SELECT latest.item FROM hash_set JOIN latest ON latest.hash_set = hash_set.number
        WHERE latest.ref = ?1 AND (?2 IS NULL OR hash_set.name = ?2)
        UNION
        SELECT previous FROM version JOIN item USING (id) WHERE previous IS NOT NULL
    )
    SELECT hash_set, contributor.name, labels, kind, id, added, removed
    FROM version JOIN item USING (id) JOIN contributor ON contributor.number = item.contributor
    WHERE removed IS NULL OR removed > added"""
_OPINIONS = """
    SELECT contributor.name, opinion.labels, verdict, added, removed
    FROM hash_set CROSS JOIN opinion ON opinion.hash_set = hash_set.number AND ref = ?1
    JOIN contributor ON contributor.number = opinion.contributor
    WHERE ?2 IS NULL OR hash_set.name = ?2
    ORDER BY opinion.number"""

#: What happened, by generation.
_Events = defaultdict[int, list[Event]]


def read_history(
    connection: Connection, set_name: str | None, ref: str | None, limit: SupportsIndex
) -> list[HistoryRow]:
    """The newest generations first, of one set or all; with `ref` those that concerned it."""
    rows = whole(limit, "limit", 1, MAX_COUNT)
    if set_name is not None and not connection.rows(_SET, (set_name,)):
        raise ValueError(f"{connection.path}: has no hash set {set_name!r}")
    if ref is None:
        newest = f"{_LOG} WHERE ?1 IS NULL OR name = ?1 ORDER BY generation.number DESC LIMIT ?2"
        return _log(connection, newest, (set_name, rows))
    versions = connection.rows(_VERSIONS, (ref, set_name))
    opinions = connection.rows(_OPINIONS, (ref, set_name))
    events: _Events = defaultdict(list)
    with connection.sound():
        _add_items(versions, events)
        _add_opinions(opinions, events)
    newest_numbers = sorted(events, reverse=True)[:rows]
    chosen = (
        f"{_LOG} WHERE generation.number IN (SELECT value FROM json_each(?)) "
        "ORDER BY generation.number DESC"
    )
    return [
        replace(row, events=tuple(events[row.generation]))
        for row in _log(connection, chosen, (json.dumps(newest_numbers),))
    ]


def _log(connection: Connection, sql: str, values: tuple[object, ...]) -> list[HistoryRow]:
    rows = connection.rows(sql, values)
    with connection.sound():
        return [HistoryRow(number, as_time(time), *rest) for number, time, *rest in rows]


def _add_items(versions: list[Row], events: _Events) -> None:
    begun = {(number, name, added) for number, name, *_, added, _ in versions}
    ended = {(number, name, removed) for number, name, *_, removed in versions}
    for number, name, labels, kind, id, added, removed in versions:
        event = Event("added", name, tuple(labels_of(labels)), kind_of(kind), id, None)
        if (number, name, added) in ended:
            event = replace(event, action="updated")
        events[added].append(event)
        if removed is not None and (number, name, removed) not in begun:
            events[removed].append(replace(event, action="removed"))


def _add_opinions(opinions: list[Row], events: _Events) -> None:
    names = {bit: verdict for verdict, bit in VERDICT_BITS.items()}
    last = {(name, added): place for place, (name, _, _, added, _) in enumerate(opinions)}
    for place, (name, labels, bit, added, removed) in enumerate(opinions):
        event = Event("opinion", name, tuple(labels_of(labels)), None, None, names[bit])
        # A row that was never live, and that no other took the place of, stands for a withdrawal.
        if removed == added and last[name, added] == place:
            event = replace(event, action="removed", verdict=None)
        events[added].append(event)
