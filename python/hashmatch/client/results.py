"""Answers to lookups, made into the results that a database gives."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashmatch import wire
from hashmatch.client.calls import PACKED, Answer
from hashmatch.client.errors import unusable
from hashmatch.client.records import Fields
from hashmatch.codes import hex_fault
from hashmatch.database.engine import AsOf, Owners, Verdicts
from hashmatch.database.matches import DatabaseMatches
from hashmatch.database.model import Joined
from hashmatch.hash_types import HASH_TYPES
from hashmatch.vocabulary import KINDS, VERDICT_BITS

Ids = NDArray[np.uint64]


def matches_of(answers: Sequence[tuple[Answer, int]], server: str) -> DatabaseMatches:
    """The matches in packed answers of one generation, each with the number of its queries.

    ConnectionError if one of them is no such answer.
    """
    parts = [_packed(answer, queries, server) for answer, queries in answers]
    said = _joined([part.joined for part in parts if part.joined is not None])
    return DatabaseMatches(_Columns(parts), as_of(parts[0].generation, said), said)


def nothing_of(answer: Answer, queries: int, server: str) -> DatabaseMatches:
    """The matches of so many queries where nothing was looked in, by an answer to none."""
    part = replace(_packed(answer, 0, server), offsets=np.zeros(queries + 1, np.int64))
    joined = _joined([])
    return DatabaseMatches(_Columns([part]), as_of(answer.generation, joined), joined)


def _packed(answer: Answer, queries: int, server: str) -> wire.Packed:
    if answer.media_type != PACKED:
        raise unusable(server, f"it is {answer.media_type or 'of no type'}, not {PACKED}")
    try:
        part = wire.decode(answer.body)
    except ValueError as error:
        raise unusable(server, f"{error}") from None
    if len(part.offsets) - 1 != queries:
        raise unusable(server, f"it is about {len(part.offsets) - 1:,} hashes of {queries:,}")
    if part.generation != answer.generation:
        raise unusable(
            server, f"it names two generations, {part.generation} and {answer.generation}"
        )
    if len(part.signal) and part.joined is None:
        raise unusable(server, "it does not say what its matches are")
    said = part.joined or {}
    for name, digits in zip(said.get("type", ()), said.get("hash", ()), strict=False):
        if fault := hex_fault(digits, HASH_TYPES[name]):
            raise unusable(server, fault)
    return part


class _Columns:
    """The columns of some answers, one after another. All are read-only."""

    def __init__(self, parts: Sequence[wire.Packed]) -> None:
        self._parts = len(parts)
        self.id: Ids = _one([part.signal for part in parts], np.uint64)
        self._distances = [part.distance for part in parts if part.distance is not None]
        begins = np.cumsum([0, *(part.offsets[-1] for part in parts)])
        offsets = [part.offsets[1:] + begin for part, begin in zip(parts, begins, strict=False)]
        self.offsets: NDArray[np.int64] = _one([np.zeros(1, np.int64), *offsets], np.int64)

    def __len__(self) -> int:
        return len(self.id)

    @cached_property
    def query(self) -> NDArray[np.int64]:
        query = np.repeat(np.arange(len(self.offsets) - 1), np.diff(self.offsets))
        query.flags.writeable = False
        return query

    @cached_property
    def distance(self) -> NDArray[np.uint16]:
        if len(self._distances) < self._parts:
            return hidden(len(self.id))
        return _one(self._distances, np.uint16)


def hidden(rows: int) -> NDArray[np.uint16]:
    """Distances that the server does not tell: masked, so None in lists, and near nothing."""
    far = np.full(rows, np.iinfo(np.uint16).max, np.uint16)
    return np.ma.masked_array(far, mask=True, hard_mask=True)


def _one(parts: Sequence[NDArray[Any]], dtype: type) -> NDArray[Any]:
    # Of one part, a view of the bytes that came.
    column = parts[0] if len(parts) == 1 else np.concatenate(parts)
    column = column.astype(dtype, copy=False)
    column.flags.writeable = False
    return column


def together(
    offsets: NDArray[np.int64], signal: Ids, distance: NDArray[np.uint16] | None
) -> _Columns:
    """Columns of the matches of one answer; without distances where they are not told."""
    return _Columns([wire.Packed(0, offsets, signal, distance, None)])


def _joined(parts: Sequence[Mapping[str, Sequence[Any]]]) -> Said:
    """What answers of one generation say of signals, each once."""
    columns = {
        name: [value for part in parts for value in part.get(name, ())] for name in wire.JOINED
    }
    ids, rows = np.unique(np.array(columns["signal"], np.uint64), return_index=True)
    order = rows.tolist()
    if order != list(range(len(columns["signal"]))):
        columns = {
            name: [values[row] for row in order] if values else []
            for name, values in columns.items()
        }
    return Said(ids, columns)


@dataclass(frozen=True, slots=True)
class Said:
    """What an answer says of signals: a `Join` of them."""

    #: uint64[n], ascending, each once.
    ids: Ids
    #: By the names of `wire.JOINED`, a value for each; none of "hash", where that is not told.
    columns: Mapping[str, Sequence[Any]]

    def __call__(self, ids: Ids) -> Joined:
        """Some of them, ascending, each once."""
        rows = np.searchsorted(self.ids, ids).tolist()
        columns = {
            name: [values[row] for row in rows] if values else []
            for name, values in self.columns.items()
        }
        return Joined(
            ids,
            np.array(columns["first"], np.uint64),
            columns["ref"],
            columns["set"],
            columns["contributor"],
            columns["kind"],
            columns["type"],
            masks_of(columns["verdicts"]),
            np.array([-1 if good is None else good for good in columns["quality"]], np.int16),
            np.array([-1 if ms is None else ms for ms in columns["time_ms"]], np.int64),
            [bytes.fromhex(digits) for digits in columns["hash"] or [""] * len(rows)],
            [json.dumps(labels) if labels else None for labels in columns["labels"]],
        )


def said_of(rows: Sequence[Fields], id: str, hash_type: str) -> Said:
    """The same out of matches in JSON, whose signals or items have their id under that name."""
    ids = [row.id(id) for row in rows]
    columns: dict[str, Sequence[Any]] = {
        "signal": ids,
        "first": ids,
        "type": [hash_type] * len(rows),
        "hash": [row.code("hash", hash_type) for row in rows] if _all_have(rows, "hash") else [],
        "ref": [row.text("ref") for row in rows],
        "set": [row.text("set") for row in rows],
        "contributor": [row.text("contributor") for row in rows],
        "kind": [row.one_of("kind", KINDS) for row in rows],
        "labels": [row.texts("labels") for row in rows],
        "verdicts": [row.some_of("verdicts", tuple(VERDICT_BITS)) for row in rows],
        "quality": [None] * len(rows),
        "time_ms": [None] * len(rows),
    }
    return _joined([columns])


def _all_have(rows: Sequence[Fields], name: str) -> bool:
    return bool(rows) and all(name in row for row in rows)


def as_of(generation: int, said: Said) -> AsOf:
    """What an answer says of its signals without a look at each."""
    names = list(dict.fromkeys(said.columns["set"]))
    numbers = {name: number for number, name in enumerate(names)}
    sets = np.array([numbers[name] for name in said.columns["set"]], np.uint16)
    masks = masks_of(said.columns["verdicts"])
    return AsOf(
        generation,
        Owners(said.ids, sets, dict(enumerate(names))),
        Verdicts(said.ids, said.ids + np.uint64(1), masks, 0, 0),
    )


def masks_of(verdicts: Sequence[Sequence[Any]]) -> NDArray[np.uint8]:
    """VERDICT_BITS of each list of verdicts."""
    masks = (sum(VERDICT_BITS[verdict] for verdict in {*each}) for each in verdicts)
    return np.fromiter(masks, np.uint8, len(verdicts))
