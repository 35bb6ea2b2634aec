"""A sidecar as tests run it: its application in this process, or a server in one of its own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx

from hashmatch.server import Settings, create_app

_R = TypeVar("_R")


@asynccontextmanager
async def application(path: Path, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application itself, without a server in between."""
    app = create_app(Settings(path=path, **settings))
    await app.service.start()
    try:
        transport = httpx.ASGITransport(app, raise_app_exceptions=True)
        async with httpx.AsyncClient(transport=transport, base_url="http://sidecar") as client:
            yield client
    finally:
        await app.service.stop()


def with_application(
    path: Path, use: Callable[[httpx.AsyncClient], Awaitable[_R]], **settings: Any
) -> _R:
    """What `use` returns, given a client of the application."""

    async def run() -> _R:
        async with application(path, **settings) as client:
            return await use(client)

    return asyncio.run(run())


def problem(reply: httpx.Response, status: int, **members: Any) -> Mapping[str, Any]:
    """The problem document of a reply, which has that status and those members."""
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = reply.json()
    assert document["status"] == status
    assert members.items() <= document.items(), document
    return document
