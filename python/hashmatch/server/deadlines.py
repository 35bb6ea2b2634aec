"""How long bodies may take to arrive, and answers to be taken. All are looked at twice a second: a
timer for each would take longer than most of what is done for a request.
"""

from __future__ import annotations

import asyncio
import time
from math import inf


class Deadline:
    """That of one request, which is cancelled when it has passed. Made in the request's task."""

    __slots__ = ("_task", "end", "passed")

    def __init__(self) -> None:
        self._task = asyncio.current_task()
        #: Of time.monotonic; infinite where nothing is waited for.
        self.end = inf
        #: Whether it was for that that the task was cancelled.
        self.passed = False

    def pass_by(self) -> None:
        """Cancel the request."""
        self.end, self.passed = inf, True
        if self._task is not None:
            self._task.cancel()

    def settle(self) -> None:
        """The request goes on, having caught that it was cancelled."""
        self.passed = False
        if self._task is not None:
            self._task.uncancel()


class Deadlines:
    """Those of all requests of a process."""

    def __init__(self) -> None:
        self._deadlines: set[Deadline] = set()
        #: When a part of a large answer was last passed on.
        self.sent = 0.0

    def add(self, deadline: Deadline) -> None:
        """A request begins."""
        self._deadlines.add(deadline)

    def remove(self, deadline: Deadline) -> None:
        """It has ended."""
        self._deadlines.discard(deadline)

    def look(self) -> None:
        """Cancel the requests whose deadline has passed."""
        now = time.monotonic()
        for deadline in self._deadlines:
            if now >= deadline.end:
                deadline.pass_by()
