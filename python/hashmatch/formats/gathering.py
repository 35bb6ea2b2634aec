"""Records, one after another, gathered into blocks and removals.

Lists mix types, contributors and kinds from record to record, where a block has one of each. So
records are held, sorted by what they have in common, and given out some ten thousand at a time. The
order of an item's records counts, as one may remove what another adds: one record of each item is
held at most, and is given out before the next one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from hashmatch.formats.model import Block, Part, Removal, Source
from hashmatch.hash_types import HASH_TYPES
from hashmatch.vocabulary import Kind, Opinion

#: Signals and bytes, about, that are held before they are given out. An item is held whole.
_HELD_SIGNALS = 32_768
_HELD_BYTES = 16 << 20
#: What a signal or a removal takes besides its texts.
_SIGNAL_BYTES = 256


class Hash(NamedTuple):
    """One hash of an item, as a record gives it."""

    #: That of the record, from 0.
    row: int
    hash_type: str
    code: bytes
    quality: int | None = None
    time_ms: int | None = None
    columns: Mapping[str, str] = {}


#: Type, contributor, kind; whether there are no refs, no labels; the columns.
_Common = tuple[str, str | None, Kind, bool, bool, tuple[str, ...]]


@dataclass(slots=True)
class _Bucket:
    """Held signals of a block; refs and labels where there are such."""

    hashes: list[Hash] = field(default_factory=list)
    refs: list[str] = field(default_factory=list)
    labels: list[Sequence[str]] = field(default_factory=list)

    def block(self, common: _Common, opinions: Sequence[Opinion]) -> Block:
        hash_type, contributor, kind, without_refs, without_labels, names = common
        rows, _, codes, quality, time_ms, columns = zip(*self.hashes, strict=True)
        width = HASH_TYPES[hash_type].width
        return Block(
            hash_type,
            np.frombuffer(b"".join(codes), np.uint8).reshape(len(codes), width),
            np.array(rows, np.int64),
            None if without_refs else self.refs,
            None if without_labels else self.labels,
            contributor,
            kind,
            _or_none(quality),
            _or_none(time_ms),
            opinions,
            {name: [texts.get(name, "") for texts in columns] for name in names},
        )


class Gathering:
    """Takes items and removals in the list's order, and gives parts that come to the same.

    for ... in ...:
        gathering.item(...)
        if gathering.ready:
            yield from gathering.take()
    yield from gathering.rest()
    """

    def __init__(self, source: Source) -> None:
        #: Parts to be given out before anything else is added.
        self.ready: list[Part] = []
        #: The type of the only blocks that are wanted; None for all.
        self._wanted = source.options.hash_type
        self._buckets: dict[_Common, _Bucket] = {}
        self._removed: dict[str | None, tuple[list[str], list[int]]] = {}
        #: By ref and contributor, as a later one takes the place of an earlier one; and the block
        #: that it goes with.
        self._opinions: dict[tuple[str, str], tuple[_Common | None, Opinion]] = {}
        #: Contributor and ref of what is held.
        self._items: set[tuple[str | None, str]] = set()
        #: Whether the items held are the owner's, who may be named in other records.
        self._owners = False
        self._signals = 0
        self._bytes = 0

    def item(
        self,
        ref: str | None,
        hashes: Sequence[Hash],
        *,
        contributor: str | None = None,
        kind: Kind = "image",
        labels: Sequence[str] | None = None,
        opinions: Sequence[Opinion] = (),
    ) -> None:
        """Add an item, its hashes in the list's order; opinions may be on others too."""
        if ref is not None and hashes:
            self._hold(contributor, ref)
        common = None
        if len(hashes) == 1:
            common = self._put(ref, hashes, contributor, kind, labels)
        elif hashes:
            # Those of one type go into one bucket, and beside each other.
            for name in dict.fromkeys([each.hash_type for each in hashes]):
                of_type = [each for each in hashes if each.hash_type == name]
                put = self._put(ref, of_type, contributor, kind, labels)
                if common is None or name == self._wanted:
                    common = put
        for opinion in opinions:
            self._opinions[opinion.ref, opinion.contributor] = common, opinion
            self._bytes += _SIGNAL_BYTES + sum(map(len, opinion.labels))
        if self._signals >= _HELD_SIGNALS or self._bytes >= _HELD_BYTES:
            self._give_out()

    def remove(self, row: int, ref: str, contributor: str | None = None) -> None:
        """Remove an item."""
        self._hold(contributor, ref)
        refs, rows = self._removed.setdefault(contributor, ([], []))
        refs.append(ref)
        rows.append(row)
        self._bytes += _SIGNAL_BYTES + len(ref)
        if self._bytes >= _HELD_BYTES:
            self._give_out()

    def take(self) -> list[Part]:
        """What is ready."""
        ready, self.ready = self.ready, []
        return ready

    def rest(self) -> Iterator[Part]:
        """What is left at the end."""
        self._give_out()
        yield from self.take()

    def _hold(self, contributor: str | None, ref: str) -> None:
        """Hold this item, after another record of it has been given out."""
        item = (contributor, ref)
        owners = contributor is None
        if item in self._items or (owners is not self._owners and self._items):
            self._give_out()
        self._owners = owners
        self._items.add(item)

    def _put(
        self,
        ref: str | None,
        hashes: Sequence[Hash],
        contributor: str | None,
        kind: Kind,
        labels: Sequence[str] | None,
    ) -> _Common:
        """Put an item's hashes of one type into their bucket."""
        columns = hashes[0].columns
        names = tuple(columns)
        size = sum(map(len, columns.values()))
        for each in hashes:
            if each.columns is not columns:  # Mostly the hashes of an item have the same.
                columns = each.columns
                names = tuple(dict.fromkeys((*names, *columns)))
                size += sum(map(len, columns.values()))
        common = (hashes[0].hash_type, contributor, kind, ref is None, labels is None, names)
        bucket = self._buckets.get(common)
        if bucket is None:
            bucket = self._buckets[common] = _Bucket()
        bucket.hashes += hashes
        if ref is not None:
            bucket.refs += [ref] * len(hashes)
            size += len(ref)
        if labels is not None:
            bucket.labels += [labels] * len(hashes)
            size += sum(map(len, labels))
        self._signals += len(hashes)
        self._bytes += _SIGNAL_BYTES * len(hashes) + size
        return common

    def _give_out(self) -> None:
        """Make parts of all that is held."""
        opinions: dict[_Common | None, list[Opinion]] = {}
        for common, opinion in self._opinions.values():
            opinions.setdefault(common, []).append(opinion)
        for held, bucket in self._buckets.items():
            self.ready.append(bucket.block(held, opinions.pop(held, ())))
        for alone in opinions.values():
            hash_type = self._wanted or "pdq"
            codes = np.empty((0, HASH_TYPES[hash_type].width), np.uint8)
            self.ready.append(Block(hash_type, codes, np.empty(0, np.int64), [], opinions=alone))
        for contributor, (refs, rows) in self._removed.items():
            self.ready.append(Removal(refs, np.array(rows, np.int64), contributor))
        self._buckets, self._removed, self._opinions, self._items = {}, {}, {}, set()
        self._signals = self._bytes = 0


def _or_none(numbers: tuple[int | None, ...]) -> list[int | None] | None:
    return None if numbers.count(None) == len(numbers) else list(numbers)
