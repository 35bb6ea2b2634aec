"""Videos that share most of their frames, while they come and go, against the rule pair by pair."""

from __future__ import annotations

import random
import threading
from pathlib import Path

import numpy as np
import pytest

import hashmatch
from hashmatch import Database, Frames
from test_video import add, answers, as_upload, columns
from video_oracle import Frame, Known, Rule, answer, perturbed, vpdq_index

_BITS = np.random.default_rng(3)
POOL = [_BITS.bytes(32) for _ in range(24)]


def sharing(chance: random.Random, own: int = 2, count: int = 12) -> list[Frame]:
    """Frames of which some are the video's own; the first ones of the pool are in most videos."""
    codes = [chance.randbytes(32) for _ in range(own)]
    for _ in range(count - own):
        code = POOL[chance.randrange(1 + chance.randrange(len(POOL)))]
        codes.append(code if chance.random() < 0.7 else perturbed(code, chance.choice([3, 31]),
                                                                    _BITS))  # fmt: skip
    return [Frame(code, chance.choice([100, 100, 100, 30, None]), 1000) for code in codes]


def copied(video: list[Frame], chance: random.Random) -> list[Frame]:
    """Some frames are others."""
    cut = set(chance.sample(range(len(video)), chance.randrange(5)))
    return [Frame(chance.randbytes(32)) if k in cut else frame for k, frame in enumerate(video)]


def same(database: Database, known: list[Known], uploads: list[list[Frame]], rule: Rule) -> int:
    """How many matches there are, all of them as they must be."""
    matches = database.match_videos(
        [as_upload(upload) for upload in uploads],
        query_percent=rule.query_percent,
        video_percent=rule.video_percent,
        steps=rule.steps,
    )
    for number, upload in enumerate(uploads):
        assert sorted(answers(matches, number, known)) == sorted(answer(upload, known, rule))
    return len(matches)


def test_videos_that_come_and_go(tmp_path: Path) -> None:
    chance = random.Random(1)
    live: dict[str, Known] = {}
    matched = 0
    with (
        hashmatch.open(tmp_path / "db", "c") as database,
        hashmatch.open(tmp_path / "db") as reader,
    ):
        database.create("films")
        for turn in range(8):
            names = [f"ref-{chance.randrange(150)}" for _ in range(40)]
            with database.change("films") as change:
                gone = [name for name in dict.fromkeys(names[:10]) if name in live]
                change.remove(refs=gone)
                for name in gone:
                    del live[name]
                for name in names[10:]:
                    frames, kind = sharing(chance), chance.choice(["video", "video", "image"])
                    change.add("pdq", **columns(frames), refs=[name] * 12, kind=kind)  # type: ignore[arg-type]
                    live[name] = Known(name, frames, kind)
            if turn % 3 == 1:
                database.compact()
            reader.refresh()
            known = list(live.values())
            uploads = [copied(item.frames, chance) for item in chance.sample(known, 3)]
            uploads += [sharing(chance), sharing(chance, own=0)]
            rule = Rule(
                chance.choice([0, 40, 80, 80, 100]),
                chance.choice([0, 0, 50]),
                steps=chance.choice(["filter-dedupe", "dedupe-filter", "filter"]),
            )
            matched += same(reader if turn % 2 else database, known, uploads, rule)
    assert matched > 100


def test_all_frames_of_all_videos_are_the_same(tmp_path: Path) -> None:
    chance = random.Random(2)
    known = [Known(f"ref-{n}", [Frame(POOL[0])] * 3 + [Frame(POOL[1])]) for n in range(300)]
    with hashmatch.open(tmp_path / "db", "c") as database:
        database.create("films")
        with database.change("films") as change:
            for item in known:
                change.add("pdq", **columns(item.frames), refs=[item.ref] * 4, kind="video")
        for upload, count in (
            ([Frame(POOL[0])], 300),
            ([Frame(POOL[1]), Frame(POOL[0])], 300),
            ([Frame(POOL[0]), Frame(chance.randbytes(32))], 0),
        ):
            assert same(database, known, [upload], Rule()) == count


def test_an_answer_is_of_one_generation(tmp_path: Path) -> None:
    chance = random.Random(4)
    cuts = [[Frame(chance.randbytes(32)) for _ in range(10)] for _ in range(2)]
    path = tmp_path / "db"
    ends = threading.Event()
    with hashmatch.open(path, "c") as database, hashmatch.open(path) as reader:
        database.create("films")
        add(database, [Known("film", cuts[0]), Known("other", cuts[1])])
        first = database.generation
        reader.refresh()

        def change() -> None:
            turn = 0
            while not ends.is_set() or turn < 4:
                turn += 1
                with database.change("films") as change:
                    for ref, frames in zip(("film", "other"), (cuts[turn % 2], cuts[1 - turn % 2]),
                                           strict=True):  # fmt: skip
                        change.add("pdq", **columns(frames), refs=[ref] * 10, kind="video")

        thread = threading.Thread(target=change)
        thread.start()
        try:
            seen = set()
            for _ in range(60):
                for opened in (database, reader):
                    matches = opened.match_videos([as_upload(cuts[0]), as_upload(cuts[1])])
                    swapped = (matches.generation - first) % 2
                    assert matches.ref == (["other", "film"] if swapped else ["film", "other"])
                    assert matches.query_percent.tolist() == [100.0, 100.0]
                    assert np.diff(matches.pairs.offsets).tolist() == [10, 10]
                    seen.add(matches.generation)
        finally:
            ends.set()
            thread.join()
    assert len(seen) > 3


@pytest.mark.parametrize("seed", range(20))
def test_dedupe_before_the_filter_is_the_brute_force_matcher(tmp_path: Path, seed: int) -> None:
    vpdq_index()
    from threatexchange.extensions.vpdq.vpdq_brute_matcher import match_VPDQ_hash_brute
    from threatexchange.extensions.vpdq.vpdq_util import VpdqCompactFeature

    chance = random.Random(seed)
    videos = [
        [frame._replace(quality=frame.quality or 0) for frame in video * 2]
        for video in (sharing(chance), sharing(chance))
    ]
    for video in videos:
        chance.shuffle(video)
        video[0] = video[0]._replace(quality=100)
    upload, known = (
        [VpdqCompactFeature(frame.code.hex(), frame.quality or 0, 0.0) for frame in video]
        for video in videos
    )
    theirs = match_VPDQ_hash_brute(upload, known, 50, 31)
    with hashmatch.open(tmp_path / "db", "c") as database:
        database.create("films")
        add(database, [Known("film", videos[1])])
        matches = database.match_videos(
            [Frames(**columns(videos[0]))], query_percent=0, steps="dedupe-filter"
        )
    ours = list(zip(matches.query_percent, matches.video_percent, strict=True))
    wanted = (theirs.query_match_percent, theirs.compared_match_percent)
    assert ours == ([wanted] if wanted != (0, 0) else [])
