"""A sidecar as tests run it: its application in this process, or a server in one of its own."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Literal, TypeVar

import httpx

from hashmatch.server import Settings, create_app

_R = TypeVar("_R")


@asynccontextmanager
async def application(path: Path, **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """A client of the application itself, without a server in between."""
    app = create_app(Settings(path=path, **settings))
    await app.service.start()
    try:
        transport = httpx.ASGITransport(app, raise_app_exceptions=True)
        async with httpx.AsyncClient(transport=transport, base_url="http://sidecar") as client:
            yield client
    finally:
        await app.service.stop()


def with_application(
    path: Path, use: Callable[[httpx.AsyncClient], Awaitable[_R]], **settings: Any
) -> _R:
    """What `use` returns, given a client of the application."""

    async def run() -> _R:
        async with application(path, **settings) as client:
            return await use(client)

    return asyncio.run(run())


def problem(reply: httpx.Response, status: int, **members: Any) -> Mapping[str, Any]:
    """The problem document of a reply, which has that status and those members."""
    assert reply.status_code == status, reply.text
    assert reply.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = reply.json()
    assert document["status"] == status
    assert members.items() <= document.items(), document
    return document


class Server:
    """`hashmatch serve` in a process group of its own, between `with` and its end.

    Without `listen` it is on a Unix socket in a temporary folder. `settings` become flags.
    """

    def __init__(
        self,
        path: Path,
        http: Literal["granian", "uvicorn"] = "granian",
        *,
        listen: str | None = None,
        environment: Mapping[str, str] | None = None,
        ready: bool = True,
        **settings: Any,
    ) -> None:
        self._stack = ExitStack()
        folder = self._stack.enter_context(tempfile.TemporaryDirectory(prefix="hashmatch-"))
        self._log = Path(folder) / "log"
        listen = listen or f"unix:{folder}/socket"
        self._command = [
            sys.executable, "-m", "hashmatch", "serve", str(path),
            f"--listen={listen}", f"--http={http}", *_flags(settings),
        ]  # fmt: skip
        self._listen = listen
        # What it would leave behind when it is killed goes with the folder.
        self._environment = {**os.environ, "TMPDIR": folder, **(environment or {})}
        self._ready = ready

    def __enter__(self) -> Server:
        try:
            with open(self._log, "wb") as log:
                self.process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env=self._environment,
                    process_group=0,
                )
            if self._ready:
                self._wait_until_ready()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._stack.close()

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            assert self.process.poll() is None, self.log()
            # It is the last line of what is said once all workers are ready.
            if "\n  by " in self.log():
                return
            time.sleep(0.02)
        raise TimeoutError(self.log())

    @property
    def url(self) -> str:
        """As `hashmatch.connect` takes it: unix:PATH, http://HOST:PORT or https://HOST:PORT."""
        if self._listen.startswith("unix:"):
            return self._listen
        found = re.search(r"https?://[^ \n]+", self.log())
        assert found is not None, self.log()
        return found.group()

    def client(self, **options: Any) -> httpx.Client:
        """A client of it, with the token that it made; options are those of httpx.Client."""
        if made := re.search(r"^  (hm_\S+)$", self.log(), re.MULTILINE):
            options.setdefault("headers", {"authorization": f"Bearer {made.group(1)}"})
        if self._listen.startswith("unix:"):
            options.setdefault("transport", httpx.HTTPTransport(uds=self._listen[5:]))
            return httpx.Client(**{"base_url": "http://sidecar", "timeout": 30, **options})
        return httpx.Client(**{"base_url": self.url, "timeout": 30, **options})

    def pids(self, module: str = "") -> list[int]:
        """Its workers and its writer, or those of either module: "worker", "writer"."""
        wanted = f"hashmatch.server.{module}".encode()
        return [pid for pid in children(self.process.pid) if wanted in _command(pid)]

    def log(self) -> str:
        """What it has said so far."""
        return self._log.read_text(errors="replace")

    def stop(self, number: signal.Signals = signal.SIGTERM, seconds: float = 30) -> int:
        """End it, and return its exit code."""
        self.process.send_signal(number)
        return self.process.wait(seconds)


def _flags(settings: Mapping[str, Any]) -> list[str]:
    flags = []
    for name, value in settings.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            flags.append(f"--{flag}" if value else f"--no-{flag}")
        else:
            flags.append(f"--{flag}={value}")
    return flags


def _command(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""  # It has ended.


def children(parent: int) -> list[int]:
    """The processes that it has started, and that live."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name, in parentheses, may hold spaces.
            fields = entry.read_text().rpartition(")")[2].split()
        except OSError:
            continue  # It has ended.
        if int(fields[1]) == parent and fields[0] != "Z":
            found.append(int(entry.parent.name))
    return sorted(found)
