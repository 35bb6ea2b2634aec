"""The catalog: what changes do, what is refused, and what is told of it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from catalog_model import contents, live_ids
from hashmatch.database.catalog import Catalog
from hashmatch.database.model import Batch, SegmentRecord, verdicts_of
from hashmatch.database.packing import TYPE_NUMBERS
from hashmatch.hash_types import HASH_TYPES
from hashmatch.vocabulary import VERDICT_BITS
from oracle import random_codes

CODES = random_codes(6, 256)
SURROGATE = "\ud800"


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog.open(tmp_path / "known", "c") as catalog:
        catalog.create_set("a", "owner", {"pdq": 20})
        yield catalog


def refs_of(catalog: Catalog) -> list[str]:
    with catalog.snapshot() as snapshot:
        return sorted(ref for _, _, ref in contents(snapshot))


def add(catalog: Catalog, refs: list[str], **beside: Any) -> None:
    with catalog.change("a") as change:
        change.add("pdq", CODES[: len(refs)], refs=refs, **beside)


# Sets.


def test_sets_in_the_order_of_their_numbers(catalog: Catalog) -> None:
    before = datetime.now(UTC) - timedelta(seconds=1)
    catalog.create_set("ß", "", {"md5": 0, "phash": 12})
    first, second = catalog.sets()
    assert (first.number, first.name, first.contributor) == (0, "a", "owner")
    assert (second.number, second.name, second.contributor) == (1, "ß", "")
    assert (second.items, second.signals, second.checkpoint) == (0, 0, "")
    assert before < second.created == second.changed < datetime.now(UTC)
    # Types that were not given have their usual distance.
    assert first.max_distance["pdq"] == 20 and second.max_distance["pdq"] == 31
    assert second.max_distance["phash"] == 12
    assert catalog.generation() == 0


@pytest.mark.parametrize(
    ("name", "contributor", "distances", "error", "match"),
    [
        ("a", "", {}, ValueError, "has a hash set 'a' already"),
        ("", "", {}, ValueError, "set name is empty"),
        ("a\0b", "", {}, ValueError, "set name has a NUL character"),
        ("é" * 513, "", {}, ValueError, r"set name takes 1,026 bytes, at most 1,024"),
        (SURROGATE, "", {}, ValueError, "no Unicode text"),
        (3, "", {}, ValueError, "set name must be text, not int"),
        ("b", None, {}, ValueError, "contributor must be text"),
        ("b", "", {"pqd": 3}, ValueError, "unknown hash type 'pqd'"),
        ("b", "", {"md5": 129}, ValueError, "max_distance of md5 .* at most 128, not 129"),
        ("b", "", {"md5": 1.0}, TypeError, "max_distance of md5"),
    ],
)
def test_a_bad_set_is_refused(
    catalog: Catalog, name: Any, contributor: Any, distances: Any, error: Any, match: str
) -> None:
    with pytest.raises(error, match=match):
        catalog.create_set(name, contributor, distances)
    assert [record.name for record in catalog.sets()] == ["a"]


# Changes.


def test_forms_of_codes_and_what_stands_beside_them(catalog: Catalog) -> None:
    with catalog.change("a") as change:
        change.add("pdq", CODES[0].tobytes().hex(), refs=["one"], labels=["x", "y"])
        refs: Any = np.array(["n", "m"])
        change.add("phash", [2**64 - 1, 1], refs=refs, labels=[["x"], []])
        change.add(
            "pdq",
            CODES,
            refs=["video"] * 6,
            kind="video",
            quality=np.array([0, 1, 2, 3, 4, 100], np.uint8),
            time_ms=[0, None, 2**32 - 2, 4, 5, 6],
            labels=[["x"], ["y", "x"], [], ["z"], [], []],
        )
    with catalog.snapshot() as snapshot:
        found = {ref: item for (_, _, ref), (item, _) in contents(snapshot).items()}
    assert found["one"].labels == ["x", "y"]
    assert found["n"].labels == ["x"] and found["m"].labels == []
    assert found["n"].signals["phash"] == [(b"\xff" * 8, None, None)]
    assert found["video"].labels == ["x", "y", "z"] and found["video"].kind == "video"
    assert [signal[1] for signal in found["video"].signals["pdq"]] == [0, 1, 2, 3, 4, 100]
    times = [signal[2] for signal in found["video"].signals["pdq"]]
    assert times == [0, None, 2**32 - 2, 4, 5, 6]


def test_one_item_may_have_several_types(catalog: Catalog) -> None:
    for hash_type, codes in (("pdq", CODES[:2]), ("md5", CODES[:2, :16])):
        with catalog.change("a") as change:
            change.add(hash_type, codes, refs=["x", "y"], labels=["l"])
    assert (change.counts.added, change.counts.updated) == (0, 2)
    for hash_type, codes in (("md5", CODES[:2, :16]), ("pdq", CODES[:2])):
        with catalog.change("a") as change:
            change.add(hash_type, codes, refs=["x", "y"])
        assert change.counts.unchanged == 2
    with catalog.change("a") as change:
        change.add("md5", CODES[2:3, :16], refs=["x"])
    with catalog.snapshot() as snapshot:
        ((item, _),) = (found for (_, _, ref), found in contents(snapshot).items() if ref == "x")
    assert item.labels == ["l"]
    assert item.signals == {
        "pdq": [(CODES[0].tobytes(), None, None)],
        "md5": [(CODES[2, :16].tobytes(), None, None)],
    }


def test_empty_labels_take_labels_away(catalog: Catalog) -> None:
    add(catalog, ["x"], labels=["l"])
    add(catalog, ["x"], labels=[])
    with catalog.snapshot() as snapshot:
        ((item, _),) = contents(snapshot).values()
    assert item.labels == []


BAD_REFS = [
    ("", "ref is empty"),
    ("a\0", "ref has a NUL character"),
    ("é" * 513, "ref takes 1,026 bytes"),
    (SURROGATE, "no Unicode text"),
    (None, "ref must be text, not NoneType"),
    (b"x", "ref must be text, not bytes"),
]


@pytest.mark.parametrize(("ref", "reason"), BAD_REFS)
def test_a_bad_ref(catalog: Catalog, ref: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=f"row 1: .*{reason}"), catalog.change("a") as change:
        change.add("pdq", CODES[:3], refs=["x", ref, "y"])
    assert refs_of(catalog) == []
    with catalog.change("a", on_error="skip") as change:
        change.add("pdq", CODES[:3], refs=["x", ref, "y"])
        change.remove(refs=[ref, "y"])
    assert [row for row, _ in change.counts.rejected] == [1, 0]
    assert all(reason in text for _, text in change.counts.rejected)
    assert refs_of(catalog) == ["x"]
    assert catalog.history()[0].rejected == 2


@pytest.mark.parametrize(
    ("beside", "reason"),
    [
        ({"quality": [1, 101, 3]}, "quality is 101, not in 0..100"),
        ({"quality": np.array([1, -1, 3])}, "quality is -1"),
        ({"quality": [None, 2**70, 3]}, f"quality is {2**70}"),
        ({"time_ms": [1, -5, None]}, "time_ms is -5"),
        ({"time_ms": np.array([1, 2**63, 2], np.uint64)}, f"time_ms is {2**63}"),
        ({"time_ms": [1, 2**32 - 1, 2]}, f"time_ms is {2**32 - 1}"),
    ],
)
def test_a_bad_quality_or_time(catalog: Catalog, beside: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=f"row 1: {reason}"), catalog.change("a") as change:
        change.add("pdq", CODES[:3], refs=["x", "y", "x"], **beside)
    with catalog.change("a", on_error="skip") as change:
        change.add("pdq", CODES[:3], refs=["x", "y", "x"], **beside)
    assert [row for row, _ in change.counts.rejected] == [1]
    with catalog.snapshot() as snapshot:
        assert list(live_ids(snapshot)["pdq"].values()) == [bytes(CODES[0]), bytes(CODES[2])]


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        ({"codes": CODES[:, :31]}, ValueError, "31"),
        ({"codes": ["00" * 32, "00" * 31]}, ValueError, "row 1: hash has 62 hex digits"),
        ({"hash_type": "pqd"}, ValueError, "unknown hash type 'pqd'"),
        ({"hash_type": 256}, TypeError, "hash_type must be a name"),
        ({"refs": ["x"]}, ValueError, "1 refs for 2 codes"),
        ({"refs": "xy"}, TypeError, "refs must be a list of text"),
        ({"refs": None}, TypeError, "refs must be a list of text"),
        ({"kind": "film"}, ValueError, "kind must be one of image, video, file"),
        ({"quality": 3}, TypeError, "quality must be a list"),
        ({"quality": [3]}, ValueError, "1 values of quality for 2 codes"),
        ({"quality": [3.0, 4]}, TypeError, "quality must be whole numbers, not float64"),
        ({"quality": [3.0, None]}, TypeError, "row 0: quality must be a whole number or None"),
        ({"quality": [True, False]}, TypeError, "not bool"),
        ({"quality": [None, True]}, TypeError, "row 1: quality .* not bool"),
        ({"time_ms": np.ma.array([1, 2], mask=[False, True])}, TypeError, "time_ms"),
        ({"time_ms": np.zeros((2, 2), int)}, ValueError, "time_ms"),
        ({"labels": "xy"}, TypeError, "labels must be a list"),
        ({"labels": [["x"], "y"]}, TypeError, "row 1: labels must be a list of text, not 'y'"),
        ({"labels": [["x"], [3]]}, TypeError, "row 1: labels"),
        ({"labels": [None, ["x"]]}, TypeError, "row 0: labels must be a list of text, not None"),
        ({"labels": [["x"]]}, ValueError, "1 lists of labels for 2 codes"),
        ({"contributor": 3}, ValueError, "contributor must be text"),
        ({"contributor": "a\0"}, ValueError, "contributor has a NUL"),
    ],
)
def test_a_bad_call_changes_nothing(catalog: Catalog, call: Any, error: Any, match: str) -> None:
    given = {"hash_type": "pdq", "codes": CODES[:2], "refs": ["x", "y"], **call}
    for on_error in ("raise", "skip"):
        with catalog.change("a", on_error=on_error) as change:
            with pytest.raises(error, match=match):
                change.add(**given)
            change.add("md5", CODES[:1, :16], refs=["z"])
    assert refs_of(catalog) == ["z"]
    assert change.counts.rejected == []


@pytest.mark.parametrize(
    ("arguments", "error", "match"),
    [
        ({"set_name": "b"}, ValueError, "has no hash set 'b': create it first"),
        ({"set_name": None}, ValueError, "set name must be text"),
        ({"on_error": "ignore"}, ValueError, "on_error must be 'raise' or 'skip'"),
        ({"who": SURROGATE}, ValueError, "who has half a surrogate"),
    ],
)
def test_a_bad_change_is_refused(catalog: Catalog, arguments: Any, error: Any, match: str) -> None:
    with pytest.raises(error, match=match), catalog.change(**{"set_name": "a", **arguments}):
        pass
    assert catalog.generation() == 0
    add(catalog, ["x"])


@pytest.mark.parametrize(
    ("opinion", "error", "match"),
    [
        ({"verdict": "bad"}, ValueError, "verdict must be one of positive, negative, investigate"),
        ({"ref": ""}, ValueError, "ref is empty"),
        ({"contributor": None}, None, ""),
        ({"labels": "xy"}, TypeError, "labels must be a list of text"),
    ],
)
def test_opinions_are_checked(catalog: Catalog, opinion: Any, error: Any, match: str) -> None:
    given = {"ref": "x", "contributor": "c", "verdict": "negative", **opinion}
    with catalog.change("a") as change:
        if error:
            with pytest.raises(error, match=match):
                change.opinion(**given)
        else:
            change.opinion(**given)
    assert change.counts.opinions == (0 if error else 1)


def test_an_opinion_outlives_withdrawal(catalog: Catalog) -> None:
    with catalog.change("a") as change:
        change.opinion("x", contributor="p", verdict="positive")
        change.opinion("x", contributor="q", verdict="negative", labels=["l", SURROGATE])
        change.opinion("x", contributor="q", verdict="investigate")
    for _ in range(2):
        add(catalog, ["x", "y"])
        with catalog.snapshot() as snapshot:
            firsts, counts, masks = snapshot.verdicts()
            joined = snapshot.join(firsts)
        assert counts.tolist() == [1] and joined.refs == ["x"]
        assert verdicts_of(int(masks[0])) == ("positive", "investigate")
        assert joined.verdicts[0] == VERDICT_BITS["positive"] | VERDICT_BITS["investigate"]
        with catalog.change("a") as change:
            change.remove(refs=["x", "y"])
        with catalog.snapshot() as snapshot:
            assert len(snapshot.verdicts()[0]) == 0


def test_a_change_ends_with_its_block(catalog: Catalog) -> None:
    with catalog.change("a") as change:
        change.checkpoint = "p\n\0é"
        assert change.checkpoint == "p\n\0é"
        with pytest.raises(TypeError, match="checkpoint must be text"):
            change.checkpoint = 3  # type: ignore[assignment]
        with pytest.raises(ValueError, match="no Unicode text"):
            change.checkpoint = SURROGATE
        # Waiting for itself, it would wait for ever.
        with pytest.raises(RuntimeError, match="within a change already"):
            catalog.create_set("b", "", {})
    assert catalog.sets()[0].checkpoint == "p\n\0é"
    with pytest.raises(ValueError, match="the change has ended"):
        change.add("pdq", CODES[:1], refs=["x"])
    with pytest.raises(ValueError, match="the change has ended"):
        change.remove(refs=["x"])
    with pytest.raises(ValueError, match="the change has ended"):
        change.opinion("x", contributor="", verdict="positive")
    assert refs_of(catalog) == []


def test_an_error_caught_within_the_block_does_not_save_half_a_change(catalog: Catalog) -> None:
    with pytest.raises(ValueError, match="no such table"), catalog.change("a") as change:
        change.add("pdq", CODES[:2], refs=["x", "y"])
        change.flush()
        with pytest.raises(ValueError, match="no such table"):
            change.rows._connection.run("INSERT INTO missing VALUES (1)")
    assert refs_of(catalog) == []
    add(catalog, ["x"])
    assert refs_of(catalog) == ["x"]


def test_every_hash_type_has_a_number_in_the_file(catalog: Catalog) -> None:
    assert list(TYPE_NUMBERS) == list(HASH_TYPES)
    with catalog.change("a") as change:
        for kind in HASH_TYPES.values():
            change.add(kind.name, CODES[:1, : kind.width], refs=["x"], quality=[kind.width])
    assert (change.counts.added, change.counts.updated) == (1, 8)
    with catalog.snapshot() as snapshot:
        joined = snapshot.join(range(9))
        assert joined.hash_types == list(HASH_TYPES)
        assert joined.quality.tolist() == [kind.width for kind in HASH_TYPES.values()]
        for name, codes in live_ids(snapshot).items():
            assert list(codes.values()) == [CODES[0, : HASH_TYPES[name].width].tobytes()]


# Loads.


def test_a_load_counts_rows_through_its_batches(catalog: Catalog) -> None:
    seen: list[tuple[int, int]] = []
    batches = [
        Batch("pdq", CODES[:3], ["x", "", "y"]),
        Batch("pdq", CODES[:2], ["z", "x\0"]),
        Batch("pdq", CODES[3:4], ["x"]),
    ]
    counts = catalog.load(
        "a", batches, "bulk", lambda done, total: seen.append((done, total)), on_error="skip"
    )
    assert (counts.added, counts.updated) == (3, 1)
    assert [row for row, _ in counts.rejected] == [1, 4]
    assert seen == [(3, 0), (5, 0), (6, 0)]
    assert catalog.history()[0].who == "bulk"
    assert catalog.check() == []
    with pytest.raises(ValueError, match="row 4: ref has a NUL"):
        catalog.load("a", [Batch("pdq", CODES[:3], list("pqr")), batches[1]])
    assert catalog.generation() == 1 and refs_of(catalog) == ["x", "y", "z"]


def test_a_load_that_is_stopped_leaves_nothing(catalog: Catalog) -> None:
    def stop(done: int, total: int) -> None:
        raise InterruptedError("enough")

    with pytest.raises(InterruptedError, match="enough"):
        catalog.load("a", [Batch("pdq", CODES, list("uvwxyz"))], progress=stop)
    assert catalog.generation() == 0 and refs_of(catalog) == []
    with catalog.snapshot() as snapshot:
        assert snapshot.end_signal() == 0


# Reading.


def test_join_against_a_naive_join(catalog: Catalog) -> None:
    chance = np.random.default_rng(5)
    catalog.create_set("b", "", {})
    wanted: list[tuple[Any, ...]] = []
    for change_number in range(30):
        set_name = "ab"[change_number % 2]
        contributor = [None, "", "p"][change_number % 3]
        with catalog.change(set_name) as change:
            frames = chance.integers(1, 5, 20).tolist()
            kind = "video" if change_number % 5 == 0 else "image"
            refs = [f"{change_number} {i}" for i, count in enumerate(frames) for _ in range(count)]
            quality = chance.integers(0, 101, len(refs))
            times = [
                None if time % 4 == 0 else int(time) for time in chance.integers(0, 99, len(refs))
            ]
            hash_type = ["pdq", "phash"][change_number % 4 // 2]
            codes = random_codes(len(refs), 256 if hash_type == "pdq" else 64, change_number)
            change.add(
                hash_type, codes, refs=refs, labels=[refs[0]], contributor=contributor, kind=kind,  # type: ignore[arg-type]
                quality=quality, time_ms=times,
            )  # fmt: skip
            change.opinion(refs[0], contributor="q", verdict="negative")
        owner = "owner" if contributor is None and set_name == "a" else contributor or ""
        wanted += [
            (
                set_name, owner, ref, kind, [refs[0]], hash_type, int(q), -1 if t is None else t,
                VERDICT_BITS["negative"] if ref == refs[0] else 0,
            )
            for ref, q, t in zip(refs, quality, times, strict=True)
        ]  # fmt: skip
    with catalog.change("a") as change:
        change.remove(refs=["0 0"])
    with catalog.snapshot() as snapshot:
        assert snapshot.end_signal() == len(wanted)
        for count in (0, 1, 7, 400, 5000):
            ids = chance.integers(0, len(wanted), count).astype(np.uint64)
            joined = snapshot.join(ids)
            assert len(joined) == len(set(ids.tolist()))
            assert joined.ids.tolist() == sorted(set(ids.tolist()))
            columns = zip(
                joined.sets, joined.contributors, joined.refs, joined.kinds,
                map(joined.labels, range(len(joined))), joined.hash_types, joined.quality.tolist(),
                joined.time_ms.tolist(), joined.verdicts.tolist(), strict=True,
            )  # fmt: skip
            assert list(columns) == [wanted[id] for id in joined.ids.tolist()]
        assert snapshot.join(3).refs == [wanted[3][2]]
        for bad in (len(wanted), 2**63, 2**64 - 1):
            with pytest.raises(KeyError, match=f"no signal has the id {bad}"):
                snapshot.join([0, bad])
        with pytest.raises(ValueError, match="row 1"):
            snapshot.join([0, -1])


def test_blocks_of_live_signals_are_bounded(catalog: Catalog) -> None:
    codes = random_codes(150_000, 256)
    with catalog.change("a") as change:
        change.add("pdq", codes, refs=[str(row // 3) for row in range(len(codes))])
        change.add("dhash", codes[:5, :8], refs=["1", "2", "x", "y", "z"])
    with catalog.snapshot() as snapshot:
        blocks = list(snapshot.live_signals("pdq"))
    assert len(blocks) > 1 and max(len(ids) for _, ids in blocks) < 150_000
    assert np.array_equal(np.concatenate([block for block, _ in blocks]), codes)


def test_a_snapshot_ends_with_its_block(catalog: Catalog) -> None:
    add(catalog, list("uvwxyz"))
    with catalog.snapshot() as snapshot:
        stream = snapshot._connection.stream("SELECT id FROM item", size=1)
        assert next(stream) == [(0,)]
    with pytest.raises(ValueError, match="the snapshot has ended"):
        snapshot.sets()
    with pytest.raises(ValueError, match="the snapshot has ended"):
        next(stream)
    # The connection is used again, and must not be held where it was.
    add(catalog, ["new"])
    assert catalog.generation() == 2


def test_data_version_tells_of_changes(catalog: Catalog) -> None:
    with Catalog.open(catalog.folder, "r") as reader:
        for each in (catalog, reader):
            before = each.data_version()
            assert each.data_version() == before
            add(catalog, ["x"])
            assert each.data_version() != before


def test_history(catalog: Catalog) -> None:
    catalog.create_set("b", "", {})
    add(catalog, ["x"], labels=["old"])
    with catalog.change("a", who="me") as change:
        change.add("pdq", CODES[3:4], refs=["x"], labels=["new"], kind="file")
        change.add("pdq", CODES[:1], refs=["x"], contributor="p")
        change.opinion("x", contributor="q", verdict="negative", labels=["no"])
    with catalog.change("a") as change:
        change.remove(refs=["x", "y"])
    with catalog.change("b") as change:
        change.add("pdq", CODES[:1], refs=["x"])
    add(catalog, ["x"])
    log = catalog.history()
    assert [row.generation for row in log] == [5, 4, 3, 2, 1]
    assert [row.set for row in log] == ["a", "b", "a", "a", "a"]
    row = log[3]
    assert (row.who, row.added, row.updated, row.opinions) == ("me", 1, 1, 1)
    assert (log[2].removed, log[2].rejected, log[2].events) == (1, 1, ())
    assert all(abs(row.time - datetime.now(UTC)) < timedelta(minutes=1) for row in log)
    assert [row.generation for row in catalog.history("b")] == [4]
    assert [row.generation for row in catalog.history(limit=2)] == [5, 4]

    told = {
        row.generation: [
            (event.action, event.contributor, event.labels, event.kind, event.first, event.verdict)
            for event in row.events
        ]
        for row in catalog.history("a", "x")
    }
    assert {number: sorted(events) for number, events in told.items()} == {
        5: [("added", "owner", (), "image", 4, None)],
        3: [("removed", "owner", ("new",), "file", 1, None)],
        2: [
            ("added", "p", (), "image", 2, None),
            ("opinion", "q", ("no",), None, None, "negative"),
            ("updated", "owner", ("new",), "file", 1, None),
        ],
        1: [("added", "owner", ("old",), "image", 0, None)],
    }
    assert [row.generation for row in catalog.history(ref="x")] == [5, 4, 3, 2, 1]
    assert [row.generation for row in catalog.history(ref="x", limit=1)] == [5]
    assert catalog.history(ref="unknown") == []
    with pytest.raises(ValueError, match="has no hash set 'c'"):
        catalog.history("c")
    with pytest.raises(ValueError, match="limit"):
        catalog.history(limit=0)


def test_segments_are_replaced_at_once(catalog: Catalog) -> None:
    one = SegmentRecord("1.seg", "pdq", 0, 10, 9, 1, 4096)
    two = SegmentRecord("2.seg", "md5", 0, 2**62, 9, 1, 2**40)
    catalog.replace_segments([], [one, two])
    assert catalog.list_segments() == [two, one]
    three = SegmentRecord("3.seg", "pdq", 0, int(np.uint64(20)), 9, 2, 4096)
    for remove, added, match in (
        (["1.seg", "9.seg"], [three], "has no segment '9.seg'"),
        (["1.seg"], [three, two], "has a segment '2.seg' already"),
    ):
        with pytest.raises(ValueError, match=match):
            catalog.replace_segments(remove, added)
    assert catalog.list_segments() == [two, one]
    catalog.replace_segments(["1.seg"], [three])
    assert catalog.list_segments() == [two, three]
    assert catalog.generation() == 0
