"""POST /v1/match/video: which known videos uploaded ones match, given by their frames."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, get_args

import numpy as np
import orjson

from hashmatch.codes import as_codes
from hashmatch.database import TooManyMatches, VideoMatches
from hashmatch.database.model import verdicts_of
from hashmatch.database.uploads import Rule, Steps
from hashmatch.formats.fields import clipped
from hashmatch.hash_types import HASH_TYPES
from hashmatch.server import generations, parameters
from hashmatch.server.answers import sent
from hashmatch.server.bodies import LARGE_BYTES, deadline, json_members
from hashmatch.server.http import Lookup, Part, Reply, Request
from hashmatch.server.matching import Handler
from hashmatch.server.media import JSON, accepted, content_type
from hashmatch.server.parameters import Given, Where, bad, in_url, together, where_of
from hashmatch.server.problems import Problem
from hashmatch.server.service import Service
from hashmatch.vpdq import Frames

TYPE = "vpdq"
_PDQ = HASH_TYPES["pdq"]
#: Frames of all videos of a request: 27 hours, at one a second.
MAX_FRAMES = 100_000
#: Lists and objects in a request: two or three a video.
_MAX_LISTS = 50_000
#: Matches that an answer may have, and pairs of frames.
MAX_MATCHES = 1_000_000
#: Matches that are looked up in the catalog, and sent, at a time.
_BLOCK = 1_024

_RULE = {
    "query_percent": parameters.as_number,
    "video_percent": parameters.as_number,
    "quality_tolerance": parameters.as_whole,
    "steps": parameters.as_text,
    "pictures": parameters.as_truth,
}
_IN_URL: dict[str, Callable[[str, str], Any]] = {
    "max_distance": parameters.as_whole,
    "sets": parameters.as_text,
    "verdicts": parameters.as_text,
    **_RULE,
    "pairs": parameters.as_truth,
}


async def match(request: Request, service: Service) -> Reply:
    """POST /v1/match/video."""
    caller = request.caller
    assert caller is not None
    caller.require("read")
    content_type(request, (JSON,))
    accepted(request, (JSON,))
    await generations.reach(request, service)
    body = await request.body()
    aside = service.bulk if len(body) > LARGE_BYTES else service.beside
    return await aside(_answer, body, request, service)


def _answer(body: bytes, request: Request, service: Service) -> Reply:
    members = json_members(body, ("videos", *_IN_URL), _MAX_LISTS)
    if "videos" not in members:
        raise Problem(400, "videos are missing: give a list of them", field="videos")
    uploads, frames = _uploads(members.pop("videos"))
    given = together(in_url(request, _IN_URL), members)
    where = where_of(given, _PDQ, request, service)
    rule = rule_of(given)
    pairs = given.get("pairs", False)
    if type(pairs) is not bool:
        raise bad("pairs", pairs, "true or false")
    matches = found(uploads, where, rule, service)
    request.lookup = Lookup(TYPE, frames, matches.set_counts())
    if pairs:
        _require_pairs(matches)
    parts = _parts(matches, pairs, not service.settings.hide_distances)
    return sent(parts, len(matches), JSON, matches.generation, service)


def _uploads(videos: Any) -> tuple[list[Frames], int]:
    """The frames of each video, and how many they are. Problem names the video that is none."""
    if not isinstance(videos, list):
        raise bad("videos", videos, "a list")
    uploads = []
    frames = 0
    for number, video in enumerate(videos):
        if isinstance(video, dict):
            if video.keys() != {"frames"} or not isinstance(video["frames"], list):
                raise Problem(
                    400, f'video {number} is no object {{"frames": [...]}}',
                    field="videos", row=number,
                )  # fmt: skip
            video = video["frames"]
        elif not isinstance(video, str):
            raise Problem(
                400, f"video {number} is {clipped(video)}: give its frames, or a vPDQ string",
                field="videos", row=number,
            )  # fmt: skip
        try:
            uploads.append(Frames.parse(video))
        except ValueError as error:
            raise Problem(400, f"video {number}: {error}", field="videos", row=number) from None
        frames += len(as_codes(uploads[-1].codes, _PDQ))
        if frames > MAX_FRAMES:
            raise Problem(
                413, f"the videos have more than {MAX_FRAMES:,} frames: send fewer at a time",
                field="videos",
            )  # fmt: skip
    return uploads, frames


def rule_of(given: Given) -> Rule:
    """What makes an upload match. Problem names the parameter that is none."""
    rule = {name: given[name] for name in _RULE if name in given}
    for name in ("query_percent", "video_percent"):
        value = rule.get(name, 0)
        if type(value) not in (int, float) or not 0 <= value <= 100:
            raise bad(name, value, "a number in 0..100")
    value = rule.get("quality_tolerance", 0)
    if type(value) is not int or not 0 <= value <= 100:
        raise bad("quality_tolerance", value, "a whole number in 0..100")
    if rule.get("steps", "filter") not in get_args(Steps):
        raise bad("steps", rule["steps"], f"one of {', '.join(get_args(Steps))}")
    if type(rule.get("pictures", True)) is not bool:
        raise bad("pictures", rule["pictures"], "true or false")
    return Rule(**rule)


def found(uploads: Sequence[Frames], where: Where, rule: Rule, service: Service) -> VideoMatches:
    """What the uploads match. Problem where that is too much."""
    try:
        return service.database.match_videos(
            uploads, where.sets, where.max_distance, where.verdicts, service.settings.threads,
            query_percent=rule.query_percent, video_percent=rule.video_percent,
            quality_tolerance=rule.quality_tolerance, steps=rule.steps, pictures=rule.pictures,
            progress=deadline(service.settings.answer_seconds), most_matches=MAX_MATCHES,
        )  # fmt: skip
    except TooManyMatches as error:
        raise Problem(413, str(error)) from None


def _require_pairs(matches: VideoMatches) -> None:
    """Look them up, before the answer begins. Problem where they are too many."""
    try:
        _ = matches.pairs
    except TooManyMatches as error:
        raise Problem(413, f"{error}, or ask for none", field="pairs") from None


def _parts(matches: VideoMatches, pairs: bool, distances: bool) -> Iterator[Part]:
    """The answer as JSON."""
    head = b'{"generation":%d,"type":"%s","queries":%d,"matches":[' % (
        matches.generation, TYPE.encode(), matches.queries
    )  # fmt: skip
    for begin in range(0, len(matches), _BLOCK):
        rows = slice(begin, begin + _BLOCK)
        yield head + orjson.dumps(json_rows(matches, rows, pairs, distances))[1:-1]
        head = b","
    yield b"]}" if len(matches) else head + b"]}"


def json_rows(
    matches: VideoMatches, rows: slice, pairs: bool, distances: bool
) -> list[dict[str, Any]]:
    """Some matches as JSON has them."""
    items = matches.item[rows]
    ids, places = np.unique(items, return_inverse=True)
    joined = matches.described(ids)
    columns = (matches.query, matches.query_percent, matches.video_percent)
    records = []
    for number, (query, query_percent, video_percent) in enumerate(
        zip(*(column[rows].tolist() for column in columns), strict=True)
    ):
        row = int(places[number])
        record = {
            "query": query,
            "item": int(items[number]),
            "query_percent": query_percent,
            "video_percent": video_percent,
            "kind": joined.kinds[row],
            "ref": joined.refs[row],
            "set": joined.sets[row],
            "contributor": joined.contributors[row],
            "labels": joined.labels(row),
            "verdicts": verdicts_of(int(joined.verdicts[row])),
        }
        if pairs:
            record["frames"] = _frames(matches, rows.start + number, distances)
        records.append(record)
    return records


def _frames(matches: VideoMatches, match: int, distances: bool) -> list[dict[str, Any]]:
    """The pairs of frames of one match."""
    frames = [pair._asdict() for pair in matches.pairs.of(match)]
    if not distances:
        frames.sort(key=lambda frame: (frame["frame"], frame["signal"]))
        for frame in frames:
            del frame["distance"]
    return frames


#: By method and path.
ROUTES: dict[tuple[str, str], Handler] = {("POST", "/v1/match/video"): match}
