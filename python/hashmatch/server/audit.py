"""Who looked up how much, and which sets matched: counted as requests are answered, and written
once a second by a thread of its own, so that no lookup waits for a disk.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from hashmatch.database.lookups import LookupLog, Noted
from hashmatch.server.callers import Caller
from hashmatch.server.http import Lookup

_EVERY_S = 1.0
_PRUNE_EVERY_S = 3600.0
_DAY_MS = 86_400_000
#: Rows kept for a file that cannot be written to now: hours of a few callers.
_MOST_ROWS = 20_000


@dataclass(slots=True)
class _Count:
    """What one caller looked up of one hash type within a second."""

    requests: int = 0
    hashes: int = 0
    matches: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class AuditState:
    """How the audit of one process fares."""

    #: Rows that are not written yet.
    waiting: int
    #: Requests that were not noted, since the file could not be written to for too long.
    lost: int
    #: What keeps rows from being written now.
    trouble: str | None


class Audit:
    """Notes lookups between `start` and `stop`. That its file cannot be written to is only told of
    in its state.
    """

    def __init__(self, folder: Path, days: int) -> None:
        """What is older than so many days is cleared away."""
        self._folder = folder
        self._days = days
        self._lock = threading.Lock()
        self._counts: dict[tuple[int, str, str], _Count] = {}
        #: Taken from the counts, and not written yet.
        self._rows: list[Noted] = []
        self._lost = 0
        self._trouble: str | None = None
        self._log: LookupLog | None = None
        self._prune_at = 0.0
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._work, name="audit", daemon=True)

    def start(self) -> None:
        """Begin to write."""
        self._thread.start()

    def stop(self) -> None:
        """Write what is left, and end."""
        self._ended.set()
        if self._thread.ident is not None:
            self._thread.join()

    def note(self, caller: Caller, lookup: Lookup) -> None:
        """Count a lookup. Takes microseconds, and never fails."""
        key = (int(time.time()), caller.name, lookup.hash_type)
        with self._lock:
            count = self._counts.get(key)
            if count is None:
                count = self._counts[key] = _Count()
            count.requests += 1
            count.hashes += lookup.hashes
            for name, matches in lookup.matches.items():
                count.matches[name] += matches

    def state(self) -> AuditState:
        """How it fares."""
        return AuditState(len(self._counts) + len(self._rows), self._lost, self._trouble)

    def _work(self) -> None:
        while not self._ended.wait(_EVERY_S):
            self._write()
        self._write()
        if self._log is not None:
            self._log.close()

    def _write(self) -> None:
        self._take()
        try:
            # A log that is not needed yet is not made.
            if self._log is None and self._rows:
                self._log = LookupLog(self._folder)
            if self._log is not None:
                if self._rows:
                    self._log.append(self._rows)
                    self._rows = []
                self._prune(self._log)
            self._trouble = None
        except Exception as error:  # it is tried again
            self._trouble = f"{error}"
            if self._log is not None:
                self._log.close()
                self._log = None

    def _take(self) -> None:
        with self._lock:
            counts, self._counts = self._counts, {}
        self._rows += [
            (second * 1000, who, hash_type, count.requests, count.hashes, dict(count.matches))
            for (second, who, hash_type), count in counts.items()
        ]
        if (over := len(self._rows) - _MOST_ROWS) > 0:
            self._lost += sum(requests for _, _, _, requests, *_ in self._rows[:over])
            del self._rows[:over]

    def _prune(self, log: LookupLog) -> None:
        if time.monotonic() < self._prune_at:
            return
        before_ms = time.time_ns() // 1_000_000 - self._days * _DAY_MS
        while not self._ended.is_set() and log.prune(before_ms):
            pass
        self._prune_at = time.monotonic() + _PRUNE_EVERY_S
