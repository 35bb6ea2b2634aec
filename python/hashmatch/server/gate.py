"""Whom requests are of, whether there is room for them, and what becomes of them."""

from __future__ import annotations

import asyncio
import time

from hashmatch.server.callers import ANYONE, SCOPES, Caller
from hashmatch.server.deadlines import Deadlines
from hashmatch.server.http import Request
from hashmatch.server.journal import Journal
from hashmatch.server.limits import Rates, Room
from hashmatch.server.problems import Refused
from hashmatch.server.service import Service
from hashmatch.server.settings import Settings
from hashmatch.server.stuck import Stuck
from hashmatch.server.tokens import Tokens
from hashmatch.server.trouble import Trouble, trouble_of

#: Who can open the socket is whom its file's mode lets in.
_SOCKET = Caller("socket", frozenset(SCOPES))
#: Open to those who send no token.
OPEN = frozenset(("/", "/docs", "/openapi.json", "/livez", "/readyz", "/status", "/status/live"))
_OPEN_FOLDER = "/page/"
#: Answered however much there is to do: it says how much.
_METRICS = "/metrics"
#: A body of theirs is not read.
_BODILESS = ("GET", "HEAD")

#: How often deadlines and the file of tokens are looked at, and what was counted is told.
_TICK_SECONDS = 0.5
#: How often connections are looked through whose callers take nothing.
_LOOK_SECONDS = 5.0


class Gate:
    """What every request passes through before it is answered."""

    def __init__(self, service: Service) -> None:
        """OSError or ValueError if the file of tokens is not as it should be."""
        settings = service.settings
        self._service = service
        self._tokens = None if settings.tokens is None else Tokens(settings.tokens)
        self._without_token = _without_token(settings)
        self._room = Room(settings)
        self._rates = None
        if settings.rate is not None:
            self._rates = Rates(settings.rate, settings.shared_folder)
        self._journal = Journal(service.log)
        self._trouble = Trouble(service)
        self._deadlines = Deadlines()
        self._ticking = False
        self._stuck = Stuck(settings.answer_seconds)
        self._look_seconds = min(_LOOK_SECONDS, settings.answer_seconds / 2)
        self._looked = 0.0
        self._looking = False

    def begin(self, request: Request) -> None:
        """A request is here. What is begun is to be `done`."""
        if not self._ticking:
            self._ticking = True
            self._tick()
        self._deadlines.add(request.deadline)

    def sent(self) -> None:
        """A part of a large answer was passed on."""
        self._deadlines.sent = time.monotonic()

    async def admit(self, request: Request) -> None:
        """Let a request in, and note its caller. Problem if it is not let in."""
        try:
            self._admit(request)
            if request.place is not None and (request.method in _BODILESS or not request.has_body):
                await request.place.work()
        except Refused as refused:
            request.refused = refused.reason
            await asyncio.sleep(refused.PAUSE_SECONDS)
            raise

    def _admit(self, request: Request) -> None:
        path = request.path
        if path in OPEN or path.startswith(_OPEN_FOLDER):
            request.caller = ANYONE
            return
        caller = request.caller = self._caller(request)
        if self._rates is not None:
            self._rates.take(caller.name)
        if path != _METRICS:
            request.place = self._room.place(caller.name)

    def _caller(self, request: Request) -> Caller:
        header = request.header(b"authorization")
        if header is None:
            if self._without_token is None:
                raise _unknown("this takes a token: send the header Authorization: Bearer TOKEN")
            return self._without_token
        scheme, _, secret = header.partition(" ")
        if scheme.lower() != "bearer":
            raise _unknown("only tokens are taken: send the header Authorization: Bearer TOKEN")
        caller = None
        if self._tokens is not None:
            caller = self._tokens.caller(secret.strip(), time.time())
        if caller is None:
            raise _unknown("the token is not known here, or has expired", ', error="invalid_token"')
        return caller

    def done(self, request: Request, status: int, began: float, fault: Exception | None) -> None:
        """Note how a request ended, let in or not. `began` is of time.perf_counter."""
        self._deadlines.remove(request.deadline)
        if request.place is not None:
            request.place.leave()
        if not request.route:
            request.route = getattr(request.scope.get("route"), "path_format", "")
        if fault is not None:
            self._service.metrics.failed("request")
        seconds = time.perf_counter() - began
        self._service.metrics.note(request, status, seconds)
        self._journal.note(request, status, seconds, fault)
        if request.caller is not None and request.lookup is not None:
            self._service.audit.note(request.caller, request.lookup)

    def tell(self) -> None:
        """Log what is still to be told: this is the end."""
        self._journal.tell()

    def _tick(self) -> None:
        asyncio.get_running_loop().call_later(_TICK_SECONDS, self._tick)
        self._deadlines.look()
        service = self._service
        if self._tokens is not None:
            self._trouble.note("tokens", self._tokens.reload())
        audit = service.audit.state()
        self._trouble.note("audit", audit.trouble)
        used = self._room.used
        service.metrics.use(used.requests, used.body_bytes, audit.waiting, audit.lost)
        self._journal.tell()
        now = time.monotonic()
        if now - self._looked >= self._look_seconds and not self._looking:
            self._looked, self._looking = now, True
            future = asyncio.get_running_loop().run_in_executor(None, self._look)
            future.add_done_callback(self._seen)

    def _look(self) -> tuple[int, str | None]:
        """What takes longer, and is done beside the requests."""
        return self._stuck.end(self._deadlines.sent), trouble_of(self._service)

    def _seen(self, future: asyncio.Future[tuple[int, str | None]]) -> None:
        self._looking = False
        if future.cancelled():
            return
        ended, trouble = future.result()
        self._trouble.note("database", trouble)
        if ended:
            self._service.metrics.refused("answer_time", ended)
            self._service.log.warning("answers that nobody took were ended", connections=ended)


def _without_token(settings: Settings) -> Caller | None:
    """Who calls without a token."""
    if settings.listen is None or settings.listen.startswith("unix:"):
        return _SOCKET
    if settings.client_ca is not None:
        return Caller("certificate", frozenset(settings.client_scopes))
    return None


def _unknown(detail: str, why: str = "") -> Refused:
    headers = {"www-authenticate": f'Bearer realm="hashmatch"{why}'}
    return Refused(401, detail, "unknown", headers=headers)
