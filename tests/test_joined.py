"""What the catalog says of few signals is found one by one, and is the same as for many."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from databases import filled
from hashmatch import FormatError
from hashmatch.database import snapshot
from hashmatch.database.packing import Signals, detail, pack_runs
from hashmatch.vocabulary import Kind
from mutation import mutants
from oracle import random_codes


def _plain(joined: Any) -> dict[str, Any]:
    columns = dataclasses.asdict(joined)
    return {
        name: (column.dtype, column.tolist()) if isinstance(column, np.ndarray) else column
        for name, column in columns.items()
    }


def test_few_are_joined_as_many_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database, _ = filled(tmp_path)
    with database.change("films") as change:
        sizes: dict[Kind, int] = {"video": 40, "image": 1}
        for kind, rows in sizes.items():
            some = [None, *range(1, rows)]
            for name, bits, quality, time_ms in (
                ("pdq", 256, some, None), ("phash", 64, None, some), ("md5", 128, some, some),
                ("sha1", 160, None, None),
            ):  # fmt: skip
                change.add(name, random_codes(rows, bits), refs=[f"{kind} ref"] * rows, kind=kind,
                           quality=quality, time_ms=time_ms)  # fmt: skip
    with database._snapshot() as catalog:
        ids = np.arange(catalog.end_signal(), dtype=np.uint64)
        monkeypatch.setattr(snapshot, "_FEW", 0)
        many = _plain(catalog.join(ids))
        none = _plain(catalog.join([]))
        monkeypatch.setattr(snapshot, "_FEW", len(ids))
        assert _plain(catalog.join(ids)) == many
        assert _plain(catalog.join([])) == none
        assert _plain(catalog.join(ids[5:4:-1]))["ids"] == (np.dtype(np.uint64), [5])
    assert len(ids) > 200 and len(set(many["hash_types"])) == 4
    database.close()


def test_damaged_signals() -> None:
    """Either way finds the same, or that the item is damaged."""
    codes = random_codes(4, 128)
    numbers = np.array([5, -1, 7, 9])
    blob = b"".join(
        pack_runs(number, codes[:, :width], quality, time_ms, np.array([4]))[0]
        for number, width, quality, time_ms in (
            (2, 8, None, numbers), (3, 8, numbers, None), (7, 16, numbers, numbers),
        )
    )  # fmt: skip
    found = damaged = 0
    for mutant in [blob, *mutants(blob, 3_000, 3)]:
        for place in (0, 3, 4, 9, 11, 12):
            try:
                details = Signals.of([mutant], np.array([77])).details(
                    np.array([0]), np.array([place])
                )
            except FormatError as error:
                with pytest.raises(FormatError, match=str(error)):
                    detail(mutant, place, 77)
                damaged += 1
                continue
            found += 1
            one = detail(mutant, place, 77)
            assert one == (
                details.types[0], details.quality[0], details.time_ms[0], details.codes[0]
            )  # fmt: skip
    assert found > 2_000 and damaged > 2_000
