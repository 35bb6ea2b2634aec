"""Lookups: how they are cut into requests, and that all parts of one are of one generation."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashmatch.arguments import MAX_COUNT, whole
from hashmatch.client.calls import PACKED, Answer, Asked, Call, Talk
from hashmatch.client.results import matches_of, nothing_of
from hashmatch.codes import Codes, as_codes, encode_hex
from hashmatch.database.matches import DatabaseMatches
from hashmatch.hash_types import HashType, hash_type
from hashmatch.index import Progress

#: Of the body of one request, at most.
_MOST_BYTES = 32 << 20
_MOST_CODES = 1_000_000
#: How often parts that are of an older generation than others are asked for again.
_ROUNDS = 8

_MATCH = "/v1/match"


@dataclass(frozen=True, slots=True)
class Where:
    """Which known items a lookup is of: the names of sets, and verdicts; None for all."""

    sets: Sequence[str] | None
    verdicts: Iterable[str] | None
    max_distance: int | None

    def members(self, bits: int) -> dict[str, Any]:
        """The members of a JSON body that say so, of hashes of so many bits. TypeError or
        ValueError for what none can be.
        """
        members: dict[str, Any] = {}
        for name in ("sets", "verdicts"):
            values = getattr(self, name)
            if values is None:
                continue
            if isinstance(values, str):
                raise TypeError(f"{name} must be a list: [{values!r}]")
            members[name] = list(dict.fromkeys(values))
            for value in members[name]:
                if not isinstance(value, str):
                    raise TypeError(f"{name} must be a list of texts, not of {value!r}")
        if self.max_distance is not None:
            members["max_distance"] = whole(self.max_distance, "max_distance", 0, bits)
        return members


def match(
    server: str,
    type: str,
    codes: Codes,
    where: Where,
    limit: int | None,
    bits: bool,
    progress: Progress | None,
) -> Talk[DatabaseMatches]:
    """`Database.match`."""
    kind = hash_type(type)
    rows = as_codes(codes, kind, bits)
    members = {"type": kind.name, **where.members(kind.bits)}
    if limit is not None:
        members["limit"] = whole(limit, "limit", 1, MAX_COUNT)
    if [] in members.values():
        # Nothing is what a lookup in no set finds; but not of which generation.
        (answer,) = yield Asked([_small(rows[:0], members)])
        return nothing_of(answer, len(rows), server)
    if len(rows) == 1:
        (answer,) = yield Asked([_small(rows, members)])
        return matches_of([answer], [1], server)
    parts = _cut(rows, kind)
    counts = list(map(len, parts))
    calls = [Call("POST", _MATCH, _params(members), _bytes(part), PACKED, PACKED) for part in parts]
    answers = yield from one_generation(server, calls, counts, progress)
    return matches_of(answers, counts, server)


def one_generation(
    server: str, calls: Sequence[Call], counts: Sequence[int], progress: Progress | None
) -> Talk[Sequence[Answer]]:
    """The answers to calls about so many queries each, all of one generation. TimeoutError if they
    do not come to be.
    """
    done = 0

    def after(number: int) -> None:
        nonlocal done
        done += counts[number]
        if progress is not None:
            progress(done, sum(counts))

    answers = list((yield Asked(calls, after)))
    for rounds_left in range(_ROUNDS, -1, -1):
        newest = max(answer.generation for answer in answers)
        late = [n for n, answer in enumerate(answers) if answer.generation < newest]
        if not late:
            return answers
        if rounds_left:
            again = yield Asked([replace(calls[n], generation=newest) for n in late])
            for number, answer in zip(late, again, strict=True):
                answers[number] = answer
    raise TimeoutError(
        f"{server}: the sets change faster than {sum(counts):,} can be looked up in one "
        f"generation: look up at most {max(counts):,} in a call, of which each is of one"
    )


def _small(rows: NDArray[np.uint8], members: dict[str, Any]) -> Call:
    """A lookup that servers answer at once, without a thread of its own."""
    body = json.dumps({**members, "hashes": encode_hex(rows)}).encode()
    return Call("POST", _MATCH, body=body, accept=PACKED)


def _params(members: dict[str, Any]) -> list[tuple[str, str]]:
    """The same members in a URL."""
    params: list[tuple[str, str]] = []
    for name, value in members.items():
        texts = value if isinstance(value, list) else [str(value)]
        params += [(name, text) for text in texts]
    return params


def _cut(rows: NDArray[np.uint8], kind: HashType) -> list[NDArray[np.uint8]]:
    """The rows in parts that fit a request; one at least."""
    most = min(_MOST_CODES, _MOST_BYTES // kind.width)
    return [rows[begin : begin + most] for begin in range(0, max(len(rows), 1), most)]


def _bytes(rows: NDArray[np.uint8]) -> memoryview:
    """The rows' bytes, not copied."""
    return rows.reshape(-1).data
