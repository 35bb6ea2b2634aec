"""The rows of opinions on one hash set's refs, as a change writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from hashmatch.database.columns import encode_labels
from hashmatch.database.connections import Connection, Insertion
from hashmatch.vocabulary import VERDICT_BITS, Opinion

_HELD = """
    SELECT number, verdict, labels FROM opinion
    WHERE hash_set = ? AND ref = ? AND contributor = ? AND removed IS NULL"""
#: Of contributors whose names begin with a text, on some refs.
_OF_SOME = """
    SELECT ref, opinion.number, opinion.contributor, verdict, labels
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
_END = "UPDATE opinion SET removed = ? WHERE number IN (SELECT value FROM json_each(?))"
#: Shared: set, generation, and when it was removed.
_INSERT = Insertion("INSERT INTO opinion", "(NULL, ?1, {}, {}, {}, {}, ?2, ?3)", shared=3)


class Stated(NamedTuple):
    """What an opinion's row says, apart from its ref and contributor."""

    #: A bit of VERDICT_BITS.
    verdict: int
    labels: str | None


def stated_by(opinion: Opinion) -> Stated:
    """ValueError if the verdict is none, TypeError if the labels are none."""
    if opinion.verdict not in VERDICT_BITS:
        raise ValueError(
            f"verdict must be one of {', '.join(VERDICT_BITS)}, not {opinion.verdict!r}"
        )
    return Stated(VERDICT_BITS[opinion.verdict], encode_labels(opinion.labels))


class OpinionRows:
    """Reads and writes opinions of one set within one transaction."""

    def __init__(self, connection: Connection, set_number: int, generation: int) -> None:
        self._connection = connection
        self._set = set_number
        self._generation = generation

    def record(self, ref: str, contributor: int, stated: Stated) -> bool:
        """Put an opinion in the place of the contributor's earlier one; False if it is the same."""
        held = self._connection.rows(_HELD, (self._set, ref, contributor))
        if held and held[0][1:] == stated:
            return False
        self._end([number for number, *_ in held])
        self._insert([(ref, contributor, *stated)], None)
        return True

    def record_only(
        self, refs: Sequence[str], wanted: Mapping[tuple[str, int], Stated], of: str
    ) -> int:
        """Have the opinions on some refs, of contributors whose names begin with `of`, be those of
        `wanted`, by ref and contributor. How many had to be recorded or withdrawn.
        """
        asked = json.dumps(list(dict.fromkeys(refs)), ensure_ascii=False)
        new = dict(wanted)
        ended: list[int] = []
        withdrawn: list[tuple[str, int, int, str | None]] = []
        for ref, number, contributor, *row in self._connection.rows(
            _OF_SOME, (asked, self._set, of)
        ):
            held = Stated(*row)
            stated = wanted.get((ref, contributor))
            if stated == held:
                del new[ref, contributor]
                continue
            ended.append(number)
            if stated is None:
                withdrawn.append((ref, contributor, *held))
        self._end(ended)
        self._insert([(*key, *stated) for key, stated in new.items()], None)
        # A row that was never live tells those who follow the opinions by their numbers.
        self._insert(withdrawn, self._generation)
        return len(new) + len(withdrawn)

    def withdraw_left(self, of: str) -> int:
        """Withdraw the opinions of such contributors on refs that no live item has. How many."""
        refs = [ref for (ref,) in self._connection.rows(_LEFT, (self._set, of))]
        return self.record_only(refs, {}, of)

    def _end(self, numbers: Sequence[int]) -> None:
        if numbers:
            self._connection.run(_END, (self._generation, json.dumps(numbers)))

    def _insert(
        self, rows: Sequence[tuple[str, int, int, str | None]], removed: int | None
    ) -> None:
        self._connection.insert(_INSERT, (self._set, self._generation, removed), rows)
