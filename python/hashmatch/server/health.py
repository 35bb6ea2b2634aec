"""Whether a sidecar lives, is ready, and what it counts: for those who watch over it."""

from __future__ import annotations

import asyncio
from typing import Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel

from hashmatch.server.callers import Caller
from hashmatch.server.metrics import MEDIA_TYPE
from hashmatch.server.problems import Problem
from hashmatch.server.service import Service


class Alive(BaseModel):
    """The process answers."""

    status: Literal["alive"] = "alive"


class Ready(BaseModel):
    """Every set is loaded."""

    status: Literal["ready"] = "ready"
    #: The one that is answered from.
    generation: int


def routes() -> APIRouter:
    """/livez, /readyz and /metrics."""
    router = APIRouter(tags=["health"])

    @router.get("/livez")
    async def livez() -> Alive:
        """Whether the process answers at all."""
        return Alive()

    @router.get("/readyz", responses={503: {"description": "Not every set is loaded."}})
    async def readyz(request: Request) -> Ready:
        """Whether every set is loaded, so that lookups are answered."""
        service: Service = request.app.state.service
        return await asyncio.to_thread(_ready, service)

    text = {"text/plain": {"schema": {"type": "string"}}}

    @router.get("/metrics", response_class=Response, responses={200: {"content": text}})
    async def metrics(request: Request) -> Response:
        """What is counted, in Prometheus's text format. Takes a token that may read all sets."""
        service: Service = request.app.state.service
        caller: Caller = request.scope["hashmatch.caller"]
        caller.require("read")
        if caller.sets is not None:
            raise Problem(403, f"{caller.name} may not see all sets, of which this tells")
        # Not beside the searches, all of which may be long ones.
        text = await asyncio.to_thread(service.metrics.text, service.database)
        return Response(text, media_type=MEDIA_TYPE)

    return router


def _ready(service: Service) -> Ready:
    generation = service.generation
    if generation is None:
        # What is wrong may name files, and anybody may ask.
        raise Problem(
            503, "the database cannot be read: `hashmatch db check` says why", retry_after=1
        )
    return Ready(generation=generation)
