"""The route that gives all that a set holds, as the list that `hashmatch db export` writes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import islice

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from hashmatch.database import export_parts
from hashmatch.database.contents import Contents
from hashmatch.formats import jsonl
from hashmatch.server.http import GENERATION
from hashmatch.server.service import Service
from hashmatch.server.sets import AT_LEAST, SetName, let_in, named

MEDIA_TYPE = "application/jsonl"
_LINES_AT_ONCE = 1_000


def routes() -> APIRouter:
    """That of contents."""
    router = APIRouter()
    router.add_api_route(
        "/v1/sets/{set:name}/contents",
        show_contents,
        response_class=Response,
        openapi_extra=AT_LEAST,
        responses={200: {"content": {MEDIA_TYPE: {"schema": {"type": "string"}}}}},
    )
    return router


async def show_contents(request: Request, set: SetName) -> Response:
    """All that a set holds, as of one generation: JSON Lines that `hashmatch db load` reads."""
    service, caller = await let_in(request, "admin", set)
    named(service, caller, set)
    return _Lines(service, await service.beside(service.database.contents, set))


class _Lines(Response):
    """Contents, read and sent some lines at a time. What fails on the way cuts the reply short, so
    that nobody takes it for the whole.
    """

    media_type = MEDIA_TYPE

    def __init__(self, service: Service, contents: Contents) -> None:
        headers = {GENERATION.decode(): str(contents.generation)}
        super().__init__(headers=headers)
        # It is not known how much there is.
        del self.headers["content-length"]
        self._service = service
        self._contents = contents
        # One after another, so that the lines of an item are beside each other, of all its types.
        parts = (part for each in contents for part in export_parts([each]))
        self._lines = jsonl.FORMAT.lines(parts)
        self._reading: asyncio.Future[bytes] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        start = {"status": self.status_code, "headers": self.raw_headers}
        try:
            await send({"type": "http.response.start", **start})
            while part := await self._next():
                await send({"type": "http.response.body", "body": part, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
        finally:
            # Who is told to stop leaves a thread that reads.
            if self._reading is not None:
                await asyncio.wait([self._reading])
            await self._service.beside(self._contents.close)

    async def _next(self) -> bytes:
        self._reading = asyncio.ensure_future(self._service.beside(_read, self._lines))
        return await asyncio.shield(self._reading)


def _read(lines: Iterator[str]) -> bytes:
    return "".join(islice(lines, _LINES_AT_ONCE)).encode()
