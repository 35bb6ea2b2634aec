"""What an exchange gives: entries by their keys, some at a time, and how far that leads."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple, Protocol, TypeAlias

from hashmatch.codes import hex_fault
from hashmatch.hash_types import HASH_TYPES
from hashmatch.vocabulary import Kind, Verdict, text_fault

#: How far an exchange was followed: what JSON can hold. The exchange alone knows what it means.
Position: TypeAlias = Mapping[str, Any]

#: Others' records may be of any length.
_FAULT_CHARACTERS = 300


class Hash(NamedTuple):
    """One signal of an entry."""

    hash_type: str
    #: Lower-case hex.
    digits: str
    quality: int | None = None
    time_ms: int | None = None


class Said(NamedTuple):
    """An opinion that an exchange states."""

    #: Whose, as the exchange calls them.
    owner: str
    verdict: Verdict
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """A picture, video or file as an exchange has it."""

    hashes: tuple[Hash, ...]
    kind: Kind = "image"
    labels: tuple[str, ...] = ()
    opinions: tuple[Said, ...] = ()


@dataclass(slots=True)
class Delta:
    """What came to be different, by the exchange's own key."""

    #: In their order. None for what was withdrawn, or has no signal that can be matched (any more).
    updates: dict[str, Entry | None] = field(default_factory=dict)
    #: How far that leads; None for where it was before.
    position: Position | None = None
    #: Records that could not be read, and why; and what their refs would be.
    faults: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)
    #: How many records have no signal of a type that can be matched.
    others: int = 0

    def put(self, key: str, entry: Entry | None) -> None:
        """Note an update; what comes last counts."""
        if entry is not None and not entry.hashes:
            self.others += 1
            entry = None
        for said in entry.opinions if entry else ():
            if fault := text_fault(said.owner, "owner"):
                self.skip(key, fault)
                return
        ref = ref_of(key)
        self.updates.pop(ref, None)
        self.updates[ref] = entry

    def skip(self, key: str, reason: object) -> None:
        """Note a record that cannot be read: what was known under its key stays."""
        self.skipped.append(ref_of(key))
        self.faults.append(f"{key}: {reason}"[:_FAULT_CHARACTERS])


class StalePosition(ValueError):
    """The exchange no longer knows what came after a position: it is to be read from the start."""


class Exchange(Protocol):
    """Something that can be followed."""

    @property
    def whole(self) -> bool:
        """Whether each fetch gives all there is, so that what it lacks is withdrawn."""

    @property
    def secrets(self) -> tuple[str, ...]:
        """Texts that must not be shown or stored."""

    def is_stale(self, position: Position) -> bool:
        """Whether too much time has passed to go on from there."""

    def progress(self, position: Position) -> datetime | None:
        """The time up to which the exchange was followed, if a position tells it. In UTC."""

    def fetch(self, position: Position | None) -> Iterator[Delta]:
        """What came after a position, or all; it ends where there is no more. Any error may come
        out, after which what came before it stands.
        """


def ref_of(key: str) -> str:
    """An exchange's key as a ref. One that is too long, such as a whole video's frames, stands for
    itself by its digest.
    """
    if key and text_fault(key, "key") is None:
        return key
    return f"sha256:{hashlib.sha256(key.encode('utf-8', 'surrogatepass')).hexdigest()}"


def hash_of(hash_type: str, text: object, quality: int | None = None) -> Hash:
    """A signal from its hex, in either case. ValueError says what is wrong with it."""
    if not isinstance(text, str):
        raise ValueError(f"hash is no text but {type(text).__name__}")
    fault = hex_fault(text, HASH_TYPES[hash_type])
    if fault:
        raise ValueError(fault)
    return Hash(hash_type, text.lower(), quality)
