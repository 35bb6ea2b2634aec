"""What the logs say of requests: a line for each that failed or was refused, and once a while a sum
of the others. Where very many fail, those are summed up too.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from hashmatch.server.http import Request
from hashmatch.server.logs import Log, origin

#: Lines of their own that requests which were not answered well have between two sums.
_MOST_LINES = 20
_FIRST_ERROR = 400


@dataclass(slots=True)
class _Sum:
    requests: int = 0
    seconds: float = 0
    longest: float = 0
    hashes: int = 0
    matches: int = 0


class Journal:
    """Notes requests, and tells of them."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._lines = 0
        self._sums: dict[tuple[str, str, str, int, str | None], _Sum] = {}

    def note(self, request: Request, status: int, seconds: float, fault: Exception | None) -> None:
        """Note a request that has ended. Status 0 is one whose caller did not take the answer."""
        name = "" if request.caller is None else request.caller.name
        failed = fault is not None or not 0 < status < _FIRST_ERROR
        if failed and self._lines < _MOST_LINES:
            self._lines += 1
            self._tell_one(request, name, status, seconds, fault)
            return
        method = request.method if request.route else ""
        key = name, method, request.route, status, request.refused
        alike = self._sums.get(key)
        if alike is None:
            alike = self._sums[key] = _Sum()
        alike.requests += 1
        alike.seconds += seconds
        alike.longest = max(alike.longest, seconds)
        if request.lookup is not None:
            alike.hashes += request.lookup.hashes
            alike.matches += sum(request.lookup.matches.values())

    def _tell_one(
        self, request: Request, name: str, status: int, seconds: float, fault: Exception | None
    ) -> None:
        more: dict[str, Any] = {} if request.refused is None else {"refused": request.refused}
        client = request.scope.get("client")
        # A Unix socket's callers have no address.
        if client and client[0]:
            more["address"] = client[0]
        if request.lookup is not None:
            more |= {"type": request.lookup.hash_type, "hashes": request.lookup.hashes}
        if fault is not None:
            more |= origin(fault)
        self._log.log(
            _level(status, fault),
            "request",
            caller=name,
            method=request.method if request.route else "",
            route=request.route or "none",
            status=status,
            ms=round(seconds * 1e3, 3),
            **more,
        )

    def tell(self) -> None:
        """Log the sums, and begin new ones."""
        sums, self._sums, self._lines = self._sums, {}, 0
        for (name, method, route, status, refused), alike in sums.items():
            self._log.log(
                _level(status, None),
                "requests",
                caller=name,
                method=method,
                route=route or "none",
                status=status,
                requests=alike.requests,
                mean_ms=round(alike.seconds / alike.requests * 1e3, 3),
                longest_ms=round(alike.longest * 1e3, 3),
                hashes=alike.hashes,
                matches=alike.matches,
                **({} if refused is None else {"refused": refused}),
            )


def _level(status: int, fault: Exception | None) -> int:
    if fault is not None or status >= 500:
        return logging.ERROR
    return logging.INFO if 0 < status < _FIRST_ERROR else logging.WARNING
