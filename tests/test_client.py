"""A client of a server: its answers and changes are those of a database used directly."""

from __future__ import annotations

import pickle
import random
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, cast

import numpy as np
import pytest

import hashmatch
from database_model import TYPES, VERDICTS, codes_near, make, random_steps
from databases import SETS
from hashmatch import Database
from hashmatch.database import Batch, Opinion, Removal
from hashmatch.hash_types import HASH_TYPES
from oracle import random_codes
from served import Served, alike, assert_same, served_in


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served_in(tmp_path_factory.mktemp("served")) as served:
        yield served


# Looking up.


def test_lookups_in_every_way(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(1)
    found = 0
    served.database.refresh()
    for turn in range(200):
        monkeypatch.setattr("hashmatch.client.lookups._MOST_CODES", chance.choice([2, 1_000_000]))
        hash_type = TYPES[turn % 4]
        queries = codes_near(hash_type, chance.choice([0, 1, 1, 9]), turn)
        given: dict[str, Any] = {
            "sets": chance.choice(
                [None, None, [], ["films"], ["pictures", "films", "films"], ["empty"]]
            ),
            "max_distance": chance.choice([None, 0, 3, 12, HASH_TYPES[hash_type].bits]),
            "verdicts": chance.choice(
                [None, None, [], ["none"], ["positive"], ["none", "negative"], [*VERDICTS]]
            ),
            "limit": chance.choice([None, 1, 5, 1000]),
        }
        matches = served.client.match(hash_type, queries, **given)
        assert_same(matches, served.database.match(hash_type, queries, **given))
        found += len(matches)
    assert found > 500


def test_codes_in_every_form(served: Served) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    codes = codes_near("phash", 5, 3)
    wanted = served.database.match("phash", codes)
    assert len(wanted)
    for form in (
        [code.tobytes().hex() for code in codes],
        [code.tobytes() for code in codes],
        codes.view(">u8").astype(np.uint64).reshape(-1),
        codes[::-1][::-1],
        list(codes),
        pyarrow.array([code.tobytes() for code in codes], pyarrow.binary(8)),
    ):
        assert_same(served.client.match("phash", form), wanted)
    bits = np.unpackbits(codes, axis=1)
    assert_same(served.client.match("phash", bits, bits=True), wanted)
    one = served.client.match("phash", codes[0].tobytes().hex().upper())
    assert_same(one, served.database.match("phash", codes[0].tobytes()))


@pytest.mark.parametrize(
    ("hash_type", "codes", "given"),
    [
        ("pdqq", [], {}),
        (7, [], {}),
        ("pdq", ["0" * 63], {}),
        ("pdq", ["0" * 64, "x" * 64], {}),
        ("pdq", np.zeros((2, 31), np.uint8), {}),
        ("pdq", None, {}),
        ("pdq", [], {"sets": ["nowhere"]}),
        ("pdq", [], {"sets": "films"}),
        ("pdq", [], {"sets": [5]}),
        ("pdq", [], {"verdicts": ["maybe"]}),
        ("pdq", [], {"verdicts": "positive"}),
        ("pdq", [], {"max_distance": 257}),
        ("pdq", [], {"max_distance": -1}),
        ("pdq", [], {"max_distance": 1.5}),
        ("pdq", [], {"limit": 0}),
        ("pdq", [], {"limit": True}),
    ],
)
def test_errors_are_those_of_a_database(
    served: Served, hash_type: Any, codes: Any, given: dict[str, Any]
) -> None:
    kinds = []
    for each in (served.client, served.database):
        with pytest.raises((TypeError, ValueError)) as caught:
            cast(Database, each).match(hash_type, codes, **given)
        kinds.append(caught.type)
    assert kinds[0] is (ValueError if given == {"sets": [5]} else kinds[1]) or kinds == [
        TypeError, ValueError,
    ]  # fmt: skip


def test_a_client_in_many_threads(served: Served) -> None:
    queries = codes_near("pdq", 9, 5)
    wanted = served.database.match("pdq", queries).to_list()
    faults: list[object] = []

    def ask() -> None:
        for _ in range(20):
            if served.client.match("pdq", queries).to_list() != wanted:
                faults.append("differs")

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not faults


# Reading.


def test_what_there_is(served: Served) -> None:
    client, database = served.client, served.database
    database.refresh()
    assert client.sets() == [replace(record, number=-1) for record in database.sets()]
    shown, held = client.status(), database.status()
    for name in ("generation", "sets", "items", "types", "writer", "trouble", "changed"):
        assert getattr(shown, name) == getattr(held, name)
    assert (shown.workers, shown.read_only, shown.server) == (2, False, served.server.url)
    assert client.generation == database.generation
    for name in SETS:
        assert list(client.contents(name)) == list(database.contents(name))
        assert client.history(name) == database.history(name)
    for ref in (f"ref-{number}" for number in range(30)):
        assert client.history(ref=ref) == database.history(ref=ref)
    assert client.history(limit=2) == database.history(limit=2)
    for ask in (client.history, lambda name: list(client.contents(name))):
        with pytest.raises(ValueError, match="no set 'nowhere'"):
            ask("nowhere")


# Changes.


def test_changes_are_as_made_directly(served: Served) -> None:
    client, twin = served.client, served.twin
    for seed in range(100, 160):
        name = ("films", "pictures")[seed % 2]
        with client.change(name) as change:
            make(cast(Any, change), random_steps(seed))
            change.checkpoint = f"page {seed}"
        with twin.change(name) as wanted:
            make(wanted, random_steps(seed))
            wanted.checkpoint = f"page {seed}"
        assert change.counts == wanted.counts
        assert change.generation == wanted.generation
        # Another process answers than the one that the change was asked of, or the same.
        queries = codes_near("pdq", 3, seed)
        assert_same(client.match("pdq", queries), twin.match("pdq", queries))
    for name in SETS:
        assert list(client.contents(name)) == list(twin.contents(name))
    for ref in ("ref-1", "ref-2", "ref-3"):
        assert alike(client.history(ref=ref)) == alike(twin.history(ref=ref))


def test_rows_of_every_sort(served: Served) -> None:
    codes = random_codes(6, 256)
    given: dict[str, Any] = {
        "refs": ["clip", "b\N{SNOWMAN}", "clip", "", "x" * 1025, "d\0"],
        "kind": "video",
        "quality": np.array([100, 0, 50, 1, 2, 3]),
        "time_ms": [None, 2**32 - 2, 5, 6, 7, 8],
        "labels": [["a"], [], ["b", "a"], ["c"], ["d"], ["\N{SNOWMAN}"]],
        "contributor": "guest",
    }
    for each in (served.client, served.twin):
        with each.change("pictures", on_error="skip") as change:
            change.add("pdq", codes, **given)
            change.add("md5", random_codes(1, 128), refs=["clip"], contributor="guest")
            change.remove(refs=["nobody", "", "b\N{SNOWMAN}", "nobody"], contributor="guest")
            change.remove(refs=["nobody"], missing_ok=True)
            change.opinion("clip", contributor="", verdict="positive", labels=["e"])
            change.opinion("else", contributor="o", verdict="investigate")
        counts = change.counts
        assert [row for row, _ in counts.rejected] == [3, 4, 5, 0, 1, 3]
        assert (counts.added, counts.updated, counts.removed, counts.opinions) == (2, 1, 1, 2)
    first, second = (
        [each for each in database.contents("pictures") if each.ref in ("clip", "else")]
        for database in (served.client, served.twin)
    )
    assert first == second and len(first) == 2


def test_a_bad_row_is_told_where_it_is_given(served: Served) -> None:
    before = served.client.generation
    codes = random_codes(2, 256)
    bad: list[dict[str, Any]] = [
        {"refs": ["a"]},
        {"refs": ["a", ""]},
        {"refs": "ab"},
        {"refs": ["a", "b"], "quality": [1, 101]},
        {"refs": ["a", "b"], "time_ms": [1, -1]},
        {"refs": ["a", "b"], "kind": "picture"},
        {"refs": ["a", "b"], "labels": "x"},
        {"refs": ["a", "b"], "contributor": "\0"},
    ]
    for given in bad:
        with pytest.raises((TypeError, ValueError)), served.client.change("films") as change:
            change.add("pdq", codes, **given)
    with pytest.raises(ValueError, match="verdict"), served.client.change("films") as change:
        change.opinion("a", contributor="b", verdict=cast(Any, "maybe"))
    with pytest.raises(RuntimeError), served.client.change("films") as change:
        change.add("pdq", codes, refs=["a", "b"])
        raise RuntimeError
    with pytest.raises(ValueError, match="has not been made"):
        _ = change.counts
    with pytest.raises(ValueError, match="has ended"):
        change.remove(refs=["a"])
    with pytest.raises(ValueError, match="no set 'nowhere'"), served.client.change("nowhere"):
        pass
    assert served.client.refresh() == before


def test_what_others_change_is_seen_after_a_refresh(served: Served) -> None:
    code = random_codes(1, 256, 77)
    with hashmatch.connect(served.server.url) as other:
        for turn in range(20):
            other.create(f"other-{turn}")
            # Of which of its processes, is not known.
            assert len(other.match("pdq", code, [f"other-{turn}"])) == 0
            with other.change(f"other-{turn}") as change:
                change.add("pdq", code, refs=["r"])
            assert served.client.refresh() == change.generation
            for _ in range(4):
                assert len(served.client.match("pdq", code)) == turn + 1


def test_sets_of_every_name(served: Served) -> None:
    for name in ("..", ".", "a?b=c&d#e%2F", "\N{SNOWMAN} snow", "changes", "x" * 500):
        served.client.create(name, contributor="owner", max_distance={"pdq": 7})
        codes = random_codes(1, 256)
        with served.client.change(name) as change:
            change.add("pdq", codes, refs=["r"])
        (match,) = served.client.match("pdq", codes, [name])
        assert (match.set, match.contributor) == (name, "owner")
        assert [item.ref for item in served.client.contents(name)] == ["r"]
        with pytest.raises(ValueError, match="there is a set"):
            served.client.create(name)


def test_loads_are_cut_between_items(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hashmatch.client.loads._LOAD_ROWS", 7)
    chance = random.Random(2)
    refs = [f"load-{chance.randrange(40)}" for _ in range(100)]
    codes = random_codes(100, 256)
    opinions = [Opinion("load-1", "o", "negative", ["l"])]
    batches: list[Batch | Removal] = [
        Batch("pdq", codes, refs, kind="video", time_ms=list(range(100)), opinions=opinions),
        Removal(["load-3", "nobody", *["load-4"] * 7]),
        Batch("pdq", codes[:3], ["load-3", "", "load-3"], [["x"], [], ["y"]]),
    ]
    told: list[tuple[int, int]] = []
    served.client.create("loaded")
    before = served.client.generation
    counts = served.client.load(
        "loaded", batches, on_error="skip", progress=lambda *done: told.append(done)
    )
    served.twin.create("loaded")
    assert counts == served.twin.load("loaded", batches, on_error="skip")
    assert [row for row, _ in counts.rejected] == [101, *range(103, 109), 110]
    assert list(served.client.contents("loaded")) == list(served.twin.contents("loaded"))
    assert served.client.generation == before + len(told)
    assert len(told) > 5 and told[-1] == (112, 0)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


# Clients themselves.


def test_a_client_is_sent_elsewhere(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    generation = served.client.refresh()
    with pickle.loads(pickle.dumps(served.client)) as again:
        assert repr(again) == f"<hashmatch.Client: {served.server.url}>"
        assert again.generation == generation
    with pytest.raises(ValueError, match="was closed"):
        again.sets()
    again.close()
    with (
        hashmatch.connect(served.server.url, token="mine") as client,
        pytest.raises(TypeError, match="HASHMATCH_TOKEN"),
    ):
        pickle.dumps(client)
    # One of the environment stays there.
    monkeypatch.setenv("HASHMATCH_TOKEN", "a-secret-of-mine")
    with hashmatch.connect(served.server.url) as client:
        assert b"secret" not in pickle.dumps(client)
        assert "secret" not in repr(client)
