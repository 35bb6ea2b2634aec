"""The application of a sidecar: routes, errors, and the generation that every reply names."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

import hashmatch
from serving import problem, with_application

CODE = "f8f8f0cee0f4a84f06370a22038f63f0b36e2ed596621e1d33e6b39c4e9c9b22"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with hashmatch.open(tmp_path / "bank", "c") as database:
        database.create("shared", contributor="forum")
        with database.change("shared") as change:
            change.add("pdq", [CODE], refs=["picture-17"], labels=["flag"])
    return tmp_path / "bank"


def test_a_lookup_names_its_generation(path: Path) -> None:
    async def use(client: httpx.AsyncClient) -> httpx.Response:
        return await client.post("/v1/match", json={"type": "pdq", "hashes": [CODE]})

    reply = with_application(path, use)
    assert reply.status_code == 200
    assert reply.json()["generation"] == 1
    assert [match["ref"] for match in reply.json()["matches"]] == ["picture-17"]
    assert reply.headers["hashmatch-generation"] == "1"


def test_what_is_not_there_is_a_problem_document(path: Path) -> None:
    async def use(client: httpx.AsyncClient) -> list[httpx.Response]:
        return [await client.get("/v2/match"), await client.put("/livez")]

    missing, refused = with_application(path, use)
    assert "/v2/match" in problem(missing, 404)["detail"]
    assert "PUT" in problem(refused, 405)["detail"]
    assert missing.headers["hashmatch-generation"] == "1"


def test_names_of_sets_may_have_line_breaks_and_slashes(tmp_path: Path) -> None:
    with hashmatch.open(tmp_path / "bank", "c") as database:
        for name in ("two\nlines", "a/b", "ends\n"):
            database.create(name)

    async def use(client: httpx.AsyncClient) -> list[httpx.Response]:
        names = ("two%0Alines", "a/b", "a%2Fb", "ends%0A")
        return [await client.get(f"/v1/sets/{name}") for name in names]

    replies = with_application(tmp_path / "bank", use)
    assert [reply.json()["name"] for reply in replies] == ["two\nlines", "a/b", "a/b", "ends\n"]
