"""A database's answers against brute force; its changes, arguments and errors."""

from __future__ import annotations

import os
import pickle
import random
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

import hashmatch
from database_model import (
    TYPES,
    VERDICTS,
    Add,
    Opinion,
    Remove,
    Step,
    answers,
    assert_equal,
    codes_near,
    make,
    random_steps,
)
from databases import changed, filled
from hashmatch.database import Batch
from hashmatch.hash_types import HASH_TYPES
from oracle import flipped, random_codes

# Answers.


@pytest.mark.parametrize("folded", ["in no segment", "in one each", "in one and a gap"])
def test_filters(tmp_path: Path, folded: str) -> None:
    database, model = filled(tmp_path, 30)
    if folded != "in no segment":
        database.compact()
    if folded == "in one and a gap":
        for seed in range(50, 60):
            changed(database, model, "films", random_steps(seed))
    chance = random.Random(1)
    found = 0
    for turn in range(150):
        hash_type = TYPES[turn % 4]
        queries = codes_near(hash_type, chance.choice([1, 9]), turn)
        given: dict[str, Any] = {
            "sets": chance.choice([None, [], ["films"], ["pictures", "films"], ["empty"]]),
            "max_distance": chance.choice([None, 0, 3, 12, HASH_TYPES[hash_type].bits]),
            "verdicts": chance.choice(
                [None, [], ["none"], ["positive"], ["none", "negative"], [*VERDICTS]]
            ),
        }
        matches = database.match(hash_type, queries, threads=turn % 3, **given)
        assert answers(matches) == model.answer(hash_type, queries, **given)
        found += len(matches)
        # A limit keeps the first of what the filters leave.
        limit = chance.choice([1, 2, 5, 1000])
        limited = database.match(hash_type, queries, limit=limit, **given)
        for query in range(len(queries)):
            assert limited[query] == matches[query][:limit]
    assert found > 1000
    database.close()


def test_each_set_has_its_own_distance(tmp_path: Path) -> None:
    database = hashmatch.open(tmp_path, "c")
    centre = random_codes(1, 64)[0]
    for name, bits in (("narrow", 2), ("wide", 40), ("usual", None)):
        database.create(name, max_distance={} if bits is None else {"phash": bits})
        with database.change(name) as change:
            for far in range(65):
                change.add("phash", flipped(centre, far), refs=[f"{far}"])
    found = database.match("phash", centre)
    for name, bits in (("narrow", 2), ("wide", 40), ("usual", 8)):
        assert [m.distance for m in found if m.set == name] == list(range(bits + 1))
    # What lies outside the set does not count for the limit.
    assert {m.set for m in database.match("phash", centre, ["wide"], limit=5)} == {"wide"}
    nearest = database.match("phash", centre, ["wide"], limit=5)
    assert nearest.distance.tolist() == [0, 1, 2, 3, 4]
    assert [record.max_distance["phash"] for record in database.sets()] == [2, 8, 40]
    database.close()


def test_columns(tmp_path: Path) -> None:
    database, model = filled(tmp_path)
    queries = codes_near("pdq", 5, 3)
    matches = database.match("pdq", queries, max_distance=20)
    rows = matches.to_list()
    assert len(rows) == len(matches) > 10
    assert (matches.queries, matches.generation) == (5, model.generation)
    assert [row for query in range(5) for row in matches[query]] == rows
    assert matches[-1] == matches[4]
    with pytest.raises(IndexError):
        matches[5]
    columns = ("query", "signal", "distance", "ref", "set", "contributor", "labels", "verdicts")
    for name in columns:
        column = getattr(matches, name)
        assert list(column) == [getattr(row, name) for row in rows]
    assert matches.id is matches.signal
    table = matches.to_arrow()
    assert tuple(table.column_names) == columns
    for name in columns[:-1]:
        assert table[name].to_pylist() == [getattr(row, name) for row in rows]
    assert table["verdicts"].to_pylist() == [list(row.verdicts) for row in rows]
    nothing = database.match("pdq", queries, [])
    assert (len(nothing), nothing.ref, nothing.verdicts, nothing.to_list()) == (0, [], [], [])
    assert nothing.to_arrow().schema == table.schema
    assert len(database.match("pdq", np.empty((0, 32), np.uint8))) == 0
    with pytest.raises(TypeError, match="to_list"):
        pickle.dumps(matches)
    assert "generation 12" in repr(matches)
    database.close()


def test_what_was_found_is_still_known_when_it_is_withdrawn(tmp_path: Path) -> None:
    database, model = filled(tmp_path, 0)
    codes = codes_near("phash", 2, 0, 0)
    first: list[Step] = [Add("phash", None, ["a", "b"], codes, ["old"])]
    changed(database, model, "films", first)
    before = database.match("phash", codes)
    held = database.match("phash", codes)
    assert held.ref[0] in ("a", "b")
    steps: list[Step] = [
        Add("phash", None, ["a"], ~codes[:1], ["new"]),
        Remove(None, ["b"]),
        Opinion("a", "guest", "negative"),
    ]
    changed(database, model, "films", steps)
    for matches in (before, held):
        assert set(matches.ref) == {"a", "b"}
        assert set(matches.set) == {"films"} and set(matches.contributor) == {"studio"}
        assert all(labels == ["old"] for labels in matches.labels)
        assert matches.verdicts == [()] * len(matches)
        assert [match.verdicts for match in matches] == [()] * len(matches)
        assert matches.set_counts() == {"films": len(matches)}
    assert before.generation == 1 and database.generation == 2
    assert [m.ref for m in database.match("phash", codes) if m.ref != "a"] == []
    after = database.match("phash", ~codes[:1])
    assert after.labels == [["new"]] and after.verdicts == [("negative",)]
    database.close()


def test_kinds_of_items(tmp_path: Path) -> None:
    """A video's frames match one by one, beside other hashes of the same item."""
    database = hashmatch.open(tmp_path, "c")
    database.create("films", contributor="studio")
    frames = random_codes(300, 256)
    with database.change("films") as change:
        change.add("pdq", frames, refs=["film"] * 300, kind="video", time_ms=range(0, 3000, 10))
        change.add("md5", random_codes(1, 128), refs=["film"], kind="video", labels=["whole"])
    for _ in range(2):
        assert database.match("pdq", frames).signal.tolist() == list(range(300))
        (match,) = database.match("md5", random_codes(1, 128))
        assert (match.ref, match.labels, match.signal) == ("film", ["whole"], 300)
        database.compact()
    assert database.sets()[0].signals == 301
    database.close()


# Changes.


def test_changes(tmp_path: Path) -> None:
    database, model = filled(tmp_path, 40)
    assert_equal(database, model)
    assert database.check() == []
    # What is there already changes nothing but the generation.
    changed(database, model, "pictures", [s for s in random_steps(39) if isinstance(s, Opinion)])
    name, owner, ref = next(key for key in model.items if key[0] == "films")
    for hash_type, codes in model.items[name, owner, ref].signals.items():
        end = database.match(hash_type, codes).signal.tolist()
        changed(database, model, name, [Add(hash_type, owner, [ref] * len(codes), codes)])
        assert database.match(hash_type, codes).signal.tolist() == end
    # Withdrawn, and put back.
    changed(database, model, name, [Remove(owner, [ref]), *random_steps(77)])
    assert_equal(database, model)
    changed(database, model, name, [Add("pdq", owner, [ref], codes_near("pdq", 1, 5))])
    assert_equal(database, model)
    database.close()
    with hashmatch.open(tmp_path) as reader:
        assert_equal(reader, model)


def test_what_a_change_raises_undoes_it(tmp_path: Path) -> None:
    database, model = filled(tmp_path)
    with pytest.raises(ZeroDivisionError), database.change("films") as change:
        make(change, random_steps(100))
        raise ZeroDivisionError
    with pytest.raises(KeyboardInterrupt), database.change("films") as change:
        make(change, random_steps(101))
        raise KeyboardInterrupt
    assert_equal(database, model)
    with database.change("films") as outer:
        make(outer, random_steps(102))
        # Searches do not wait for a change, nor see one.
        assert_equal(database, model)
        with pytest.raises(RuntimeError, match="end it first"), database.change("pictures"):
            pass
    model.make("films", random_steps(102))
    with pytest.raises(ValueError, match="ended"):
        make(outer, random_steps(103))
    assert_equal(database, model)
    database.close()


def test_load(tmp_path: Path) -> None:
    database, model = filled(tmp_path, 0)
    loaded: list[Add] = []
    for number in range(10):
        refs = [f"ref-{row % 97}" for row in range(number * 100, number * 100 + 100)]
        hash_type = TYPES[number % 4]
        loaded.append(Add(hash_type, None, refs, codes_near(hash_type, 100, number)))
    for name in ("films", "films", "pictures"):
        rows: list[tuple[int, int]] = []
        batches = [Batch(s.hash_type, s.codes, s.refs) for s in loaded]
        database.load(name, batches, progress=lambda *done, rows=rows: rows.append(done))
        assert rows == [(done, 0) for done in range(100, 1001, 100)]
        model.make(name, loaded)
        assert_equal(database, model)
        changed(database, model, name, random_steps(3, refs=97))
        assert_equal(database, model)
    assert database.check() == []
    database.close()


def test_a_load_that_dies_leaves_nothing(tmp_path: Path) -> None:
    database, model = filled(tmp_path)
    before = sorted((tmp_path / "segments").iterdir())

    def batches() -> Any:
        yield Batch("pdq", codes_near("pdq", 100, 1), [f"{row}" for row in range(100)])
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        database.load("films", batches())
    with pytest.raises(ValueError, match="row 100"):
        database.load("films", [Batch("pdq", codes_near("pdq", 101, 1), ["a"] * 100 + ["\0"])])
    with pytest.raises(ZeroDivisionError):
        database.load(
            "films",
            [Batch("pdq", codes_near("pdq", 1, 1), ["a"])],
            progress=lambda done, total: 1 // 0,
        )
    assert_equal(database, model)
    assert sorted((tmp_path / "segments").iterdir()) == before
    database.close()


def test_bad_arguments(tmp_path: Path) -> None:
    database, model = filled(tmp_path)
    query = codes_near("phash", 1, 0)
    bad: list[tuple[type[Exception], str, dict[str, Any]]] = [
        (ValueError, "unknown hash type 'nohash'", {"type": "nohash"}),
        (TypeError, "hash_type", {"type": 5}),
        (ValueError, "no set 'nowhere'; there are: 'empty', 'films'", {"sets": ["nowhere"]}),
        (TypeError, r"\['films'\]", {"sets": "films"}),
        (ValueError, "unknown verdict 'maybe'", {"verdicts": ["maybe"]}),
        (TypeError, r"\['positive'\]", {"verdicts": "positive"}),
        (ValueError, "max_distance", {"max_distance": -1}),
        (ValueError, "max_distance", {"max_distance": 65}),
        (TypeError, "max_distance", {"max_distance": 1.5}),
        (TypeError, "max_distance", {"max_distance": True}),
        (ValueError, "limit", {"limit": 0}),
        (TypeError, "limit", {"limit": "1"}),
        (ValueError, "threads", {"threads": -1}),
        (ValueError, r"phash needs uint8\[n, 8\]", {"codes": random_codes(1, 128)}),
        (ValueError, "phash needs 16", {"codes": "12"}),
        (TypeError, "callable", {"progress": 5, "codes": random_codes(1000, 64)}),
    ]
    for kind, words, given in bad:
        with pytest.raises(kind, match=words):
            database.match(**cast(Any, {"type": "phash", "codes": query} | given))
    for given in ({"name": "films"}, {"name": ""}, {"name": "new", "max_distance": {"phash": 65}}):
        with pytest.raises(ValueError):
            database.create(**cast(Any, given))
    with pytest.raises(ValueError, match="no hash set 'nowhere'"), database.change("nowhere"):
        pass
    with pytest.raises(ValueError, match="no hash set 'nowhere'"):
        database.load("nowhere", [])
    with pytest.raises(ValueError, match="row 1"), database.change("films") as change:
        change.add("phash", random_codes(2, 64), refs=["a", ""])
    with pytest.raises(ValueError, match="verdict"), database.change("films") as change:
        change.opinion("a", contributor="b", verdict=cast(Any, "maybe"))
    with pytest.raises(ValueError, match="on_error"):
        database.load("films", [], on_error=cast(Any, "ignore"))
    for method in (database.compact, database.repair):
        with pytest.raises(ValueError, match="threads"):
            method(threads=-1)
    assert_equal(database, model)
    assert database.check() == []
    database.close()


def test_opening(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match='"r", "r\\+" or "c"'):
        hashmatch.open(tmp_path, cast(Any, "w"))
    for mode in ("r", "r+"):
        with pytest.raises(FileNotFoundError, match=str(tmp_path)):
            hashmatch.open(tmp_path / "nothing", cast(Any, mode))
    assert not (tmp_path / "nothing").exists()
    with hashmatch.open(tmp_path / "a" / "b", "c") as database:
        assert (database.generation, database.sets(), database.path) == (
            0,
            [],
            tmp_path / "a" / "b",
        )
        assert len(database.match("pdq", random_codes(3, 256))) == 0
        with pytest.raises(BlockingIOError, match=str(os.getpid())):
            hashmatch.open(tmp_path / "a" / "b", "r+")
        assert "generation 0" in repr(database)
    assert "closed" in repr(database)
    database.close()
    hashmatch.open(tmp_path / "a" / "b", "r+").close()


def test_closed(tmp_path: Path) -> None:
    database, model = filled(tmp_path)
    matches = database.match("phash", codes_near("phash", 1, 0), max_distance=20)
    assert len(matches)
    database.close()
    for use in (
        lambda: database.generation,
        lambda: database.match("phash", codes_near("phash", 1, 0)),
        database.sets, database.status, database.history, database.refresh, database.check,
        database.compact, database.repair,
        lambda: database.create("more"),
        lambda: database.load("films", []),
        lambda: database.change("films").__enter__(),
        lambda: matches.ref,
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"database was closed"):
            use()
    with hashmatch.open(tmp_path) as reader:
        assert_equal(reader, model)


def test_closed_within_a_change(tmp_path: Path) -> None:
    database, model = filled(tmp_path)
    with pytest.raises(ValueError, match="closed"), database.change("films") as change:
        make(change, random_steps(30))
        database.close()
    with hashmatch.open(tmp_path) as reader:
        assert_equal(reader, model)


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    database, model = filled(tmp_path)
    database.close()
    before = sorted(tmp_path.rglob("*.seg"))
    with hashmatch.open(tmp_path) as reader:
        for use in (
            lambda: reader.create("more"),
            lambda: reader.load("films", []),
            lambda: reader.change("films").__enter__(),
            reader.compact,
            reader.repair,
        ):
            with pytest.raises(PermissionError, match=r"r\+"):
                use()
        assert_equal(reader, model)
        assert reader.check() == []
    assert sorted(tmp_path.rglob("*.seg")) == before
