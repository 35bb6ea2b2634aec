"""The application of one process of the sidecar: finds the route, and answers errors."""

from __future__ import annotations

import time
from contextlib import suppress

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
from hashmatch.server.matching import ROUTES, SET_ROUTES, Handler
from hashmatch.server.problems import Problem
from hashmatch.server.service import Service
from hashmatch.server.settings import Settings
from hashmatch.server.typed import typed_app

_SETS = "/v1/sets/"


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
        sending = _Sending(self.service, send)
        seconds = self.service.settings.answer_seconds
        try:
            try:
                self.gate.admit(request)
                plain = _plain(request)
                if plain is None:
                    scope["hashmatch.caller"] = request.caller
                    await self.typed(scope, request.receive, sending)
                else:
                    await send_reply(await plain(request, self.service), sending, seconds)
            except Problem as problem:
                await send_reply(Reply.of(problem), sending, seconds)
        except TimeoutError:
            # The caller does not take the answer. The server closes what is cut short.
            sending.status = 0
        except Exception:
            if not sending.status:
                fault = Problem(500, "a fault of the server, which its log has: report it")
                with suppress(TimeoutError):
                    await send_reply(Reply.of(fault), sending, seconds)
            raise
        finally:
            self.gate.done(request, sending.status, began)


def _plain(request: Request) -> Handler | None:
    """The handler of a route without a framework, None for one of the others."""
    found = ROUTES.get((request.method, request.path))
    if found is None and request.path.startswith(_SETS):
        name, _, last = request.path.removeprefix(_SETS).rpartition("/")
        found = SET_ROUTES.get((request.method, last))
        if found is not None:
            request.parts["set"] = name
    return found


class _Sending:
    """Sends a reply, notes its status, and has it name a state."""

    __slots__ = ("_send", "_service", "status")

    def __init__(self, service: Service, send: Send) -> None:
        self._service = service
        self._send = send
        #: 0 until the reply begins.
        self.status = 0

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = message["headers"]
            if not any(name == GENERATION for name, _ in headers):
                # Without one, no state has been good since the start.
                with suppress(OSError, ValueError):
                    generation = self._service.database.generation
                    message["headers"] = [*headers, (GENERATION, b"%d" % generation)]
        await self._send(message)
