"""Whom requests are of, whether there is room for them, and what becomes of them."""

from __future__ import annotations

from hashmatch.server.callers import SCOPES, Caller
from hashmatch.server.http import Request
from hashmatch.server.service import Service

#: Who can open the socket is whom its file's mode lets in.
_LOCAL = Caller("socket", frozenset(SCOPES))


class Gate:
    """What every request passes through before it is answered."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def admit(self, request: Request) -> None:
        """Let a request in, and note its caller. Problem if it is not let in."""
        request.caller = _LOCAL

    def done(self, request: Request, status: int, began: float) -> None:
        """Note how a request ended, let in or not. `began` is of time.perf_counter."""
