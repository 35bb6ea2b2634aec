"""A request and a reply, on plain ASGI."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import parse_qs

from hashmatch.server.problems import MEDIA_TYPE, Problem

if TYPE_CHECKING:
    from hashmatch.server.callers import Caller
    from hashmatch.server.settings import Settings

Scope: TypeAlias = MutableMapping[str, Any]
Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Part: TypeAlias = bytes | memoryview
Send: TypeAlias = Callable[[Message], Awaitable[None]]

#: The reply's header that names the state it was answered from.
GENERATION = b"hashmatch-generation"


@dataclass(slots=True)
class Lookup:
    """What a request looked up, for the counts and the audit."""

    hash_type: str
    hashes: int
    #: How many known signals matched, by the name of their set.
    matches: Mapping[str, int]


class Request:
    """A request: `scope` as ASGI has it, and its body, which arrives within the limits."""

    __slots__ = (
        "_deadline", "_headers", "_query", "_receive", "_received", "_settings", "caller", "lookup",
        "method", "parts", "path", "scope",
    )  # fmt: skip

    def __init__(self, scope: Scope, receive: Receive, settings: Settings) -> None:
        self.scope = scope
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        #: What stands in the path in place of {set}, say.
        self.parts: dict[str, str] = {}
        #: Set once it is known.
        self.caller: Caller | None = None
        self.lookup: Lookup | None = None
        self._receive = receive
        self._settings = settings
        self._received = 0
        self._deadline: float | None = None
        self._headers: dict[bytes, bytes] | None = None
        self._query: dict[str, list[str]] | None = None

    def header(self, name: bytes) -> str | None:
        """A header by its name in lower case, None where it is not given. Problem if it is given
        twice.
        """
        if self._headers is None:
            found: dict[bytes, bytes] = {}
            for key, value in self.scope["headers"]:
                if key in found and key in _SINGLE:
                    raise Problem(
                        400, f"the header {key.decode('latin-1')} is given twice: give it once"
                    )
                found[key] = value
            self._headers = found
        value = self._headers.get(name)
        return None if value is None else value.decode("latin-1")

    @property
    def query(self) -> dict[str, list[str]]:
        """The parameters in the URL. Problem if they are not UTF-8."""
        if self._query is None:
            text: bytes = self.scope["query_string"]
            try:
                self._query = (
                    parse_qs(text.decode("ascii"), keep_blank_values=True, errors="strict")
                    if text
                    else {}
                )
            except ValueError:
                raise Problem(400, "the URL's parameters are not UTF-8, percent-encoded") from None
        return self._query

    async def receive(self) -> Message:
        """The next part of the body. Problem when it is too much or takes too long."""
        loop = asyncio.get_running_loop()
        if self._deadline is None:
            self._deadline = loop.time() + self._settings.body_seconds
            length = self.header(b"content-length")
            if length is not None and (not length.isdecimal() or int(length) > self._most):
                raise self._too_large()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            raise Problem(
                408, f"the body took longer than {self._settings.body_seconds:g} s: send it faster"
            ) from None
        self._received += len(message.get("body", b""))
        if self._received > self._most:
            raise self._too_large()
        return message

    @property
    def _most(self) -> int:
        return self._settings.max_body_bytes

    def _too_large(self) -> Problem:
        return Problem(413, f"the body has more than {self._most:,} bytes: send it in parts")

    async def body(self) -> bytes:
        """The whole body. Problem when it is too large, takes too long or is broken off."""
        parts: list[bytes] = []
        while True:
            message = await self.receive()
            if message["type"] == "http.disconnect":
                raise Problem(400, "the body was broken off")
            parts.append(message.get("body", b""))
            if not message.get("more_body"):
                return parts[0] if len(parts) == 1 else b"".join(parts)


#: Headers that mean nothing when they are given twice.
_SINGLE = frozenset(
    (b"authorization", b"content-length", b"content-type", b"idempotency-key", b"host")
)


@dataclass(slots=True)
class Reply:
    """What is sent back: a body, or the parts of one too large to be held."""

    body: bytes | AsyncIterator[Part] | Iterable[Part]
    media_type: str = "application/json"
    status: int = 200
    #: The state that it is of; without it the newest.
    generation: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, problem: Problem) -> Reply:
        """The reply that says what the problem is."""
        return cls(problem.document(), MEDIA_TYPE, problem.status, headers=problem.headers)


async def send_reply(reply: Reply, send: Send, answer_seconds: float) -> None:
    """Send it. TimeoutError if the caller takes longer than that to take it."""
    headers = [(b"content-type", reply.media_type.encode())]
    headers += [(name.encode(), value.encode("latin-1")) for name, value in reply.headers.items()]
    if reply.generation is not None:
        headers.append((GENERATION, b"%d" % reply.generation))
    body = reply.body
    if isinstance(body, bytes):
        headers.append((b"content-length", b"%d" % len(body)))
    async with asyncio.timeout(answer_seconds):
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        if isinstance(body, bytes):
            await send({"type": "http.response.body", "body": body})
            return
        if isinstance(body, AsyncIterator):
            async for each in body:
                await send({"type": "http.response.body", "body": each, "more_body": True})
        else:
            for part in body:
                await send({"type": "http.response.body", "body": part, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
