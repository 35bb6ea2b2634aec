"""What a server's refusals are to whoever called."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from hashmatch.client.calls import Answer, Reply, TooMuch

#: Of what a reply says that is no problem document, so much is shown.
_SHOWN = 200


def answer_of(reply: Reply, server: str) -> Answer:
    """The answer in a reply. ValueError for what was asked wrongly, PermissionError for what this
    caller may not do, ConnectionError where it is no answer of a hashmatch server's.
    """
    if not 200 <= reply.status < 300:
        raise _error(reply, server)
    generation = reply.headers.get("hashmatch-generation", "")
    if not (generation.isascii() and generation.isdecimal() and len(generation) < 20):
        raise unusable(server, "it names no generation")
    if reply.headers.get("content-encoding", "identity") != "identity":
        raise unusable(server, "it is compressed, though it was asked not to be")
    media_type = reply.headers.get("content-type", "").partition(";")[0].strip().lower()
    return Answer(int(generation), media_type, reply.body)


def unusable(server: str, reason: str) -> ConnectionError:
    """The error for an answer that no hashmatch server gives."""
    return ConnectionError(
        f"{server}: the answer cannot be used: {reason}: see that this is the address of a "
        "hashmatch server, and of this version"
    )


def _error(reply: Reply, server: str) -> Exception:
    status, problem = reply.status, _problem(reply)
    message = f"{server}: {_located(problem) if problem else f'{status}: {detail_of(reply)}'}"
    if status == 401:
        return PermissionError(f"{message}: give token=..., or set HASHMATCH_TOKEN")
    if status == 403:
        return PermissionError(message)
    if problem and status == 413:
        return TooMuch(message)
    if problem and status in (400, 404, 409, 415, 422):
        return ValueError(message)
    if 300 <= status < 400:
        return unusable(server, f"it refers to {reply.headers.get('location', '')[:_SHOWN]!r}")
    if status >= 500:
        return ConnectionError(f"{message}: the server's log says more")
    return unusable(server, f"{status}: {detail_of(reply)}")


def _problem(reply: Reply) -> Mapping[str, Any]:
    """The members of a problem document (RFC 9457); none if it is no such document."""
    try:
        document = json.loads(reply.body)
    except (ValueError, RecursionError):
        return {}
    sound = isinstance(document, dict) and isinstance(document.get("detail"), str)
    return document if sound else {}


def detail_of(reply: Reply) -> str:
    """What a reply says is wrong."""
    problem = _problem(reply)
    if problem:
        return _plain(problem["detail"])
    text = reply.body[:_SHOWN].decode(errors="replace").strip()
    return repr(text) if text else "without saying why"


def _plain(text: str) -> str:
    """What comes from elsewhere must not steer the terminal that it is shown on."""
    return "".join(each if each.isprintable() else "\ufffd" for each in text)


def _located(problem: Mapping[str, Any]) -> str:
    """What is wrong, behind the row and the field that it is about where it does not name them."""
    detail = _plain(problem["detail"])
    row, field = problem.get("row"), problem.get("field")
    where = []
    if isinstance(row, int) and f"row {row}" not in detail:
        where.append(f"row {row}")
    if isinstance(field, str) and field not in detail:
        where.append(_plain(field))
    return ": ".join([*where, detail])
