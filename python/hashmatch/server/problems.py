"""Errors as callers see them: problem documents (RFC 9457)."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from types import MappingProxyType
from typing import Any

import orjson

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):
    """A request that is not answered, and why.

    `detail` says what is wrong and what to do about it, for a person; `field` and `row` name the
    part of the request; `retry_after` is in seconds.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        field: str | None = None,
        row: int | None = None,
        retry_after: int | None = None,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.field = field
        self.row = row
        self.retry_after = retry_after
        self.headers = dict(headers)
        if retry_after is not None:
            self.headers["retry-after"] = str(retry_after)

    def document(self) -> bytes:
        """The body of the reply."""
        status = HTTPStatus(self.status)
        parts: dict[str, Any] = {
            "type": "about:blank",
            "title": status.phrase,
            "status": self.status,
            "detail": self.detail,
        }
        for name in ("field", "row", "retry_after"):
            if (value := getattr(self, name)) is not None:
                parts[name] = value
        return orjson.dumps(parts)


class Refused(Problem):
    """There is no room, or nobody knows who asks.

    It is raised after a pause. A caller that asks again at once, whatever it is told, so makes a
    few requests a second on each connection, rather than as many as it can: 64 connections made
    4,800 a second, and another caller's requests took 68 ms instead of 5.
    """

    PAUSE_SECONDS = 0.25

    def __init__(
        self,
        status: int,
        detail: str,
        reason: str,
        *,
        retry_after: int | None = None,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(status, detail, retry_after=retry_after, headers=headers)
        #: As it is counted: one of a few words.
        self.reason = reason
