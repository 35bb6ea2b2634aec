"""The application of one process of the sidecar: finds the route, and answers errors."""

from __future__ import annotations

import asyncio
import time

from hashmatch import FormatError
from hashmatch.server import files, hma, hma_files, matching, page, videos
from hashmatch.server.gate import Gate
from hashmatch.server.http import (
    GENERATION,
    Message,
    Receive,
    Reply,
    Request,
    Scope,
    Send,
    send_reply,
)
from hashmatch.server.matching import SET_ROUTES, Handler
from hashmatch.server.problems import Problem
from hashmatch.server.service import Service
from hashmatch.server.settings import Settings
from hashmatch.server.typed import typed_app

_SETS = "/v1/sets/"
#: The routes without a framework, by method and path.
ROUTES = {
    **matching.ROUTES,
    **videos.ROUTES,
    **files.ROUTES,
    **hma.ROUTES,
    **hma_files.ROUTES,
    **page.ROUTES,
}
#: A caller has `answer_seconds` to take an answer, and for one in parts more, at that rate.
_LEAST_BYTES_PER_SECOND = 65_536
_AGAIN_S = 1
_FAULT = Problem(500, "a fault of the server, which its log has: report it")


def create_app(settings: Settings | None = None) -> Sidecar:
    """The ASGI application of one process; without settings, those of the environment."""
    return Sidecar(settings or Settings())  # type: ignore[call-arg]


class Sidecar:
    """An ASGI application."""

    def __init__(self, settings: Settings) -> None:
        self.service = Service(settings)
        self.gate = Gate(self.service)
        self.typed = typed_app(self.service)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await self._answer(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._live(receive, send)
        else:
            await send({"type": "websocket.close"})

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.service.start()
        except Exception as error:
            await send({"type": "lifespan.startup.failed", "message": str(error)})
            raise
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.service.stop()
        await send({"type": "lifespan.shutdown.complete"})

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        request = Request(scope, receive, self.service.settings)
        sending = _Sending(request, self.service, self.gate, send)
        fault: Exception | None = None
        self.gate.begin(request)
        try:
            try:
                await self._reply(request, sending)
            except Exception as error:
                fault = error
                if not sending.status:
                    await send_reply(Reply.of(_FAULT), sending)
        except asyncio.CancelledError:
            if not request.deadline.passed:
                raise
            sending.cut()
        finally:
            self.gate.done(request, sending.status, began, fault)
        if fault is not None:
            raise fault

    async def _reply(self, request: Request, sending: _Sending) -> None:
        try:
            plain = _plain(request)
            await self.gate.admit(request)
            if plain is None:
                request.scope["hashmatch.caller"] = request.caller
                await self.typed(request.scope, request.receive, sending)
                return
            reply = await _answered(plain, request, self.service)
        except Problem as problem:
            if sending.status:
                raise
            reply = Reply.of(problem)
        await send_reply(reply, sending)


async def _answered(plain: Handler, request: Request, service: Service) -> Reply:
    """What a handler answers. A database that cannot be read is no fault of the server."""
    try:
        return await plain(request, service)
    except TimeoutError:
        raise
    except (OSError, FormatError) as error:
        raise Problem(503, str(error), retry_after=_AGAIN_S) from None


def _plain(request: Request) -> Handler | None:
    """The handler of a route without a framework, None for one of the others."""
    found = ROUTES.get((request.method, request.path))
    request.route = "" if found is None else request.path
    if found is None and request.path.startswith(_SETS):
        name, _, last = request.path.removeprefix(_SETS).rpartition("/")
        found = SET_ROUTES.get((request.method, last))
        if found is not None:
            request.parts["set"] = name
            request.route = f"{_SETS}{{set}}/{last}"
    return found


class _Sending:
    """Sends a reply, notes its status, and has it name a state. It may take only so long: the
    server closes what is cut short.
    """

    __slots__ = ("_gate", "_request", "_send", "_service", "status")

    def __init__(self, request: Request, service: Service, gate: Gate, send: Send) -> None:
        self._gate = gate
        self._request = request
        self._service = service
        self._send = send
        #: 0 until the reply begins, and when it was cut short.
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._begin(message)
        await self._send(message)
        if message.get("more_body"):
            self._request.deadline.end += len(message["body"]) / _LEAST_BYTES_PER_SECOND
            self._gate.sent()

    def _begin(self, message: Message) -> None:
        self.status = message["status"]
        headers = message["headers"] = list(message["headers"])
        if not any(name == GENERATION for name, _ in headers):
            generation = self._service.generation
            if generation is not None:
                headers.append((GENERATION, b"%d" % generation))
        if self._request.unread:
            headers.append((b"connection", b"close"))
        self._request.deadline.end = time.monotonic() + self._service.settings.answer_seconds

    def cut(self) -> None:
        """The caller does not take the answer."""
        self._request.deadline.settle()
        self._request.refused = "answer_time"
        self.status = 0
