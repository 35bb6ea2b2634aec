"""POST /v1/match/file: what a picture, a video or any other file matches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import orjson

from hashmatch.database import Database, DatabaseMatches, TooManyMatches, VideoMatches
from hashmatch.database.uploads import Rule
from hashmatch.extras import need
from hashmatch.hash_types import HASH_TYPES
from hashmatch.hashing import DIGESTS, FileHashes, VideoFrame
from hashmatch.server import generations, parameters, videos
from hashmatch.server.answers import about
from hashmatch.server.found import Found
from hashmatch.server.http import Lookup, Reply, Request
from hashmatch.server.matching import Handler
from hashmatch.server.media import JSON, accepted, require_plain
from hashmatch.server.parameters import Where, in_url, where_of, whole
from hashmatch.server.problems import Problem
from hashmatch.server.service import Service
from hashmatch.vpdq import Frames, frame_text

#: Matches of one type that an answer may have.
MAX_MATCHES = 10_000
#: How often the lookups of one file are made again when a new generation came between them.
_ATTEMPTS = 20
#: What hashing each kind of file takes: modules, and the extra they come with.
_EXTRAS = {"image": (("PIL", "pdqhash"), "images"), "video": (("av", "pdqhash"), "video")}

_IN_URL: dict[str, Callable[[str, str], Any]] = {
    "max_distance": parameters.as_whole,
    "sets": parameters.as_text,
    "verdicts": parameters.as_text,
    "quality_tolerance": parameters.as_whole,
}


async def match(request: Request, service: Service) -> Reply:
    """POST /v1/match/file. The body is the file, whatever type it is said to be."""
    caller = request.caller
    assert caller is not None
    caller.require("read")
    require_plain(request)
    accepted(request, (JSON,))
    given = in_url(request, _IN_URL)
    where = where_of(given, HASH_TYPES["pdq"], request, service)
    least = whole(given, "quality_tolerance", 0, 100, Rule().quality_tolerance)
    await generations.reach(request, service)
    contents = await request.body()
    if not contents:
        raise Problem(400, "the body is empty: send the file")
    types = _types(service.database, where)
    hashes = await service.hasher.hash(contents, types)
    del contents
    require_hashed(hashes)
    return await service.beside(_answer, hashes, where, least, request, service)


def _types(database: Database, where: Where) -> list[str]:
    """The hashes that are made: those that people know pictures and videos by, and digests that
    there are any of to match.
    """
    held = {
        name
        for record in database.sets()
        if where.sets is None or record.name in where.sets
        for name in record.hash_types
    }
    return ["pdq", "vpdq", *(name for name in DIGESTS if name in held)]


def require_hashed(hashes: FileHashes) -> None:
    """Problem where there is nothing to look up because something went wrong."""
    if hashes.reason is None or hashes.digests or hashes.picture is not None or hashes.frames:
        return
    modules, extra = _EXTRAS.get(hashes.kind, ((), ""))
    for module in modules:
        try:
            need(module, extra)
        except ImportError as error:
            raise Problem(415, f"a file of this kind is not hashed here: {error}") from None
    raise Problem(422, f"the file {hashes.reason}")


def _answer(
    hashes: FileHashes, where: Where, least: int, request: Request, service: Service
) -> Reply:
    rows: dict[str, list[dict[str, Any]]] = {}
    matches, generation = _looked_up(hashes, where, least, service)
    for name, found in matches.items():
        rows[name] = _rows(name, found, not service.settings.hide_distances)
    by_set: dict[str, int] = {}
    for found in matches.values():
        for set, count in found.set_counts().items():
            by_set[set] = by_set.get(set, 0) + count
    described = _described(hashes)
    request.lookup = Lookup("file", len(described), by_set)
    body = orjson.dumps(
        {
            "generation": generation,
            "kind": hashes.kind,
            "reason": _reason(hashes, least),
            "hashes": described,
            "matches": rows,
        }
    )
    return Reply(body, generation=generation)


def _looked_up(
    hashes: FileHashes, where: Where, least: int, service: Service
) -> tuple[Mapping[str, DatabaseMatches | VideoMatches], int]:
    """What each type of hash matches, all of one generation."""
    for _ in range(_ATTEMPTS):
        matches: dict[str, DatabaseMatches | VideoMatches] = {}
        picture = hashes.picture
        if picture is not None and picture.quality >= least:
            code = picture.code.tobytes()
            matches["pdq"] = _matches("pdq", code, where, where.max_distance, service)
        if hashes.frames:
            rule = Rule(quality_tolerance=least)
            matches["vpdq"] = videos.found([_upload(hashes.frames)], where, rule, service)
        for name, digest in hashes.digests.items():
            matches[name] = _matches(name, digest, where, None, service)
        states = {found.generation for found in matches.values()}
        if len(states) <= 1:
            return matches, states.pop() if states else service.database.generation
    raise Problem(503, "the sets change too fast to answer from one state of them", retry_after=1)


def _matches(
    name: str, code: bytes, where: Where, max_distance: int | None, service: Service
) -> DatabaseMatches:
    try:
        return service.database.match(
            name, code, where.sets, max_distance, where.verdicts, threads=1,
            most_matches=MAX_MATCHES,
        )  # fmt: skip
    except TooManyMatches as error:
        raise Problem(413, f"the file matches too much: {error}") from None


def _upload(frames: list[VideoFrame]) -> Frames:
    return Frames(
        np.stack([frame.code for frame in frames]),
        [frame.quality for frame in frames],
        [frame.time_ms for frame in frames],
    )


def _rows(name: str, matches: DatabaseMatches | VideoMatches, shown: bool) -> list[dict[str, Any]]:
    if isinstance(matches, VideoMatches):
        rows = videos.json_rows(matches, slice(0, len(matches)), False, shown)
        for row in rows:
            del row["query"]
        return rows
    found = Found(name, 1, matches, True, shown)
    signal = found.signal
    abouts, places = found.described(
        signal, lambda joined: [about(joined, row, shown) for row in range(len(joined))]
    )
    near = [{"distance": distance} for distance in matches.distance.tolist()] if shown else None
    return [
        {"signal": id, **(near[row] if near else {}), **abouts[place]}
        for row, (id, place) in enumerate(zip(signal.tolist(), places.tolist(), strict=True))
    ]


def _described(hashes: FileHashes) -> list[dict[str, Any]]:
    """The file's hashes."""
    described: list[dict[str, Any]] = []
    if hashes.picture is not None:
        code = hashes.picture.code.tobytes().hex()
        described.append({"type": "pdq", "hash": code, "quality": hashes.picture.quality})
    if hashes.frames:
        texts = [
            frame_text(frame.code.tobytes().hex(), frame.quality, frame.time_ms)
            for frame in hashes.frames
        ]
        described.append({"type": "vpdq", "frames": texts})
    described += [{"type": name, "hash": code.hex()} for name, code in hashes.digests.items()]
    return described


def _reason(hashes: FileHashes, least: int) -> str | None:
    """Why the file was not matched in full, if it was not."""
    if hashes.picture is not None and hashes.picture.quality < least:
        return f"quality {hashes.picture.quality} is below {least}: not matched by PDQ"
    if hashes.kind == "file" and not (hashes.digests or hashes.reason):
        return "is neither a picture nor a video, and the sets have no digests: nothing to match"
    return hashes.reason


#: By method and path.
ROUTES: dict[tuple[str, str], Handler] = {("POST", "/v1/match/file"): match}
