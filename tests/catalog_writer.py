"""Writes to a catalog until it is killed, and says each time what has been acknowledged.

python catalog_writer.py FOLDER changes | load
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterator
from pathlib import Path

from catalog_model import Item, Model
from hashmatch.database.catalog import Catalog
from hashmatch.database.changes import Change
from hashmatch.database.model import Batch
from oracle import random_codes

SET = "a"
ROWS = 40


def change_number(change: Change, number: int) -> None:
    """The change that makes generation `number`: it adds, updates, restores and removes."""
    codes = random_codes(ROWS, 256, number)
    change.add("pdq", codes, refs=[f"{number % 7} {row}" for row in range(ROWS)])
    change.remove(refs=[f"{(number + 3) % 7} {row}" for row in range(ROWS // 2)])
    change.opinion(f"{number % 7} 1", contributor="q", verdict="negative")
    change.checkpoint = str(number)


def model_after(generations: int) -> Model:
    """What is there after the changes up to that one."""
    model = Model()
    for number in range(1, generations + 1):
        codes = random_codes(ROWS, 256, number)
        for row in range(ROWS):
            signal = (codes[row].tobytes(), None, None)
            model.items[SET, "", f"{number % 7} {row}"] = Item("image", [], {"pdq": [signal]})
        for row in range(ROWS // 2):
            model.items.pop((SET, "", f"{(number + 3) % 7} {row}"), None)
        model.opinions[SET, f"{number % 7} 1", "q"] = ("negative", [])
        model.checkpoints[SET] = str(number)
    return model


def endless_batches() -> Iterator[Batch]:
    for number in itertools.count():
        refs = [f"{row} of {number}" for row in range(5_000)]
        yield Batch("pdq", random_codes(len(refs), 256, number), refs)


def main() -> None:
    folder, what = sys.argv[1:]
    catalog = Catalog.open(Path(folder), "r+")
    if what == "load":
        catalog.create_set(f"load {len(catalog.sets())}", "", {})
        name = catalog.sets()[-1].name
        catalog.load(name, endless_batches(), progress=lambda done, _: print(done, flush=True))
    while True:
        generation = catalog.generation()
        print(generation, flush=True)
        with catalog.change(SET) as change:
            change_number(change, generation + 1)


if __name__ == "__main__":
    main()
