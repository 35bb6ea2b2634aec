"""Whose request is next, where those of several callers wait.

Most requests are answered in one go, each while the others wait. So that a caller with very many
connections does not have everybody wait for it, the event loop begins one request each time that it
goes round, and the callers that have some waiting take turns: who asks for less than its share of
what the process can do waits for about one request of the others, however many those are.
"""

from __future__ import annotations

import asyncio
from collections import deque

from hashmatch.server.problems import Refused

#: As long as that after two callers alternated, turns are taken: alone, nobody waits.
_ALTERNATING_SECONDS = 1.0


class Turns:
    """The turns of the requests of one event loop."""

    def __init__(self, most_waiting: int) -> None:
        """Of one caller so many requests may wait."""
        self._most_waiting = most_waiting
        #: The requests of each caller, in the order in which they came; whose turn is next first.
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self._going_round = False
        self._last = ""
        self._alternating_until = 0.0

    def take(self, name: str) -> asyncio.Future[None] | None:
        """What a request of that caller has to await; None where it need not. Refused if too many
        do.
        """
        loop = asyncio.get_running_loop()
        if name != self._last:
            alone = not self._last
            self._last = name
            self._alternating_until = 0.0 if alone else loop.time() + _ALTERNATING_SECONDS
        if not self._going_round:
            if loop.time() < self._alternating_until:
                self._going_round = True
                loop.call_soon(self._next, loop)
            return None
        waiting = self._waiting.setdefault(name, deque())
        if len(waiting) >= self._most_waiting:
            raise Refused(
                503,
                f"{name} has {len(waiting)} requests waiting: ask again",
                "waiting",
                retry_after=1,
            )
        future = loop.create_future()
        waiting.append(future)
        return future

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin the next request, once those that arrived meanwhile are known."""
        while self._waiting:
            name = next(iter(self._waiting))
            waiting = self._waiting.pop(name)
            future = waiting.popleft()
            if waiting:
                self._waiting[name] = waiting
            if not future.done():
                future.set_result(None)
                loop.call_soon(self._next, loop)
                return
        self._going_round = False
