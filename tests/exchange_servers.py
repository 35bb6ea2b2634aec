"""Exchanges on 127.0.0.1 that speak the protocols of the real ones, and fail when told to."""

from __future__ import annotations

import json
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import hashmatch
from exchange_model import SECRET, VARIABLE, ExchangeServer, Fault, Held
from exchange_protocols import KINDS
from hashmatch import Database
from hashmatch.database import Item

__all__ = [
    "KINDS",
    "SECRET",
    "VARIABLE",
    "ExchangeServer",
    "Fault",
    "Held",
    "held",
    "open_with_feed",
    "serving",
    "wait_until",
]


@contextmanager
def serving(kind: str) -> Iterator[ExchangeServer]:
    """The exchange of that name, until the block ends."""
    made, options = KINDS[kind]
    exchange = made(options)
    released = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            self.rfile.read(length)
            exchange.requests.append(self.path)
            number = len(exchange.requests)
            fault = exchange.faults.get(number) or exchange.faults.get(0) or Fault()
            if fault.stall_s:
                released.wait(fault.stall_s)
                return
            address = urllib.parse.urlsplit(self.path)
            query = dict(urllib.parse.parse_qsl(address.query))
            body = fault.body
            if body is None and fault.status == 200:
                reply = exchange.reply(address.path, query, self.headers)  # type: ignore[arg-type]
                body = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
            body = body or b"{}"
            self.send_response(fault.status)
            for name, value in {"Content-Length": str(len(body)), **fault.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if fault.drip_s:
                with suppress(OSError):
                    for place in range(len(body)):
                        self.wfile.write(body[place : place + 1])
                        released.wait(fault.drip_s)
                return
            self.wfile.write(body[: len(body) // 2] if fault.cut else body)

        do_POST = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    exchange.base = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield exchange
    finally:
        released.set()
        server.shutdown()
        thread.join()
        server.server_close()


def held(database: Database, name: str) -> dict[str, Held]:
    """What a set holds, as `ExchangeServer.expected` has it."""
    found: dict[str, Held] = {}
    for each in database.contents(name):
        # An opinion on a ref without an item would be one that was not withdrawn.
        assert isinstance(each, Item), each
        assert each.ref not in found
        found[each.ref] = (
            each.kind,
            frozenset((signal.hash_type, signal.code.hex()) for signal in each.signals),
            frozenset(each.labels),
            frozenset((o.contributor, o.verdict, tuple(o.labels)) for o in each.opinions),
        )
    return found


def open_with_feed(path: Path, server: ExchangeServer) -> Database:
    """A database with a feed "f" that fills a set "s" from the server."""
    from hashmatch.feeds import add_feed

    database = hashmatch.open(path, "c")
    if not database.feeds.list():
        add_feed(
            database, "f", set="s", exchange=server.exchange, options=server.options,
            credentials=f"env:{VARIABLE}",
        )  # fmt: skip
    return database


def wait_until(done: Callable[[], bool], within_s: float = 30.0) -> None:
    end = time.monotonic() + within_s
    while not done():
        assert time.monotonic() < end
        time.sleep(0.01)
