"""Videos in a database: answers against the rule pair by pair, and against VPDQIndex."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hashmatch
from hashmatch import Database, Frames, VideoMatches
from hashmatch.database.uploads import Steps
from hashmatch.vpdq import format_frames
from video_oracle import Answer, Frame, Known, Rule, answer, perturbed, vpdq_index

SETS = {"films": 31, "strict": 12}
#: What frames are made of: near one another at distances about the thresholds, and copies.
_CHANCE = np.random.default_rng(5)
_CENTRES = [_CHANCE.bytes(32) for _ in range(4)]
CODES = [
    perturbed(centre, bits, _CHANCE) for centre in _CENTRES for bits in (0, 0, 6, 12, 13, 31, 32)
]

frames = st.builds(
    Frame,
    st.sampled_from(CODES),
    st.sampled_from([None, 0, 49, 50, 51, 100]),
    st.one_of(st.none(), st.integers(0, 9_000)),
)
videos = st.lists(frames, min_size=1, max_size=8)
percents = st.sampled_from([0, 0.5, 20, 25, 33.3, 50, 66.7, 75, 80, 100])
rules = st.builds(
    Rule,
    percents,
    percents,
    st.sampled_from([0, 50, 51, 100]),
    st.sampled_from(["filter-dedupe", "dedupe-filter", "filter"]),
    st.booleans(),
)
kinds = st.sampled_from(["video", "video", "video", "image", "file"])
collections = st.lists(
    st.tuples(videos, kinds, st.sampled_from(list(SETS))), min_size=1, max_size=8
)


def known_items(drawn: Sequence[tuple[list[Frame], Any, str]]) -> list[Known]:
    return [
        Known(f"ref-{number}", frames, kind, name, SETS[name])
        for number, (frames, kind, name) in enumerate(drawn)
    ]


def add(database: Database, known: Sequence[Known]) -> None:
    for item in known:
        with database.change(item.set) as change:
            change.add("pdq", **columns(item.frames), refs=[item.ref] * len(item.frames),
                       kind=item.kind)  # fmt: skip


def columns(frames: Sequence[Frame]) -> dict[str, Any]:
    return {
        "codes": [frame.code for frame in frames],
        "quality": [frame.quality for frame in frames],
        "time_ms": [frame.time_ms for frame in frames],
    }


def as_upload(frames: Sequence[Frame]) -> Frames:
    return Frames(**columns(frames))


def answers(matches: VideoMatches, query: int, known: Sequence[Known]) -> list[Answer]:
    """A database's matches as the oracle has them; their order, and what else is said of pairs, is
    looked at here.
    """
    found = matches[query]
    order = [(-match.query_percent, match.item) for match in found]
    assert order == sorted(set(order))
    places = {item.ref: item for item in known}
    answers = []
    for match in found:
        item = places[match.ref]
        assert (match.kind, match.set) == (item.kind, item.set)
        pairs = [(pair.frame, pair.signal - match.item, pair.distance) for pair in match.frames]
        assert pairs == sorted(pairs, key=lambda pair: (pair[0], pair[2], pair[1]))
        for pair in match.frames:
            assert pair.signal_ms == item.frames[pair.signal - match.item].time_ms
        answers.append((match.ref, match.query_percent, match.video_percent, sorted(pairs)))
    return answers


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with made(tmp_path / "db") as database:
        yield database


def made(path: Path) -> Database:
    database = hashmatch.open(path, "c")
    for name, max_distance in SETS.items():
        database.create(name, max_distance={"pdq": max_distance})
    return database


@settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
@given(collections, st.lists(videos, min_size=1, max_size=4), rules, st.booleans())
def test_answers_are_those_of_the_rule(
    tmp_path_factory: pytest.TempPathFactory,
    drawn: list[tuple[list[Frame], Any, str]],
    uploads: list[list[Frame]],
    rule: Rule,
    folded: bool,
) -> None:
    known = known_items(drawn)
    with made(tmp_path_factory.mktemp("db") / "db") as database:
        add(database, known)
        if folded:
            database.compact()
        matches = database.match_videos(
            [as_upload(upload) for upload in uploads],
            query_percent=rule.query_percent,
            video_percent=rule.video_percent,
            quality_tolerance=rule.quality_tolerance,
            steps=rule.steps,
            pictures=rule.pictures,
        )
        assert matches.queries == len(uploads)
        for number, upload in enumerate(uploads):
            wanted = answer(upload, known, rule)
            assert sorted(answers(matches, number, known)) == sorted(wanted)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(videos, min_size=1, max_size=8), st.lists(videos, max_size=4), st.data())
def test_answers_are_those_of_vpdq_index(
    tmp_path_factory: pytest.TempPathFactory,
    drawn: list[list[Frame]],
    uploads: list[list[Frame]],
    data: st.DataObject,
) -> None:
    # It takes whole qualities and no unknown ones, and refuses videos without a good frame.
    every = [[frame._replace(quality=frame.quality or 0) for frame in v] for v in drawn + uploads]
    known = [Known(f"ref-{n}", frames) for n, frames in enumerate(every[: len(drawn)])]
    known = [item for item in known if any((f.quality or 0) >= 50 for f in item.frames)]
    query_percent, video_percent = data.draw(percents), data.draw(percents)
    theirs = vpdq_index().build(
        ((format_frames(as_upload(item.frames)), item.ref) for item in known),
        query_match_threshold_pct=query_percent,
        index_match_threshold_pct=video_percent,
    )
    texts = [format_frames(as_upload(upload)) for upload in every]
    with made(tmp_path_factory.mktemp("db") / "db") as database:
        add(database, known)
        matches = database.match_videos(
            texts, query_percent=query_percent, video_percent=video_percent
        )
        found = [(m.query, m.ref, m.query_percent, m.video_percent) for m in matches]
    wanted = [
        (query, match.metadata, similar.query_match_percent, similar.compared_match_percent)
        for query, text in enumerate(texts)
        for match in theirs.query(text)
        for similar in [match.similarity_info]
    ]
    assert sorted(found) == sorted(wanted)


def distinct(count: int, seed: int = 0) -> list[Frame]:
    chance = np.random.default_rng(seed)
    return [Frame(chance.bytes(32), 100, 1000 * place) for place in range(count)]


@pytest.mark.parametrize("held", [79, 80, 81])
def test_the_threshold_is_inclusive(database: Database, held: int) -> None:
    film = distinct(100)
    add(database, [Known("film", film[:held])])
    index = vpdq_index().build([(format_frames(as_upload(film[:held])), "film")])
    matches = database.match_videos([as_upload(film)])
    assert len(index.query(format_frames(as_upload(film)))) == len(matches) == (held >= 80)
    assert matches.query_percent.tolist() == [held] * len(matches)
    assert matches.video_percent.tolist() == [100] * len(matches)
    assert len(database.match_videos(as_upload(film), query_percent=held + 0.5)) == 0


def test_frames_near_only_frames_of_low_quality_do_not_match(database: Database) -> None:
    film = distinct(10)
    dark = [frame._replace(quality=49) for frame in film]
    add(database, [Known("dark", dark), Known("mixed", [*dark[:2], *film[2:]])])
    (match,) = database.match_videos([as_upload(film)])
    assert (match.ref, match.query_percent, match.video_percent) == ("mixed", 80, 100)
    assert len(database.match_videos([as_upload(dark)])) == 0
    low = database.match_videos([as_upload(dark)], quality_tolerance=49)
    assert [(m.ref, m.query_percent) for m in low] == [("dark", 100), ("mixed", 100)]


def test_which_frame_of_several_decides(database: Database) -> None:
    film = distinct(5)
    # The first frame of each code is dark, the second one is good.
    known = [frame._replace(quality=10) for frame in film[:3]] + film
    add(database, [Known("film", known)])
    again = [*film[:1] * 4, *film[1:2], *distinct(1, 9)]

    def percents(upload: list[Frame], steps: Steps) -> list[tuple[float, float]]:
        found = database.match_videos([as_upload(upload)], steps=steps, query_percent=60)
        return [(match.query_percent, match.video_percent) for match in found]

    assert percents(film[:3], "filter-dedupe") == percents(film[:3], "filter") == [(100, 60)]
    assert percents(film[:3], "dedupe-filter") == []
    assert percents(again, "filter-dedupe") == [(2 * 100 / 3, 40)]
    assert percents(again, "filter") == [(5 * 100 / 6, 40)]


def test_pictures_and_videos_find_each_other(database: Database) -> None:
    film, other = distinct(300), distinct(3, seed=2)
    picture = Frame(perturbed(film[200].code, 31, _CHANCE), None)
    far = Frame(perturbed(film[100].code, 32, _CHANCE), None)
    add(
        database,
        [
            Known("film", film),
            Known("picture", [picture], "image"),
            Known("far", [far], "image"),
            Known("album", [*other, film[7]], "file"),
        ],
    )
    clip = as_upload(film[190:230] + distinct(10, seed=3))
    by_ref = {match.ref: match for match in database.match_videos([clip])}
    assert by_ref.keys() == {"film", "picture"}
    found = by_ref["picture"]
    assert (found.kind, found.query_percent, found.video_percent) == ("image", 2.0, 100.0)
    ((frame, time_ms, _, signal_ms, distance),) = found.frames
    assert (frame, time_ms, signal_ms, distance) == (10, 200_000, None, 31)
    assert [m.ref for m in database.match_videos([clip], pictures=False)] == ["film"]
    (album, _) = sorted(database.match_videos([as_upload(film[:10])]), key=lambda m: m.ref)
    assert (album.ref, album.kind, album.video_percent) == ("album", "file", 25.0)
    # A frame of a known video, posted as a picture.
    assert {"film", "picture"} == set(database.match("pdq", picture.code).ref)


def test_sets_distances_and_verdicts(database: Database) -> None:
    film = distinct(10)
    near = [Frame(perturbed(frame.code, 13, _CHANCE)) for frame in film]
    add(
        database,
        [Known("strict-far", near, set="strict"), Known("strict", film, set="strict"),
         Known("loose", near), Known("disputed", film)],
    )  # fmt: skip
    with database.change("films") as change:
        change.opinion("disputed", contributor="analyst", verdict="negative")

    def refs(**asked: Any) -> set[str]:
        return set(database.match_videos(as_upload(film), **asked).ref)

    assert refs() == {"strict", "loose", "disputed"}
    assert refs(max_distance=13) == {"strict-far", "strict", "loose", "disputed"}
    assert refs(max_distance=12) == {"strict", "disputed"}
    assert refs(sets=["strict"]) == {"strict"}
    assert refs(sets=[]) == set()
    assert refs(verdicts=["none"]) == {"strict", "loose"}
    assert refs(verdicts=["negative", "positive"]) == {"disputed"}
    (disputed,) = held = database.match_videos(as_upload(film), verdicts=["negative"])
    assert disputed.verdicts == ("negative",)
    later = database.match_videos(as_upload(film), verdicts=["negative"])
    with database.change("films") as change:
        change.opinion("disputed", contributor="analyst", verdict="positive")
    for matches in (held, later):
        assert [match.verdicts for match in matches] == matches.verdicts == [("negative",)]
        assert matches.set_counts() == {"films": 1}
        assert matches.generation < database.generation
    with pytest.raises(ValueError, match="there is no set 'nowhere'"):
        refs(sets=["nowhere"])


@pytest.mark.parametrize("folded", [False, True])
def test_withdrawn_and_updated_videos(database: Database, folded: bool) -> None:
    film, cut = distinct(10), distinct(10, seed=4)
    add(database, [Known("film", film), Known("copy", film)])
    if folded:
        database.compact()
    before = database.match_videos([as_upload(film)])
    with database.change("films") as change:
        change.remove(refs=["film"])
        change.add("pdq", **columns(cut), refs=["copy"] * 10, kind="video")
    assert len(database.match_videos([as_upload(film)])) == 0
    after = database.match_videos([as_upload(cut)])
    assert after.ref == ["copy"]
    assert after.generation == before.generation + 1
    # An answer goes on telling of the generation that it is of.
    assert sorted(before.ref) == ["copy", "film"]
    assert [len(match.frames) for match in before] == [10, 10]
    assert before.pairs.distance.tolist() == [0] * 20


def test_columns(database: Database) -> None:
    film = distinct(10)
    add(database, [Known("film", film), Known("picture", [film[3]], "image")])
    matches = database.match_videos([Frames([]), as_upload(film), "[]", as_upload(film[:1])])
    assert matches.queries == 4
    assert matches.offsets.tolist() == [0, 0, 2, 2, 3]
    assert matches.query.tolist() == [1, 1, 3]
    assert [match.ref for match in matches[-1]] == ["film"]
    assert matches[0] == matches[2] == []
    assert matches.to_list() == [*matches[1], *matches[3]]
    table = matches.to_arrow()
    assert table["query_percent"].to_pylist() == [100.0, 10.0, 100.0]
    assert table["kind"].to_pylist() == matches.kind == ["video", "image", "video"]
    assert [len(frames) for frames in table["frames"].to_pylist()] == [10, 1, 1]
    assert table["frames"].to_pylist()[1] == [
        {"frame": 3, "time_ms": 3000, "signal": 10, "signal_ms": 3000, "distance": 0}
    ]
    with pytest.raises(IndexError, match="upload 4 of 4"):
        matches[4]
    with pytest.raises(ValueError, match="read-only"):
        matches.item[0] = 1
    assert "3 of 4 uploads" in repr(matches)
    nothing = database.match_videos([])
    assert (len(nothing), nothing.to_list(), nothing.to_arrow().num_rows) == (0, [], 0)


def test_an_empty_database(database: Database) -> None:
    assert len(database.match_videos([as_upload(distinct(3))])) == 0


def test_progress_and_threads(database: Database) -> None:
    film = distinct(30)
    add(database, [Known("film", film)])
    seen: list[tuple[int, int]] = []
    uploads = [as_upload(film), as_upload(film[:3])]
    matches = database.match_videos(
        uploads, threads=2, progress=lambda done, total: seen.append((done, total))
    )
    assert matches.ref == ["film", "film"]
    assert seen == [(1, 2), (2, 2)]


HASH = "ab" * 32


@pytest.mark.parametrize(
    ("upload", "reason"),
    [
        (f"{HASH},100,0.0", "upload 1: a vPDQ string is a JSON list"),
        ('{"a": 1}', "upload 1: a vPDQ string is a JSON list"),
        ("[" * 100_000, "upload 1: a vPDQ string is a JSON list"),
        (json.dumps([f"{HASH},100,0", f"{HASH},100"]), "upload 1: frame 1: has 2 parts"),
        (json.dumps([f"{HASH[1:]},100,0"]), "upload 1: frame 0: hash has 63"),
        (json.dumps([f"{HASH},101,0"]), "upload 1: frame 0: quality is '101'"),
        (json.dumps([f"{HASH},1,-1"]), "upload 1: frame 0: timestamp is"),
        (json.dumps([f"{HASH},1,nan"]), "upload 1: frame 0: timestamp is"),
        (json.dumps([f"{HASH},1,1e99"]), "upload 1: frame 0: timestamp is '1e99'"),
        (json.dumps([f" {HASH},1,1"]), "upload 1: frame 0: hash has"),
        (json.dumps([7]), "upload 1: frame 0: is 7"),
        (Frames(["abcd"]), "upload 1: row 0: hash has 4 hex digits"),
        (Frames([HASH], quality=[101]), "upload 1: frame 0: quality is 101"),
        (Frames([HASH], quality=[1, 2]), "upload 1: 2 values of quality for 1 codes"),
        (Frames([HASH], time_ms=[-1]), "upload 1: frame 0: time_ms is -1"),
    ],
)
def test_bad_uploads(database: Database, upload: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        database.match_videos(["[]", upload])


def test_wrong_arguments(database: Database) -> None:
    for uploads in (None, 7, np.zeros((1, 32), np.uint8)):
        with pytest.raises(TypeError, match="uploads must be a list of Frames"):
            database.match_videos(uploads)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="upload 0: must be Frames or a vPDQ string, not int"):
        database.match_videos([7])  # type: ignore[list-item]
    wrong: dict[str, list[Any]] = {
        "query_percent": [101, float("nan")],
        "video_percent": [-1],
        "quality_tolerance": [101],
        "steps": ["dedupe"],
        "max_distance": [257],
        "threads": [-1],
    }
    for name, values in wrong.items():
        for value in values:
            with pytest.raises(ValueError, match=f"{name} must be"):
                database.match_videos([], **{name: value})
    of_a_wrong_type: dict[str, Any] = {"query_percent": "80", "pictures": 1, "video_percent": True}
    for name, value in of_a_wrong_type.items():
        with pytest.raises(TypeError, match=f"{name} must be"):
            database.match_videos([], **{name: value})


def test_strings_of_python_threatexchange() -> None:
    text = json.dumps([f"{HASH},100,0.0", f"{HASH.upper()},0,1.23e+03", f"{HASH},50,12.3"])
    frames = Frames.parse(text)
    assert np.asarray(frames.codes).tobytes() == bytes.fromhex(HASH) * 3
    assert (frames.quality, frames.time_ms) == ([100, 0, 50], [0, 1_230_000, 12_300])
    assert Frames.parse(json.loads(text)).time_ms == frames.time_ms
    assert Frames.parse(format_frames(frames)).quality == frames.quality
    assert json.loads(format_frames(Frames([HASH]))) == [f"{HASH},100,0.000"]


def test_items_with_hashes_of_several_types(database: Database) -> None:
    film = distinct(6)
    names = ["both"] * 3 + ["alone"] * 3
    small = [frame.code[:8] for frame in film]
    with database.change("films") as change:
        change.add("pdq", **columns(film[:3]), refs=names[:3], kind="video")
        change.add("md5", [bytes(16)], refs=["both"], kind="video")
        change.add("phash", small, refs=names, kind="video", quality=[1, None, 3, 4, 5, 6])
    (match,) = database.match_videos([as_upload(film[:3])])
    assert (match.ref, match.video_percent, len(match.frames)) == ("both", 100, 3)
    # In one of the items the run of these signals is the second one, in the other the first.
    phash = database.match("phash", small, max_distance=0)
    with database._snapshot() as snapshot:
        items = snapshot.item_frames("phash", phash.signal)
        assert len(snapshot.item_frames("md5", phash.signal).frames.codes) == 1
        assert len(snapshot.item_frames("sha1", phash.signal).frames.codes) == 0
    assert items.frames.ids.tolist() == phash.signal.tolist()
    assert [bytes(code) for code in items.frames.codes] == small
    assert items.frames.items.tolist() == [0, 0, 0, 1, 1, 1]
    assert items.frames.quality.tolist() == [1, -1, 3, 4, 5, 6]
    assert items.frames.time_ms.tolist() == [-1] * 6
