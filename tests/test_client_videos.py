"""Videos and files looked up by a client: the answers are those of a database used directly."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from PIL import Image

import hashmatch
from hashmatch import Client, Database, DatabaseMatches, Frames, VideoMatches
from hashmatch.client import FileMatches
from hashmatch.hashing import hash_contents
from hashmatch.vpdq import format_frames
from oracle import flipped, random_codes
from serving import Server

CODES = random_codes(60, 256)


def video(seed: int) -> Frames:
    """Frames of a few codes, or near them, with or without what is known beside them."""
    chance = random.Random(seed)
    count = chance.choice([0, 1, 5, 12])
    first = chance.randrange(len(CODES) - 12)
    rows = [first + chance.randrange(12) for _ in range(count)]
    codes = [flipped(CODES[row], chance.choice([0, 0, 9, 31, 32]), row) for row in rows]
    beside: list[list[int | None]] = [
        [chance.choice([None, 0, 49, 50, 100]) for _ in rows],
        [chance.choice([None, 0, 1, 1500, 2**32 - 2]) for _ in rows],
    ]
    return Frames(
        np.array(codes, np.uint8).reshape(-1, 32),
        *(chance.choice([None, values, values]) for values in beside),
    )


class Served:
    def __init__(self, path: Path, server: Server, client: Client) -> None:
        self.server = server
        self.client = client
        self.database: Database = hashmatch.open(path)


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("videos") / "bank"
    with hashmatch.open(path, "c") as database:
        for name, bits in (("films", 31), ("strict", 8)):
            database.create(name, contributor="studio", max_distance={"pdq": bits})
        for seed in range(40):
            frames, name = video(seed), ("films", "strict")[seed % 2]
            with database.change(name) as change:
                refs = [f"video-{seed}"] * len(cast(Any, frames.codes))
                kind = cast(Any, ("video", "video", "image")[seed % 3])
                change.add("pdq", frames.codes, refs=refs, kind=kind, quality=frames.quality,
                           time_ms=frames.time_ms, labels=[f"{seed % 4}"])  # fmt: skip
                if seed % 5 == 0 and refs:
                    change.opinion(refs[0], contributor="analyst", verdict="negative")
    return path


@pytest.fixture(scope="module")
def served(bank: Path) -> Iterator[Served]:
    with Server(bank) as server, hashmatch.connect(server.url) as client:
        served = Served(bank, server, client)
        with served.database:
            yield served


def assert_same(found: VideoMatches, wanted: VideoMatches) -> None:
    assert found.generation == wanted.generation
    for name in ("query", "item", "query_percent", "video_percent", "offsets"):
        mine, theirs = getattr(found, name), getattr(wanted, name)
        assert mine.dtype == theirs.dtype
        assert np.array_equal(mine, theirs)
    for name in ("match", "frame", "time_ms", "signal", "signal_ms", "distance", "offsets"):
        mine, theirs = getattr(found.pairs, name), getattr(wanted.pairs, name)
        assert mine.dtype == theirs.dtype
        assert np.array_equal(mine, theirs)
    assert found.to_list() == wanted.to_list()
    assert found.to_arrow() == wanted.to_arrow()
    assert found.set_counts() == wanted.set_counts()


def test_videos_in_every_way(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(1)
    found = 0
    for turn in range(150):
        monkeypatch.setattr("hashmatch.client.videos._MOST_VIDEOS", chance.choice([2, 256]))
        monkeypatch.setattr("hashmatch.client.videos._MOST_FRAMES", chance.choice([9, 20_000]))
        uploads: list[Any] = [video(seed) for seed in range(turn, turn + chance.choice([0, 1, 6]))]
        given: dict[str, Any] = {
            "sets": chance.choice([None, None, [], ["films"], ["strict", "films"]]),
            "max_distance": chance.choice([None, 0, 12, 40]),
            "verdicts": chance.choice([None, None, ["none"], ["negative"]]),
            "query_percent": chance.choice([0, 20, 33.3, np.float64(50), 100]),
            "video_percent": chance.choice([0, 0, 20, 100]),
            "quality_tolerance": chance.choice([0, 50, np.int64(51), 100]),
            "steps": chance.choice(["filter-dedupe", "dedupe-filter", "filter"]),
            "pictures": chance.choice([True, False, np.True_]),
        }
        matches = served.client.match_videos(uploads, **given)
        assert_same(matches, served.database.match_videos(uploads, **given))
        found += len(matches)
    assert found > 200


def test_uploads_in_every_form(served: Served) -> None:
    frames = Frames(CODES[:12], [100] * 12, list(range(0, 12_000, 1000)))
    text = format_frames(frames)
    wanted = served.database.match_videos(frames)
    assert len(wanted)
    for form in (frames, [frames], text, [text], [json.loads(text)]):
        assert_same(served.client.match_videos(form), wanted)


@pytest.mark.parametrize(
    ("uploads", "given"),
    [
        ([Frames(["0" * 63])], {}),
        (["[1]"], {}),
        ([5], {}),
        (5, {}),
        ("no list", {}),
        ([Frames(CODES[:1], [101])], {}),
        ([Frames(CODES[:2], [1])], {}),
        ([], {"query_percent": 101}),
        ([], {"query_percent": "80"}),
        ([], {"steps": "none"}),
        ([], {"quality_tolerance": 101}),
        ([], {"pictures": 1}),
        ([], {"max_distance": 300}),
        ([], {"sets": "films"}),
        ([], {"sets": ["nowhere"]}),
    ],
)
def test_errors_are_those_of_a_database(
    served: Served, uploads: Any, given: dict[str, Any]
) -> None:
    kinds = []
    for each in (served.client, served.database):
        with pytest.raises((TypeError, ValueError)) as caught:
            cast(Database, each).match_videos(uploads, **given)
        kinds.append(caught.type)
    assert kinds[0] is kinds[1]


# Files.


def png(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 256, (96, 96, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


def test_a_file(tmp_path: Path, bank: Path, served: Served) -> None:
    picture, other = png(1), png(2)
    hashes = hash_contents(io.BytesIO(picture), ["pdq", "md5"])
    assert hashes.picture is not None
    code = hashes.picture.code
    with served.client.change("films") as change:
        change.add("pdq", code, refs=["known.png"], labels=["l"])
        change.add("md5", hashes.digests["md5"], refs=["known.png"])
    path = tmp_path / "upload.png"
    path.write_bytes(picture)
    for file in (picture, path, str(path)):
        found = served.client.match_file(file)
        assert isinstance(found, FileMatches)
        assert (found.kind, found.reason, found.generation) == ("image", None, change.generation)
        assert {each.type: each.hash for each in found.hashes} == {
            "pdq": code.tobytes().hex(), "md5": hashes.digests["md5"].hex(),
        }  # fmt: skip
        assert [each.quality for each in found.hashes] == [hashes.picture.quality, None]
        served.database.refresh()
        for name, asked in (("pdq", code), ("md5", hashes.digests["md5"])):
            matches, wanted = found.matches[name], served.database.match(name, asked)
            assert isinstance(matches, DatabaseMatches)
            assert matches.to_list() == wanted.to_list() != []
            assert matches.hash == wanted.hash
            assert matches.distance.dtype == np.uint16
    assert len(served.client.match_file(other).matches["pdq"]) == 0
    assert len(served.client.match_file(picture, ["strict"]).matches["pdq"]) == 0
    assert len(served.client.match_file(picture, verdicts=["positive"]).matches["pdq"]) == 0
    with pytest.raises(FileNotFoundError):
        served.client.match_file(tmp_path / "nothing")
    with pytest.raises(ValueError, match="the body is empty"):
        served.client.match_file(b"")
    broken = served.client.match_file(picture[:100])
    assert (broken.kind, list(broken.matches)) == ("image", ["md5"])
    assert broken.reason is not None and "damaged" in broken.reason
    with pytest.raises(ValueError, match="no set 'nowhere'"):
        served.client.match_file(picture, ["nowhere"])
    with pytest.raises(ValueError, match="quality_tolerance"):
        served.client.match_file(picture, quality_tolerance=101)


def test_distances_that_are_hidden(bank: Path, served: Served) -> None:
    uploads = [video(seed) for seed in range(12)]
    wanted = served.database.match_videos(uploads)
    with (
        Server(bank, hide_distances=True, read_only=True) as server,
        hashmatch.connect(server.url) as client,
    ):
        found = client.match_videos(uploads)
        assert (found.ref, found.item.tolist()) == (wanted.ref, wanted.item.tolist())
        assert set(found.pairs.distance.tolist()) == {None}
        pairs = {(pair.frame, pair.signal) for match in found for pair in match.frames}
        assert pairs == {(pair.frame, pair.signal) for match in wanted for pair in match.frames}
        with pytest.raises(PermissionError, match="distances are not shown"):
            client.match("pdq", CODES, max_distance=5)
        with pytest.raises(PermissionError, match="read only"), client.change("films"):
            pass
