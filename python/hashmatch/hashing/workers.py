"""Processes that hash one file after another, and may die of one.

Decoders are large libraries that read hostile files: they crash, hang and use up memory. So each
file is given to one process at a time, which is told apart from the others: when it dies or takes
too long, the file it was at is known, the process is replaced, and nothing else is lost.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeAlias, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")

_State: TypeAlias = Literal["begun", "ready", "ended"]

#: How long a process may take to begin, in seconds.
_BEGIN_S = 120.0


def cores() -> int:
    """Those that this process may use."""
    return len(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True)
class Failure:
    """A job without a result."""

    reason: str


class Workers(Generic[Job, Result]):
    """Processes that apply a function to jobs. A context manager: at its end the processes do.

    The function and the jobs are pickled; the function must not raise. Each process may hold
    `memory_bytes`: past that, the function meets MemoryError. One that has been at a job for
    `time_limit_s` is killed, and so is the job.
    """

    def __init__(
        self,
        function: Callable[[Job], Result],
        count: int,
        *,
        time_limit_s: float | None = None,
        memory_bytes: int | None = None,
    ) -> None:
        self._function = function
        self._time_limit_s = time_limit_s
        self._memory_bytes = memory_bytes
        self._workers: list[_Worker] = []
        self._count = count

    def run(self, jobs: Iterable[Job]) -> Iterator[tuple[int, Result | Failure]]:
        """The number of each job, from 0, and its result, as they are done: in no order."""
        numbered = enumerate(jobs)
        first = list(islice(numbered, self._count))
        waiting = next(numbered, None)
        while len(self._workers) < len(first):
            self._workers.append(_Worker(self._function, self._memory_bytes))
        for worker, job in zip(self._workers, first, strict=False):
            worker.give(*job)
        while busy := [worker for worker in self._workers if worker.number is not None]:
            self._wait(busy)
            for worker in busy:
                done = self._outcome(worker)
                if done is None:
                    continue
                if waiting is not None:
                    worker.give(*waiting)
                    waiting = next(numbered, None)
                yield done

    def _wait(self, busy: list[_Worker]) -> None:
        timeout = None
        if self._time_limit_s is not None:
            oldest = min(worker.begin for worker in busy)
            timeout = max(0.0, oldest + self._time_limit_s - time.monotonic())
        # A process that ends closes its end of the connection.
        wait([worker.connection for worker in busy], timeout)

    def _outcome(self, worker: _Worker) -> tuple[int, Result | Failure] | None:
        """What a busy process has to show; None if it goes on."""
        number = worker.number
        assert number is not None
        if worker.connection.poll():
            try:
                result = worker.take()
            except (EOFError, OSError):
                failure = Failure(f"ended the process that hashed it: {worker.ending()}")
                worker.kill()
                return number, failure
            return number, result
        limit = self._time_limit_s
        if limit is not None and time.monotonic() - worker.begin >= limit:
            worker.kill()
            return number, Failure(f"took longer than {limit:,.0f} s")
        return None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for worker in self._workers:
            worker.kill()
        self._workers.clear()


class _Worker:
    """One process, and those that replace it."""

    def __init__(self, function: Callable[[Any], Any], memory_bytes: int | None) -> None:
        self._arguments = function, memory_bytes
        #: That of the job it is at.
        self.number: int | None = None
        #: When that began.
        self.begin = 0.0
        self._begin()

    def _begin(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, *self._arguments), daemon=True)
        # An interrupt is for this process, which then ends the others: they inherit the mask. What
        # else starting brings about would clear it.
        resource_tracker.ensure_running()
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            self._process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
            theirs.close()
        self._state: _State = "begun"

    def give(self, number: int, job: object) -> None:
        if self._state == "ended":
            self._begin()
        if self._state == "begun":
            self._await_ready()
        self.number, self.begin = number, time.monotonic()
        # If it is dead, that shows when the result is waited for.
        with suppress(BrokenPipeError):
            self.connection.send(job)

    def take(self) -> Any:
        """The result. EOFError or OSError if the process is dead."""
        result = self.connection.recv()
        self.number = None
        return result

    def _await_ready(self) -> None:
        try:
            if not self.connection.poll(_BEGIN_S):
                raise EOFError
            self.connection.recv()
        except (EOFError, OSError):
            raise ChildProcessError(f"a process did not begin: {self.ending()}") from None
        self._state = "ready"

    def ending(self) -> str:
        """How the process ended."""
        self._process.join(1)
        code = self._process.exitcode
        if code is None:
            return "it does not answer"
        if code >= 0:
            return f"exit code {code}"
        return (signal.strsignal(-code) or f"signal {-code}").lower()

    def kill(self) -> None:
        if self._state == "ended":
            return
        self.number, self._state = None, "ended"
        self._process.kill()
        self._process.join()
        self._process.close()
        self.connection.close()


def _serve(
    connection: Connection[Any, Any], function: Callable[[Any], Any], memory_bytes: int | None
) -> None:
    """What each process does, until the other end of the connection is closed."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    connection.send(None)
    # What decoders say of bad files is in the reasons; nobody wants it among the progress.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    _limit(resource.RLIMIT_CORE, 0)
    if memory_bytes is not None:
        _limit(resource.RLIMIT_DATA, memory_bytes)
    with suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            connection.send(function(connection.recv()))


def _end_with_parent() -> None:
    """However it ends, and whatever this process is at."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _limit(what: int, most: int) -> None:
    hard = resource.getrlimit(what)[1]
    most = most if hard == resource.RLIM_INFINITY else min(most, hard)
    resource.setrlimit(what, (most, most))
