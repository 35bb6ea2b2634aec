"""Uploaded videos over HTTP: what the database itself answers, and errors that name the frame."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import numpy as np
import pytest

import hashmatch
from hashmatch import Database, Frames
from hashmatch.codes import encode_hex
from hashmatch.database import TooManyMatches, video_search
from hashmatch.server import answers, videos
from hashmatch.vpdq import format_frames, frame_text
from mutation import mutants
from oracle import flipped, random_codes
from serving import problem, with_application

CENTRES = random_codes(12, 256, 3)


def film(seed: int, frames: int = 8) -> Frames:
    """Frames near some of the centres."""
    chance = np.random.default_rng(seed)
    chosen = CENTRES[chance.integers(0, len(CENTRES), frames)]
    codes = np.stack([flipped(code, int(chance.integers(0, 16)), seed) for code in chosen])
    quality = chance.choice([40, 60, 100], frames).tolist()
    return Frames(codes, quality, list(range(0, 1000 * frames, 1000)))


def texts(video: Frames) -> list[str]:
    parsed: list[str] = json.loads(format_frames(video))
    return parsed


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with hashmatch.open(tmp_path_factory.mktemp("server") / "bank", "c") as database:
        for name, distance in (("films", 31), ("clips", 10)):
            database.create(name, contributor="studio", max_distance={"pdq": distance})
            for seed in range(6):
                video = film(seed + 10 * (name == "clips"))
                with database.change(name) as change:
                    change.add(
                        "pdq", video.codes, refs=[f"{name} {seed}"] * 8, kind="video",
                        quality=video.quality, time_ms=video.time_ms, labels=["x"],
                    )  # fmt: skip
        with database.change("films") as change:
            change.add("pdq", CENTRES, refs=[f"picture {row}" for row in range(12)])
            change.opinion("films 2", contributor="agency", verdict="negative")
        yield database


def expected(database: Database, uploads: list[Frames], pairs: bool, **asked: Any) -> Any:
    """What a JSON answer has to be."""
    matches = database.match_videos(uploads, **asked)
    rows = []
    for match in matches:
        row = match._asdict()
        frames = [pair._asdict() for pair in row.pop("frames")]
        rows.append(
            row | {"verdicts": list(match.verdicts)} | ({"frames": frames} if pairs else {})
        )
    return {
        "generation": database.generation, "type": "vpdq", "queries": len(uploads),
        "matches": rows,
    }  # fmt: skip


ASKED: tuple[dict[str, Any], ...] = (
    {},
    {"query_percent": 12.5, "video_percent": 1},
    {"query_percent": 0, "quality_tolerance": 0, "steps": "filter"},
    {"query_percent": 30, "steps": "dedupe-filter", "pictures": False, "sets": ["films"]},
    {"query_percent": 1, "max_distance": 24, "verdicts": ["negative"]},
    {"query_percent": 1, "sets": ["clips", "films"], "verdicts": ["none"], "pictures": False},
)


@pytest.mark.parametrize("pairs", [False, True])
def test_answers_are_those_of_the_database(
    database: Database, pairs: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploads = [film(seed) for seed in (0, 1, 2, 12, 40)] + [Frames([])]
    listed = [{"frames": texts(uploads[0])}, *map(format_frames, uploads[1:])]

    async def use(client: httpx.AsyncClient) -> list[Any]:
        replies = []
        for asked in ASKED:
            body = {"videos": listed, **asked} | ({"pairs": True} if pairs else {})
            reply = await client.post("/v1/match/video", json=body)
            assert reply.status_code == 200, reply.text
            assert reply.headers["hashmatch-generation"] == str(database.generation)
            in_url = await client.post(
                "/v1/match/video",
                json={"videos": listed},
                params={
                    name: str(value).lower() if isinstance(value, bool) else value
                    for name, value in (asked | {"pairs": pairs}).items()
                },
            )
            assert in_url.content == reply.content
            replies.append(reply.json())
        return replies

    wanted = [expected(database, uploads, pairs, **asked) for asked in ASKED]
    assert with_application(database.path, use) == wanted
    assert all(len(each["matches"]) > 3 for each in wanted[1:4])
    for name, value in (("_AT_ONCE", 0), ("_BLOCK", 2)):
        monkeypatch.setattr(answers if name == "_AT_ONCE" else videos, name, value)
    assert with_application(database.path, use) == wanted


def test_hidden_distances(database: Database) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        body = {"videos": [{"frames": texts(film(1))}], "pairs": True, "query_percent": 10}
        reply = await client.post("/v1/match/video", json=body)
        wanted = expected(database, [film(1)], True, query_percent=10)
        for match in wanted["matches"]:
            match["frames"].sort(key=lambda frame: (frame["frame"], frame["signal"]))
            for frame in match["frames"]:
                del frame["distance"]
        assert reply.json() == wanted
        assert "distance" not in reply.text
        problem(await client.post("/v1/match/video", json=body | {"max_distance": 9}), 403,
                field="max_distance")  # fmt: skip

    with_application(database.path, use, hide_distances=True)


GOOD = encode_hex(CENTRES[:1])[0]


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (f"{GOOD[1:]},100,0.0", "63 hex digits"), (f"{GOOD},101,0.0", "quality"),
        (f"{GOOD},-1,0.0", "quality"), (f"{GOOD},100,-1", "timestamp"),
        (f"{GOOD},100,NaN", "timestamp"), (f"{GOOD},100,1e999", "timestamp"),
        (f"{GOOD},100", "2 parts"), ("", "1 parts"), (GOOD, "1 parts"), (5, "not a frame"),
        (None, "not a frame"), ([GOOD], "not a frame"), (f"0x{GOOD[2:]},100,0", "0x"),
        (f"{GOOD},\u0661,0", "quality"),
    ],
)  # fmt: skip
def test_a_bad_frame_is_named(database: Database, frame: Any, reason: str) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        good = f"{GOOD},100,0.0"
        for video in ({"frames": [good, frame]}, json.dumps([good, frame])):
            body = {"videos": [{"frames": [good]}, video]}
            reply = await client.post("/v1/match/video", json=body)
            detail = problem(reply, 400, field="videos", row=1)["detail"]
            assert detail.startswith("video 1: frame 1: ") and reason in detail

    with_application(database.path, use)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("videos", None), ("videos", {}), ("videos", "[]"), ("videos", [5]), ("videos", [[]]),
        ("videos", [{}]), ("videos", [{"frames": "x"}]), ("videos", [{"frames": [], "x": 1}]),
        ("videos", ["{}"]), ("videos", ["[" * 9_000]), ("videos", [GOOD]), ("videos", [None]),
        ("query_percent", 101), ("query_percent", -1), ("query_percent", "80"),
        ("query_percent", True), ("query_percent", None), ("video_percent", 1e300),
        ("quality_tolerance", 50.0), ("quality_tolerance", 101), ("quality_tolerance", None),
        ("steps", "all"), ("steps", []), ("pictures", 1), ("pairs", "true"), ("pairs", None),
        ("max_distance", 257), ("sets", ["nowhere"]), ("verdicts", "none"), ("limit", 1),
        ("type", "vpdq"),
    ],
)  # fmt: skip
def test_a_bad_parameter_is_named(database: Database, name: str, value: Any) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        body = {"videos": [], name: value}
        problem(await client.post("/v1/match/video", json=body), 400, field=name)

    with_application(database.path, use)


def test_other_bodies(database: Database) -> None:
    async def use(client: httpx.AsyncClient) -> None:
        url = "/v1/match/video"
        problem(await client.post(url, json={}), 400, field="videos")
        problem(await client.post(f"{url}?pairs=yes", json={"videos": []}), 400, field="pairs")
        problem(await client.post(f"{url}?query_percent=1e999", json={"videos": []}), 400,
                field="query_percent")  # fmt: skip
        problem(await client.post(url, content=b"", headers={"content-type": "video/mp4"}), 415)
        reply = await client.post(url, json={"videos": []}, headers={"accept": "text/html"})
        problem(reply, 406)
        many = [frame_text(GOOD, 100, 0)] * (videos.MAX_FRAMES // 2 + 1)
        body = {"videos": [{"frames": many}] * 2}
        problem(await client.post(url, json=body), 413, field="videos")

    with_application(database.path, use)


def test_mutated_bodies(database: Database) -> None:
    """Only 2xx and 4xx."""
    body = {"videos": [{"frames": texts(film(1))[:2]}, format_frames(film(2, 2))], **ASKED[3]}
    statuses = set()

    async def use(client: httpx.AsyncClient) -> None:
        headers = {"content-type": "application/json"}
        for mutant in mutants(json.dumps(body).encode(), 700, 4):
            reply = await client.post("/v1/match/video", content=mutant, headers=headers)
            statuses.add(reply.status_code)

    with_application(database.path, use)
    assert statuses == {200, 400}


def test_what_is_compared_at_a_time_does_not_matter(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    uploads = [film(seed) for seed in range(20)]
    wanted = [expected(database, uploads, True, **asked) for asked in ASKED]
    for at_once in (1, 40, 300):
        monkeypatch.setattr(video_search, "_PAIRS_AT_ONCE", at_once)
        assert [expected(database, uploads, True, **asked) for asked in ASKED] == wanted


def test_answers_have_a_bound(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    upload = film(1)
    matches = database.match_videos(upload, query_percent=10)
    pairs = len(matches.pairs.match)
    assert 2 < len(matches) < pairs
    enough = database.match_videos(upload, query_percent=10, most_matches=pairs)
    assert len(enough.pairs.match) == pairs
    fewer = database.match_videos(upload, query_percent=10, most_matches=pairs - 1)
    with pytest.raises(TooManyMatches, match="pairs of frames"):
        _ = fewer.pairs
    with pytest.raises(TooManyMatches, match="matches"):
        database.match_videos(upload, query_percent=10, most_matches=len(matches) - 1)

    async def use(client: httpx.AsyncClient) -> None:
        listed = [{"frames": texts(upload)}]
        body = {"videos": listed, "query_percent": 10}
        assert (await client.post("/v1/match/video", json=body)).status_code == 200
        reply = await client.post("/v1/match/video", json=body | {"pairs": True})
        problem(reply, 413, field="pairs")
        twice = await client.post("/v1/match/video", json=body | {"videos": listed * 2})
        problem(twice, 413)

    monkeypatch.setattr(videos, "MAX_MATCHES", len(matches))
    with_application(database.path, use)
