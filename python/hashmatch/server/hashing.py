"""Files hashed in processes apart from those that answer: a hostile one costs only itself."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeAlias

from hashmatch.hashing.contents import FileHashes, hash_contents
from hashmatch.hashing.workers import Failure, Workers, cores
from hashmatch.server.problems import Problem

#: What a file may take: of a video, what is hashed by then is told.
TIME_LIMIT_S = 30.0
#: A process at a file is killed after this.
_KILL_S = 45.0
#: What one process may hold: more than the largest picture takes.
MEMORY_BYTES = 4 << 30
#: Files that wait for each process.
_WAITING = 4
_RETRY_S = 5

#: A file's contents, and the hashes that are wanted of it.
_Job: TypeAlias = tuple[bytes, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Task:
    """What the processes do with a job."""

    turns: str

    def __call__(self, job: _Job) -> FileHashes:
        contents, types = job
        # Of no name, so that nothing of it stays, however the process ends.
        with os.fdopen(os.memfd_create("upload"), "r+b") as file:
            file.write(contents)
            del contents, job
            file.seek(0)
            return hash_contents(file, types, time_limit_s=TIME_LIMIT_S, turns=self.turns)


class Hasher:
    """Hashes files, some at a time. Its processes are begun when they are first needed."""

    def __init__(self, others: int, folder: Path | None) -> None:
        """Of so many that hash on this machine, with which it shares the folder."""
        self._count = max(1, cores() // 2 // others)
        self._folder = folder
        self._threads = ThreadPoolExecutor(self._count, "hash")
        #: Each of one process, and lent to one thread at a time.
        self._idle: list[Workers[_Job, FileHashes]] = []
        self._asked = 0

    async def hash(self, contents: bytes, types: Sequence[str]) -> FileHashes:
        """The hashes of those types that a file has; what went wrong is its `reason`. Problem where
        too many wait already.
        """
        if self._asked >= self._count * (1 + _WAITING):
            raise Problem(
                503, f"{self._asked} files are being hashed: try again", retry_after=_RETRY_S
            )
        self._asked += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, self._hashed, (contents, types))
        finally:
            self._asked -= 1

    @cached_property
    def _turns(self) -> str:
        """The path of a file by which all processes take turns at large pictures."""
        if self._folder is not None:
            shared = self._folder / "turns"
            shared.touch()
            return str(shared)
        handle, path = tempfile.mkstemp(prefix="hashmatch-")
        os.close(handle)
        return path

    def _hashed(self, job: _Job) -> FileHashes:
        try:
            process = self._idle.pop()
        except IndexError:
            task = Task(self._turns)
            process = Workers(task, 1, time_limit_s=_KILL_S, memory_bytes=MEMORY_BYTES)
        try:
            ((_, result),) = process.run([job])
        except BaseException as error:
            process.__exit__(None, None, None)
            if isinstance(error, OSError):
                raise Problem(
                    503, f"no process to hash files: {error}", retry_after=_RETRY_S
                ) from None
            raise
        self._idle.append(process)
        return FileHashes(reason=result.reason) if isinstance(result, Failure) else result

    def stop(self) -> None:
        """End the processes; files that are being hashed are waited for."""
        self._threads.shutdown(cancel_futures=True)
        while self._idle:
            self._idle.pop().__exit__(None, None, None)
        if self._folder is None and "_turns" in vars(self):
            os.unlink(self._turns)
