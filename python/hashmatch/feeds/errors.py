"""What went wrong with a fetch, in words that hold no secret, and when to try again."""

from __future__ import annotations

import email.utils
import random
import sys
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from hashmatch.feeds.credentials import scrub

#: After the first failure it is tried again within so long, then within twice that, and so on.
_FIRST_S = 30.0
_MOST_S = 3600.0
#: A server may ask for more patience than that, but not for any.
_MOST_ASKED_S = 24 * 3600.0

_WORDS_CHARACTERS = 500


def words_of(error: BaseException, secrets: tuple[str, ...]) -> str:
    """One line for people. An address is never part of it: it may hold a token."""
    words = _of_request(error) or _of_other(error)
    return " ".join(scrub(words, secrets).split())[:_WORDS_CHARACTERS]


def next_try(error: BaseException, failures: int) -> datetime:
    """When to try again after so many failures, this one not counted: later each time, at random
    so that not all who failed together come back together; and not before the server asks for it.
    """
    most = min(_FIRST_S * 2.0 ** min(failures, 20), _MOST_S)
    wait = random.uniform(most / 2, most)
    asked = min(_asked_s(error), _MOST_ASKED_S)
    return datetime.now(UTC) + timedelta(seconds=max(wait, asked))


def _of_request(error: BaseException) -> str | None:
    # While another thread imports it, it is there in part.
    kinds: Any = sys.modules.get("requests.exceptions")
    every = getattr(kinds, "RequestException", None)
    if every is None or not isinstance(error, every):
        return None
    host = _host(error)
    response = getattr(error, "response", None)
    if isinstance(error, kinds.HTTPError) and response is not None:
        hint = ": look at the credentials" if response.status_code in (401, 403) else ""
        return f"{host} answered {response.status_code} {response.reason}{hint}"
    if isinstance(error, kinds.ConnectTimeout):
        return f"{host} could not be reached in time"
    if isinstance(error, kinds.ReadTimeout) or _caused_by(error, "ReadTimeoutError"):
        return f"{host} did not answer in time"
    if isinstance(error, kinds.SSLError):
        return f"{host} could not be trusted: its certificate was refused"
    if isinstance(error, kinds.JSONDecodeError):
        return f"{host} answered with what is no JSON"
    if isinstance(error, kinds.ChunkedEncodingError) or _caused_by(
        error, "IncompleteRead", "ProtocolError", "RemoteDisconnected"
    ):
        return f"the connection to {host} was cut in the middle of an answer"
    reasons = (each.strerror for each in _chain(error) if isinstance(each, OSError))
    reason = next((each for each in reasons if each), type(error).__name__)
    return f"the connection to {host} failed: {reason}"


def _of_other(error: BaseException) -> str:
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    if isinstance(error, ValueError | OSError | ImportError) and str(error):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    place = f" in {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    return f"{type(error).__name__}{place}: {error}".removesuffix(": ")


def _host(error: Any) -> str:
    url = getattr(error.request, "url", None) or getattr(error.response, "url", None)
    return urlsplit(str(url)).hostname or "the exchange" if url else "the exchange"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what it was made of, as requests and urllib3 nest them."""
    waiting: list[object] = [error]
    seen: set[int] = set()
    while waiting:
        each = waiting.pop(0)
        if isinstance(each, BaseException) and id(each) not in seen:
            seen.add(id(each))
            yield each
            waiting += [*each.args, getattr(each, "reason", None), each.__cause__, each.__context__]


def _caused_by(error: BaseException, *names: str) -> bool:
    return any(type(each).__name__ in names for each in _chain(error))


def _asked_s(error: BaseException) -> float:
    """How long the server asks to be left alone, by the header Retry-After."""
    headers = getattr(getattr(error, "response", None), "headers", None) or {}
    text = str(headers.get("Retry-After", "")).strip()
    if text.isascii() and text.isdecimal():
        return float(text[:9])
    try:
        at = email.utils.parsedate_to_datetime(text)
        return (at.replace(tzinfo=at.tzinfo or UTC) - datetime.now(UTC)).total_seconds()
    except (TypeError, ValueError):
        return 0.0
