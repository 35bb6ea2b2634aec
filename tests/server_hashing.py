"""What processes that hash may meet, for tests: pickled by its name, so it needs a module."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass

from hashmatch.hashing import FileHashes
from hashmatch.server.hashing import Task


@dataclass(frozen=True, slots=True)
class HostileTask(Task):
    """Hashes files, but for those that say what they do instead."""

    def __call__(self, job: tuple[bytes, Sequence[str]]) -> FileHashes:
        match job[0]:
            case b"crash":
                os.kill(os.getpid(), signal.SIGSEGV)
            case b"hang":
                time.sleep(60)
            case b"grow":
                hoard = [bytes(64 << 20)]
                while True:
                    hoard.append(bytes(64 << 20) + b"x")
        return Task.__call__(self, job)
