"""A hash set as a list that is to be written."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np

from hashmatch.database.model import Item, Signal
from hashmatch.formats.exported import opinions_alone
from hashmatch.formats.model import Block
from hashmatch.vocabulary import (
    Kind,
    Opinion,
)

#: Items and opinions that are written at a time.
_BATCH_ITEMS = 4_096


def export_parts(contents: Iterable[Item | Opinion]) -> Iterator[Block]:
    """The blocks of what `Database.contents` gives. An opinion is in a block that has its ref, or
    else in one without codes.
    """
    each = iter(contents)
    row = 0
    while some := list(islice(each, _BATCH_ITEMS)):
        for block in _exported(some, row):
            row += len(block.rows)
            yield block


def _exported(some: Sequence[Item | Opinion], row: int) -> Iterator[Block]:
    signals: defaultdict[tuple[str, str, Kind], list[tuple[Item, Signal]]] = defaultdict(list)
    others = [each for each in some if isinstance(each, Opinion)]
    for item in some:
        if isinstance(item, Item):
            for signal in item.signals:
                signals[signal.hash_type, item.contributor, item.kind].append((item, signal))
    for (type, contributor, kind), found in signals.items():
        opinions = {item.ref: item.opinions for item, _ in found}
        yield Block(
            type,
            np.frombuffer(b"".join(signal.code for _, signal in found), np.uint8).reshape(
                len(found), -1
            ),
            np.arange(row, row + len(found)),
            [item.ref for item, _ in found],
            [item.labels for item, _ in found],
            contributor,
            kind,
            [signal.quality for _, signal in found],
            [signal.time_ms for _, signal in found],
            [opinion for of_ref in opinions.values() for opinion in of_ref],
        )
        row += len(found)
    if others:
        yield opinions_alone(others)
