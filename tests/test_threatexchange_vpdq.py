"""VPDQIndex and the vPDQ signal type beside those of threatexchange."""

from __future__ import annotations

import copy
import io
import json
import pickle
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashmatch import Frames
from hashmatch.hashing import video_frames
from hashmatch.threatexchange.videos import Videos
from media import pixels, write_video
from threatexchange_originals import (
    CENTRES,
    VPDQIndex,
    flipped,
    hashes,
    ours,
    percentages,
    video,
)

#: Four pictures, none near another.
SCENES = [flipped(CENTRES[1], range(64 * scene, 64 * scene + 64)) for scene in range(4)]
BLACK = CENTRES[1]

videos = st.lists(st.tuples(hashes(), st.sampled_from([0, 49, 50, 100])), max_size=8).map(video)
counting = st.lists(st.tuples(hashes(), st.sampled_from([49, 50, 100])), max_size=7).map(
    lambda frames: video([*frames, (CENTRES[2], 100)])
)
percent = st.sampled_from([0, 1, 33, 50, 80, 100])


def scene(number: int, count: int, first: int = 0) -> list[tuple[str, int]]:
    """Frames of one picture, each within 2 of every other."""
    return [(flipped(SCENES[number], [bit]), 100) for bit in range(first, first + count)]


def stored(index: Any) -> Any:
    file = io.BytesIO()
    index.serialize(file)
    file.seek(0)
    return type(index).deserialize(file)


@given(
    st.lists(counting, max_size=10),
    st.lists(videos, min_size=1, max_size=6),
    st.tuples(st.sampled_from([0, 50, 100]), percent, percent),
    st.lists(st.sampled_from(["stored", "pickled", "none"]), min_size=2, max_size=2),
)
@settings(max_examples=80, deadline=None)
def test_same_matches_as_the_original(
    known: list[str], queries: list[str], options: tuple[int, int, int], between: list[str]
) -> None:
    index = ours.VPDQIndex[int](*options)
    peer = VPDQIndex[int](*options)
    parts = (known[: len(known) // 2], known[len(known) // 2 :])
    for part, then in zip(parts, between, strict=True):
        entries = [(signal, len(index) + row) for row, signal in enumerate(part)]
        index.add_all(entries[:-1])
        peer.add_all(entries[:-1])
        for signal, entry in entries[-1:]:
            index.add(signal, entry)
            peer.add(signal, entry)
        if then == "stored":
            index = stored(index)
        elif then == "pickled":
            index = pickle.loads(pickle.dumps(index))
    assert len(index) == len(known)
    for query in [*queries, *known]:
        assert percentages(index.query(query)) == percentages(peer.query(query))


def test_the_best_first_then_as_added() -> None:
    index = ours.VPDQIndex[str](query_match_threshold_pct=0)
    index.add(video(scene(0, 4)), "half of the query")
    index.add(video([*scene(0, 2), *scene(1, 2), *scene(2, 4)]), "half of the known")
    index.add(video([*scene(0, 4), *scene(1, 4)]), "both")
    index.add(video([*scene(1, 4), *scene(0, 4)]), "both again")
    found = index.query(video([*scene(0, 4, 8), *scene(1, 4, 8)]))
    assert [(match.metadata, match.similarity_info.pretty_str()) for match in found] == [
        ("both", "100%[100%]"),
        ("both again", "100%[100%]"),
        ("half of the known", "100%[50%]"),
        ("half of the query", "50%[100%]"),
    ]


def test_distance_is_an_option() -> None:
    known = video([(CENTRES[0], 100)])
    near = video([(flipped(CENTRES[0], range(20)), 100)])
    for threshold, matches in ((19, 0), (20, 1)):
        index = stored(ours.VPDQIndex.build([(known, 1)], threshold=threshold))
        assert index.threshold == threshold
        assert len(index.query(near)) == matches


def test_a_frame_of_every_video() -> None:
    count = 20_000
    index = ours.VPDQIndex.build(
        (video([(BLACK, 100), (f"{number:032x}" + "a5" * 16, 100)]), number)
        for number in range(count)
    )
    query = video([*((flipped(BLACK, [bit]), 100) for bit in range(40)), (SCENES[2], 100)])
    begin = time.process_time()
    found = index.query(query)
    took = time.process_time() - begin
    assert [match.metadata for match in found] == list(range(count))
    assert found[0].similarity_info.query_match_percent == 40 * 100 / 41
    assert found[0].similarity_info.compared_match_percent == 50
    assert took < 1, "work grows with the videos of a frame for each frame of the query"


def test_what_the_original_keeps_is_there() -> None:
    signals = [video(scene(0, 3)), video([*scene(0, 2), *scene(1, 2)])]
    entries = [(signal, {"video": number}) for number, signal in enumerate(signals)]
    index, peer = ours.VPDQIndex.build(entries), VPDQIndex.build(entries)
    videos = index._entry_idx_to_features_and_entries
    for (frames, entry), (peers, peers_entry) in zip(
        videos, peer._entry_idx_to_features_and_entries, strict=True
    ):
        assert entry == peers_entry
        assert [(frame.pdq_hex, frame.quality, frame.timestamp) for frame in frames] == [
            (frame.pdq_hex, frame.quality, frame.timestamp) for frame in peers
        ]
    assert index._index_idx_to_vpdqHex_and_entry == peer._index_idx_to_vpdqHex_and_entry


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ("{", "JSON list of frames"),
        ("null", "JSON list of frames, not 'null'"),
        ('{"0": 1}', "JSON list of frames"),
        ("[" * 100_000, "JSON list of frames"),
        ("[5]", "frame 0 must be"),
        ('["x"]', "frame 0 must be"),
        (f'["{CENTRES[0]},100,0", "{CENTRES[0]},100"]', "frame 1 must be"),
        (f'["{CENTRES[0]},101,0"]', "quality must be in 0..100, not 101"),
        (f'["{CENTRES[0]},-1,0"]', "quality must be in 0..100, not -1"),
        (f'["{CENTRES[0]},1{"0" * 30},0"]', "quality must be"),
        (f'["{CENTRES[0]},100,-1"]', "seconds must be at least 0"),
        (f'["{"g" * 64},100,0"]', "frame 0: hash has 'g'"),
        (f'["0x{"f" * 62},100,0"]', "frame 0: hash begins with 0x"),
        (f'["{"f" * 62},100,0"]', "frame 0: hash has 62"),
        (None, "must be a str, not NoneType"),
        (b"[]", "must be a str, not bytes"),
    ],
)
def test_bad_signals_change_nothing(bad: Any, reason: str) -> None:
    good = video(scene(0, 3))
    index = ours.VPDQIndex.build([(good, 0)])
    kind = ValueError if isinstance(bad, str) else TypeError
    for use in (index.query, ours.VPDQSignal.validate_signal_str):
        with pytest.raises(kind, match=reason):
            use(bad)
    with pytest.raises(kind, match=f"entry 1: .*{reason}"):
        index.add_all([(good, 1), (bad, 2)])
    assert percentages(index.query(good)) == {(100.0, 100.0, 0): 1}


def test_videos_without_a_frame_that_counts() -> None:
    index = ours.VPDQIndex.build([(video(scene(0, 3)), 0)])
    for signal in ("", "[]", video([(SCENES[0], 49)])):
        assert index.query(signal) == []
        with pytest.raises(ValueError, match="no frame is of quality 50 or more"):
            index.add(signal, 1)
    assert ours.VPDQIndex().query(video(scene(0, 3))) == []
    assert len(index) == 1


def test_dispose_and_copies() -> None:
    marker = object()
    signal = video(scene(0, 3))
    index = ours.VPDQIndex[object](40, 70.5, 1.5, threshold=30)
    index.add(signal, marker)
    for other in (copy.copy(index), copy.deepcopy(index)):
        other.add(signal, marker)
        assert len(other) == 2
        assert (other.quality_threshold, other.query_match_threshold_pct) == (40, 70.5)
        assert (other.index_match_threshold_pct, other.threshold) == (1.5, 30)
    assert copy.copy(index).query(signal)[0].metadata is marker
    index.dispose()
    assert len(index) == 0
    for use in (lambda: index.query(signal), lambda: index.add(signal, 1), lambda: stored(index)):
        with pytest.raises(ValueError, match="disposed of"):
            use()


def test_queries_while_others_add() -> None:
    index = ours.VPDQIndex[int](query_match_threshold_pct=0)
    query = video(scene(0, 1))
    returned = 0
    done = threading.Event()

    def ask() -> list[int]:
        seen = []
        while not done.is_set():
            least = returned
            found = index.query(query)
            assert {match.metadata for match in found} >= set(range(least))
            assert {match.similarity_info.compared_match_percent for match in found} <= {75.0}
            seen.append(len(found))
        return seen

    with ThreadPoolExecutor(2) as threads:
        asking = [threads.submit(ask) for _ in range(2)]
        try:
            for number in range(100):
                index.add(video([*scene(0, 3, number % 60), *scene(1, 1, number % 60)]), number)
                returned = number + 1
                time.sleep(0.001)
        finally:
            done.set()
        for thread in asking:
            seen = thread.result()
            assert seen
            assert seen == sorted(seen)


def test_after_an_interrupted_addition_it_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    index = ours.VPDQIndex.build([(video(scene(0, 3)), 0)])

    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Videos, "_add_others", interrupted)
    with pytest.raises(KeyboardInterrupt):
        index.add(video(scene(0, 3)), 1)
    with pytest.raises(ValueError, match="adding to it was broken off"):
        index.query(video(scene(0, 3)))


def test_comparing_two_videos() -> None:
    compare = ours.VPDQSignal.compare_hash
    query = video([*scene(0, 4), *scene(1, 1), (SCENES[2], 49)])
    known = video([*scene(0, 2, 8), *scene(3, 2)])
    result = compare(query, known)
    assert (result.match, result.distance.pretty_str()) == (True, "80%[50%]")
    assert not compare(query, known, compare_match_pct_thresh=51).match
    assert not compare(known, query).match
    assert not compare("[]", known).match
    # Here a hash's first frame decides; for an index any that is good enough.
    assert not compare(video([(SCENES[2], 10), (SCENES[2], 100)]), video([(SCENES[2], 100)])).match


def test_signal_types() -> None:
    (example,) = ours.VPDQSignal.get_examples()
    assert ours.VPDQSignal.validate_signal_str(example) == example
    assert ours.VPDQSignal.compare_hash(example, example).match
    assert (ours.VPDQSignal.get_name(), ours.PdqSignal.get_name()) == ("vpdq", "pdq")
    assert ours.VPDQSignal.get_index_cls() is ours.VPDQIndex
    assert ours.PdqSignal.get_index_cls() is ours.PDQIndex


def test_it_is_usable_without_the_package_vpdq() -> None:
    """Without it, and with no stand-in for it."""
    program = """
import sys
sys.modules["vpdq"] = None
from hashmatch.threatexchange import VPDQIndex, VPDQSignal
(signal,) = VPDQSignal.get_examples()
index = VPDQIndex.build([(signal, 7)])
print(index.query(signal)[0].similarity_info, index.query(signal)[0].metadata)
print(index._entry_idx_to_features_and_entries[0][0][1].quality)
"""
    run = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    match, quality = run.stdout.splitlines()
    assert match.endswith("(query_match_percent=100.0, compared_match_percent=100.0) 7")
    assert quality == "100"


def test_videos_are_hashed(tmp_path: Path) -> None:
    path = tmp_path / "film.mkv"
    write_video(path, [pixels(second) for second in range(4)], 1)
    signal = ours.VPDQSignal.hash_from_file(path)
    expected = list(video_frames(path))
    assert len(expected) == 4
    frames = Frames.parse(signal)
    assert np.array_equal(np.asarray(frames.codes), [frame.code for frame in expected])
    assert frames.time_ms == [frame.time_ms for frame in expected]
    assert len(json.loads(ours.VPDQSignal.hash_from_file(path, 2))) == 2
