"""`hashmatch serve` as it is measured: a process group of its own, and everything on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from hashmatch.server.tokens import add_token
from load import ask, connect, request

_BUCKET = re.compile(r'^hashmatch_request_seconds_bucket\{.*le="([^"]+)".*\} (\S+)$', re.MULTILINE)
_READY_S = 60


class Sidecar:
    """Serves a database on a Unix socket, or where `listen` says, to callers with tokens."""

    def __init__(self, path: Path, listen: str = "", workers: int = 2, **flags: object) -> None:
        self._stack = ExitStack()
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="hashmatch-")))
        self._log = folder / "log"
        listen = listen or f"unix:{folder}/socket"
        #: The secrets of callers, by name: two that look up, and one that changes sets.
        self.tokens = {
            "good": add_token(folder / "tokens", "good", ("read",)),
            "other": add_token(folder / "tokens", "other", ("read",)),
            "writer": add_token(folder / "tokens", "writer", ("write",)),
        }
        self._command = [
            *(sys.executable, "-m", "hashmatch", "serve", str(path), f"--listen={listen}"),
            *(f"--workers={workers}", f"--tokens={folder / 'tokens'}"),
            *(f"--{name.replace('_', '-')}={value}" for name, value in flags.items()),
        ]
        #: As `load.connect` takes it.
        self.address = listen

    def __enter__(self) -> Self:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0
            )
        try:
            self._wait()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(40)
            except subprocess.TimeoutExpired:
                os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._stack.close()

    def _wait(self) -> None:
        end = time.monotonic() + _READY_S
        while time.monotonic() < end and self._process.poll() is None:
            said = self._log.read_text(errors="replace")
            if found := re.search(r"http://([^ \n]+:\d+)", said):
                self.address = found[1]
            try:
                connect(self.address).close()
                if ask(self.address, self.request("GET", "/readyz")).status == 200:
                    return
            except (OSError, ValueError):
                pass
            time.sleep(0.05)
        raise AssertionError(f"the sidecar does not answer:\n{self._log.read_text()}")

    def request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        media_type: str = "application/json",
        caller: str = "good",
    ) -> bytes:
        """The bytes of a request with the caller's token."""
        headers = {"Authorization": f"Bearer {self.tokens[caller]}"}
        if body:
            headers["Content-Type"] = media_type
        return request(method, path, body, headers)

    def request_seconds(self) -> Mapping[float, float]:
        """How many requests took at most so many seconds, by its metrics."""
        text = ask(self.address, self.request("GET", "/metrics")).body.decode()
        found: dict[float, float] = {}
        for bound, count in _BUCKET.findall(text):
            found[float(bound)] = found.get(float(bound), 0) + float(count)
        return found

    def _processes(self, module: str) -> list[int]:
        wanted = f"hashmatch.server.{module}".encode()
        found = []
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                # What stands before the name may not, and the name may hold spaces.
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == self._process.pid and wanted in (entry / "cmdline").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue  # It has ended.
        return sorted(found)

    def cpu_seconds(self) -> float:
        """What the workers have used so far."""
        ticks = 0
        for number in self._processes("worker"):
            fields = Path(f"/proc/{number}/stat").read_text().rpartition(")")[2].split()
            ticks += int(fields[11]) + int(fields[12])
        return ticks / os.sysconf("SC_CLK_TCK")

    def memory_bytes(self, module: str) -> int:
        """What "worker"s or the "writer" hold in memory, without what they map of files."""
        return sum(map(_anonymous_bytes, self._processes(module)))


def _anonymous_bytes(number: int) -> int:
    text = Path(f"/proc/{number}/smaps_rollup").read_text()
    return int(text.partition("Anonymous:")[2].split()[0]) * 1024
