"""What a catalog must hold: plain dicts, changed one step at a time, and nothing clever."""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field

import numpy as np

from hashmatch.database.model import Counts, verdicts_of
from hashmatch.database.packing import TYPE_NUMBERS
from hashmatch.database.snapshot import Snapshot
from hashmatch.hash_types import HASH_TYPES
from hashmatch.vocabulary import VERDICT_BITS

#: Code, quality, time.
Signal = tuple[bytes, int | None, int | None]
#: Set, contributor, ref.
Key = tuple[str, str, str]
#: A row to add: ref, signal, labels.
AddedRow = tuple[str, Signal, list[str]]


@dataclass
class Item:
    kind: str
    labels: list[str]
    signals: dict[str, list[Signal]]


@dataclass
class Model:
    items: dict[Key, Item] = field(default_factory=dict)
    #: Set, ref, contributor to verdict and labels.
    opinions: dict[Key, tuple[str, list[str]]] = field(default_factory=dict)
    checkpoints: dict[str, str] = field(default_factory=dict)

    def copy(self) -> Model:
        return deepcopy(self)

    def add(
        self,
        counts: Counts,
        set_name: str,
        contributor: str,
        hash_type: str,
        rows: Sequence[AddedRow],
        kind: str,
        with_labels: bool,
    ) -> None:
        for ref in dict.fromkeys(ref for ref, _, _ in rows):
            signals = [signal for other, signal, _ in rows if other == ref]
            labels = [label for other, _, labels in rows if other == ref for label in labels]
            key = (set_name, contributor, ref)
            before = self.items.get(key)
            if before is None:
                labels = list(dict.fromkeys(labels)) if with_labels else []
                self.items[key] = Item(kind, labels, {hash_type: signals})
                counts.added += 1
                continue
            labels = list(dict.fromkeys(labels)) if with_labels else before.labels
            after = Item(kind, labels, {**before.signals, hash_type: signals})
            self.items[key] = after
            if after == before:
                counts.unchanged += 1
            else:
                counts.updated += 1

    def remove(self, counts: Counts, set_name: str, contributor: str, refs: Sequence[str]) -> None:
        for row, ref in enumerate(refs):
            if self.items.pop((set_name, contributor, ref), None) is None:
                counts.rejected.append((row, f"no item {ref!r} to remove"))
            else:
                counts.removed += 1

    def opinion(
        self,
        counts: Counts,
        set_name: str,
        ref: str,
        contributor: str,
        verdict: str,
        labels: list[str],
    ) -> None:
        key = (set_name, ref, contributor)
        if self.opinions.get(key) == (verdict, labels):
            counts.unchanged += 1
        else:
            self.opinions[key] = (verdict, labels)
            counts.opinions += 1

    def verdicts(self, key: Key) -> tuple[str, ...]:
        held = {
            verdict
            for (set_name, ref, _), (verdict, _) in self.opinions.items()
            if (set_name, ref) == (key[0], key[2])
        }
        return tuple(verdict for verdict in VERDICT_BITS if verdict in held)


def live_ids(snapshot: Snapshot, first: int = 0) -> dict[str, dict[int, bytes]]:
    """The codes of live signals by type and id."""
    live: dict[str, dict[int, bytes]] = {}
    for hash_type in TYPE_NUMBERS:
        codes: dict[int, bytes] = {}
        for block, ids in snapshot.live_signals(hash_type, first):
            assert block.shape == (len(ids), HASH_TYPES[hash_type].width)
            assert ids.dtype == np.uint64
            assert (np.diff(ids.astype(np.int64)) > 0).all()
            assert not codes or max(codes) < ids[0]
            codes.update(zip(ids.tolist(), map(bytes, block), strict=True))
        live[hash_type] = codes
    return live


def contents(snapshot: Snapshot) -> dict[Key, tuple[Item, tuple[str, ...]]]:
    """Live items and the verdicts on them, gathered from all that a snapshot can tell."""
    live = live_ids(snapshot)
    codes = {id: code for codes in live.values() for id, code in codes.items()}
    joined = snapshot.join(np.array(list(codes), np.uint64))
    assert joined.ids.tolist() == sorted(codes)
    firsts, numbers = snapshot.blocks()
    names = {record.number: record.name for record in snapshot.sets()}
    found: dict[Key, tuple[Item, tuple[str, ...]]] = {}
    masks = dict.fromkeys(joined.firsts.tolist(), 0)
    for row, id in enumerate(joined.ids.tolist()):
        owner = names[int(numbers[np.searchsorted(firsts, id, "right") - 1])]
        assert joined.sets[row] == owner
        key = (joined.sets[row], joined.contributors[row], joined.refs[row])
        mask = int(joined.verdicts[row])
        item, _ = found.setdefault(
            key, (Item(joined.kinds[row], joined.labels(row), {}), verdicts_of(mask))
        )
        hash_type = joined.hash_types[row]
        assert id in live[hash_type]
        quality, time_ms = int(joined.quality[row]), int(joined.time_ms[row])
        signal = (
            codes[id],
            None if quality < 0 else quality,
            None if time_ms < 0 else time_ms,
        )
        item.signals.setdefault(hash_type, []).append(signal)
        masks[int(joined.firsts[row])] = mask
    given_firsts, _, given_masks = snapshot.verdicts()
    given = dict(zip(given_firsts.tolist(), given_masks.tolist(), strict=True))
    assert given == {first: mask for first, mask in masks.items() if mask}
    return found


def assert_holds(snapshot: Snapshot, model: Model) -> None:
    """The snapshot shows exactly what the model has."""
    wanted = {key: (item, model.verdicts(key)) for key, item in model.items.items()}
    assert contents(snapshot) == wanted
    for record in snapshot.sets():
        items = [item for key, item in model.items.items() if key[0] == record.name]
        signals = sum(len(run) for item in items for run in item.signals.values())
        assert (record.items, record.signals) == (len(items), signals)
        assert record.checkpoint == model.checkpoints.get(record.name, "")
