"""Requests as no library would send them: bytes on a socket, and what comes back."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path

from serving import Server


@dataclass(frozen=True)
class Answer:
    """What came back: the status of the first answer, 0 without one, and all of the bytes."""

    status: int
    received: bytes
    #: Whether the server ended the connection.
    closed: bool


def connect(server: Server, seconds: float = 10) -> socket.socket:
    """A connection to it, on which nothing may take longer than that."""
    address = server.url
    if address.startswith("unix:"):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(seconds)
        connection.connect(address.removeprefix("unix:"))
        return connection
    host, _, port = address.removeprefix("http://").rpartition(":")
    return socket.create_connection((host, int(port)), seconds)


def head(route: str, *lines: str) -> bytes:
    """The head of a request to POST JSON."""
    sent = (f"POST {route} HTTP/1.1", "Host: sidecar", "Content-Type: application/json", *lines)
    return "\r\n".join((*sent, "", "")).encode()


def send(connection: socket.socket, sent: bytes) -> bool:
    """Send it, unless the server has ended the connection. Whether it took all of it."""
    try:
        connection.sendall(sent)
    except (BrokenPipeError, ConnectionResetError):
        return False
    return True


def answer(connection: socket.socket, end: bool = True) -> Answer:
    """What comes back until the server ends the connection, or says nothing for a second."""
    received = b""
    connection.settimeout(1 if not end else connection.gettimeout())
    try:
        while part := connection.recv(65_536):
            received += part
        closed = True
    except ConnectionResetError:
        closed = True
    except TimeoutError:
        closed = False
    finally:
        connection.close()
    status = int(received.split(b" ", 2)[1]) if received.startswith(b"HTTP/1.1 ") else 0
    return Answer(status, received, closed)


def peak_bytes(pid: int) -> int:
    """The most memory that a process had since `forget_peak`."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise ValueError(f"{pid} has no memory")


def forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5")
