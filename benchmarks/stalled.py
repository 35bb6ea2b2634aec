"""Clients that take room and do nothing with it, in a process of their own."""

from __future__ import annotations

import selectors
import socket
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Self

from load import connect

#: What each kind of client sends of a request before it stalls; a slow reader sends all, and takes
#: a few bytes of the answer each second.
KINDS: dict[str, Callable[[bytes], bytes]] = {
    "half a header": lambda request: request[: request.index(b"\r\n\r\n") // 2],
    "half a body": lambda request: request[: (request.index(b"\r\n\r\n") + 4 + len(request)) // 2],
    "slow reader": lambda request: request,
    "never sends": lambda request: b"",
}
_SLOW_BYTES = 16
#: One that the server has closed is back after so long.
_BACK_S = 0.1


class Stalled:
    """So many stalled clients, in equal parts of each kind, from here on until the block ends.
    `request` has a body, and an answer that is too large to be taken at once.
    """

    def __init__(self, address: str, request: bytes, clients: int = 64) -> None:
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe()
        arguments = (theirs, address, request, clients)
        self._process = context.Process(target=_stall, args=arguments, daemon=True)
        #: How often the server ended one of each kind; known at the end.
        self.closed: Counter[str] = Counter()

    def __enter__(self) -> Self:
        self._process.start()
        self._pipe.recv()
        return self

    def __exit__(self, *error: object) -> None:
        self._pipe.send(None)
        self.closed = self._pipe.recv()
        self._process.join()


def _stall(pipe: Connection, address: str, request: bytes, clients: int) -> None:
    kinds = list(KINDS)
    closed: Counter[str] = Counter()
    waiting = [(0.0, kinds[number % len(kinds)]) for number in range(clients)]
    with selectors.DefaultSelector() as selector:
        while True:
            now = time.monotonic()
            for at, kind in [each for each in waiting if each[0] <= now]:
                waiting.remove((at, kind))
                opened = _opened(address, KINDS[kind](request))
                if opened is None:
                    waiting.append((now + _BACK_S, kind))
                else:
                    selector.register(opened, selectors.EVENT_READ, kind)
            if clients and not waiting:
                pipe.send("stalled")
                clients = 0
            if pipe.poll():
                pipe.recv()
                break
            for key, _ in selector.select(0):
                assert isinstance(key.fileobj, socket.socket)
                if not _taken(key.fileobj):
                    closed[key.data] += 1
                    selector.unregister(key.fileobj)
                    key.fileobj.close()
                    waiting.append((now + _BACK_S, key.data))
            time.sleep(_BACK_S)
        for key in list(selector.get_map().values()):
            assert isinstance(key.fileobj, socket.socket)
            key.fileobj.close()
    pipe.send(closed)


def _opened(address: str, begun: bytes) -> socket.socket | None:
    try:
        opened = connect(address)
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        opened.sendall(begun)
    except OSError:
        return None
    opened.setblocking(False)
    return opened


def _taken(opened: socket.socket) -> bool:
    """Take a little; False if the server has ended it."""
    try:
        return bool(opened.recv(_SLOW_BYTES))
    except BlockingIOError:
        return True
    except OSError:
        return False
