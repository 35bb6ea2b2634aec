"""What a sidecar counts, as Prometheus reads it: never a hash, a token or a path, and each label
takes few values.

Every process counts in files of its own in a folder that all share, and each answers for all. A
process that takes the place of one that died goes on with its counts.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import prometheus_client.values
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from hashmatch.database import Database
from hashmatch.server.http import Request

MEDIA_TYPE = "text/plain; version=0.0.4; charset=utf-8"

#: Seconds.
_BUCKETS = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0),
)
_FOLDER = "PROMETHEUS_MULTIPROC_DIR"
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Metrics:
    """The counts of this process, and the text that tells those of all."""

    def __init__(self, folder: Path | None) -> None:
        """`folder` is what all processes share; without it this one is alone."""
        self._folder = folder
        self._registry = CollectorRegistry()
        own = self._registry if folder is None else None
        if folder is not None:
            _count_in(folder)
            MultiProcessCollector(self._registry, str(folder))  # type: ignore[no-untyped-call]
        self._requests = Counter(
            "hashmatch_requests",
            "Requests that were answered; status 0 is one whose caller did not take the answer.",
            ("method", "route", "status"),
            registry=own,
        )
        self._seconds = Histogram(
            "hashmatch_request_seconds",
            "From a request's headers to the end of its answer.",
            ("route",),
            buckets=_BUCKETS,
            registry=own,
        )
        self._engine_seconds = Histogram(
            "hashmatch_engine_seconds",
            "What of it was spent in the engine.",
            ("type",),
            buckets=_BUCKETS,
            registry=own,
        )
        self._hashes = Counter(
            "hashmatch_hashes", "Hashes that were looked up.", ("type",), registry=own
        )
        self._matches = Counter(
            "hashmatch_matches", "Known signals that were found.", ("set",), registry=own
        )
        self._refused = Counter(
            "hashmatch_refused",
            "Requests that were not let in, or whose body or answer was not taken.",
            ("reason",),
            registry=own,
        )
        self._failures = Counter(
            "hashmatch_failures",
            "What went wrong: requests that met a fault of the server; and how often the file of "
            "tokens, the audit or the database got into trouble.",
            ("what",),
            registry=own,
        )
        self._working = Gauge(
            "hashmatch_requests_in_work",
            "Requests that are being worked on.",
            multiprocess_mode="livesum",
            registry=own,
        )
        self._bodies = Gauge(
            "hashmatch_body_bytes",
            "Memory that the bodies of requests take up.",
            multiprocess_mode="livesum",
            registry=own,
        )
        self._waiting = Gauge(
            "hashmatch_audit_waiting_rows",
            "Rows of the audit that are not written yet.",
            multiprocess_mode="livesum",
            registry=own,
        )
        self._lost = Gauge(
            "hashmatch_audit_lost_requests",
            "Lookups that the audit lacks, since its file could not be written for too long.",
            multiprocess_mode="livesum",
            registry=own,
        )
        self._resident = Gauge(
            "hashmatch_resident_bytes",
            "Memory of each process that answers, with what it shares with the others.",
            multiprocess_mode="liveall",
            registry=own,
        )
        self._of_requests: dict[tuple[str, str, int], tuple[Any, Any]] = {}
        self._of_types: dict[str, tuple[Any, Any]] = {}

    def note(self, request: Request, status: int, seconds: float) -> None:
        """Count a request that has ended."""
        # A method that no route takes is whatever a caller wrote.
        method = request.method if request.route else ""
        key = method, request.route, status
        children = self._of_requests.get(key)
        if children is None:
            route = request.route or "none"
            children = self._requests.labels(method, route, status), self._seconds.labels(route)
            self._of_requests[key] = children
        children[0].inc()
        children[1].observe(seconds)
        if request.refused is not None:
            self.refused(request.refused)
        if request.lookup is None:
            return
        name = request.lookup.hash_type
        kept = self._of_types.get(name)
        if kept is None:
            kept = self._hashes.labels(name), self._engine_seconds.labels(name)
            self._of_types[name] = kept
        kept[0].inc(request.lookup.hashes)
        if request.lookup.seconds is not None:
            kept[1].observe(request.lookup.seconds)
        for set, matches in request.lookup.matches.items():
            self._matches.labels(set).inc(matches)

    def refused(self, reason: str, requests: int = 1) -> None:
        """Count requests that were not let in, not taken, or whose answer was not."""
        self._refused.labels(reason).inc(requests)

    def failed(self, what: str) -> None:
        """Count a failure; `what` is one of a few words."""
        self._failures.labels(what).inc()

    def use(self, working: int, body_bytes: int, waiting: int, lost: int) -> None:
        """Note what is in use just now, and how many rows of the audit wait, or were lost."""
        self._working.set(working)
        self._bodies.set(body_bytes)
        self._waiting.set(waiting)
        self._lost.set(lost)
        self._resident.set(_resident_bytes())

    def text(self, database: Database) -> bytes:
        """All of it. Reads the catalog, so it is not for the event loop."""
        if self._folder is not None:
            _forget_dead(self._folder)
        return generate_latest(self._registry) + generate_latest(_State(database))


class _State(Collector):
    """What a database says of itself."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def collect(self) -> Iterator[Metric]:
        status = self._database.status()
        yield _gauge("generation", "The generation that is answered from.", status.generation)
        newest = self._database.history(limit=1)
        if newest:
            age = max(0.0, (datetime.now(UTC) - newest[0].time).total_seconds())
            yield _gauge("generation_age_seconds", "How long ago it was made.", age)
        trouble = "Whether something keeps a newer generation from being answered from."
        yield _gauge("trouble", trouble, status.trouble is not None)
        types = status.types.items()
        yield _gauges("signals", "Signals.", "type", ((n, t.signals) for n, t in types))
        yield _gauges("segments", "Segments.", "type", ((n, t.segments) for n, t in types))
        unfolded = "Signals that no segment has yet."
        yield _gauges("unfolded", unfolded, "type", ((n, t.unfolded) for n, t in types))
        sizes = ((n, t.size_bytes) for n, t in types)
        yield _gauges("index_bytes", "Memory or files that are searched.", "type", sizes)
        sets = ((each.name, each.items) for each in self._database.sets())
        yield _gauges("items", "Items.", "set", sets)


def _gauge(name: str, help: str, value: float) -> Metric:
    return GaugeMetricFamily(f"hashmatch_{name}", help, value)


def _gauges(name: str, help: str, label: str, values: Iterable[tuple[str, float]]) -> Metric:
    family = GaugeMetricFamily(f"hashmatch_{name}", help, labels=(label,))
    for which, value in values:
        family.add_metric([which], value)
    return family


def _resident_bytes() -> int:
    with open("/proc/self/statm", "rb") as file:
        return int(file.read().split()[1]) * _PAGE_BYTES


def _count_in(folder: Path) -> None:
    """Have the library keep its values in files of that folder."""
    number = _number(folder)
    os.environ[_FOLDER] = str(folder)
    values = prometheus_client.values
    values.ValueClass = values.MultiProcessValue(lambda: number)  # type: ignore[no-untyped-call]


def _number(folder: Path) -> int:
    """The lowest number that no living process has; this one has it as long as it lives."""
    number = 0
    # The lock is never given back but by the end of the process.
    while _locked(folder / f"{number}.lock") is None:
        number += 1
    return number


def _forget_dead(folder: Path) -> None:
    """What processes used that have ended is in use no more; what they counted stays."""
    for path in folder.glob("*.lock"):
        # While it is held nobody begins with that number.
        descriptor = _locked(path)
        if descriptor is not None:
            mark_process_dead(int(path.stem), str(folder))  # type: ignore[no-untyped-call]
            os.close(descriptor)


def _locked(path: Path) -> int | None:
    """The descriptor that holds the lock of a file; None where another does."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
