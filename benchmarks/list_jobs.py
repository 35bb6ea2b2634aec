"""The measured work of lists: from a file to an index. On one thread and one core."""

from __future__ import annotations

import csv
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np

import datasets
import hashmatch
from datasets import Codes
from hashmatch.codes import encode_hex
from hashmatch.formats import Block, open_list
from record import Figure
from timing import in_turns, median

#: Columns of a list beside the hash, by the name of the figure.
_LISTS = {
    "column hash": (),
    "columns hash, id, label": ("picture-{row}", "flag {row}"),
    "the same, labels quoted": ("picture-{row}", '"flag, {row}"'),
}
_WRITTEN_ROWS = 100_000


def lists(rows: int) -> Iterator[Figure]:
    """CSV read into an index; the csv module alone, which makes no codes of it, beside that."""
    codes = datasets.make("uniform", rows).codes
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "list.csv"
        for name, beside in _LISTS.items():
            _write(path, codes, beside)
            _require_same(path, codes)
            whole, reading, module = in_turns(
                3,
                [partial(_loaded, path)] * 3,
                [partial(_read, path)] * 3,
                [partial(_by_module, path)] * 3,
            )
            asked = None if "quoted" in name else 1.0
            rates = [rows / median(times) / 1e6 for times in (whole, reading, module)]
            yield Figure(f"CSV, {name}: into an index", rates[0], "M rows/s", at_least=asked)
            yield Figure(f"CSV, {name}: read", rates[1], "M rows/s", "csv.reader", rates[2])


def _write(path: Path, codes: Codes, beside: tuple[str, ...]) -> None:
    with path.open("w") as file:
        file.write(",".join(["hash", "id", "label"][: 1 + len(beside)]) + "\n")
        for begin in range(0, len(codes), _WRITTEN_ROWS):
            for row, digits in enumerate(encode_hex(codes[begin : begin + _WRITTEN_ROWS]), begin):
                fields = (field.format(row=row) for field in beside)
                file.write(",".join([digits, *fields]) + "\n")


def _read(path: Path) -> list[Block]:
    return [part for part in open_list(str(path)) if isinstance(part, Block)]


def _loaded(path: Path) -> hashmatch.Index:
    index = hashmatch.Index("pdq")
    index.add(np.concatenate([block.codes for block in _read(path)]), threads=1)
    return index


def _by_module(path: Path) -> int:
    with path.open(newline="") as file:
        return sum(1 for _ in csv.reader(file))


def _require_same(path: Path, codes: Codes) -> None:
    if not np.array_equal(np.concatenate([block.codes for block in _read(path)]), codes):
        raise AssertionError(f"{path} is not read as it was written")


#: By name, in the order in which they run.
LIST_JOBS: dict[str, Callable[[int], Iterator[Figure]]] = {"lists": lists}
