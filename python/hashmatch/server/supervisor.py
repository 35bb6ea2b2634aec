"""The process that starts the others, and replaces those that die.

It makes the listening socket, and holds it for as long as it serves: while a worker is replaced,
what connects waits for the others, or for the next one. It answers nothing itself. The others get
the settings through the environment, and end when it has ended, whatever ended it.

SIGTERM and SIGINT end it, in order: the workers stop accepting and finish what they work on, and
then the writer ends; the second such signal ends all at once. On SIGHUP the settings and
certificates are read again, and the workers replaced one by one.
"""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from hashmatch.console import printable, tell
from hashmatch.server.announcing import NOTIFY, announce, notify_systemd, warn_of_clear_text
from hashmatch.server.callers import SCOPES
from hashmatch.server.children import Child, Deaths, Worker
from hashmatch.server.settings import INTERNAL, PREFIX, Settings
from hashmatch.server.sockets import Listener, listen
from hashmatch.server.tokens import add_token, read_tokens

_WRITER = "hashmatch.server.writer"
#: Beyond drain_seconds, to let go of the database; and for the writer to end.
_GRACE_SECONDS = 5.0
#: What cannot be changed while the sidecar runs.
_FIXED = ("path", "listen", "workers", "read_only")


@dataclass(eq=False)
class _Post:
    """A place that one worker after the other holds."""

    #: Why the first one could not begin; empty once it has.
    first: asyncio.Future[str]
    worker: Worker | None = None


class Supervisor:
    """Runs a sidecar: `run`, once."""

    def __init__(self, settings: Settings, reread: Callable[[], Settings]) -> None:
        """`reread` gives the settings as they are by then; ValueError or OSError if it cannot."""
        self._settings = settings
        self._reread = reread
        self._children: set[Child] = set()
        self._ending = asyncio.Event()
        self._told_to_reload = asyncio.Event()
        #: Whether a worker has been ready.
        self._begun = False
        #: Why a worker could not begin, as it was said last.
        self._said = ""

    async def run(self) -> None:
        """Serve until told to end. OSError or ValueError if that is not possible."""
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGCHLD, self._look)
        loop.add_signal_handler(signal.SIGHUP, self._told_to_reload.set)
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        self._listener = listen(self._settings.listen, self._settings.path)
        with tempfile.TemporaryDirectory(prefix="hashmatch-") as private:
            try:
                await self._serve(Path(private))
            finally:
                notify_systemd("STOPPING=1")
                self._listener.close()
                await self._stop_children()

    async def _serve(self, private: Path) -> None:
        internal = {"shared_folder": private}
        if not self._settings.read_only:
            internal["writer_socket"] = private / "writer"
        self._settings = self._settings.model_copy(update=internal)
        self._settings = _with_callers(self._settings, self._listener)
        warn_of_clear_text(self._listener, self._settings)
        loop = asyncio.get_running_loop()
        self._posts = [_Post(loop.create_future()) for _ in range(self._settings.workers)]
        lasting = [self._keep(post) for post in self._posts]
        if self._settings.writer_socket is not None:
            lasting.append(self._keep_writer())
        tasks = [
            asyncio.create_task(each)
            for each in (*lasting, self._begin(), self._reload(), self._ending.wait())
        ]
        try:
            waiting = set(tasks)
            while not self._ending.is_set():
                done, waiting = await asyncio.wait(waiting, return_when="FIRST_COMPLETED")
                for each in done:
                    each.result()
        finally:
            for each in tasks:
                each.cancel()

    async def _begin(self) -> None:
        """Say what is served, once the first workers are ready. OSError if none can be."""
        troubles = await asyncio.gather(*(post.first for post in self._posts))
        served = (post.worker.served for post in self._posts if post.worker is not None)
        facts = next(filter(None, served), None)
        if facts is None:
            raise OSError(troubles[0])
        self._begun = True
        announce(self._settings, self._listener, facts)
        notify_systemd("READY=1")

    async def _keep(self, post: _Post) -> None:
        """Have a worker at that post, always."""
        deaths = Deaths()
        while True:
            began = time.monotonic()
            try:
                post.worker = self._start_worker()
            except OSError as error:
                self._note(post, f"a worker cannot be started: {error.strerror}")
            else:
                await self._watch(post, post.worker)
            await asyncio.sleep(deaths.pause(time.monotonic() - began))

    async def _watch(self, post: _Post, worker: Worker) -> None:
        """Until the worker of that post has died, rather than made place for another."""
        while True:
            trouble = await worker.trouble()
            self._note(post, trouble)
            fate = await worker.fate()
            if post.worker is worker or post.worker is None:
                break
            worker = post.worker
        if not trouble:
            tell(f"hashmatch: a worker {fate}: another takes its place")

    def _note(self, post: _Post, trouble: str) -> None:
        """Note how a worker began. What keeps them from it is said once, not at each attempt."""
        if not post.first.done():
            post.first.set_result(trouble)
        # If none can begin, that ends the command, which says why.
        if trouble and self._begun and trouble != self._said:
            tell(f"hashmatch: a worker cannot begin, and is tried again: {printable(trouble)}")
        self._said = trouble

    def _start_worker(self) -> Worker:
        worker = Worker(self._listener.socket.fileno(), _environment(self._settings))
        self._children.add(worker)
        return worker

    async def _keep_writer(self) -> None:
        deaths = Deaths()
        while True:
            began = time.monotonic()
            try:
                child = Child(_WRITER, (), _environment(self._settings))
            except OSError as error:
                fate = f"cannot be started: {error.strerror}"
            else:
                self._children.add(child)
                fate = await child.fate()
            tell(f"hashmatch: the writer {fate}: another takes its place")
            await asyncio.sleep(deaths.pause(time.monotonic() - began))

    async def _reload(self) -> None:
        """Replace the workers, whenever told to."""
        while True:
            await self._told_to_reload.wait()
            self._told_to_reload.clear()
            now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
            notify_systemd("RELOADING=1", f"MONOTONIC_USEC={now}")
            before = self._settings
            try:
                self._settings = self._settings_now()
                for post in self._posts:
                    await self._replace(post)
                tell("hashmatch: the settings were read again")
            except (ValueError, OSError) as error:
                self._settings = before
                tell(f"hashmatch: the settings stay as they were: {printable(str(error))}")
            notify_systemd("READY=1")

    def _settings_now(self) -> Settings:
        before, now = self._settings, self._reread()
        for name in _FIXED:
            if getattr(now, name) != getattr(before, name):
                tell(f"hashmatch: {name} stays as it was until `hashmatch serve` is started again")
        now = now.model_copy(update={name: getattr(before, name) for name in (*_FIXED, *INTERNAL)})
        return _with_callers(now, self._listener)

    async def _replace(self, post: _Post) -> None:
        """Have the worker there make place for a new one, once that is ready."""
        new = self._start_worker()
        trouble = await new.trouble()
        if trouble:
            raise OSError(trouble)
        old, post.worker = post.worker, new
        if old is not None:
            await old.end(self._settings.drain_seconds + _GRACE_SECONDS)

    def _look(self) -> None:
        self._children = {child for child in self._children if not child.look()}

    def _end(self) -> None:
        if self._ending.is_set():
            for child in self._children:
                child.signal(signal.SIGKILL)
        self._ending.set()

    async def _stop_children(self) -> None:
        workers = [child for child in self._children if isinstance(child, Worker)]
        others = self._children.difference(workers)
        seconds = self._settings.drain_seconds + _GRACE_SECONDS
        await asyncio.gather(*(worker.end(seconds) for worker in workers))
        # The last changes of the workers were made by now.
        await asyncio.gather(*(other.end(_GRACE_SECONDS) for other in others))


def _environment(settings: Settings) -> dict[str, str]:
    """That of a child."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if name != NOTIFY and not name.startswith(PREFIX)
    }
    return {**kept, **settings.environment()}


def _with_callers(settings: Settings, listener: Listener) -> Settings:
    """The same settings, where a TCP socket lets in only those with a token or a certificate."""
    file = settings.tokens
    if file is None and settings.client_ca is None and listener.path is None:
        file = settings.path / "tokens"
        if not file.exists():
            _make_token(file)
    if file is not None:
        read_tokens(file)
    return settings.model_copy(update={"tokens": file})


def _make_token(file: Path) -> None:
    try:
        token = add_token(file, "first", SCOPES)
    except OSError as error:
        raise OSError(
            f"cannot write a token to {file} ({error.strerror}): make one elsewhere with "
            "`hashmatch token add`, and give --tokens"
        ) from None
    tell(
        "hashmatch: made a token that may do everything, and is shown this once:\n"
        f"  {token}\n"
        "  Callers send `Authorization: Bearer TOKEN`; `hashmatch token` makes others."
    )


def supervise(settings: Settings, reread: Callable[[], Settings]) -> None:
    """Run a sidecar until it is told to end. See Supervisor."""

    async def run() -> None:
        await Supervisor(settings, reread).run()

    asyncio.run(run())
