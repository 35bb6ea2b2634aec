"""The HTTP servers that a worker may run, each made to do the same.

A server gets the application, a listening socket that it closes, and what it calls once it accepts,
with a function that makes it stop: it refuses new connections, closes the idle ones, answers what
it works on, and its coroutine ends. Neither starts or stops the application, writes a log of
accesses, or says its version. Where they differ:

granian  closes a connection that brings no whole head of a request in idle_seconds, before the
         first one or between two. Heads of more than about 500 kB, or 100 headers, get 431. What
         is more than max_connections waits to be accepted. `scope["client"]` is ("", "0") on a
         Unix socket, and has the port as a text. A caller may take 10 s to agree on TLS. A
         revocation list is heeded however old it is.
uvicorn  has no such limits of its own, so they are set here: see uvicorn_limits.py. A head that is
         too large gets 400, and what is more than max_connections is closed. `scope["client"]` is
         None on a Unix socket. A caller may take 60 s to agree on TLS. A revocation list that has
         expired lets nobody in.

Neither tells the application whom a caller's certificate names.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from hashmatch.server.app import Sidecar
from hashmatch.server.settings import Settings
from hashmatch.server.sockets import BACKLOG
from hashmatch.server.tls import server_context

Stop: TypeAlias = Callable[[], None]
Accepting: TypeAlias = Callable[[Stop], None]
Serve: TypeAlias = Callable[[Sidecar, Settings, socket.socket, Accepting], Awaitable[None]]

#: Of a request's head, in uvicorn.
_HEAD_BYTES = 65_536
#: What granian holds of a connection. With less than the socket does, large bodies take longer.
_BUFFER_BYTES = 262_144


async def _serve_granian(
    app: Sidecar, settings: Settings, listener: socket.socket, accepting: Accepting
) -> None:
    from granian._granian import SocketHolder
    from granian.constants import HTTPModes, Interfaces, SSLProtocols
    from granian.http import HTTP1Settings
    from granian.server.embed import Server

    class Inherited(Server):
        """On a socket that is there already."""

        def _init_shared_socket(self) -> None:
            # It closes the descriptor. The stub has another signature than the class.
            holder: Any = SocketHolder
            unix = listener.family == socket.AF_UNIX
            self._shd = holder(listener.detach(), unix, BACKLOG)

        def _spawn_workers(self, *arguments: Any) -> None:
            super()._spawn_workers(*arguments)  # type: ignore[no-untyped-call]
            accepting(self.stop)

    revoked = settings.client_revoked
    await Inherited(
        app,
        interface=Interfaces.ASGINL,
        http=HTTPModes.http1,
        websockets=False,
        log_enabled=False,
        backlog=BACKLOG,
        backpressure=settings.max_connections,
        http1_settings=HTTP1Settings(
            header_read_timeout=max(1, round(settings.idle_seconds * 1000)),
            max_buffer_size=_BUFFER_BYTES,
        ),
        ssl_cert=settings.tls_certificate,
        ssl_key=settings.tls_key,
        ssl_protocol_min=SSLProtocols.tls12,
        ssl_ca=settings.client_ca,
        ssl_crl=None if revoked is None else [revoked],
        ssl_client_verify=settings.client_ca is not None,
    ).serve()


async def _serve_uvicorn(
    app: Sidecar, settings: Settings, listener: socket.socket, accepting: Accepting
) -> None:
    from uvicorn import Config, Server
    from uvicorn.protocols.http.auto import AutoHTTPProtocol

    from hashmatch.server.uvicorn_limits import limited

    class Reporting(Server):
        """Signals are not its own."""

        @contextmanager
        def capture_signals(self) -> Iterator[None]:
            yield

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            accepting(self._stop)

        def _stop(self) -> None:
            self.should_exit = True

    config = Config(
        app,
        http=limited(AutoHTTPProtocol, settings, _HEAD_BYTES),
        ws="none",
        interface="asgi3",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=max(1, round(settings.idle_seconds)),
        h11_max_incomplete_event_size=_HEAD_BYTES,
    )
    config.load()
    if settings.tls_certificate is not None:
        config.ssl = server_context(settings)
    await Reporting(config).serve([listener])


#: By the setting http.
SERVERS: dict[str, Serve] = {"granian": _serve_granian, "uvicorn": _serve_uvicorn}
