"""A database's segments: folded, compacted and built again while it is searched."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import hashmatch
from database_model import (
    TYPES,
    Add,
    Remove,
    Step,
    assert_equal,
    codes_near,
    random_steps,
)
from databases import changed, filled, wait_until
from hashmatch import Database
from hashmatch.database import Batch, folding
from hashmatch.database.engine import Segments
from hashmatch.database.model import SegmentRecord


def test_compact_and_repair(tmp_path: Path) -> None:
    database, model = filled(tmp_path, 20)
    signals = {name: held.signals for name, held in database.status().types.items()}
    for use in (database.compact, database.repair, database.compact):
        use()
        for name, held in database.status().types.items():
            assert (held.segments, held.unfolded, held.signals) == (1, 0, signals[name])
        assert_equal(database, model)
        assert database.check() == []
        assert len(list(tmp_path.rglob("*.seg"))) == len(signals)
        changed(database, model, "films", [])
    database.compact()
    kept = sorted(tmp_path.rglob("*.seg"))
    database.compact()
    assert sorted(tmp_path.rglob("*.seg")) == kept
    # Nothing is left: that is a segment too.
    for name, contributor, ref in list(model.items):
        changed(database, model, name, [Remove(contributor, [ref])])
    database.compact()
    assert_equal(database, model)
    assert database.check() == []
    assert {held.signals for held in database.status().types.values()} == {0}
    database.close()


def test_compacting_leaves_nothing_to_fold(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even ids that are all another type's, of which a fold would make an empty segment."""
    with hashmatch.open(tmp_path, "c") as database:
        database.create("films")
        for kind in ("pdq", "md5"):
            with database.change("films") as change:
                change.add(kind, codes_near(kind, 100, 1), refs=[f"{kind} {n}" for n in range(100)])
            database.compact()
        monkeypatch.setattr(folding, "FOLD_IDS", 60)
        database.compact()
        database.fold()
        held = database.status().types
        assert {name: each.segments for name, each in held.items()} == {"pdq": 1, "md5": 1}


@pytest.mark.parametrize("ask", [Database.check, Database.refresh])
def test_segments_merged_away_while_they_are_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ask: Any
) -> None:
    """However often that happens in a row."""
    database, _ = filled(tmp_path)
    reader = hashmatch.open(tmp_path, "r")
    folds = iter(range(20))
    get = Segments.get

    def get_late(segments: Segments, record: SegmentRecord) -> object:
        if segments.path(record.file).exists() and next(folds, None) is not None:
            with monkeypatch.context() as usual:
                usual.setattr(Segments, "get", get)
                database.repair()
        return get(segments, record)

    database.repair()
    monkeypatch.setattr(Segments, "get", get_late)
    assert ask(reader) in ([], database.generation)
    assert next(folds, None) is None
    database.close()
    reader.close()


def test_signals_in_no_segment_are_counted(tmp_path: Path) -> None:
    database, model = filled(tmp_path, 0)
    codes = codes_near("phash", 10, 0)
    changed(database, model, "films", [Add("phash", None, [f"{row}" for row in range(10)], codes)])
    assert database.status().types["phash"].unfolded == 10
    changed(database, model, "films", [Remove(None, ["3", "4"])])
    assert database.status().types["phash"].unfolded == 8
    database.close()


def test_folds_by_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding, "FOLD_ROWS", 20)
    monkeypatch.setattr(folding, "MAX_SEGMENTS", 2)
    database, model = filled(tmp_path, 40)

    def settled() -> bool:
        assert database.status().trouble is None
        return all(
            held.unfolded < 20 and held.segments <= 2 for held in database.status().types.values()
        )

    wait_until(settled)
    assert_equal(database, model)
    database.close()
    with hashmatch.open(tmp_path) as reader:
        assert any(held.segments for held in reader.status().types.values())
        assert reader.check() == []
        assert_equal(reader, model)


def test_interleaved_types_and_loads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of several types over the same ids, gaps before and after those of a load."""
    monkeypatch.setattr(folding, "FOLD_ROWS", 1 << 40)
    database, model = filled(tmp_path, 3)
    for seed in range(4):
        steps: list[Step] = [
            Add(kind, None, [f"ref-{row}" for row in range(40)], codes_near(kind, 40, seed))
            for kind in TYPES[seed % 2 :]
        ]
        name = ("films", "pictures")[seed % 2]
        database.load(name, [Batch(s.hash_type, s.codes, s.refs) for s in steps])  # type: ignore[union-attr]
        model.make(name, steps)
        for more in range(3):
            changed(database, model, name, random_steps(100 * seed + more, refs=40))
        assert_equal(database, model, seed)
        assert database.check() == []
    assert all(held.segments > 1 for held in database.status().types.values())
    database.close()
    with hashmatch.open(tmp_path) as reader:
        assert_equal(reader, model)
    with hashmatch.open(tmp_path, "r+") as database:
        monkeypatch.setattr(folding, "FOLD_ROWS", 1)
        changed(database, model, "films", random_steps(1))
        wait_until(lambda: all(not t.unfolded for t in database.status().types.values()))
        assert_equal(database, model)
        assert database.check() == []
        database.compact()
        assert_equal(database, model)
