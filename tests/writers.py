"""The writer of a sidecar as tests run it: a process of its own, started anew whenever it ends."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

import hashmatch
from hashmatch.server.callers import Caller
from serving import with_application

CODE = "f8f8f0cee0f4a84f06370a22038f63f0b36e2ed596621e1d33e6b39c4e9c9b22"
OTHER = "0" * 64
JSON = {"Content-Type": "application/json"}


class WriterProcess:
    """The writer of a database."""

    def __init__(self, path: Path, socket: Path) -> None:
        self.path = path
        self.socket = socket
        self.process = self._started()

    def _started(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "hashmatch.server.writer", str(self.path)]
        return subprocess.Popen(
            [*command, "--socket", str(self.socket)], stderr=subprocess.PIPE, text=True
        )

    def kill(self) -> None:
        """As the system does when there is no memory left."""
        self.process.kill()
        self._said()

    def start(self) -> None:
        """A successor of one that has ended."""
        self.process = self._started()

    def stop(self) -> str:
        """End it as a supervisor does. What it said."""
        self.process.terminate()
        return self._said()

    def _said(self) -> str:
        _, said = self.process.communicate(timeout=20)
        return said


@contextmanager
def writer_of(path: Path) -> Iterator[WriterProcess]:
    """The writer of a database, until the block ends."""
    with tempfile.TemporaryDirectory() as folder:
        writer = WriterProcess(path, Path(folder) / "writer.sock")
        try:
            yield writer
        finally:
            writer.stop()


def connected(place: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.settimeout(20)
    connection.connect(str(place))
    return connection


def made(folder: Path) -> Path:
    """A database with one item in its set a, and other sets."""
    with hashmatch.open(folder / "bank", "c") as database:
        database.create("a", contributor="A")
        for name in ("b", "of/b"):
            database.create(name)
        with database.change("a") as change:
            change.add("pdq", [CODE], refs=["there"], labels=["old"])
    return folder / "bank"


def good(**members: Any) -> dict[str, Any]:
    """A row to add, with other members."""
    return {"ref": "new", "type": "pdq", "hash": OTHER, **members}


def asked(writer: WriterProcess, *requests: tuple[str, str, Any]) -> list[httpx.Response]:
    """The replies to requests: method, path, JSON."""

    async def use(client: httpx.AsyncClient) -> list[httpx.Response]:
        return [
            await client.request(method, path, json=document) for method, path, document in requests
        ]

    return with_application(writer.path, use, writer_socket=writer.socket)


def asked_by(
    writer: WriterProcess, caller: Caller, *requests: tuple[str, str, Any], **settings: Any
) -> list[httpx.Response]:
    """The replies to requests of that caller."""

    async def use(client: httpx.AsyncClient) -> list[httpx.Response]:
        sidecar = client._transport.app  # type: ignore[attr-defined]
        sidecar.gate._without_token = caller
        return [
            await client.request(method, path, json=document) for method, path, document in requests
        ]

    return with_application(writer.path, use, writer_socket=writer.socket, **settings)
