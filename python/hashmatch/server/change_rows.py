"""Rows of a change as it was sent, made into what `Change` takes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import orjson

from hashmatch.codes import hex_fault
from hashmatch.database import Batch, Change
from hashmatch.database.model import Removal as Refs
from hashmatch.hash_types import HASH_TYPES
from hashmatch.server.change_bodies import Add, Changed, Rejected, Removal, Said, SetChange
from hashmatch.server.problems import Problem
from hashmatch.vocabulary import MAX_QUALITY, MAX_TIME_MS, Kind, ref_faults, text_fault


class _Item(NamedTuple):
    """Whose it is, None for the set's owner, and its ref."""

    contributor: str | None
    ref: str


class _Group(NamedTuple):
    """Adds of such are one batch."""

    type: str
    contributor: str | None
    kind: Kind
    labelled: bool


def make_changes(change: Change, set: str, bodies: Sequence[SetChange], several: bool) -> str:
    """Make the changes of a body, in order, and return the answer. Problem names a bad row."""
    rejected: list[Rejected] = []
    for number, body in enumerate(bodies):
        rows = _Rows(change, f"{number}." if several else "", body.on_error == "skip")
        rows.add(body.adds)
        rows.remove(body.removals)
        rows.say(body.opinions)
        if body.checkpoint is not None:
            change.checkpoint = body.checkpoint
        rejected += rows.rejected
    counts = change.counts
    answer = Changed(
        generation=change.generation,
        set=set,
        added=counts.added,
        updated=counts.updated,
        removed=counts.removed,
        unchanged=counts.unchanged,
        opinions=counts.opinions,
        rejected=rejected,
    )
    return orjson.dumps(answer.model_dump()).decode()


class _Rows:
    """The rows of one object of a body."""

    def __init__(self, change: Change, prefix: str, skip: bool) -> None:
        self._change = change
        self._prefix = prefix
        self._skip = skip
        self.rejected: list[Rejected] = []

    def add(self, adds: Sequence[Add]) -> None:
        good = self._left("adds", len(adds), _add_faults(adds))
        items = [_Item(self._named(adds[row].contributor), adds[row].ref) for row in good]
        good, items = self._of_one_kind(adds, good, items)
        labels: dict[_Item, dict[str, None]] = {}
        for row, item in zip(good, items, strict=True):
            if (given := adds[row].labels) is not None:
                labels.setdefault(item, {}).update(dict.fromkeys(given))
        groups: defaultdict[_Group, list[int]] = defaultdict(list)
        for place, (row, item) in enumerate(zip(good, items, strict=True)):
            add = adds[row]
            groups[_Group(add.type, item.contributor, add.kind, item in labels)].append(place)
        for group, places in groups.items():
            rows = [adds[good[place]] for place in places]
            self._change.put(
                Batch(
                    group.type,
                    [add.hash for add in rows],
                    [add.ref for add in rows],
                    [list(labels[items[place]]) for place in places] if group.labelled else None,
                    group.contributor,
                    group.kind,
                    [add.quality for add in rows],
                    [add.time_ms for add in rows],
                )
            )

    def remove(self, removals: Sequence[Removal]) -> None:
        faults = _text_faults(removals)
        by_contributor: defaultdict[str | None, list[int]] = defaultdict(list)
        for row in self._left("removals", len(removals), faults):
            by_contributor[self._named(removals[row].contributor)].append(row)
        counts = self._change.counts
        for contributor, rows in by_contributor.items():
            before = len(counts.rejected)
            self._change.take_out(Refs([removals[row].ref for row in rows], contributor))
            for place, reason in counts.rejected[before:]:
                row = rows[place]
                self.rejected.append(self._rejected("removals", row, "ref", reason))

    def say(self, opinions: Sequence[Said]) -> None:
        for row in self._left("opinions", len(opinions), _text_faults(opinions)):
            said = opinions[row]
            self._change.opinion(
                said.ref, contributor=said.contributor, verdict=said.verdict, labels=said.labels
            )

    def _named(self, contributor: str | None) -> str | None:
        """None for the set's owner, also where that is named."""
        if contributor is None:
            return None
        change = self._change
        owner = change.contributor(None)
        return None if change.contributor(contributor) == owner else contributor

    def _of_one_kind(
        self, adds: Sequence[Add], good: Sequence[int], items: Sequence[_Item]
    ) -> tuple[list[int], list[_Item]]:
        """Those whose kind is that of their item's first, and the items of these."""
        kinds: dict[_Item, Kind] = {}
        faults = []
        for row, item in zip(good, items, strict=True):
            kind = adds[row].kind
            if kinds.setdefault(item, kind) != kind:
                reason = f"is {kind!r}, but {kinds[item]!r} in an earlier row of the item"
                faults.append((row, ("kind", reason)))
        if not faults:
            return list(good), list(items)
        self._left("adds", 0, iter(faults))
        bad = {row for row, _ in faults}
        kept = [place for place, row in enumerate(good) if row not in bad]
        return [good[place] for place in kept], [items[place] for place in kept]

    def _left(self, part: str, rows: int, faults: Iterator[_RowFault]) -> list[int]:
        """The rows without a fault. Problem for the first that has one, unless they are skipped."""
        bad: dict[int, Rejected] = {}
        for row, (member, reason) in faults:
            if row not in bad:
                bad[row] = self._rejected(part, row, member, reason)
        if bad and not self._skip:
            first = bad[min(bad)]
            raise Problem(
                400,
                f'{first.field}: {first.reason} ("on_error": "skip" leaves bad rows out)',
                field=first.field,
                row=first.row,
            )
        for row in sorted(bad):
            self.rejected.append(bad[row])
            self._change.counts.rejected.append((row, bad[row].reason))
        return [row for row in range(rows) if row not in bad]

    def _rejected(self, part: str, row: int, member: str, reason: str) -> Rejected:
        return Rejected(row=row, field=f"{self._prefix}{part}.{row}.{member}", reason=reason)


#: A row, the member that is wrong, and what is wrong with it.
_RowFault = tuple[int, tuple[str, str]]


def _add_faults(adds: Sequence[Add]) -> Iterator[_RowFault]:
    yield from _text_faults(adds)
    for row, add in enumerate(adds):
        if fault := hex_fault(add.hash, HASH_TYPES[add.type]):
            yield row, ("hash", fault)
        for name, value, top in (
            ("quality", add.quality, MAX_QUALITY),
            ("time_ms", add.time_ms, MAX_TIME_MS),
        ):
            if value is not None and not 0 <= value <= top:
                yield row, (name, f"{name} is not in 0..{top:,}")


def _text_faults(rows: Sequence[Add | Removal | Said]) -> Iterator[_RowFault]:
    for row, reason in ref_faults([each.ref for each in rows]):
        yield row, ("ref", reason)
    bad: dict[str, str | None] = {}
    for row, each in enumerate(rows):
        name = each.contributor
        if name is None:
            continue
        if name not in bad:
            bad[name] = text_fault(name, "contributor")
        if reason_ := bad[name]:
            yield row, ("contributor", reason_)
