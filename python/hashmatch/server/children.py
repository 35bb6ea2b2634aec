"""The processes that the supervisor starts: workers, and the writer."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

#: What a worker has found in the database: "generation", "sets" with the items in each, "signals"
#: by their type.
Served: TypeAlias = dict[str, Any]


#: One that lived so long did not die at once.
_SETTLED_SECONDS = 5.0
#: From the second that dies at once, the next one waits: twice as long each time.
_FIRST_PAUSE_SECONDS = 0.2
_LONGEST_PAUSE_SECONDS = 15.0


class Child:
    """A process of one of this package's modules."""

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        descriptors: Sequence[int] = (),
    ) -> None:
        """Start it. It inherits the descriptors. OSError if it cannot be started."""
        self.began = time.monotonic()
        #: Its exit code, or the signal that it was ended by, as subprocess has it.
        self.ended: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._process = subprocess.Popen(
            # Of the folder in which this runs nothing is imported.
            [sys.executable, "-P", "-m", module, *arguments],
            env=environment,
            pass_fds=descriptors,
            stdin=subprocess.DEVNULL,
            # The keys of a terminal are for the supervisor, which ends the others in order.
            process_group=0,
        )

    def look(self) -> bool:
        """Note whether it has ended."""
        code = self._process.poll()
        if code is not None and not self.ended.done():
            self.ended.set_result(code)
        return code is not None

    def signal(self, number: signal.Signals) -> None:
        """Send it one, if it lives."""
        self._process.send_signal(number)

    async def end(self, seconds: float) -> None:
        """End it: in order, but after that many seconds at once."""
        self.signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(seconds):
                await asyncio.shield(self.ended)
        except TimeoutError:
            self.signal(signal.SIGKILL)
            await asyncio.shield(self.ended)

    async def fate(self) -> str:
        """How it ended, in words."""
        code = await asyncio.shield(self.ended)
        return f"ended with exit code {code}" if code >= 0 else f"was ended by {_name(-code)}"


class Worker(Child):
    """A process that answers requests, on the listening socket of that descriptor."""

    def __init__(self, listener: int, environment: Mapping[str, str]) -> None:
        loop = asyncio.get_running_loop()
        #: What it serves, once it is ready.
        self.served: Served | None = None
        self._reported: asyncio.Future[str] = loop.create_future()
        self._said = b""
        read, write = os.pipe()
        try:
            arguments = [str(listener), str(write), str(os.getpid())]
            super().__init__("hashmatch.server.worker", arguments, environment, (listener, write))
        except BaseException:
            os.close(read)
            raise
        finally:
            os.close(write)
        loop.add_reader(read, self._read, read)

    async def trouble(self) -> str:
        """Why it could not begin; empty once it is ready."""
        said = await asyncio.shield(self._reported)
        if said or self.served is not None:
            return said
        return f"a worker {await self.fate()} before it was ready"

    def _read(self, descriptor: int) -> None:
        part = os.read(descriptor, 65_536)
        self._said += part
        if not part:
            asyncio.get_running_loop().remove_reader(descriptor)
            os.close(descriptor)
            report = json.loads(self._said or b"{}")
            self.served = report.get("served")
            self._reported.set_result(report.get("trouble", ""))


@dataclass
class Deaths:
    """Those at one place, which may die at once, one after the other."""

    _next_seconds: float = 0

    def pause(self, lived_seconds: float) -> float:
        """Seconds until another is started, after one that lived so long."""
        seconds = self._next_seconds if lived_seconds < _SETTLED_SECONDS else 0.0
        self._next_seconds = min(max(2 * seconds, _FIRST_PAUSE_SECONDS), _LONGEST_PAUSE_SECONDS)
        return seconds


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
