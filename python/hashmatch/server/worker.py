"""A process that answers requests: `python -m hashmatch.server.worker LISTENER REPORT`.

LISTENER is the descriptor of the listening socket, REPORT that of a pipe to the supervisor: a line
on it says "ready", or why the worker cannot begin. The settings are in the environment.

SIGTERM ends it: it stops accepting, finishes what it works on, and lets go of the database. So that
both servers do that alike, the application is started and stopped here rather than by them.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from hashmatch.server.app import Sidecar, create_app
from hashmatch.server.settings import Settings
from hashmatch.server.sockets import BACKLOG

#: Called once the server accepts, with what makes it end.
Accepting = Callable[[Callable[[], None]], None]


async def _serve_granian(app: Sidecar, listener: socket.socket, accepting: Accepting) -> None:
    from granian._granian import SocketHolder
    from granian.constants import Interfaces
    from granian.http import HTTP1Settings
    from granian.server.embed import Server

    class Inherited(Server):
        def _init_shared_socket(self) -> None:
            unix = listener.family == socket.AF_UNIX
            # It closes the descriptor. The stub has another signature than the class.
            holder: Any = SocketHolder
            self._shd = holder(listener.detach(), unix, BACKLOG)

        def _spawn_workers(self, *arguments: Any) -> None:
            super()._spawn_workers(*arguments)  # type: ignore[no-untyped-call]
            accepting(self.stop)

    server = Inherited(
        app,
        interface=Interfaces.ASGINL,
        websockets=False,
        log_enabled=False,
        backlog=BACKLOG,
        http1_settings=HTTP1Settings(header_read_timeout=10_000),
    )
    await server.serve()


async def _serve_uvicorn(app: Sidecar, listener: socket.socket, accepting: Accepting) -> None:
    import uvicorn

    class Reporting(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            accepting(self._end)

        def _end(self) -> None:
            self.should_exit = True

    config = uvicorn.Config(
        app,
        interface="asgi3",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
    )
    await Reporting(config)._serve([listener])


_SERVERS: dict[str, Callable[[Sidecar, socket.socket, Accepting], Awaitable[None]]] = {
    "granian": _serve_granian,
    "uvicorn": _serve_uvicorn,
}


async def _work(settings: Settings, listener: socket.socket, report: int) -> None:
    loop = asyncio.get_running_loop()
    app = create_app(settings)
    await app.service.start()

    def accepting(end: Callable[[], None]) -> None:
        loop.add_signal_handler(signal.SIGTERM, end)
        _say(report, "ready")

    await _SERVERS[settings.http](app, listener, accepting)
    await app.service.stop()


def _say(report: int, text: str) -> None:
    with suppress(BrokenPipeError):
        os.write(report, text.replace("\n", " ").encode() + b"\n")
    os.close(report)


def main() -> None:
    """See above. Exit code 0 once it was told to end, 2 where it could not begin."""
    listener, report = map(int, sys.argv[1:])
    settings = Settings()  # type: ignore[call-arg]
    try:
        import uvloop

        uvloop.run(_work(settings, socket.socket(fileno=listener), report))
    except (ValueError, OSError, ImportError, MemoryError) as error:
        _say(report, str(error) or type(error).__name__)
        sys.exit(2)


if __name__ == "__main__":
    main()
