"""The writer of a sidecar as tests run it: a process of its own, started anew whenever it ends."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class WriterProcess:
    """The writer of a database."""

    def __init__(self, path: Path, socket: Path) -> None:
        self.path = path
        self.socket = socket
        self.process = self._started()

    def _started(self) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "hashmatch.server.writer", str(self.path)]
        return subprocess.Popen(
            [*command, "--socket", str(self.socket)], stderr=subprocess.PIPE, text=True
        )

    def kill(self) -> None:
        """As the system does when there is no memory left."""
        self.process.kill()
        self._said()

    def start(self) -> None:
        """A successor of one that has ended."""
        self.process = self._started()

    def stop(self) -> str:
        """End it as a supervisor does. What it said."""
        self.process.terminate()
        return self._said()

    def _said(self) -> str:
        _, said = self.process.communicate(timeout=20)
        return said


@contextmanager
def writer_of(path: Path) -> Iterator[WriterProcess]:
    """The writer of a database, until the block ends."""
    with tempfile.TemporaryDirectory() as folder:
        writer = WriterProcess(path, Path(folder) / "writer.sock")
        try:
            yield writer
        finally:
            writer.stop()
