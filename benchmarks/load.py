"""Requests made beforehand, sent over many connections by a process of its own.

    with Load() as load:
        report = load.run(Order(address, requests, connections=16, duration_s=10))

The process is lean, so that it takes little from the server that it measures: plain sockets and
one epoll, no HTTP library. A report says what share of a core it took all the same. In a closed
loop each connection sends its next request when it has the answer; in an open one (`rate`) requests
are due at even intervals, and what one takes counts from when it was due, however late it could be
sent.
"""

from __future__ import annotations

import select
import socket
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass, field
from multiprocessing import get_context
from types import MappingProxyType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from answers import Answer

#: More would be a mapping of memory made and given back for each answer.
_RECEIVE_BYTES = 1 << 16
_BULK_BYTES = 1 << 20
#: A server that is gone is tried again after so long.
_RECONNECT_S = 0.05


def request(
    method: str,
    path: str,
    body: bytes = b"",
    headers: Mapping[str, str] = MappingProxyType({}),
) -> bytes:
    """The bytes of a request."""
    lines = [f"{method} {path} HTTP/1.1", "Host: sidecar"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join([*lines, "", ""]).encode() + body


def connect(address: str, timeout_s: float = 10) -> socket.socket:
    """A blocking connection to "unix:PATH" or "HOST:PORT"."""
    if address.startswith("unix:"):
        made = socket.socket(socket.AF_UNIX)
        made.settimeout(timeout_s)
        try:
            made.connect(address.removeprefix("unix:"))
        except OSError:
            made.close()
            raise
        return made
    host, _, port = address.rpartition(":")
    made = socket.create_connection((host, int(port)), timeout_s)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return made


def ask(address: str, asked: bytes, timeout_s: float = 300) -> Answer:
    """The answer to one request, over a connection of its own."""
    answer = Answer()
    with connect(address, timeout_s) as connection:
        connection.sendall(asked)
        while not answer.feed(connection.recv(_BULK_BYTES)):
            pass
    return answer


@dataclass(frozen=True)
class Order:
    """What to send. Requests are sent in turn, over and over."""

    address: str
    requests: Sequence[bytes]
    connections: int
    #: Measured for so long, after so much that is not.
    duration_s: float
    warm_up_s: float = 0.5
    #: Requests a second in all; None for as many as are answered.
    rate: float | None = None
    #: The numbers of requests whose answers' bodies are kept.
    kept: frozenset[int] = frozenset()
    #: After an answer that refuses a request its connection rests for so long.
    pause_s: float = 0


@dataclass
class Report:
    """What came of an order: of the answers that arrived while it was measured."""

    duration_s: float
    #: Answers by status.
    statuses: Counter[int] = field(default_factory=Counter)
    #: Requests whose connection was cut or refused.
    broken: int = 0
    #: Requests that were due and not yet sent at the end.
    unsent: int = 0
    #: float64[m]: seconds until each answer of status 200 was there.
    seconds: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    #: Numbers of requests and the bodies that answered them.
    kept: list[tuple[int, bytes]] = field(default_factory=list)
    #: The share of one core that sending took.
    busy: float = 0

    @property
    def rate(self) -> float:
        """Answers of status 200 a second."""
        return self.statuses[200] / self.duration_s

    @property
    def errors(self) -> int:
        """Requests that were not answered with status 200."""
        return self.statuses.total() - self.statuses[200] + self.broken

    def quantile_ms(self, share: float) -> float:
        """Within how many milliseconds that share of the answers was there."""
        return float(np.quantile(self.seconds, share)) * 1e3 if len(self.seconds) else float("nan")

    def __str__(self) -> str:
        other = {status: count for status, count in self.statuses.items() if status != 200}
        return (
            f"{self.rate:,.0f} requests/s, p50 {self.quantile_ms(0.5):.2f} ms, "
            f"p99 {self.quantile_ms(0.99):.2f} ms, max {self.quantile_ms(1):.1f} ms, "
            f"errors {self.errors} ({other}, {self.broken} broken), unsent {self.unsent}, "
            f"load took {self.busy:.0%} of a core"
        )


class Load:
    """A process that sends what is ordered, one order after another."""

    def __init__(self) -> None:
        self._process = ProcessPoolExecutor(1, mp_context=get_context("spawn"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._process.shutdown()

    def start(self, order: Order) -> Future[Report]:
        """Begin, and go on meanwhile."""
        return self._process.submit(send, order)

    def run(self, order: Order) -> Report:
        return self.start(order).result()


def send(order: Order) -> Report:
    """Carry out an order in this process."""
    return _Sender(order).report()


class _Connection:
    __slots__ = ("answer", "begin", "number", "opened", "socket", "unsent")

    def __init__(self, opened: socket.socket) -> None:
        opened.setblocking(False)
        self.socket = opened
        self.answer = Answer()
        #: Of the request that it waits for an answer to; -1 for none.
        self.number = -1
        self.begin = 0.0
        self.unsent: memoryview | None = None


class _Sender:
    def __init__(self, order: Order) -> None:
        self._order = order
        self._epoll = select.epoll()
        self._connections: dict[int, _Connection] = {}
        self._idle: deque[_Connection] = deque()
        #: When connections may go on, or be opened again (None).
        self._resting: deque[tuple[float, _Connection | None]] = deque()
        self._next = 0
        self._report = Report(order.duration_s)
        self._seconds: list[float] = []

    def report(self) -> Report:
        order, report = self._order, self._report
        for _ in range(order.connections):
            self._open()
        start = time.perf_counter()
        self._measured = start + order.warm_up_s
        end = self._measured + order.duration_s
        self._first_due = start
        busy = -1.0
        while (now := time.perf_counter()) < end:
            if busy < 0 and now >= self._measured:
                busy = time.process_time()
            wait = max(0.0, self._send_due(now, end))
            # Its timeout is in microseconds, that of epoll's own poll in milliseconds.
            if order.rate is not None and not select.select([self._epoll], [], [], wait)[0]:
                continue
            for number, events in self._epoll.poll(wait):
                self._serve(self._connections[number], events)
        report.busy = (time.process_time() - busy) / order.duration_s
        if order.rate is not None:
            report.unsent = max(0, int((end - self._first_due) * order.rate) - self._next)
        report.seconds = np.array(self._seconds)
        for connection in self._connections.values():
            connection.socket.close()
        self._epoll.close()
        return report

    def _open(self) -> None:
        try:
            opened = connect(self._order.address)
        except OSError:
            self._broken()
            return
        connection = _Connection(opened)
        self._connections[opened.fileno()] = connection
        self._epoll.register(opened.fileno(), select.EPOLLIN)
        self._idle.append(connection)

    def _send_due(self, now: float, end: float) -> float:
        """Send what is due and can be sent, and return how long there is nothing to do."""
        while self._resting and self._resting[0][0] <= now:
            rested = self._resting.popleft()[1]
            if rested is None:
                self._open()
            elif rested.socket.fileno() >= 0:
                self._idle.append(rested)
        rate, wait = self._order.rate, end - now
        while self._idle:
            due = now if rate is None else self._first_due + self._next / rate
            if due > now:
                wait = due - now
                break
            self._send(self._idle.popleft(), time.perf_counter() if rate is None else due)
        if self._resting:
            wait = min(wait, self._resting[0][0] - now)
        return wait

    def _send(self, connection: _Connection, begin: float) -> None:
        order = self._order
        if connection.socket.fileno() < 0:
            return
        connection.number = number = self._next % len(order.requests)
        self._next += 1
        connection.begin = begin
        self._flush(connection, memoryview(order.requests[number]))

    def _flush(self, connection: _Connection, part: memoryview) -> None:
        try:
            sent = connection.socket.send(part)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._cut(connection)
            return
        was, connection.unsent = connection.unsent, part[sent:] if sent < len(part) else None
        if (was is None) != (connection.unsent is None):
            events = select.EPOLLIN | (select.EPOLLOUT if connection.unsent is not None else 0)
            self._epoll.modify(connection.socket.fileno(), events)

    def _serve(self, connection: _Connection, events: int) -> None:
        if connection.unsent is not None and events & select.EPOLLOUT:
            self._flush(connection, connection.unsent)
        if not events & ~select.EPOLLOUT or connection.socket.fileno() < 0:
            return
        try:
            received = connection.socket.recv(_RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            received = b""
        if not received:
            self._cut(connection)
        elif connection.answer.feed(received):
            self._answered(connection)

    def _answered(self, connection: _Connection) -> None:
        order, answer, now = self._order, connection.answer, time.perf_counter()
        if now >= self._measured:
            self._report.statuses[answer.status] += 1
            if answer.status == 200:
                self._seconds.append(now - connection.begin)
            if connection.number in order.kept:
                self._report.kept.append((connection.number, answer.body))
        connection.number = -1
        rests = order.pause_s if answer.status != 200 else 0
        if answer.closes or connection.unsent is not None:
            self._cut(connection, rests)
            return
        connection.answer = Answer()
        if rests:
            self._resting.append((now + rests, connection))
        elif order.rate is None:
            self._send(connection, now)
        else:
            self._idle.append(connection)

    def _cut(self, connection: _Connection, rests: float = 0) -> None:
        """The connection has ended: another takes its place."""
        del self._connections[connection.socket.fileno()]
        connection.socket.close()
        if connection.number >= 0:
            self._broken()
        elif rests:
            self._resting.append((time.perf_counter() + rests, None))
        else:
            self._open()

    def _broken(self) -> None:
        now = time.perf_counter()
        if now >= self._measured:
            self._report.broken += 1
        self._resting.append((now + _RECONNECT_S, None))
