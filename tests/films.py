"""A database with one set for tests of what can go wrong with it, and a small disk."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

import hashmatch
from database_model import (
    Add,
    Model,
    Step,
    codes_near,
    make,
    random_steps,
)
from hashmatch import Database
from hashmatch.database.catalog import Mode

ROUNDS = int(os.environ.get("HASHMATCH_ROUNDS", "60"))
NOBODY = 65534
MODES: tuple[Mode, ...] = ("r+", "r", "c")


def filled(path: Path, changes: int = 10) -> tuple[Database, Model]:
    database, model = hashmatch.open(path, "c"), Model({"films": ("", {})})
    database.create("films")
    for seed in range(changes):
        changed(database, model, random_steps(seed))
    return database, model


def changed(database: Database, model: Model, steps: Sequence[Step]) -> None:
    with database.change("films") as change:
        make(change, steps)
    model.make("films", steps)


def loaded(seed: int, rows: int = 60) -> Add:
    refs = [f"ref-{row}" for row in range(rows)]
    return Add("pdq", None, refs, codes_near("pdq", rows, seed))


@contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    folder.mkdir()
    made = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(made, capture_output=True).returncode:
        pytest.skip("may not mount a disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)
