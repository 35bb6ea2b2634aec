"""A process that answers: `python -m hashmatch.server.worker LISTENER REPORT PARENT`.

LISTENER is the descriptor of the listening socket, REPORT that of a pipe to the supervisor, whose
process id is PARENT. A line of JSON on it says once what is served, or why the worker cannot begin:
see children.py. The settings are in the environment.

SIGTERM ends it: it stops accepting, finishes what it works on, and lets go of the database. It ends
at once when the supervisor has ended. The application is started and stopped here, and not by the
servers, so that what goes wrong is known.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import resource
import signal
import socket
import sys
from contextlib import suppress
from typing import Any

import uvloop

from hashmatch.database import Database
from hashmatch.server.app import create_app
from hashmatch.server.logs import take_over
from hashmatch.server.servers import SERVERS, Stop
from hashmatch.server.settings import Settings

#: PR_SET_PDEATHSIG of prctl(2).
_AT_PARENTS_DEATH = 1
#: Segments, the catalog, and what the servers need.
_OTHER_FILES = 1024


async def _work(settings: Settings, listener: socket.socket, report: _Report) -> None:
    loop = asyncio.get_running_loop()
    told = asyncio.Event()
    app = create_app(settings)
    take_over(app.service.log)
    await app.service.start()
    served = await asyncio.to_thread(_served, app.service.database)

    def accepting(stop: Stop) -> None:
        def end() -> None:
            if not told.is_set():
                told.set()
                stop()

        loop.add_signal_handler(signal.SIGTERM, end)
        report(served=served)

    serving = asyncio.ensure_future(SERVERS[settings.http](app, settings, listener, accepting))
    ending = asyncio.create_task(told.wait())
    await asyncio.wait({serving, ending}, return_when="FIRST_COMPLETED")
    if told.is_set():
        await asyncio.wait({serving}, timeout=settings.drain_seconds)
    await app.service.stop()
    app.gate.tell()
    if not serving.done():
        # It waits for callers that are in no hurry.
        os._exit(0)
    serving.result()


def _served(database: Database) -> dict[str, Any]:
    state = database.status()
    return {
        "generation": state.generation,
        "sets": [(record.name, record.items) for record in database.sets()],
        "signals": {name: held.signals for name, held in state.types.items()},
    }


class _Report:
    """The pipe to the supervisor."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self.made = False

    def __call__(self, **said: Any) -> None:
        self.made = True
        with suppress(BrokenPipeError), os.fdopen(self._descriptor, "w") as pipe:
            json.dump(said, pipe)


def _end_with(parent: int) -> None:
    ctypes.CDLL(None).prctl(_AT_PARENTS_DEATH, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit()


#: A request waits at most so long for a thread that takes in changes, or makes a large answer, each
#: time that it needs the interpreter: a tenth of what is usual.
_SWITCH_S = 0.0005


def _allow_files(number: int) -> None:
    """Each connection is an open file, of which a process may often have only a few at first."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = number if hard == resource.RLIM_INFINITY else min(number, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def main() -> None:
    """Exit code 0 once it was told to end, 2 where it could not begin."""
    sys.setswitchinterval(_SWITCH_S)
    listener, pipe, parent = map(int, sys.argv[1:])
    _end_with(parent)
    report = _Report(pipe)
    try:
        settings = Settings()  # type: ignore[call-arg]
        _allow_files(settings.max_connections + _OTHER_FILES)
        uvloop.run(_work(settings, socket.socket(fileno=listener), report))
    except (ValueError, OSError, ImportError, MemoryError) as error:
        if report.made:
            raise
        report(trouble=str(error) or type(error).__name__)
        sys.exit(2)


if __name__ == "__main__":
    main()
