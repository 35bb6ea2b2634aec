"""How much of a process callers may use: requests at a time, bytes of bodies, requests a second.

A request takes a place. It counts as worked on once its body has arrived: one that sends half of it
and then nothing costs a few kilobytes and a descriptor, but keeps nobody out.
"""

from __future__ import annotations

import mmap
import time
import zlib
from dataclasses import dataclass
from math import ceil
from pathlib import Path
from typing import TYPE_CHECKING

from hashmatch.server.problems import Refused
from hashmatch.server.turns import Turns

if TYPE_CHECKING:
    from hashmatch.server.settings import Settings

#: So many bodies of the largest size are held at a time, or more of smaller ones.
_LARGEST_BODIES = 4
#: Of four parts of the room. The last is for the others.
_PARTS_OF_ONE_CALLER = 3
#: Requests of one caller that wait while another calls too. Each costs something before its turn,
#: so that more of them hold the other up: beside 256 connections that always ask, one who asks for
#: a quarter of what there is gets 0.65 to 0.88 of it with 128, 0.89 to 1.0 with 32, all with 16.
_MOST_WAITING = 16
#: Callers that share one, which is unlikely, share their rate.
_SLOTS = 1 << 20
#: How much of its rate a caller may use at once.
_BURST_SECONDS = 1.0
#: Less than that is rounding.
_CLOCK_SECONDS = 1e-6


@dataclass(slots=True)
class _Used:
    requests: int = 0
    body_bytes: int = 0


class Room:
    """What of one process is in use, by all and by each caller."""

    def __init__(self, settings: Settings) -> None:
        self._most = _Used(settings.max_requests, _LARGEST_BODIES * settings.max_body_bytes)
        self._most_each = self._most
        # Without tokens everybody is the same caller.
        if settings.tokens is not None:
            self._most_each = _Used(_part(self._most.requests), _part(self._most.body_bytes))
        self.used = _Used()
        self._turns = Turns(_MOST_WAITING)
        self._each: dict[str, _Used] = {}

    def place(self, name: str) -> Place:
        """A place for a request of that caller."""
        return Place(self, name)

    def work(self, name: str) -> None:
        """Refused if there are as many requests as may be worked on."""
        used = self._each.setdefault(name, _Used())
        if self.used.requests >= self._most.requests or used.requests >= self._most_each.requests:
            raise Refused(
                503, "too many requests are being worked on: ask again", "requests", retry_after=1
            )
        self.used.requests += 1
        used.requests += 1

    async def turn(self, name: str) -> None:
        """Wait until it is the caller's turn. Refused if too many of its requests wait."""
        turn = self._turns.take(name)
        if turn is not None:
            await turn

    def hold(self, name: str, size_bytes: int) -> None:
        """Refused if bodies take up as much memory as they may."""
        used = self._each.setdefault(name, _Used())
        if (
            self.used.body_bytes + size_bytes > self._most.body_bytes
            or used.body_bytes + size_bytes > self._most_each.body_bytes
        ):
            raise Refused(
                503, "too many large bodies are arriving: send it again", "memory", retry_after=1
            )
        self.used.body_bytes += size_bytes
        used.body_bytes += size_bytes

    def leave(self, name: str, requests: int, body_bytes: int) -> None:
        """Give back what was taken."""
        used = self._each.get(name)
        if used is None:
            return
        for each in (self.used, used):
            each.requests -= requests
            each.body_bytes -= body_bytes
        if not used.requests and not used.body_bytes:
            del self._each[name]


def _part(number: int) -> int:
    return max(1, number * _PARTS_OF_ONE_CALLER // 4)


class Place:
    """What one request uses, until it leaves."""

    __slots__ = ("_body_bytes", "_name", "_room", "_working")

    def __init__(self, room: Room, name: str) -> None:
        self._room = room
        self._name = name
        self._working = 0
        self._body_bytes = 0

    async def work(self) -> None:
        """All of the request is here: wait until it is its turn. Refused if there is no room."""
        if not self._working:
            await self._room.turn(self._name)
            self._room.work(self._name)
            self._working = 1

    def hold(self, size_bytes: int) -> None:
        """A part of the body is here. Refused if there is no room for it."""
        if size_bytes:
            self._room.hold(self._name, size_bytes)
            self._body_bytes += size_bytes

    def leave(self) -> None:
        """The request is answered, or not going to be."""
        self._room.leave(self._name, self._working, self._body_bytes)
        self._working = self._body_bytes = 0


class Rates:
    """How many requests a second each caller makes, counted for all processes together.

    For each caller there is one time: the one at which all its requests so far were due, at the
    rate that it may make them. It may run ahead of the clock by a burst. (This is the generic cell
    rate algorithm, ITU-T I.371.) Processes that note a request at the same instant may count one.
    """

    def __init__(self, rate: float, folder: Path | None) -> None:
        """`folder` is what the processes share; without it this one is alone."""
        self._seconds = 1 / rate
        self._ahead = max(0.0, _BURST_SECONDS - self._seconds)
        size = _SLOTS * 8
        if folder is None:
            memory = mmap.mmap(-1, size)
        else:
            # Sparse: only the pages of those who call take up memory.
            with open(folder / "rates", "a+b") as file:
                file.truncate(size)
                memory = mmap.mmap(file.fileno(), size)
        self._due = memoryview(memory).cast("d")

    def take(self, name: str) -> None:
        """Count a request. Refused if the caller makes too many."""
        slot = zlib.crc32(name.encode()) % _SLOTS
        now = time.monotonic()
        due = max(self._due[slot], now)
        wait = due - now - self._ahead
        if wait > _CLOCK_SECONDS:
            raise Refused(
                429,
                f"{name} makes more than {1 / self._seconds:g} requests a second",
                "rate",
                retry_after=ceil(wait),
            )
        self._due[slot] = due + self._seconds
