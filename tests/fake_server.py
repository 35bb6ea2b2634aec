"""A server that answers as a test has it answer: late, in pieces, wrongly, or not at all."""

from __future__ import annotations

import json
import socket
import ssl
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qsl, urlsplit

import numpy as np

from hashmatch import DatabaseMatches, wire
from oracle import random_codes

PACKED = wire.MEDIA_TYPE
#: What is looked up.
CODES = random_codes(3, 256)
#: The answer to a change.
CHANGED = {
    "generation": 9, "set": "s", "added": 1, "updated": 0, "removed": 0, "unchanged": 0,
    "opinions": 0, "rejected": [],
}  # fmt: skip


@dataclass
class Heard:
    """A request."""

    method: str
    path: str
    params: list[tuple[str, str]]
    #: Names are in lower case.
    headers: dict[str, str]
    body: bytes = b""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def hashes(self) -> int:
        """How many PDQ hashes it looks up."""
        if self.headers["content-type"] == PACKED:
            return len(self.body) // 32
        return len(self.json["hashes"])


class Cut(Exception):
    """The connection is cut."""


#: Gives the bytes to send; after Cut the connection is closed.
Behave = Callable[[Heard], Iterator[bytes]]


class FakeServer:
    """Listens on a Unix socket, with a thread for each connection, until its block ends."""

    def __init__(self, behave: Behave, tls: ssl.SSLContext | None = None) -> None:
        self.behave = behave
        self.heard: list[Heard] = []
        #: Whether bodies are waited for before it answers.
        self.takes_bodies = True
        self._tls = tls
        self._ended = False
        self._open: set[socket.socket] = set()
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory()
        if self._tls is None:
            path = str(Path(self._folder.name) / "socket")
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.bind(path)
            self.url = f"unix:{path}"
        else:
            self._socket = socket.create_server(("127.0.0.1", 0))
            self.url = f"https://127.0.0.1:{self._socket.getsockname()[1]}"
        self._socket.listen(64)
        self._start(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        for each in (self._socket, *list(self._open)):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in list(self._threads):
            thread.join()
        self._socket.close()
        self._folder.cleanup()

    def _start(self, target: Callable[..., None], *arguments: Any) -> None:
        thread = threading.Thread(target=target, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while not self._ended:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self._open.add(connection)
            self._start(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        try:
            with suppress(OSError, Cut, EOFError):
                if self._tls is not None:
                    raw, connection = connection, self._tls.wrap_socket(connection, True)
                    self._open.discard(raw)
                    self._open.add(connection)
                with connection.makefile("rb") as lines:
                    while not self._ended:
                        heard = self._hear(lines)
                        self.heard.append(heard)
                        for part in self.behave(heard):
                            connection.sendall(part)
        finally:
            self._open.discard(connection)
            connection.close()

    def _hear(self, lines: Any) -> Heard:
        first = lines.readline().decode().split()
        if not first:
            raise EOFError
        headers = {}
        while line := lines.readline().decode().strip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        url = urlsplit(first[1])
        heard = Heard(first[0], url.path, parse_qsl(url.query), headers)
        if self.takes_bodies:
            heard.body = lines.read(int(headers.get("content-length", 0)))
        return heard


def reply(
    body: bytes,
    status: int = 200,
    media_type: str = "application/json",
    generation: int | None = 7,
    **headers: str,
) -> bytes:
    """The bytes of a reply."""
    named = {"content-type": media_type, "content-length": str(len(body))}
    if generation is not None:
        named["hashmatch-generation"] = str(generation)
    named |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n{head}\r\n".encode() + body


def as_json(value: Any, **options: Any) -> bytes:
    return reply(json.dumps(value).encode(), **options)


def problem(
    status: int, detail: str, headers: Mapping[str, str] | None = None, **members: Any
) -> bytes:
    body = json.dumps({"status": status, "title": "", "detail": detail, **members}).encode()
    return reply(body, status, "application/problem+json", 7, **(headers or {}))


def packed(heard: Heard, generation: int = 7, first: int = 0, distances: bool = True) -> bytes:
    """The packed answer to a lookup, in which each hash matches a signal of its own."""
    rows = heard.hashes
    signal = np.arange(first, first + rows, dtype=np.uint64)
    joined: dict[str, list[Any]] = {
        "signal": signal.tolist(),
        "first": signal.tolist(),
        "type": ["pdq"] * rows,
        "hash": ["ab" * 32] * rows,
        "ref": [f"ref-{number}" for number in signal.tolist()],
        "set": ["a" if number % 2 else "b" for number in signal.tolist()],
        "contributor": [""] * rows,
        "kind": ["image"] * rows,
        "labels": [["x"]] * rows,
        "verdicts": [["positive"]] * rows,
        "quality": [None] * rows,
        "time_ms": [5] * rows,
    }
    if not distances:
        del joined["hash"]
    return wire.encode(
        wire.Packed(
            generation,
            np.arange(rows + 1, dtype=np.int64),
            signal,
            np.arange(rows, dtype=np.uint16) if distances else None,
            joined,
        )
    )


def found(heard: Heard, generation: int = 7, first: int = 0) -> bytes:
    """The reply with that."""
    return reply(packed(heard, generation, first), 200, PACKED, generation)


def first_then(first: Sequence[bytes | None], last: Callable[[Heard], bytes]) -> Behave:
    """Answers with each of the first, once, then with the last. None cuts the connection."""
    left = list(first)

    def behave(heard: Heard) -> Iterator[bytes]:
        if not left:
            yield last(heard)
            return
        part = left.pop(0)
        if part is None:
            raise Cut
        yield part

    return behave


def found_only(heard: Heard) -> Iterator[bytes]:
    yield found(heard)


def assert_found(matches: DatabaseMatches, rows: int = 3) -> None:
    """They are what `found` says."""
    assert [(m.query, m.signal, m.distance, m.ref) for m in matches] == [
        (row, row, row, f"ref-{row}") for row in range(rows)
    ]
    assert matches.generation == 7
