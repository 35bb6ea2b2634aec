"""The routes of lookups: on plain ASGI, since an upload waits for each."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

import orjson

from hashmatch.server.http import Reply, Request
from hashmatch.server.problems import Problem
from hashmatch.server.service import Service

Handler: TypeAlias = Callable[[Request, Service], Awaitable[Reply]]


async def match(request: Request, service: Service) -> Reply:
    """POST /v1/match and /v1/sets/{set}/match."""
    caller = request.caller
    assert caller is not None
    caller.require("read")
    try:
        asked = orjson.loads(await request.body())
        found = service.database.match("pdq", asked["hashes"])
    except (KeyError, TypeError, ValueError) as error:
        raise Problem(400, str(error)) from None
    rows: list[dict[str, Any]] = [row._asdict() for row in found]
    body = orjson.dumps({"generation": found.generation, "matches": rows})
    return Reply(body, generation=found.generation)


#: By method and path.
ROUTES: dict[tuple[str, str], Handler] = {("POST", "/v1/match"): match}
#: By method, and the last part of a path /v1/sets/{set}/...
SET_ROUTES: dict[tuple[str, str], Handler] = {("POST", "match"): match}
