"""Connections whose callers do not take what was sent to them, which neither server ends.

A server that is told to end an answer first waits for what it has passed on to be taken. So the
connections of this process are looked through: where bytes wait in the kernel, and none were taken
for too long, the connection is shut down, and the server lets go of it.
"""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import termios
import time
from collections.abc import Iterator
from contextlib import suppress
from math import inf

#: SIOCOUTQ of Linux: how many bytes the other side has not taken.
_OUTPUT_BYTES = termios.TIOCOUTQ
#: tcpi_bytes_acked in the struct tcp_info of Linux: how many it ever took.
_ACKED = struct.Struct("=120xQ")


class Stuck:
    """Finds them. Used by one thread at a time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        #: Of each connection, by its inode: how far the caller is, and since when.
        self._waiting: dict[int, tuple[int, float]] = {}

    def end(self, sent: float) -> int:
        """Shut down those that have been stuck for so long; how many those were. `sent` is when a
        part of a large answer was last passed on, of time.monotonic.
        """
        now, ended = time.monotonic(), 0
        waiting: dict[int, tuple[int, float]] = {}
        for inode, connection in _connections():
            with connection, suppress(OSError):
                size = _output_bytes(connection)
                if size == 0:
                    continue
                unix = connection.family == socket.AF_UNIX
                # How much was ever taken is not told of a Unix socket. What waits in it may be as
                # much as before, although the caller takes it, if as much was sent after it.
                far = size if unix else _acked_bytes(connection)
                before, since = self._waiting.get(inode, (-1, now))
                waiting[inode] = far, since if far == before else now
                since = max(waiting[inode][1], sent) if unix else waiting[inode][1]
                if now - since >= self._seconds:
                    connection.shutdown(socket.SHUT_RDWR)
                    ended += 1
                    # The server may be a while in letting go of it.
                    waiting[inode] = far, inf
        self._waiting = waiting
        return ended


def _connections() -> Iterator[tuple[int, socket.socket]]:
    """The connections that this process accepted, each to be closed: it is a duplicate, as the
    server may close its own meanwhile.
    """
    listening, others = set(), list[socket.socket]()
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            if not os.readlink(f"/proc/self/fd/{name}").startswith("socket:"):
                continue
            each = socket.socket(fileno=os.dup(int(name)))
            if each.family not in (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6):
                each.close()
            elif each.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
                listening.add(_port(each))
                each.close()
            else:
                others.append(each)
    seen = set()
    for each in others:
        inode = os.fstat(each.fileno()).st_ino
        # A server may have two descriptors of one.
        if _port(each) in listening and inode not in seen:
            seen.add(inode)
            yield inode, each
        else:
            each.close()


def _port(each: socket.socket) -> object:
    """What is the same of a listening socket, and of what it accepts."""
    name = each.getsockname()
    return name[1] if isinstance(name, tuple) else name


def _output_bytes(connection: socket.socket) -> int:
    (size,) = struct.unpack("i", fcntl.ioctl(connection.fileno(), _OUTPUT_BYTES, bytes(4)))
    return int(size)


def _acked_bytes(connection: socket.socket) -> int:
    said = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKED.size)
    (acked,) = _ACKED.unpack(said)
    return int(acked)
