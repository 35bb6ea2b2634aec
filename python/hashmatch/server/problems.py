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
    """There is no room, or nobody knows who asks. Answered after a pause: see Gate.pause."""

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
