"""Limits that uvicorn lacks: on the time and the size of a request's head, and on connections."""

from __future__ import annotations

import asyncio
from typing import Any

from hashmatch.server.settings import Settings


def limited(protocol: Any, settings: Settings, head_bytes: int, last_words_seconds: float) -> Any:
    """The protocol of a connection, on h11 or httptools, with those limits. One that has not sent
    anything is listened to for `last_words_seconds` once the server stops.
    """

    class Limited(protocol):  # type: ignore[misc]
        _waiting: asyncio.TimerHandle | None = None
        _head_bytes = 0
        _stopping = False

        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            if len(self.connections) > settings.max_connections:
                transport.abort()
            self._wait(settings.idle_seconds)

        def data_received(self, data: bytes) -> None:
            super().data_received(data)
            if self._in_request():
                self._wait(None)
                if self._stopping:
                    self.cycle.keep_alive = False
                return
            self._head_bytes += len(data)
            if self._head_bytes > head_bytes and not self.transport.is_closing():
                self.send_400_response("The head of the request is too large.")

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if not self._in_request():
                self._wait(settings.idle_seconds)

        def connection_lost(self, error: Exception | None) -> None:
            self._wait(None)
            super().connection_lost(error)

        def shutdown(self) -> None:
            if self.cycle is None:
                self._stopping = True
                self._wait(last_words_seconds)
            else:
                super().shutdown()

        def _in_request(self) -> bool:
            return self.cycle is not None and not self.cycle.response_complete

        def _wait(self, seconds: float | None) -> None:
            """For the head of a request: so long, or no more."""
            if self._waiting is not None:
                self._waiting.cancel()
                self._waiting = None
            self._head_bytes = 0
            if seconds is not None:
                self._waiting = self.loop.call_later(seconds, self.transport.close)

    return Limited
