"""Changes over the wire: who may make them, and see what."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from hashmatch.server.callers import SCOPES, Caller, Scope
from serving import problem, with_application
from writers import WriterProcess, asked, asked_by, good, made, writer_of


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WriterProcess]:
    with writer_of(made(tmp_path_factory.mktemp("served"))) as writer:
        yield writer


ROUTES: list[tuple[str, str, Any, Scope]] = [
    ("GET", "/v1/sets", None, "read"),
    ("GET", "/v1/sets/a", None, "read"),
    ("GET", "/v1/status", None, "read"),
    ("GET", "/v1/history", None, "read"),
    ("GET", "/v1/history?set=a", None, "read"),
    ("GET", "/v1/sets/a/contents", None, "admin"),
    ("PUT", "/v1/sets/a", {}, "admin"),
    ("POST", "/v1/sets/a/changes", {}, "write"),
]


@pytest.mark.parametrize("scope", SCOPES)
def test_each_scope_is_given_by_itself(writer: WriterProcess, scope: Scope) -> None:
    others = Caller("c", frozenset(SCOPES) - {scope})
    alone = Caller("c", frozenset({scope}))
    for caller, allowed in ((others, others.scopes), (alone, alone.scopes)):
        replies = asked_by(writer, caller, *(route[:3] for route in ROUTES))
        for (method, _, _, needed), reply in zip(ROUTES, replies, strict=True):
            if needed not in allowed:
                assert f"may not {needed}" in problem(reply, 403)["detail"]
            else:
                assert reply.status_code == (409 if method == "PUT" else 200), reply.text


def test_a_caller_of_some_sets_sees_only_those(writer: WriterProcess) -> None:
    asked(writer, ("POST", "/v1/sets/b/changes", {"adds": [good(ref="hidden")]}))
    caller = Caller("c", frozenset(SCOPES), frozenset({"a", "none"}))
    listed, status, history, of_ref = asked_by(
        writer,
        caller,
        ("GET", "/v1/sets", None),
        ("GET", "/v1/status", None),
        ("GET", "/v1/history", None),
        ("GET", "/v1/history?ref=hidden", None),
    )
    assert [each["name"] for each in listed.json()["sets"]] == ["a"]
    assert (status.json()["sets"], status.json()["items"], status.json()["types"]) == (1, 1, {})
    assert {row["set"] for row in history.json()["changes"]} == {"a"}
    assert of_ref.json()["changes"] == []
    for method, path, document, _ in ROUTES:
        if "a" in path.split("/")[-2:] or "set=a" in path or "contents" in path:
            elsewhere = path.replace("sets/a", "sets/b").replace("set=a", "set=b")
            (reply,) = asked_by(writer, caller, (method, elsewhere, document))
            problem(reply, 403, field="set")
    # Of their own they are told that it is not there.
    assert asked_by(writer, caller, ("GET", "/v1/sets/none", None))[0].status_code == 404


def test_keys_are_of_their_caller(writer: WriterProcess) -> None:
    async def use(client: httpx.AsyncClient) -> list[int]:
        sidecar = client._transport.app  # type: ignore[attr-defined]
        generations = []
        for name in ("p", "q", "p", "q"):
            caller = Caller(name, frozenset(SCOPES))
            sidecar.gate._without_token = caller
            reply = await client.post(
                "/v1/sets/a/changes", json={}, headers={"Idempotency-Key": "same"}
            )
            generations.append(reply.json()["generation"])
        return generations

    first, second, *again = with_application(writer.path, use, writer_socket=writer.socket)
    assert second == first + 1 and again == [first, second]


def test_read_only(writer: WriterProcess) -> None:
    caller = Caller("c", frozenset(SCOPES))
    replies = asked_by(writer, caller, *(route[:3] for route in ROUTES), read_only=True)
    for (method, *_), reply in zip(ROUTES, replies, strict=True):
        if method == "GET":
            assert reply.status_code == 200
        else:
            assert "read only" in problem(reply, 403)["detail"]
    assert replies[2].json()["read_only"] is True
