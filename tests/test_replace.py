"""Changes that say all that a set is to hold, items put whole, and opinions that are withdrawn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hashmatch
from hashmatch.database import Batch, Change, Database, Item, Opinion, changes
from hashmatch.hash_types import HASH_TYPES
from oracle import random_codes

TYPES = ("pdq", "md5")
CODES = {name: random_codes(4, HASH_TYPES[name].bits, seed=5) for name in TYPES}
#: What an item is: its labels, and the places in CODES of its signal of each type, if it has one.
Shape = tuple[tuple[str, ...], int | None, int | None]

REFS = st.sampled_from([f"r{number}" for number in range(8)])
LABELS: st.SearchStrategy[tuple[str, ...]] = st.sampled_from([(), ("x",), ("y", "z")])
PLACE = st.integers(0, 3)
SHAPE: st.SearchStrategy[Shape] = st.one_of(
    st.tuples(LABELS, PLACE, PLACE),
    st.tuples(LABELS, st.none(), PLACE),
    st.tuples(LABELS, PLACE, st.none()),
)
STATE = st.dictionaries(REFS, SHAPE, max_size=6)
OPINIONS = st.dictionaries(
    st.tuples(REFS, st.sampled_from(["feed:1", "feed:2"])),
    st.sampled_from(["positive", "negative"]),
    max_size=5,
)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with hashmatch.open(tmp_path / "known", "c") as database:
        database.create("a", contributor="owner")
        database.create("b", contributor="owner")
        yield database


def batches(state: dict[str, Shape]) -> Iterator[Batch]:
    for place, name in enumerate(TYPES, 1):
        having = {ref: shape for ref, shape in state.items() if shape[place] is not None}
        places = np.array([shape[place] for shape in having.values()], np.int64)
        yield Batch(
            name,
            CODES[name][places],
            list(having),
            [shape[0] for shape in having.values()],
        )


def held(database: Database, name: str = "a") -> dict[str, Shape]:
    found: dict[str, Shape] = {}
    for each in database.contents(name):
        if isinstance(each, Item):
            places = {
                signal.hash_type: [bytes(code) for code in CODES[signal.hash_type]].index(
                    signal.code
                )
                for signal in each.signals
            }
            found[each.ref] = tuple(each.labels), places.get("pdq"), places.get("md5")
    return found


def said(database: Database, name: str = "a") -> dict[tuple[str, str], str]:
    items = list(database.contents(name))
    opinions = [each for each in items if isinstance(each, Opinion)]
    opinions += [said for each in items if isinstance(each, Item) for said in each.opinions]
    return {(each.ref, each.contributor): each.verdict for each in opinions}


@settings(max_examples=80, derandomize=True, deadline=None)
@given(
    states=st.lists(st.tuples(STATE, st.booleans(), st.lists(REFS, max_size=3)), max_size=5),
    held_bytes=st.sampled_from([0, 1 << 20]),
    adds=st.booleans(),
)
def test_states_follow_one_another(
    tmp_path_factory: pytest.TempPathFactory,
    states: list[tuple[dict[str, Shape], bool, list[str]]],
    held_bytes: int,
    adds: bool,
) -> None:
    path = tmp_path_factory.mktemp("replace")
    other: dict[str, Shape] = {"r1": ((), 1, 1)}
    wanted: dict[str, Shape] = {}
    with (
        pytest.MonkeyPatch.context() as patch,
        hashmatch.open(path, "c") as database,
        hashmatch.open(path) as reader,
    ):
        # With 0 every call is written before the next.
        patch.setattr(changes, "_HELD_BYTES", held_bytes)
        for name in "ab":
            database.create(name)
        with database.change("b") as change:
            change.put_whole(batches(other))
        for state, replaced, removed in states:
            before = wanted
            apart = replaced and adds
            wanted = dict(state) if replaced else {**wanted, **state}
            with database.change("a") as change:
                if replaced:
                    change.replace()
                if apart:
                    for ref, shape in state.items():
                        for place, name in enumerate(TYPES, 1):
                            if isinstance(code := shape[place], int):
                                codes = CODES[name][[code]]
                                change.add(name, codes, refs=[ref], labels=[shape[0]])
                else:
                    for ref, shape in state.items():
                        change.put_whole(batches({ref: shape}))
                change.remove(refs=removed, missing_ok=True)
            wanted = {ref: shape for ref, shape in wanted.items() if ref not in removed}
            assert held(database) == wanted
            assert held(database, "b") == other
            counts = change.counts
            assert counts.rejected == []
            assert counts.added == len(state.keys() - before.keys())
            assert counts.added - counts.removed == len(wanted) - len(before)
            if not apart:
                same = [ref for ref in state if before.get(ref) == state[ref]]
                assert counts.unchanged == len(same)
            assert reader.refresh() == database.generation
            for place, name in enumerate(TYPES, 1):
                found = {
                    (match.query, match.ref)
                    for match in reader.match(name, CODES[name], ["a"], max_distance=0)
                }
                assert found == {(shape[place], ref) for ref, shape in wanted.items()} - {
                    (None, ref) for ref in wanted
                }
        assert database.check() == []


def test_the_old_state_matches_until_the_new_one_is_there(database: Database) -> None:
    with database.change("a") as change:
        change.put_whole(batches({"r1": ((), 0, 0), "r2": ((), 1, 1)}))
    with database.change("a") as change:
        change.replace()
        change.put_whole(batches({"r2": ((), 1, 1)}))
        change.put_whole(batches({"r3": ((), 2, 2)}))
        change.flush()
        assert [match.ref for match in database.match("pdq", CODES["pdq"][:3])] == ["r1", "r2"]
    assert [match.ref for match in database.match("pdq", CODES["pdq"][:3])] == ["r2", "r3"]
    assert (change.counts.added, change.counts.removed, change.counts.unchanged) == (1, 1, 1)
    (event,) = database.history("a", "r1", limit=1)[0].events
    assert event.action == "removed"


def test_a_replacement_that_raises_changes_nothing(database: Database) -> None:
    state: dict[str, Shape] = {"r1": ((), 0, 0)}
    with database.change("a") as change:
        change.put_whole(batches(state))
    for _ in range(2):
        with pytest.raises(KeyError), database.change("a") as change:
            change.replace()
            change.put_whole(batches({"r2": ((), 0, 0)}))
            change.flush()
            raise KeyError
    assert held(database) == state
    with database.change("a") as change:
        change.replace()
    assert held(database) == {}
    assert database.check() == []


def test_what_is_kept_stays(database: Database) -> None:
    old: dict[str, Shape] = {"r1": (("x",), 0, 0), "r2": ((), 1, 1), "r3": ((), 2, 2)}
    with database.change("a") as change:
        change.put_whole(batches(old))
    with database.change("a") as change:
        change.replace()
        change.keep(refs=["r1", "r4"])
        change.flush()
        change.put_whole(batches({"r2": ((), 3, 3)}))
        change.keep(refs=["r2"])
    assert held(database) == {"r1": old["r1"], "r2": ((), 3, 3)}
    assert (change.counts.updated, change.counts.removed) == (1, 1)
    assert database.check() == []


def test_replacing_does_not_outlast_its_change(database: Database) -> None:
    with database.change("a") as change:
        change.put_whole(batches({"r1": ((), 0, 0)}))
        change.replace()
        change.put_whole(batches({"r2": ((), 0, 0)}))
    with database.change("a") as change:
        change.put_whole(batches({"r3": ((), 0, 0)}))
    assert held(database).keys() == {"r2", "r3"}
    with pytest.raises(ValueError, match="has ended"):
        change.replace()


def speak(change: Change, refs: list[str], opinions: dict[tuple[str, str], str]) -> None:
    stated = [
        Opinion(ref, contributor, "positive" if verdict == "positive" else "negative")
        for (ref, contributor), verdict in opinions.items()
    ]
    change.say_only(refs, stated, "feed:")


@settings(max_examples=30, derandomize=True, deadline=None)
@given(
    turns=st.lists(
        st.tuples(OPINIONS, st.dictionaries(REFS, st.tuples(LABELS, PLACE, PLACE), max_size=6)),
        min_size=1,
        max_size=4,
    )
)
def test_only_what_is_said_stands(
    tmp_path_factory: pytest.TempPathFactory,
    turns: list[tuple[dict[tuple[str, str], str], dict[str, Shape]]],
) -> None:
    """Opinions of others stay; a reader that follows sees what one that comes new sees."""
    path = tmp_path_factory.mktemp("said")
    wanted = {("r1", "analyst"): "negative", ("r2", "feed"): "positive"}
    with hashmatch.open(path, "c") as database:
        database.create("a")
        with database.change("a") as change:
            change.opinion("r1", contributor="analyst", verdict="negative")
            change.opinion("r2", contributor="feed", verdict="positive")
        with hashmatch.open(path) as follower:
            for opinions, state in turns:
                refs = sorted({ref for ref, _ in opinions} | state.keys())
                with database.change("a") as change:
                    change.put_whole(batches(state))
                    speak(change, refs, opinions)
                wanted = {
                    (ref, by): verdict
                    for (ref, by), verdict in wanted.items()
                    if ref not in refs or not by.startswith("feed:")
                } | opinions
                assert said(database) == wanted
                follower.refresh()
                with hashmatch.open(path) as newcomer:
                    for verdicts in (["positive"], ["negative"], ["none"]):
                        asked = ("md5", CODES["md5"], None, 0, verdicts)
                        found = {m.ref for m in newcomer.match(*asked)}
                        assert {m.ref for m in follower.match(*asked)} == found
                        assert {m.ref for m in database.match(*asked)} == found
                        refs_held = held(database).keys()
                        on = {ref for (ref, _), verdict in wanted.items() if [verdict] == verdicts}
                        if verdicts == ["none"]:
                            on = refs_held - {ref for ref, _ in wanted}
                        assert found == on & refs_held
        assert database.check() == []


def test_a_replacement_withdraws_opinions_on_what_is_left(database: Database) -> None:
    with database.change("a") as change:
        change.put_whole(batches({"r1": ((), 0, 0), "r2": ((), 1, 1)}))
        for ref, contributor in (("r1", "feed:1"), ("r1", "analyst"), ("r2", "feed:1")):
            change.opinion(ref, contributor=contributor, verdict="positive")
    with database.change("a") as change:
        change.replace("feed:")
        change.put_whole(batches({"r2": ((), 1, 1)}))
    assert said(database).keys() == {("r1", "analyst"), ("r2", "feed:1")}
    assert (change.counts.removed, change.counts.opinions) == (1, 1)
    with database.change("a") as change:
        change.replace()
    assert said(database).keys() == {("r1", "analyst"), ("r2", "feed:1")}
    assert database.check() == []


@pytest.mark.parametrize(("ref", "contributor"), [("r2", "feed:1"), ("r1", "analyst")])
def test_an_opinion_that_is_not_among_those_spoken_of(
    database: Database, ref: str, contributor: str
) -> None:
    with pytest.raises(ValueError, match="is not of these"), database.change("a") as change:
        change.say_only(["r1"], [Opinion(ref, contributor, "positive")], "feed:")
    assert said(database) == {}


def test_history_tells_of_a_withdrawn_opinion(database: Database) -> None:
    for opinions in ({("r1", "feed:1"): "positive"}, {}, {}):
        with database.change("a") as change:
            speak(change, ["r1"], opinions)
    rows = database.history("a", "r1")
    assert [(row.generation, row.opinions, row.events[0].action) for row in rows] == [
        (2, 1, "removed"),
        (1, 1, "opinion"),
    ]
    assert rows[0].events[0].contributor == "feed:1"


def test_a_bad_row_puts_nothing(database: Database) -> None:
    good, bad = (Batch("pdq", CODES["pdq"][:1], [ref]) for ref in ("r1", ""))
    with pytest.raises(ValueError, match="ref is empty"), database.change("a") as change:
        change.put_whole([good, bad])
    assert held(database) == {}
    with database.change("a", on_error="skip") as change:
        change.put_whole([good, bad])
    assert held(database).keys() == {"r1"}
    assert change.counts.rejected == [(0, "ref is empty")]
