"""The rows of opinions on one hash set's refs, as a change writes them."""

from __future__ import annotations

import json
from collections.abc import Container, Sequence

from hashmatch.database.connections import Connection

_HELD = """
    SELECT number, verdict, labels FROM opinion
    WHERE hash_set = ? AND ref = ? AND contributor = ? AND removed IS NULL"""
#: Of contributors whose names begin with a text, on some refs.
_OF_SOME = """
    SELECT ref, contributor.name, opinion.number, opinion.contributor, verdict, labels
    FROM json_each(?1) CROSS JOIN opinion ON opinion.hash_set = ?2 AND ref = value
    CROSS JOIN contributor ON contributor.number = opinion.contributor
    WHERE removed IS NULL AND substr(contributor.name, 1, length(?3)) = ?3"""
#: Refs without a live item on which such contributors have an opinion.
_LEFT = """
    SELECT DISTINCT ref FROM opinion
    CROSS JOIN contributor ON contributor.number = opinion.contributor
    WHERE hash_set = ?1 AND removed IS NULL AND substr(contributor.name, 1, length(?2)) = ?2
        AND NOT EXISTS (
            SELECT 1 FROM latest CROSS JOIN item ON item.id = latest.item
            WHERE latest.hash_set = ?1 AND latest.ref = opinion.ref AND item.removed IS NULL
        )"""
_END = "UPDATE opinion SET removed = ? WHERE number = ?"


class OpinionRows:
    """Reads and writes opinions of one set within one transaction."""

    def __init__(self, connection: Connection, set_number: int, generation: int) -> None:
        self._connection = connection
        self._set = set_number
        self._generation = generation

    def record(self, ref: str, contributor: int, verdict: int, labels: str | None) -> bool:
        """Put an opinion in the place of the contributor's earlier one; False if it is the same."""
        held = self._connection.rows(_HELD, (self._set, ref, contributor))
        if held and held[0][1:] == (verdict, labels):
            return False
        for number, *_ in held:
            self._connection.run(_END, (self._generation, number))
        self._connection.run(
            "INSERT INTO opinion VALUES (NULL, ?, ?, ?, ?, ?, ?, NULL)",
            (self._set, ref, contributor, verdict, labels, self._generation),
        )
        return True

    def withdraw_others(
        self, refs: Sequence[str], kept: Container[tuple[str, str]], of: str
    ) -> int:
        """End the opinions on some refs by contributors whose names begin with `of`, but those
        whose ref and contributor's name are in `kept`. How many that are.
        """
        asked = json.dumps(list(dict.fromkeys(refs)), ensure_ascii=False)
        ended = 0
        for ref, name, number, *row in self._connection.rows(_OF_SOME, (asked, self._set, of)):
            if (ref, name) in kept:
                continue
            self._connection.run(_END, (self._generation, number))
            # A row that was never live tells those who follow the opinions by their numbers.
            self._connection.run(
                "INSERT INTO opinion VALUES (NULL, ?1, ?2, ?3, ?4, ?5, ?6, ?6)",
                (self._set, ref, *row, self._generation),
            )
            ended += 1
        return ended

    def withdraw_left(self, of: str) -> int:
        """The same for all opinions of such contributors on refs that no live item has."""
        refs = [ref for (ref,) in self._connection.rows(_LEFT, (self._set, of))]
        return self.withdraw_others(refs, (), of)
