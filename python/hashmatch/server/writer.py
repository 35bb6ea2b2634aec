"""The one process that writes, for all those that answer requests.

    python -m hashmatch.server.writer [PATH] [--socket SOCKET]

What is not given is in the environment, as for all processes of a sidecar.

It listens on a Unix socket that only its user can open. What it has answered is durable: it may be
killed at any moment, and a writer started after it goes on. It ends on SIGTERM, and when the
process that started it has ended.

While another process has the database open for writing, it waits for that, and answers that no
changes can be made now. Changes are made one at a time; meanwhile the next one is read and checked.
"""

from __future__ import annotations

import argparse
import os
import selectors
import signal
import socket
import sys
import threading
import traceback
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Any

from hashmatch.server import messages
from hashmatch.server.making import Making, Unsynced, say
from hashmatch.server.problems import Problem
from hashmatch.server.settings import Settings

#: How often it looks whether the process that started it is there.
_LOOK_S = 0.5
#: How long the other side of a connection may take to send or to take the next bytes.
_PATIENCE_S = 10.0
#: Bodies that are held at a time: one that is being made, and the next.
_BODIES = 2
_READ_BYTES = 1 << 20
#: How long the end waits for the folding, of which nothing is lost.
_FOLDING_S = 2.0


class Listener:
    """Answers on a Unix socket, with a thread for each connection."""

    def __init__(self, making: Making, path: Path) -> None:
        """OSError if the socket cannot be made. One that a dead writer left is replaced."""
        self._making = making
        self._path = path
        self._bodies = threading.BoundedSemaphore(_BODIES)
        self._lock = threading.Lock()
        self._conversing: dict[threading.Thread, socket.socket] = {}
        self._woken, self._wake = socket.socketpair()
        self.status = 0
        self._socket = _listening(path)
        self._inode = os.stat(path).st_ino

    def serve(self) -> None:
        """Until `end` is called, or the process that started this one has ended."""
        parent = os.getppid()
        with selectors.DefaultSelector() as ready:
            ready.register(self._socket, selectors.EVENT_READ)
            ready.register(self._woken, selectors.EVENT_READ)
            while os.getppid() == parent:
                for key, _ in ready.select(_LOOK_S):
                    if key.fileobj is self._woken:
                        return
                    self._accept()

    def end(self, status: int = 0) -> None:
        """Have `serve` return; may be called by a signal's handler."""
        self.status = self.status or status
        with suppress(OSError):  # It has been closed.
            self._wake.send(b"x")

    def close(self) -> None:
        """Take no more questions, and wait until those taken are answered."""
        # A writer that was started meanwhile may have a socket of its own there.
        with suppress(OSError):
            if os.stat(self._path).st_ino == self._inode:
                self._path.unlink()
        self._socket.close()
        with self._lock:
            conversing = dict(self._conversing)
            for connection in conversing.values():
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RD)
        for thread in conversing:
            thread.join()
        self._woken.close()
        self._wake.close()

    def _accept(self) -> None:
        try:
            connection, _ = self._socket.accept()
        except OSError:
            return  # Who called has gone, or too many files are open: the next call is heard.
        connection.settimeout(_PATIENCE_S)
        thread = threading.Thread(target=self._converse, args=[connection], daemon=True)
        with self._lock:
            self._conversing[thread] = connection
        try:
            thread.start()
        except RuntimeError:
            self._forget(thread, connection)

    def _converse(self, connection: socket.socket) -> None:
        # One that sends no message, or goes away, costs the others nothing.
        try:
            with suppress(OSError, EOFError, ValueError):
                self._answer(connection)
        finally:
            self._forget(threading.current_thread(), connection)

    def _forget(self, thread: threading.Thread, connection: socket.socket) -> None:
        with self._lock:
            self._conversing.pop(thread, None)
            connection.close()

    def _answer(self, connection: socket.socket) -> None:
        head_bytes, body_bytes = messages.sizes(received(connection, messages.PREFIX.size))
        head = messages.head_of(received(connection, head_bytes))
        with self._bodies:
            body = received(connection, body_bytes)
            answer, document = self._answered(head, body)
            del body
        connection.sendall(messages.packed(answer, len(document)) + document)

    def _answered(self, head: dict[str, Any], body: bytes) -> tuple[dict[str, Any], bytes]:
        try:
            generation, document = self._making.answer(head, body)
            return {"generation": generation}, document
        except Problem as problem:
            if isinstance(problem, Unsynced):
                say(f"{problem.detail}")
                self.end(1)
            return messages.of_problem(problem), b""
        except Exception as error:
            # What the error says may quote a caller, so the log has where it was alone.
            say(f"a fault, {type(error).__name__}:")
            say("".join(traceback.format_tb(error.__traceback__)))
            fault = Problem(500, "a fault of the writer, which its log has: report it")
            return messages.of_problem(fault), b""


def _listening(path: Path) -> socket.socket:
    """A socket that appears under its name when it can be used, in place of an old one."""
    new = path.with_name(f"{path.name}.{os.getpid()}")
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        new.unlink(missing_ok=True)
        listening.bind(str(new))
        listening.listen(128)
        os.replace(new, path)
    except OSError as error:
        listening.close()
        raise OSError(
            error.errno, f"{error.strerror or error}: give another --socket", str(path)
        ) from None
    finally:
        os.umask(before)
    listening.setblocking(False)
    return listening


def received(connection: socket.socket, size_bytes: int) -> bytes:
    """So many bytes. EOFError if it ends before."""
    parts: list[bytes] = []
    while size_bytes:
        part = connection.recv(min(size_bytes, _READ_BYTES))
        if not part:
            raise EOFError
        parts.append(part)
        size_bytes -= len(part)
    return b"".join(parts)


def main(arguments: list[str] | None = None) -> int:
    """Write until told to end. The exit code: 1 if the disk could not be synced."""
    parser = argparse.ArgumentParser("hashmatch.server.writer", description=__doc__)
    parser.add_argument("path", metavar="PATH", nargs="?", help="the database's folder")
    parser.add_argument("--socket", metavar="SOCKET", dest="writer_socket")
    given = {name: value for name, value in vars(parser.parse_args(arguments)).items() if value}
    told = Settings(**given)
    if told.writer_socket is None:
        parser.error("which --socket is it to listen on?")
    making = Making(told.path)
    try:
        listener = Listener(making, told.writer_socket)
    except OSError as error:
        say(f"{error}")
        return 2

    def end(number: int, frame: FrameType | None) -> None:
        listener.end()

    signal.signal(signal.SIGTERM, end)
    # A terminal's interrupt is for the process that started this one, which then ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    making.start()
    listener.serve()
    listener.close()
    making.close(_FOLDING_S)
    return listener.status


if __name__ == "__main__":
    code = main()
    sys.stderr.flush()
    # The folding that is under way is left: the next writer begins it again.
    os._exit(code)
