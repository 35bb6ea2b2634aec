"""A request and a reply, on plain ASGI."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass, field
from math import inf
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import parse_qs

from hashmatch.server.deadlines import Deadline
from hashmatch.server.problems import MEDIA_TYPE, Problem, Refused

if TYPE_CHECKING:
    from hashmatch.server.callers import Caller
    from hashmatch.server.limits import Place
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
    #: How long the engine took; None where nobody measured it.
    seconds: float | None = None


class Request:
    """A request: `scope` as ASGI has it, and its body, which arrives within the limits."""

    __slots__ = (
        "_begun", "_complete", "_headers", "_query", "_receive", "_received", "_settings",
        "caller", "deadline", "lookup", "method", "parts", "path", "place", "refused", "route",
        "scope",
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
        #: The path with {set}, say, where a name stands; empty until it is known.
        self.route = ""
        #: What it uses of the room for all; None where that is not counted.
        self.place: Place | None = None
        #: Why it was not let in, or its body not taken, as it is counted.
        self.refused: str | None = None
        #: When it is cancelled.
        self.deadline = Deadline()
        #: Whether the body is being read, and whether all of it is.
        self._begun = False
        self._complete = False
        self._receive = receive
        self._settings = settings
        self._received = 0
        self._headers: dict[bytes, bytes | None] | None = None
        self._query: dict[str, list[str]] | None = None

    def header(self, name: bytes) -> str | None:
        """A header by its name in lower case, None where it is not given. Problem if it is given
        twice, and that means nothing.
        """
        if self._headers is None:
            found: dict[bytes, bytes | None] = {}
            for key, value in self.scope["headers"]:
                found[key] = None if key in found and key in _SINGLE else value
            self._headers = found
        if name not in self._headers:
            return None
        value = self._headers[name]
        if value is None:
            raise Problem(400, f"the header {name.decode()} is given twice: give it once")
        return value.decode("latin-1")

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

    @property
    def has_body(self) -> bool:
        """Whether a body comes with it, as its headers say."""
        return self.header(b"transfer-encoding") is not None or self.header(
            b"content-length"
        ) not in (None, "0")

    @property
    def unread(self) -> bool:
        """Whether so much of the body is still to come that the connection is of no more use."""
        if self._complete:
            return False
        if self._begun:
            return True
        try:
            length = self.header(b"content-length")
            if not self.has_body:
                return False
        except Problem:
            return True
        return length is None or not _is_number(length) or int(length) > _SMALL_BODY_BYTES

    async def receive(self) -> Message:
        """The next part of the body. Problem when it is too much or takes too long."""
        if self._complete:
            # Until the caller goes away. That may take longer than any body.
            return await self._receive()
        if not self._begun:
            self._begun = True
            self._require_plain()
            self.deadline.end = time.monotonic() + self._settings.body_seconds
        try:
            message = await self._receive()
        except asyncio.CancelledError:
            if not self.deadline.passed:
                raise
            self.deadline.settle()
            self.refused = "body_time"
            raise Problem(
                408, f"the body took longer than {self._settings.body_seconds:g} s: send it faster"
            ) from None
        size = len(message.get("body", b""))
        self._received += size
        if self._received > self._settings.max_body_bytes:
            raise self._too_large()
        if not message.get("more_body"):
            self._complete = True
            self.deadline.end = inf
        if self.place is not None:
            try:
                self.place.hold(size)
                if self._complete:
                    await self.place.work()
            except Refused as refused:
                self.refused, self.deadline.end = refused.reason, inf
                await asyncio.sleep(refused.PAUSE_SECONDS)
                raise
        return message

    def _require_plain(self) -> None:
        """Problem with a body that is known from its headers not to be taken."""
        length, coding = self.header(b"content-length"), self.header(b"transfer-encoding")
        if coding is not None and (length is not None or coding.strip().lower() != "chunked"):
            self.refused = "framing"
            raise Problem(
                400, "transfer-encoding must be chunked, and without content-length: send either"
            )
        if length is not None:
            if not _is_number(length):
                self.refused = "framing"
                raise Problem(400, "content-length must be a number of bytes")
            if int(length) > self._settings.max_body_bytes:
                raise self._too_large()
        encoding = self.header(b"content-encoding")
        if encoding is not None and encoding.strip().lower() != "identity":
            self.refused = "encoding"
            raise Problem(
                415,
                "compressed bodies are not taken: leave out content-encoding, and send it plain",
                headers={"accept-encoding": "identity"},
            )

    def _too_large(self) -> Problem:
        self.refused = "too_large"
        most = self._settings.max_body_bytes
        return Problem(413, f"the body has more than {most:,} bytes: send it in parts")

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
    (
        b"authorization", b"content-encoding", b"content-length", b"content-type", b"host",
        b"idempotency-key", b"transfer-encoding",
    )
)  # fmt: skip
#: Of 2**64 - 1.
_MOST_DIGITS = 20
#: A body of that size has often arrived with its headers, and the server reads past it.
_SMALL_BODY_BYTES = 65_536
#: How much of an answer is given to the server at a time: one that holds more than that for a
#: caller lets the next part wait. What is given to it at once is held, however long that takes.
_PART_BYTES = 262_144


def _is_number(length: str) -> bool:
    return length.isascii() and length.isdecimal() and len(length) <= _MOST_DIGITS


@dataclass(slots=True)
class Reply:
    """What is sent back: a body, or the parts of one too large to be held."""

    body: bytes | AsyncIterator[Part]
    media_type: str = "application/json"
    status: int = 200
    #: The state that it is of; without it the newest.
    generation: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(cls, problem: Problem) -> Reply:
        """The reply that says what the problem is."""
        return cls(problem.document(), MEDIA_TYPE, problem.status, headers=problem.headers)


async def send_reply(reply: Reply, send: Send) -> None:
    """Send it, in parts if it is large."""
    headers = [(b"content-type", reply.media_type.encode())]
    headers += [(name.encode(), value.encode("latin-1")) for name, value in reply.headers.items()]
    if reply.generation is not None:
        headers.append((GENERATION, b"%d" % reply.generation))
    body = reply.body
    if isinstance(body, bytes):
        headers.append((b"content-length", b"%d" % len(body)))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    if isinstance(body, bytes) and len(body) <= _PART_BYTES:
        await send({"type": "http.response.body", "body": body})
        return
    if isinstance(body, bytes):
        await _send_parts(body, send)
    else:
        async for each in body:
            await _send_parts(each, send)
    await send({"type": "http.response.body", "body": b""})


async def _send_parts(body: Part, send: Send) -> None:
    """Send it piece by piece, each as bytes: of a view granian takes one byte at a time."""
    view = memoryview(body)
    for at in range(0, len(view), _PART_BYTES):
        part = bytes(view[at : at + _PART_BYTES])
        await send({"type": "http.response.body", "body": part, "more_body": True})
