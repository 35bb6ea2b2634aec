"""Connections whose callers take nothing are shut down, and no others."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest

from hashmatch.server.stuck import Stuck

SECONDS = 0.15


class Pair:
    """Both sides of a connection that this process accepted, full of what was not taken."""

    def __init__(self, stack: ExitStack, listener: socket.socket) -> None:
        self.theirs = stack.enter_context(socket.socket(listener.family, socket.SOCK_STREAM))
        self.theirs.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.theirs.connect(listener.getsockname())
        self.ours = stack.enter_context(listener.accept()[0])
        self.ours.setblocking(False)

    def fill(self) -> None:
        with suppress(BlockingIOError):
            while self.ours.send(b"x" * 65_536):
                pass

    @property
    def ended(self) -> bool:
        try:
            self.ours.send(b"x")
        except BlockingIOError:
            return False
        except OSError:
            return True
        return False


@pytest.fixture(params=["unix", "tcp"])
def listener(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[socket.socket]:
    unix = request.param == "unix"
    with socket.socket(socket.AF_UNIX if unix else socket.AF_INET) as opened:
        opened.bind(str(tmp_path / "socket") if unix else ("127.0.0.1", 0))
        opened.listen()
        yield opened


def test_only_those_are_ended_that_take_nothing(listener: socket.socket) -> None:
    with ExitStack() as stack:
        stuck, idle = Pair(stack, listener), Pair(stack, listener)
        stuck.fill()
        looked, begin, ended = Stuck(SECONDS), time.monotonic(), 0
        while not ended:
            assert time.monotonic() < begin + 10
            time.sleep(SECONDS / 10)
            ended = looked.end(0.0)
        assert time.monotonic() - begin >= SECONDS
        assert ended == 1 and stuck.ended and not idle.ended
        assert idle.theirs.recv(1) == b"x"


def test_what_is_taken_slowly_is_not_ended(listener: socket.socket) -> None:
    """And as much is sent as is taken, so that as much waits each time that it is looked at."""
    with ExitStack() as stack:
        slow, looked = Pair(stack, listener), Stuck(SECONDS)
        slow.theirs.setblocking(False)
        end = time.monotonic() + 4 * SECONDS
        while time.monotonic() < end:
            slow.fill()
            assert looked.end(time.monotonic()) == 0
            time.sleep(SECONDS / 10)
            with suppress(BlockingIOError):
                while slow.theirs.recv(1 << 20):
                    pass
        assert not slow.ended


def test_a_large_answer_to_another_puts_off_the_end_on_a_unix_socket_alone(
    listener: socket.socket,
) -> None:
    with ExitStack() as stack:
        stuck, looked = Pair(stack, listener), Stuck(SECONDS)
        stuck.fill()
        end, ended = time.monotonic() + 3 * SECONDS, 0
        while time.monotonic() < end:
            ended += looked.end(time.monotonic())
            time.sleep(SECONDS / 10)
        if listener.family == socket.AF_UNIX:
            assert ended == 0 and not stuck.ended
            ended += looked.end(time.monotonic() - SECONDS)
        assert ended == 1 and stuck.ended
