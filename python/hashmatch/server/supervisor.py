"""The process that starts the others, and replaces those that die.

It makes the listening socket, and holds it for as long as it lives: while a worker is replaced,
what connects waits for the others, or for the next one. It answers nothing itself. The others get
the settings through the environment, and end with it, whatever ends it.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from hashmatch.console import printable, tell
from hashmatch.server.settings import Settings
from hashmatch.server.sockets import Listener, listen

#: How long a process lives at least that was not broken from the beginning.
_SETTLED_SECONDS = 10.0
#: Between the end of one that was not, and the next: it doubles from one to the other.
_FIRST_PAUSE_SECONDS = 0.1
_LONGEST_PAUSE_SECONDS = 30.0
#: PR_SET_PDEATHSIG of prctl(2).
_SIGNAL_AT_PARENTS_DEATH = 1


class Failed(Exception):
    """No process could begin; it says why."""


class _Child:
    """A process. Its report is what it says once it is ready, or cannot be."""

    def __init__(self, module: str, listener: Listener | None, environment: dict[str, str]) -> None:
        loop = asyncio.get_running_loop()
        self.began = time.monotonic()
        self.ended: asyncio.Future[int] = loop.create_future()
        self.report: asyncio.Future[str] = loop.create_future()
        read, write = os.pipe()
        held = () if listener is None else (listener.socket.fileno(), write)
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-m", module, *map(str, held)],
                env=environment,
                pass_fds=held,
                stdin=subprocess.DEVNULL,
                preexec_fn=_dies_with(os.getpid()),
            )
        except BaseException:
            os.close(read)
            raise
        finally:
            os.close(write)
        self._said = b""
        loop.add_reader(read, self._read, read)

    def _read(self, descriptor: int) -> None:
        part = os.read(descriptor, 65536)
        self._said += part
        if not part:
            asyncio.get_running_loop().remove_reader(descriptor)
            os.close(descriptor)
            if not self.report.done():
                self.report.set_result(self._said.decode(errors="replace").strip())

    def signal(self, number: int) -> None:
        """Send it one, if it still lives."""
        self.process.send_signal(number)


def _dies_with(parent: int) -> Callable[[], None]:
    library = ctypes.CDLL(None)

    def set_up() -> None:
        library.prctl(_SIGNAL_AT_PARENTS_DEATH, signal.SIGKILL)
        # The keys of a terminal are for the supervisor, which ends the others in order.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if os.getppid() != parent:
            os._exit(2)

    return set_up


class Supervisor:
    """Runs a sidecar, from `run` until it is told to end."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._children: set[_Child] = set()
        self._ending = asyncio.Event()

    async def run(self) -> None:
        """Serve until SIGTERM or SIGINT. Failed if no worker can begin; OSError or ValueError if
        it is not possible to listen.
        """
        settings = self._settings
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGCHLD, self._reap)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        listener = listen(settings.listen, settings.path)
        private = tempfile.TemporaryDirectory(prefix="hashmatch-")
        try:
            keepers = []
            if not settings.read_only and find_spec("hashmatch.server.writer") is not None:
                place = Path(private.name) / "writer"
                settings = settings.model_copy(update={"writer_socket": place})
            environment = {**os.environ, **settings.environment()}
            if settings.writer_socket is not None:
                keepers.append(self._keep("hashmatch.server.writer", None, environment))
            for _ in range(settings.workers):
                keepers.append(self._keep("hashmatch.server.worker", listener, environment))
            tasks = [asyncio.create_task(keeper) for keeper in keepers]
            tell(f"serving {printable(str(settings.path))} at {_url(listener, settings)}")
            await self._ending.wait()
            for task in tasks:
                task.cancel()
        finally:
            listener.close()
            await self._stop_children()
            private.cleanup()

    async def _keep(
        self, module: str, listener: Listener | None, environment: dict[str, str]
    ) -> None:
        """Have one process of that kind run, always."""
        pause = _FIRST_PAUSE_SECONDS
        while True:
            child = _Child(module, listener, environment)
            self._children.add(child)
            if listener is not None and (report := await child.report) != "ready":
                tell(f"hashmatch: a worker could not begin: {printable(report)}")
            code = await asyncio.shield(child.ended)
            tell(f"hashmatch: {module} ended ({code}), and is replaced")
            if time.monotonic() - child.began > _SETTLED_SECONDS:
                pause = _FIRST_PAUSE_SECONDS
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _reap(self) -> None:
        for child in list(self._children):
            code = child.process.poll()
            if code is not None:
                self._children.discard(child)
                child.ended.set_result(code)

    def _end(self) -> None:
        if self._ending.is_set():
            for child in self._children:
                child.signal(signal.SIGKILL)
        self._ending.set()

    async def _stop_children(self) -> None:
        for child in self._children:
            child.signal(signal.SIGTERM)
        ended = [child.ended for child in self._children]
        with suppress(TimeoutError):
            async with asyncio.timeout(self._settings.drain_seconds):
                await asyncio.gather(*ended)
        for child in self._children:
            child.signal(signal.SIGKILL)
        await asyncio.gather(*ended)


def _url(listener: Listener, settings: Settings) -> str:
    if listener.path is not None:
        return listener.address
    return f"{'http' if settings.tls_certificate is None else 'https'}://{listener.address}"


def supervise(settings: Settings) -> None:
    """Run a sidecar until it is told to end."""
    asyncio.run(Supervisor(settings).run())
