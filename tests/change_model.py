"""Random changes as they are sent over the wire, and what a database must make of them."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from catalog_model import AddedRow, Model
from hashmatch.database import Counts
from hashmatch.hash_types import HASH_TYPES

SETS = ("films", "pictures")
OWNER = "owner"
REFS = ("a", "b", "c", "ä/1", "123", "d e", "0", "'")
TYPES = ("pdq", "md5", "phash")
#: Some codes are those of several items.
CODES = {
    name: [bytes([number * 37 % 256]) * HASH_TYPES[name].width for number in range(6)]
    for name in TYPES
}
#: A change, of a body that may have several.
Document = dict[str, Any]


class Chance:
    """Draws changes."""

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(seed)

    def body(self) -> Document | list[Document]:
        draw = self.draw
        if draw.random() < 0.7:
            return self._change()
        return [self._change() for _ in range(draw.randint(1, 3))]

    def _change(self) -> Document:
        draw = self.draw
        change: Document = {}
        skip = draw.random() < 0.2
        if skip:
            change["on_error"] = "skip"
        if draw.random() < 0.8:
            change["adds"] = [self._add(skip) for _ in range(draw.randint(0, 6))]
        if draw.random() < 0.4:
            change["removals"] = [self._removal() for _ in range(draw.randint(0, 3))]
        if draw.random() < 0.3:
            change["opinions"] = [self._opinion() for _ in range(draw.randint(0, 2))]
        if draw.random() < 0.1:
            change["checkpoint"] = draw.choice(["", "page 7", "é\n"])
        return change

    def _add(self, may_be_bad: bool) -> Document:
        draw = self.draw
        name = draw.choice(TYPES)
        ref = draw.choice(REFS)
        add: Document = {"ref": ref, "type": name, "hash": draw.choice(CODES[name]).hex()}
        # An item is of one kind within a change; whose it is does not matter for that.
        add["kind"] = "video" if ref in "ab" else "image"
        if draw.random() < 0.5:
            add["labels"] = draw.sample(["x", "y", "ß"], draw.randint(0, 2))
        if draw.random() < 0.5:
            add["contributor"] = draw.choice([None, OWNER, "", "other"])
        if draw.random() < 0.3:
            add["quality"] = draw.choice([None, 0, 100])
        if draw.random() < 0.3:
            add["time_ms"] = draw.choice([None, 0, 2**32 - 2])
        if may_be_bad and draw.random() < 0.3:
            add |= draw.choice(BAD)
        return add

    def _removal(self) -> Document | str:
        ref = self.draw.choice(REFS)
        if self.draw.random() < 0.5:
            return ref
        return {"ref": ref, "contributor": self.draw.choice([None, OWNER, "", "other"])}

    def _opinion(self) -> Document:
        return {
            "ref": self.draw.choice(REFS),
            "contributor": self.draw.choice(["p", "q"]),
            "verdict": self.draw.choice(["positive", "negative", "investigate"]),
            "labels": self.draw.sample(["x", "y"], self.draw.randint(0, 2)),
        }


#: Members that make an add a bad row, each by itself.
BAD: tuple[Document, ...] = (
    {"ref": ""},
    {"ref": "a\0"},
    {"ref": "é" * 513},
    {"hash": "0" * 63},
    {"hash": "0x" + "0" * 62},
    {"hash": "0" * 63 + " "},
    {"hash": "\u0660" * 64},
    {"hash": ""},
    {"quality": -1},
    {"quality": 101},
    {"quality": 2**70},
    {"time_ms": 2**32 - 1},
    {"time_ms": -(2**70)},
    {"contributor": "\0"},
)


def is_bad(add: Document) -> bool:
    return any(bad.items() <= add.items() for bad in BAD)


def apply(model: Model, set_name: str, body: Document | list[Document]) -> tuple[Counts, list[str]]:
    """Make the changes of a body. What they did, and the fields that are to be rejected."""
    counts, rejected = Counts(), []
    several = isinstance(body, list)
    for number, change in enumerate(body if isinstance(body, list) else [body]):
        prefix = f"{number}." if several else ""
        for row, add in enumerate(change.get("adds", [])):
            if is_bad(add):
                counts.rejected.append((row, ""))
                rejected.append(f"{prefix}adds.{row}")
        good = [add for add in change.get("adds", []) if not is_bad(add)]
        _add(model, counts, set_name, good)
        removals = [
            {"ref": each} if isinstance(each, str) else each for each in change.get("removals", [])
        ]
        for row, removal in enumerate(removals):
            before = counts.removed
            model.remove(counts, set_name, _name(removal), [removal["ref"]])
            if counts.removed == before:
                rejected.append(f"{prefix}removals.{row}")
        for said in change.get("opinions", []):
            named = (said["ref"], said["contributor"], said["verdict"], said["labels"])
            model.opinion(counts, set_name, *named)
        if "checkpoint" in change:
            model.checkpoints[set_name] = change["checkpoint"]
    return counts, rejected


def _name(row: Document) -> str:
    name = row.get("contributor")
    return OWNER if name is None else str(name)


def _add(model: Model, counts: Counts, set_name: str, adds: Sequence[Document]) -> None:
    labels: dict[tuple[str, str], list[str]] = {}
    for add in adds:
        if add.get("labels") is not None:
            labels.setdefault((_name(add), add["ref"]), []).extend(add["labels"])
    groups: defaultdict[tuple[str, str, str, bool], list[AddedRow]] = defaultdict(list)
    for add in adds:
        item = (_name(add), add["ref"])
        signal = (bytes.fromhex(add["hash"]), add.get("quality"), add.get("time_ms"))
        group = (add["type"], _name(add), add["kind"], item in labels)
        groups[group].append((add["ref"], signal, labels.get(item, [])))
    for (hash_type, contributor, kind, with_labels), rows in groups.items():
        model.add(counts, set_name, contributor, hash_type, rows, kind, with_labels)
