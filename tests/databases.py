"""A database of three sets for tests, and the model of what it holds."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import hashmatch
from database_model import (
    Model,
    Step,
    make,
    random_steps,
)
from hashmatch import Database

SETS: dict[str, tuple[str, dict[str, int]]] = {
    "films": ("studio", {"phash": 3, "pdq": 12}),
    "pictures": ("agency", {}),
    "empty": ("agency", {"phash": 64}),
}


def filled(path: Path, changes: int = 12) -> tuple[Database, Model]:
    """A database of three sets after some changes, and its model."""
    database, model = hashmatch.open(path, "c"), Model(dict(SETS))
    for name, (owner, max_distance) in SETS.items():
        database.create(name, contributor=owner, max_distance=max_distance)
    for seed in range(changes):
        changed(database, model, ("films", "pictures")[seed % 2], random_steps(seed))
    return database, model


def changed(database: Database, model: Model, name: str, steps: Sequence[Step]) -> None:
    with database.change(name) as change:
        make(change, steps)
    model.make(name, steps)


def wait_until(done: Any, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not done():
        assert time.monotonic() < end, "it did not come to pass"
        time.sleep(0.01)
