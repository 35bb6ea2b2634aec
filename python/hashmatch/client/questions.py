"""Questions about the sets, and what makes one: each as a talk."""

from __future__ import annotations

from collections.abc import Mapping

from hashmatch.arguments import MAX_COUNT, whole
from hashmatch.client.calls import Call, Talk, ask
from hashmatch.client.changes import set_path
from hashmatch.client.contents import MEDIA_TYPE
from hashmatch.client.records import (
    ServerStatus,
    encoded,
    history_of,
    sets_of,
    status_of,
)
from hashmatch.database.model import HistoryRow, SetRecord
from hashmatch.hash_types import hash_type
from hashmatch.vocabulary import require_text


def generation(newest: bool = False) -> Talk[int]:
    """`Database.generation`; or the newest that there is, of which lookups then are."""
    nothing = encoded({"hashes": []}).encode()
    return (yield from ask(Call("POST", "/v1/match", body=nothing, newest=newest))).generation


def sets(server: str) -> Talk[list[SetRecord]]:
    """`Database.sets`."""
    return sets_of((yield from ask(Call("GET", "/v1/sets"))), server)


def status(server: str) -> Talk[ServerStatus]:
    """What is held and how."""
    return status_of((yield from ask(Call("GET", "/v1/status"))), server)


def history(server: str, set: str | None, ref: str | None, limit: int) -> Talk[list[HistoryRow]]:
    """`Database.history`."""
    params = [("limit", str(whole(limit, "limit", 1, MAX_COUNT)))]
    params += [(name, text) for name, text in (("set", set), ("ref", ref)) if text is not None]
    return history_of((yield from ask(Call("GET", "/v1/history", params))), server)


def contents(name: str) -> Call:
    """`Database.contents`, as lines."""
    return Call("GET", set_path(name, "/contents"), accept=MEDIA_TYPE)


def create(name: str, contributor: str, max_distance: Mapping[str, int] | None) -> Talk[None]:
    """`Database.create`."""
    distances = {
        kind: whole(bits, f"max_distance of {kind}", 0, hash_type(kind).bits)
        for kind, bits in (max_distance or {}).items()
    }
    body = {
        "contributor": require_text(contributor, "contributor", empty=True),
        "max_distance": distances,
    }
    # A set that is there already would be an error of this one's.
    yield from ask(Call("PUT", set_path(name), body=encoded(body).encode(), again=False))
