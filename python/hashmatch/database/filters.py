"""Filters of a search as limits of signal ids, so that the engine counts only what is asked for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hashmatch.database.engine import Ids, State
from hashmatch.database.model import SetRecord
from hashmatch.distinct import distinct
from hashmatch.hash_types import HashType
from hashmatch.vocabulary import VERDICT_BITS

#: What a filter calls items that nobody has an opinion on.
NO_VERDICT = "none"
_NO_VERDICT_BIT = 1 << 7
#: Limits that are kept of one state. Most searches ask for the same few.
_KEPT = 64


@dataclass(frozen=True, slots=True)
class Limits:
    """How far a match may be, in all and by its signal's id."""

    max_distance: int
    #: None: max_distance for all. Else ids from firsts[i] on, up to the next, match within most[i],
    #: or not at all where that is negative.
    firsts: Ids | None = None
    most: NDArray[np.int16] | None = None

    def of(self, ids: Ids) -> NDArray[np.int64]:
        """How far a match of each signal may be; negative: it may not match."""
        if self.firsts is None or self.most is None:
            return np.full(len(ids), self.max_distance)
        places = np.searchsorted(self.firsts, ids, "right") - 1
        return np.where(places < 0, -1, self.most[places]).astype(np.int64)


def limits_for(
    state: State,
    kind: HashType,
    sets: Sequence[str] | None,
    max_distance: int | None,
    verdicts: Iterable[str] | None,
) -> Limits:
    """The limits of a search in some of the sets, or all, for items with any of the verdicts.

    Without `max_distance` each set's own holds. ValueError names a set or a verdict that is none.
    """
    chosen = _chosen(state, sets)
    wanted = None if verdicts is None else _mask(verdicts)
    key = (kind.name, tuple(record.number for record in chosen), max_distance, wanted)
    limits = state.limits.get(key)
    if limits is None:
        if len(state.limits) >= _KEPT:
            state.limits.clear()
        limits = state.limits[key] = _made(state, kind, chosen, max_distance, wanted)
    return limits


def _chosen(state: State, sets: Sequence[str] | None) -> list[SetRecord]:
    if sets is None:
        return list(state.sets.values())
    if isinstance(sets, str):
        raise TypeError(f"sets must be a list of names: [{sets!r}]")
    for name in sets:
        if name not in state.sets:
            known = ", ".join(map(repr, sorted(state.sets))) or "none yet"
            raise ValueError(f"there is no set {name!r}; there are: {known}")
    return [state.sets[name] for name in dict.fromkeys(sets)]


def _mask(verdicts: Iterable[str]) -> int:
    if isinstance(verdicts, str):
        raise TypeError(f"verdicts must be a list: [{verdicts!r}]")
    mask = 0
    bits: Mapping[Any, int] = {**VERDICT_BITS, NO_VERDICT: _NO_VERDICT_BIT}
    for verdict in verdicts:
        if verdict not in bits:
            raise ValueError(f"unknown verdict {verdict!r}: give some of {', '.join(bits)}")
        mask |= bits[verdict]
    return mask


def _made(
    state: State,
    kind: HashType,
    chosen: Sequence[SetRecord],
    max_distance: int | None,
    wanted: int | None,
) -> Limits:
    by_set = np.full(1 + max((r.number for r in state.sets.values()), default=0), -1, np.int16)
    for record in chosen:
        own = record.max_distance[kind.name]
        by_set[record.number] = own if max_distance is None else max_distance
    most = int(by_set.max())
    if most < 0:
        return Limits(0, np.zeros(1, np.uint64), np.full(1, -1, np.int16))
    firsts, limits = state.owners.firsts, by_set[state.owners.sets]
    if wanted is not None:
        firsts, limits = _with_verdicts(state, firsts, limits, wanted)
    changes = np.ones(len(limits), bool)
    changes[1:] = limits[1:] != limits[:-1]
    firsts, limits = firsts[changes], limits[changes]
    if len(firsts) == 0 or (len(firsts) == 1 and firsts[0] == 0 and limits[0] == most):
        return Limits(most)
    return Limits(most, np.ascontiguousarray(firsts), np.ascontiguousarray(limits))


def _with_verdicts(
    state: State, firsts: Ids, limits: NDArray[np.int16], wanted: int
) -> tuple[Ids, NDArray[np.int16]]:
    """The same where an item's verdicts allow it. An item's signals are all of one set."""
    items, ends = state.verdicts.firsts, state.verdicts.ends
    edges = distinct(np.concatenate([firsts, items, ends]))
    edges = edges[edges >= firsts[0]] if len(firsts) else edges[:0]
    block = np.searchsorted(firsts, edges, "right") - 1
    item = np.searchsorted(items, edges, "right") - 1
    inside = (item >= 0) & (edges < ends[item]) if len(items) else np.zeros(len(edges), bool)
    masks = np.full(len(edges), _NO_VERDICT_BIT, np.uint8)
    masks[inside] = state.verdicts.masks[item[inside]]
    return edges, np.where(masks & wanted, limits[block], -1).astype(np.int16)
