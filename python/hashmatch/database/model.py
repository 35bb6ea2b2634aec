"""The records of a catalog: hash sets, items, signals, opinions, changes, and what joins return."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashmatch._core import FormatError
from hashmatch.codes import Codes
from hashmatch.vocabulary import KINDS, VERDICT_BITS, Kind, Numbers, Opinion, Verdict

#: None: not given, and what the item has stays. Else one list for all codes or one for each.
Labels: TypeAlias = Sequence[str] | Sequence[Sequence[str]] | None


def verdicts_of(mask: int) -> tuple[Verdict, ...]:
    """The verdicts whose bits are set."""
    return tuple(verdict for verdict, bit in VERDICT_BITS.items() if mask & bit)


def kind_of(number: int) -> Kind:
    """The kind that a catalog file writes as that number."""
    if number not in range(len(KINDS)):
        raise FormatError(f"the catalog has an item of the kind {number!r}, which is none")
    return KINDS[number]


def as_time(ms: int) -> datetime:
    """A time as a catalog file holds it, in UTC."""
    return datetime.fromtimestamp(ms / 1000, UTC)


def now_ms() -> int:
    """The time as a catalog file holds it."""
    return time.time_ns() // 1_000_000


def labels_of(text: str | None) -> list[str]:
    """The labels that a catalog file writes as that text: a JSON list, or NULL for none."""
    try:
        return [] if text is None else list(json.loads(text))
    except (TypeError, ValueError):
        raise FormatError(f"the catalog has labels that are no JSON list: {text!r}") from None


@dataclass(frozen=True, slots=True)
class SetRecord:
    """A hash set and how much of it is live. Times are in UTC."""

    number: int
    name: str
    #: The owner, whose items those without a contributor are.
    contributor: str
    #: For each hash type: bits, inclusive.
    max_distance: Mapping[str, int]
    items: int
    signals: int
    #: The types that it has, or once had.
    hash_types: Sequence[str]
    checkpoint: str
    created: datetime
    changed: datetime


@dataclass(frozen=True, slots=True)
class SegmentRecord:
    """A segment file: the live signals of one hash type with ids in first..end-1."""

    file: str
    hash_type: str
    first: int
    end: int
    rows: int
    #: The state that it was built from.
    generation: int
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Signal:
    """One hash of an item."""

    hash_type: str
    code: bytes
    quality: int | None
    time_ms: int | None


@dataclass(frozen=True, slots=True)
class Item:
    """A picture, video or file as a contributor shared it, and all opinions on its ref."""

    ref: str
    contributor: str
    kind: Kind
    labels: list[str]
    #: By hash type, each type's in the order in which they were added.
    signals: list[Signal]
    opinions: list[Opinion]


@dataclass(frozen=True, slots=True)
class Batch:
    """What one call of `Change.add` takes, for a load; and opinions, on these refs or others."""

    hash_type: str
    codes: Codes
    refs: Sequence[str]
    labels: Labels = None
    contributor: str | None = None
    kind: Kind = "image"
    quality: Numbers = None
    time_ms: Numbers = None
    opinions: Sequence[Opinion] = ()


@dataclass(frozen=True, slots=True)
class Removal:
    """What one call of `Change.remove` takes, for a load."""

    refs: Sequence[str]
    contributor: str | None = None


@dataclass(slots=True)
class Counts:
    """What a change did, step by step: an item added and then removed counts in both."""

    added: int = 0
    updated: int = 0
    removed: int = 0
    #: Items and opinions given as they already were.
    unchanged: int = 0
    opinions: int = 0
    #: Rows left out: the row number in its call, from 0, and the reason.
    rejected: list[tuple[int, str]] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Event:
    """What one change did to an item or an opinion."""

    action: Literal["added", "updated", "removed", "opinion"]
    contributor: str
    labels: tuple[str, ...]
    #: The item's kind; None for an opinion.
    kind: Kind | None
    #: The id of the item's first signal; None for an opinion.
    first: int | None
    verdict: Verdict | None


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """One generation: when it was made, in UTC, by whom, and how much it changed."""

    generation: int
    time: datetime
    set: str
    who: str
    added: int
    updated: int
    removed: int
    unchanged: int
    opinions: int
    rejected: int
    #: What happened to the ref that was asked for.
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class Joined:
    """What the catalog knows of some signals, as columns with a row for each id."""

    #: uint64[m], ascending, each once.
    ids: NDArray[np.uint64]
    #: uint64[m]: the first signal id of the item; rows of one item have the same.
    firsts: NDArray[np.uint64]
    refs: list[str]
    sets: list[str]
    contributors: list[str]
    kinds: list[Kind]
    hash_types: list[str]
    #: uint8[m]: the verdicts that somebody holds on the item now; see VERDICT_BITS.
    verdicts: NDArray[np.uint8]
    #: int16[m], -1 for none.
    quality: NDArray[np.int16]
    #: int64[m], -1 for none.
    time_ms: NDArray[np.int64]
    codes: list[bytes]
    #: Few rows' labels are ever looked at: they are kept as JSON until then.
    labels_json: list[str | None]

    def labels(self, row: int) -> list[str]:
        """The labels of a row's item."""
        return labels_of(self.labels_json[row])

    def __len__(self) -> int:
        return len(self.refs)


@dataclass(frozen=True, slots=True)
class TypeStatus:
    """How the signals of one hash type are held."""

    signals: int
    segments: int
    #: Signals that are in no segment yet.
    unfolded: int
    size_bytes: int
