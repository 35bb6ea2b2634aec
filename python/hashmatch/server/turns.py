"""Whose request is next, where several are there at a time.

What a request does on the event loop it does in one go. Without turns, requests would be worked on
in the order in which they came, so that one of a caller who sends one would wait for the hundred of
a caller who sends a hundred. With them callers alternate, and each waits for its own.
"""

from __future__ import annotations

import asyncio
from collections import deque

#: Turns given in one round of the event loop: a round costs as much as a few turns.
_TURNS = 4


class Turns:
    """Gives turns to the requests of one event loop."""

    def __init__(self) -> None:
        #: Requests that wait, by caller; the first caller is the one whose turn is next.
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        #: Whether somebody has had a turn in this round.
        self._taken = False

    async def take(self, name: str) -> None:
        """Return when it is the turn of that caller, and of those of its requests the first."""
        loop = asyncio.get_running_loop()
        if not self._taken:
            self._taken = True
            loop.call_soon(self._give)
            return
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.setdefault(name, deque()).append(turn)
        await turn

    def _give(self) -> None:
        given = 0
        while self._waiting and given < _TURNS:
            name = next(iter(self._waiting))
            turns = self._waiting.pop(name)
            turn = turns.popleft()
            if turns:
                self._waiting[name] = turns
            # A request that was given up meanwhile needs none.
            if not turn.done():
                turn.set_result(None)
                given += 1
        self._taken = given > 0
        if given:
            asyncio.get_running_loop().call_soon(self._give)
