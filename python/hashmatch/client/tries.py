"""When a request is sent again that was refused for want of room, or whose connection broke."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from hashmatch.client.calls import Reply
from hashmatch.client.errors import detail_of

#: Too many requests; nobody there, or not now; and the same as a proxy says it.
_REFUSED = frozenset((408, 429, 502, 503, 504))
#: Before the first time it is sent again; then twice as long each time.
_FIRST_PAUSE_S = 0.05
_MOST_PAUSE_S = 5.0
#: Of what a server asks for, so much more at most: so that not all come back at once.
_JITTER = 0.25


@dataclass(frozen=True, slots=True)
class Patience:
    """How long one request may take, and how often it is sent again."""

    timeout_s: float
    retries: int

    def __post_init__(self) -> None:
        for name, value in (("timeout", self.timeout_s), ("retries", self.retries)):
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise TypeError(f"{name} must be a number, not {value!r}")
        if not 0 < self.timeout_s < float("inf"):
            raise ValueError(f"timeout must be a number of seconds above 0, not {self.timeout_s}")
        if self.retries != int(self.retries) or self.retries < 0:
            raise ValueError(f"retries must be a whole number of at least 0, not {self.retries}")


class Tries:
    """The tries of one request."""

    def __init__(self, server: str, patience: Patience) -> None:
        self._server = server
        self._patience = patience
        self._left = patience.retries
        self._pause_s = _FIRST_PAUSE_S
        #: Of time.monotonic.
        self.deadline = time.monotonic() + patience.timeout_s

    @property
    def left_s(self) -> float:
        """How long the request may still take. TimeoutError if that is over."""
        left_s = self.deadline - time.monotonic()
        if left_s <= 0:
            raise self.late()
        return left_s

    def require_time(self) -> None:
        """TimeoutError if the time is over."""
        _ = self.left_s

    def late(self) -> TimeoutError:
        """The error that says so."""
        return TimeoutError(
            f"{self._server}: no answer within {self._patience.timeout_s:g} s: give a longer "
            "timeout, or look up less at a time"
        )

    def after(self, reply: Reply) -> float | None:
        """How long to wait before the request is sent again, in seconds; None if that is the reply
        to it. ConnectionError or TimeoutError if it is not to be sent again.
        """
        if reply.status not in _REFUSED:
            return None
        reason = f"it answers {reply.status}: {detail_of(reply)}"
        asked_s = _asked_pause(reply.headers.get("retry-after"))
        return self._paused(asked_s, reason)

    def broken(self, error: Exception) -> float:
        """The same where there was no reply."""
        reason = f"{error}" or type(error).__name__
        if "CERTIFICATE_VERIFY_FAILED" in reason:
            raise ConnectionError(
                f"{self._server}: its certificate is not one to trust ({reason}): give ca=..., the "
                "file of those that it is signed by"
            ) from None
        return self._paused(0.0, f"the connection failed ({reason})")

    def _paused(self, asked_s: float, reason: str) -> float:
        if self._left <= 0:
            tries = self._patience.retries + 1
            times = "" if tries == 1 else f", {tries} times over"
            raise ConnectionError(
                f"{self._server}: {reason}{times}: see that the server is up and has room"
            )
        self._left -= 1
        own_s = random.uniform(0.5, 1.0) * self._pause_s
        self._pause_s = min(self._pause_s * 2, _MOST_PAUSE_S)
        pause_s = max(own_s, asked_s * random.uniform(1.0, 1.0 + _JITTER))
        if pause_s >= self.deadline - time.monotonic():
            raise TimeoutError(
                f"{self._server}: {reason}; what is left of {self._patience.timeout_s:g} s is too "
                "little to wait and ask again: give a longer timeout"
            )
        return pause_s


def _asked_pause(text: str | None) -> float:
    """What Retry-After says, in seconds: a number of them, or a date; 0 for what is neither."""
    if text is None:
        return 0.0
    if text.isascii() and text.isdecimal() and len(text) < 10:
        return float(text)
    try:
        then = parsedate_to_datetime(text)
    except ValueError:
        return 0.0
    if then.tzinfo is None:
        then = then.replace(tzinfo=UTC)
    return max(0.0, (then - datetime.now(UTC)).total_seconds())
