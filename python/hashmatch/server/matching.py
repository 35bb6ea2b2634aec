"""The routes of lookups: on plain ASGI, since an upload waits for each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashmatch.server import generations
from hashmatch.server.answers import ENCODERS, Found, reply
from hashmatch.server.bodies import READERS
from hashmatch.server.http import Lookup, Reply, Request
from hashmatch.server.media import JSON, accepted, content_type
from hashmatch.server.parameters import Asked
from hashmatch.server.service import Service

Handler: TypeAlias = Callable[[Request, Service], Awaitable[Reply]]

#: The answers that there are, by the type of the body: its own first.
_OFFERED = {own: list(dict.fromkeys((own, *ENCODERS))) for own in READERS}

#: A body of so many bytes is read at once, as one hash has fewer.
_SMALL_BYTES = 2_048


async def match(request: Request, service: Service) -> Reply:
    """POST /v1/match and /v1/sets/{set}/match: what is known near some hashes."""
    caller = request.caller
    assert caller is not None
    caller.require("read", request.parts.get("set"))
    media_type = content_type(request, READERS)
    answer_type = accepted(request, _OFFERED[media_type])
    await generations.reach(request, service)
    body = await request.body()
    read = READERS[media_type]

    def answer(asked: Asked, codes: NDArray[np.uint8], threads: int) -> Reply:
        return reply(_found(asked, codes, threads, request, service), answer_type, service)

    def whole() -> Reply:
        return answer(*read(body, request, service), service.settings.threads)

    if media_type != JSON or len(body) > _SMALL_BYTES:
        return await service.beside(whole)
    asked, codes = read(body, request, service)
    if len(codes) == 1 and _is_quick(asked):
        return answer(asked, codes, 1)
    return await service.beside(answer, asked, codes, service.settings.threads)


def _is_quick(asked: Asked) -> bool:
    """Whether one hash is looked up in less time than it takes to do so beside other requests."""
    usual = asked.kind.max_distance or 0
    distance = asked.where.max_distance
    return distance is None or distance <= usual


def _found(
    asked: Asked, codes: NDArray[np.uint8], threads: int, request: Request, service: Service
) -> Found:
    where, name = asked.where, asked.kind.name
    matches = service.database.match(
        name, codes, where.sets, where.max_distance, where.verdicts, asked.limit, threads
    )
    request.lookup = Lookup(name, len(codes), matches.set_counts())
    return Found.of(name, matches, asked.joined, not service.settings.hide_distances)


#: By method and path.
ROUTES: dict[tuple[str, str], Handler] = {("POST", "/v1/match"): match}
#: By method, and the last part of a path /v1/sets/{set}/...
SET_ROUTES: dict[tuple[str, str], Handler] = {("POST", "match"): match}
