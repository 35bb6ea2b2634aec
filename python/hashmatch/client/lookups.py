"""Lookups: how they are cut into requests, and that all parts of one are of one generation."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from hashmatch.arguments import MAX_COUNT, whole
from hashmatch.client.calls import PACKED, Answer, Asked, Call, Outcome, Talk, TooMuch, ask
from hashmatch.client.results import matches_of, nothing_of
from hashmatch.codes import Codes, as_codes, encode_hex
from hashmatch.database.matches import DatabaseMatches
from hashmatch.hash_types import HashType, hash_type
from hashmatch.index import Progress

#: Of the body of one request, at most.
_MOST_BYTES = 32 << 20
_MOST_CODES = 1_000_000
#: Fewer are not asked in parts, where the server finds them too much at a time.
_LEAST_CODES = 1_000
#: How often parts that are of an older generation than others are asked for again.
_ROUNDS = 8

_MATCH = "/v1/match"


class _Queries(Protocol):
    """Some of what is looked up: rows of an array, or a list."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice, /) -> Any: ...


_Q = TypeVar("_Q", bound=_Queries)


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
        return nothing_of((yield from ask(_small(rows[:0], members))), len(rows), server)
    if len(rows) == 1:
        return matches_of([((yield from ask(_small(rows, members))), 1)], server)

    def call(part: NDArray[np.uint8]) -> Call:
        return Call(
            "POST",
            _MATCH,
            params_of(members),
            part.reshape(-1).data,
            PACKED,
            PACKED,
            divisible=True,
        )

    return matches_of(
        (yield from in_parts(server, _cut(rows, kind), _LEAST_CODES, call, progress)), server
    )


def in_parts(
    server: str,
    parts: Sequence[_Q],
    least: int,
    call: Callable[[_Q], Call],
    progress: Progress | None,
) -> Talk[list[tuple[Answer, int]]]:
    """What is answered about each part, and to how many queries: all of one generation. A part
    that the server finds too much is cut in two, unless it has no more than `least` queries.
    TimeoutError if they do not come to be of one generation.
    """
    queries = sum(map(len, parts))
    left: list[_Part[_Q]] = [_Part(part) for part in parts]
    rounds = _ROUNDS
    while True:
        newest = max((part.answer.generation for part in left if part.answer), default=0)
        waiting = [part for part in left if part.generation < newest or part.answer is None]
        if not waiting:
            return [(part.answer, len(part.queries)) for part in left if part.answer]
        rounds -= any(part.answer is not None for part in waiting)
        if rounds < 0:
            most = max(len(part.queries) for part in left)
            raise TimeoutError(
                f"{server}: the sets change faster than {queries:,} can be looked up in one "
                f"generation: look up at most {most:,} in a call"
            )

        def after(number: int, outcome: Outcome, waiting: list[_Part[_Q]] = waiting) -> None:
            if waiting[number].take(outcome) and progress is not None:
                progress(sum(len(part.queries) for part in left if part.answer), queries)

        calls = [replace(call(part.queries), generation=newest) for part in waiting]
        outcomes = yield Asked(calls, after)
        for part, outcome in zip(waiting, outcomes, strict=True):
            if isinstance(outcome, TooMuch):
                if len(part.queries) <= least:
                    raise outcome
                place = left.index(part)
                left[place : place + 1] = part.halves()


@dataclass(slots=True, eq=False)
class _Part(Generic[_Q]):
    """Some queries of a lookup."""

    queries: _Q
    answer: Answer | None = None

    @property
    def generation(self) -> int:
        return 0 if self.answer is None else self.answer.generation

    def take(self, outcome: Outcome) -> bool:
        """Whether that is its first answer."""
        if isinstance(outcome, TooMuch):
            return False
        first, self.answer = self.answer is None, outcome
        return first

    def halves(self) -> list[_Part[_Q]]:
        half = len(self.queries) // 2
        return [_Part(self.queries[:half]), _Part(self.queries[half:])]


def _small(rows: NDArray[np.uint8], members: dict[str, Any]) -> Call:
    """A lookup that servers answer at once, without a thread of its own."""
    body = json.dumps({**members, "hashes": encode_hex(rows)}).encode()
    return Call("POST", _MATCH, body=body, accept=PACKED)


def params_of(members: dict[str, Any]) -> list[tuple[str, str]]:
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
