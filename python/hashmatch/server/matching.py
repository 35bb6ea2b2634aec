"""The routes of lookups: on plain ASGI, since an upload waits for each."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashmatch.database import TooManyMatches
from hashmatch.extras import need
from hashmatch.server import generations
from hashmatch.server.answers import ENCODERS, reply
from hashmatch.server.arrow_form import read_arrow
from hashmatch.server.bodies import LARGE_BYTES, Read, deadline, read_json, read_packed
from hashmatch.server.found import Found
from hashmatch.server.http import Lookup, Reply, Request
from hashmatch.server.media import ARROW, JSON, PACKED, accepted, content_type
from hashmatch.server.parameters import Asked
from hashmatch.server.problems import Problem
from hashmatch.server.service import Service

Handler: TypeAlias = Callable[[Request, Service], Awaitable[Reply]]

_READERS: dict[str, Read] = {JSON: read_json, PACKED: read_packed, ARROW: read_arrow}
#: The answers that there are, by the type of the body: its own first.
_OFFERED = {own: list(dict.fromkeys((own, *ENCODERS))) for own in _READERS}

#: What one answer may have: some 100 MB in memory.
MAX_MATCHES = 5_000_000
#: A body of so many bytes is read at once, as one hash has fewer.
_SMALL_BYTES = 2_048
#: So many matches are told at once.
_FEW_MATCHES = 32


async def match(request: Request, service: Service) -> Reply:
    """POST /v1/match and /v1/sets/{set}/match: what is known near some hashes."""
    caller = request.caller
    assert caller is not None
    caller.require("read", request.parts.get("set"))
    media_type = content_type(request, _READERS)
    answer_type = accepted(request, _OFFERED[media_type])
    if ARROW in (media_type, answer_type):
        _require_arrow(415 if media_type == ARROW else 406)
    await generations.reach(request, service)
    body = await request.body()
    read = _READERS[media_type]
    if media_type == ARROW or len(body) > _SMALL_BYTES:
        aside = service.bulk if len(body) > LARGE_BYTES else service.beside
        return await aside(_whole, read, body, answer_type, request, service)
    asked, codes = read(body, request, service)
    if len(codes) == 1 and _is_quick(asked):
        found = _found(asked, codes, 1, request, service)
        if found.rows <= _FEW_MATCHES:
            return reply(found, answer_type, service)
        return await service.beside(reply, found, answer_type, service)
    return await service.beside(_looked_up, asked, codes, answer_type, request, service)


def _whole(read: Read, body: bytes, answer_type: str, request: Request, service: Service) -> Reply:
    asked, codes = read(body, request, service)
    return _looked_up(asked, codes, answer_type, request, service)


def _looked_up(
    asked: Asked, codes: NDArray[np.uint8], answer_type: str, request: Request, service: Service
) -> Reply:
    found = _found(asked, codes, service.settings.threads, request, service)
    return reply(found, answer_type, service)


def _require_arrow(status: int) -> None:
    try:
        need("pyarrow", "arrow")
    except ImportError as error:
        raise Problem(status, f"Arrow streams are not had here: {error}") from None


def _is_quick(asked: Asked) -> bool:
    """Whether one hash is looked up in less time than it takes to do so beside other requests. What
    verdicts there are may first have to be gone through.
    """
    distance = asked.where.max_distance
    usual = asked.kind.max_distance or 0
    return asked.where.verdicts is None and (distance is None or distance <= usual)


def _found(
    asked: Asked, codes: NDArray[np.uint8], threads: int, request: Request, service: Service
) -> Found:
    where, name = asked.where, asked.kind.name
    # One hash is looked up in no time.
    progress = deadline(service.settings.answer_seconds) if len(codes) > 1 else None
    began = time.perf_counter()
    try:
        matches = service.database.match(
            name, codes, where.sets, where.max_distance, where.verdicts, asked.limit, threads,
            progress=progress, most_matches=MAX_MATCHES,
        )  # fmt: skip
    except TooManyMatches as error:
        raise Problem(413, str(error)) from None
    seconds = time.perf_counter() - began
    request.lookup = Lookup(name, len(codes), matches.set_counts(), seconds)
    shown = not service.settings.hide_distances
    return Found(name, len(codes), matches, asked.joined, shown)


#: By method and path.
ROUTES: dict[tuple[str, str], Handler] = {("POST", "/v1/match"): match}
#: By method, and the last part of a path /v1/sets/{set}/...
SET_ROUTES: dict[tuple[str, str], Handler] = {("POST", "match"): match}
