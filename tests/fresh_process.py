"""Functions run in processes of their own, which may be killed, or have their calls fail.

One process waits, with everything imported, and forks for each run: that takes milliseconds where
a new interpreter would take half a second.
"""

from __future__ import annotations

import ctypes
import errno
import os
import pickle
import select
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

#: What faults.c does to a call.
FAIL, SHORT, KILL_BEFORE, KILL_AFTER = 1, 2, 3, 4


@dataclass(frozen=True)
class Outcome:
    #: What the function returned, if it came to that.
    result: Any
    #: As of `os.waitpid`.
    status: int

    @property
    def killed(self) -> bool:
        return os.WIFSIGNALED(self.status) and os.WTERMSIG(self.status) == signal.SIGKILL


class FreshProcesses:
    def __init__(self, preload: Path | None = None) -> None:
        environment = os.environ | ({"LD_PRELOAD": str(preload)} if preload else {})
        self._server = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
        )

    def run(
        self, function: Callable[..., Any], *arguments: Any, kill_after_s: float | None = None
    ) -> Outcome:
        """`function`, which is a module's, in a new process. What it raises is raised here."""
        assert self._server.stdin and self._server.stdout
        pickle.dump((function, arguments, kill_after_s), self._server.stdin)
        self._server.stdin.flush()
        outcome = pickle.load(self._server.stdout)
        assert isinstance(outcome, Outcome)
        if isinstance(outcome.result, BaseException):
            raise outcome.result
        assert outcome.killed or outcome.status == 0, outcome
        return outcome

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._server.stdin and self._server.stdout
        self._server.stdin.close()
        self._server.wait(20)
        self._server.stdout.close()


def compiled_faults(folder: Path) -> Path:
    """faults.c, to be preloaded. Skips the test where there is no compiler."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("needs a C compiler, and Linux")
    library = folder / "faults.so"
    source = Path(__file__).with_name("faults.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    return library


def arm(action: int, first: int, last: int, fault: int = errno.EIO, kind: str = "") -> None:
    """In a process with faults.c: from now on, do that to the first to the last call from 1."""
    number = ord(kind) if kind else 0
    ctypes.CDLL(None).fault_arm(action, ctypes.c_long(first), ctypes.c_long(last), fault, number)


def disarm() -> int:
    """The calls since arming."""
    call = ctypes.CDLL(None).fault_disarm
    call.restype = ctypes.c_long
    return int(call())


def _serve() -> None:
    while True:
        try:
            function, arguments, kill_after_s = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        pickle.dump(_run(function, arguments, kill_after_s), sys.stdout.buffer)
        sys.stdout.buffer.flush()


def _run(function: Callable[..., Any], arguments: Any, kill_after_s: float | None) -> Outcome:
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reading)
            with open(writing, "wb") as pipe:
                pickle.dump(_result(function, arguments), pipe)
            code = 0
        finally:
            os._exit(code)
    os.close(writing)
    end = time.monotonic() + (120 if kill_after_s is None else kill_after_s)
    received = b""
    while True:
        ready, _, _ = select.select([reading], [], [], max(0.0, end - time.monotonic()))
        if not ready:
            os.kill(child, signal.SIGKILL)
            received = b""
            break
        more = os.read(reading, 1 << 20)
        if not more:
            break
        received += more
    os.close(reading)
    _, status = os.waitpid(child, 0)
    return Outcome(pickle.loads(received) if received and status == 0 else None, status)


def _result(function: Callable[..., Any], arguments: Any) -> Any:
    try:
        return function(*arguments)
    except BaseException as error:
        where = "".join(traceback.format_exception(error))
        return AssertionError(f"in another process: {where}")


if __name__ == "__main__":
    # Functions are pickled by name: those of this file are found in the module, not in the script.
    import fresh_process

    fresh_process._serve()
