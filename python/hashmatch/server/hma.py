"""HMA's matcher endpoints, so that its clients switch by base URL.

HMA (Hasher-Matcher-Actioner, beside python-threatexchange) calls a hash set a bank, and a hash type
a signal type; its `video_md5` is the type md5 here. Its `bank_content_id` is the id of the signal
that matched, `signal` elsewhere, or of a video's first one. How far a match may be is up to each
set. Parameters, statuses and shapes are HMA's, as its service answers; its errors are objects with
a `message`, and here problem documents that have one too.

What differs: a parameter that is given twice is refused, where HMA takes the first; comparing
digests is answered, where it fails; and no URL is fetched.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from itertools import repeat
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from hashmatch.codes import as_codes
from hashmatch.database import TooManyMatches
from hashmatch.hash_types import HASH_TYPES, HashType
from hashmatch.server import generations
from hashmatch.server.bodies import deadline
from hashmatch.server.http import Lookup, Reply, Request
from hashmatch.server.matching import Handler
from hashmatch.server.media import JSON, content_type
from hashmatch.server.problems import MEDIA_TYPE, Problem
from hashmatch.server.service import Service
from hashmatch.vpdq import Frames

_VIDEO = "vpdq"
#: HMA's signal types that have other names here. A video is looked up by its frames' hashes.
_TYPES = {"video_md5": HASH_TYPES["md5"], _VIDEO: HASH_TYPES["pdq"]}
#: What HMA lists as long as nobody configures anything.
_LISTED = ("pdq", "video_md5")
#: An answer is made in one go.
_MAX_MATCHES = 100_000
#: HMA says so where there is no distance to tell.
_NO_DISTANCE = "-"
_TRUE = frozenset(("1", "true", "t", "yes", "y", "on", ""))
_FALSE = frozenset(("0", "false", "f", "no", "n", "off"))


def as_hma(handler: Handler) -> Handler:
    """The handler, whose problem documents have a `message`."""

    @wraps(handler)
    async def answered(request: Request, service: Service) -> Reply:
        try:
            return await handler(request, service)
        except Problem as problem:
            document = {"message": problem.detail, **orjson.loads(problem.document())}
            return Reply(
                orjson.dumps(document), MEDIA_TYPE, problem.status, headers=problem.headers
            )

    return answered


@dataclass(slots=True)
class Matches:
    """What a signal matched: ids, their sets, and how near they are in HMA's words."""

    generation: int
    ids: list[int]
    sets: list[str]
    distances: Iterable[str]

    def rows(self) -> list[dict[str, Any]]:
        """Each match as HMA tells it."""
        return [
            {"bank_content_id": id, "distance": distance}
            for id, distance in zip(self.ids, self.distances, strict=False)
        ]

    def by_set(self) -> dict[str, list[dict[str, Any]]]:
        """The same by the name of the set."""
        found: dict[str, list[dict[str, Any]]] = {}
        for name, row in zip(self.sets, self.rows(), strict=True):
            found.setdefault(name, []).append(row)
        return found


@as_hma
async def raw_lookup(request: Request, service: Service) -> Reply:
    """GET /m/raw_lookup: the ids of what a signal matches."""
    signal, name = _required(request, "signal"), _required(request, "signal_type")
    distances = _truth(request, "include_distance")
    if distances and service.settings.hide_distances:
        raise Problem(403, "distances are not shown here: leave include_distance out",
                      field="include_distance")  # fmt: skip
    found = await match(request, service, name, signal)
    body = orjson.dumps({"matches": found.rows() if distances else found.ids})
    return Reply(body, generation=found.generation)


@as_hma
async def lookup(request: Request, service: Service) -> Reply:
    """GET /m/lookup: what a signal matches, by bank."""
    if given(request, "url"):
        raise Problem(
            403,
            "no URL is fetched here, as it could be one of the inner network: hash the file, and "
            "give signal and signal_type",
            field="url",
        )
    signal, name = given(request, "signal"), given(request, "signal_type")
    if not signal or not name:
        raise Problem(400, "give both signal and signal_type",
                      field="signal_type" if signal else "signal")  # fmt: skip
    # Every bank is wholly enabled, so that no coin is flipped.
    _truth(request, "bypass_coinflip")
    found = await match(request, service, name, signal)
    return Reply(orjson.dumps(found.by_set()), generation=found.generation)


@as_hma
async def compare(request: Request, service: Service) -> Reply:
    """POST /m/compare: whether two signals match, and how near they are."""
    require_read(request)
    if service.settings.hide_distances:
        raise Problem(403, "distances are not shown here, and comparing would tell them")
    content_type(request, (JSON,))
    try:
        pairs = orjson.loads(await request.body())
    except orjson.JSONDecodeError as error:
        raise Problem(400, f"the body is no JSON: {error}") from None
    if type(pairs) is not dict:
        raise Problem(400, 'the body is no JSON object: give {"pdq": [HASH, HASH]}')
    body = {name: _compared(name, pair) for name, pair in pairs.items()}
    return Reply(orjson.dumps(body), generation=service.database.generation)


def _compared(name: str, pair: Any) -> list[Any]:
    kind = _kind(name, name)
    if name == _VIDEO:
        raise Problem(400, "videos are not compared here", field=name)
    if type(pair) is not list or len(pair) != 2 or not all(type(each) is str for each in pair):
        raise Problem(400, f"{name} has to be a list of exactly two hashes", field=name)
    try:
        left, right = as_codes(pair, kind)
    except ValueError as error:
        raise Problem(400, f"invalid {name} hash: {error}", field=name) from None
    distance = int(np.bitwise_count(left ^ right).sum())
    most = kind.max_distance or 0
    return [distance <= most, {"distance": distance} if most else {}]


@as_hma
async def index_status(request: Request, service: Service) -> Reply:
    """GET /m/index/status: of each signal type, how many are held, and of which time."""
    require_read(request)
    status = await asyncio.to_thread(service.database.status)
    built_to = {name: -1 for name in HASH_TYPES}
    for record in service.database.sets():
        for name in record.hash_types:
            built_to[name] = max(built_to[name], int(record.changed.timestamp()))
    only = given(request, "signal_type")
    names = [*_LISTED, *sorted(status.types.keys() - {"pdq", "md5"})] if only is None else [only]
    body = {}
    for name in names:
        own = _kind(name, "signal_type").name
        held = status.types.get(own)
        body[name] = {
            "present": held is not None,
            "built_to": built_to[own],
            "size": held.signals if held else 0,
        }
    return Reply(orjson.dumps(body), generation=status.generation)


async def status(request: Request, service: Service) -> Reply:
    """GET /status: whether lookups are answered, and from the newest state. It takes no token."""
    # Not beside the searches, all of which may be long ones.
    fault = await asyncio.to_thread(_fault, service)
    if fault is not None:
        return Reply(fault, _TEXT, 503, headers={"retry-after": "1"})
    return await status_live(request, service)


def _fault(service: Service) -> bytes | None:
    if service.generation is None:
        return b"INDEX-NOT-LOADED"
    return None if service.database.status().trouble is None else b"INDEX-STALE"


async def status_live(request: Request, service: Service) -> Reply:
    """GET /status/live: that the process answers."""
    return Reply(b"I-AM-ALIVE", _TEXT)


_TEXT = "text/plain; charset=utf-8"


async def match(request: Request, service: Service, name: str, signal: str) -> Matches:
    """What a signal of that type of HMA's matches, in the banks that the request asks for."""
    require_read(request)
    kind = _kind(name, "signal_type")
    await generations.reach(request, service)
    sets = _sets(request, service)
    if name == _VIDEO:
        return await service.beside(_match_video, request, service, signal, sets)
    try:
        codes = as_codes([signal], kind)
    except ValueError as error:
        raise Problem(400, f"invalid signal: {error}", field="signal") from None
    began = time.perf_counter()
    with _bounded():
        found = service.database.match(
            kind.name, codes, sets, threads=1, most_matches=_MAX_MATCHES,
            progress=deadline(service.settings.answer_seconds),
        )  # fmt: skip
    request.lookup = Lookup(kind.name, 1, found.set_counts(), time.perf_counter() - began)
    if service.settings.hide_distances:
        return _hidden(found.generation, found.signal, found.set)
    # Digests are equal or not: HMA knows no distance of theirs.
    distances = map(str, found.distance.tolist()) if kind.max_distance else repeat(_NO_DISTANCE)
    return Matches(found.generation, found.signal.tolist(), found.set, distances)


def _match_video(
    request: Request, service: Service, signal: str, sets: list[str] | None
) -> Matches:
    try:
        frames = Frames.parse(signal)
    except ValueError as error:
        raise Problem(400, f"invalid signal: {error}", field="signal") from None
    with _bounded():
        found = service.database.match_videos(
            frames, sets, threads=service.settings.threads, most_matches=_MAX_MATCHES,
            progress=deadline(service.settings.answer_seconds),
        )  # fmt: skip
    hashes = len(as_codes(frames.codes, HASH_TYPES["pdq"]))
    request.lookup = Lookup("pdq", hashes, found.set_counts())
    if service.settings.hide_distances:
        return _hidden(found.generation, found.item, found.set)
    percents = zip(found.query_percent.tolist(), found.video_percent.tolist(), strict=True)
    distances = (f"{query:.0f}%[{video:.0f}%]" for query, video in percents)
    return Matches(found.generation, found.item.tolist(), found.set, distances)


@contextmanager
def _bounded() -> Iterator[None]:
    try:
        yield
    except TooManyMatches as error:
        raise Problem(413, f"the signal matches too much: {error}", field="signal") from None


def _hidden(generation: int, ids: NDArray[np.uint64], sets: list[str]) -> Matches:
    """Matches in an order that does not tell how near they are."""
    order = np.argsort(ids)
    names = [sets[place] for place in order.tolist()]
    return Matches(generation, ids[order].tolist(), names, repeat(_NO_DISTANCE))


def _kind(name: str, field: str) -> HashType:
    kind = _TYPES.get(name) or HASH_TYPES.get(name)
    if kind is None:
        known = ", ".join(dict.fromkeys((*_LISTED, _VIDEO, *HASH_TYPES)))
        raise Problem(400, f"there is no signal type {name!r:.80}: give one of {known}",
                      field=field[:80])  # fmt: skip
    return kind


def _sets(request: Request, service: Service) -> list[str] | None:
    """The sets to look in; banks that there are none of match nothing, as in HMA."""
    banks = given(request, "banks")
    caller = request.caller
    assert caller is not None
    if not banks and caller.sets is None:
        return None
    there = {record.name for record in service.database.sets()}
    asked = caller.narrowed(banks.split(",") if banks else None)
    assert asked is not None
    return [name for name in asked if name in there]


def require_read(request: Request) -> None:
    """Problem unless the caller may look up."""
    assert request.caller is not None
    request.caller.require("read")


def given(request: Request, name: str) -> str | None:
    """A parameter of the URL, None where it is not given. Problem if it is given twice."""
    values = request.query.get(name)
    if values is None:
        return None
    if len(values) > 1:
        raise Problem(400, f"{name} is given twice: give it once", field=name)
    return values[0]


def _required(request: Request, name: str) -> str:
    value = given(request, name)
    if value is None:
        raise Problem(422, f"{name} is missing", field=name)
    return value


def _truth(request: Request, name: str) -> bool:
    value = given(request, name)
    if value is None:
        return False
    if (word := value.lower()) in _TRUE:
        return True
    if word in _FALSE:
        return False
    raise Problem(422, f"{name} is {value!r:.80}: give true or false", field=name)


#: By method and path.
ROUTES: dict[tuple[str, str], Handler] = {
    ("GET", "/m/raw_lookup"): raw_lookup,
    ("GET", "/m/lookup"): lookup,
    ("POST", "/m/compare"): compare,
    ("GET", "/m/index/status"): index_status,
    ("GET", "/status"): status,
    ("HEAD", "/status"): status,
    ("GET", "/status/live"): status_live,
    ("HEAD", "/status/live"): status_live,
}
