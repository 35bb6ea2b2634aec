"""Changes over the wire: what they do, what they answer, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

import hashmatch
from serving import problem, with_application
from writers import WriterProcess, writer_of

CODE = "f8f8f0cee0f4a84f06370a22038f63f0b36e2ed596621e1d33e6b39c4e9c9b22"
OTHER = "0" * 64


@pytest.fixture(scope="module")
def writer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WriterProcess]:
    path = tmp_path_factory.mktemp("served") / "bank"
    hashmatch.open(path, "c").close()
    with writer_of(path) as writer:
        yield writer


def asked(writer: WriterProcess, *requests: tuple[str, str, Any]) -> list[httpx.Response]:
    """The replies to requests: method, path, JSON."""

    async def use(client: httpx.AsyncClient) -> list[httpx.Response]:
        return [
            await client.request(method, path, json=document) for method, path, document in requests
        ]

    return with_application(writer.path, use, writer_socket=writer.socket)


def test_a_set_is_made_filled_and_shown(writer: WriterProcess) -> None:
    add = {"ref": "picture-17", "type": "pdq", "hash": CODE, "labels": ["flag"]}
    change = {
        "adds": [add],
        "removals": ["picture-3"],
        "opinions": [{"ref": "picture-17", "contributor": "B", "verdict": "positive"}],
        "checkpoint": "page 7",
    }
    made, changed, again, listed = asked(
        writer,
        ("PUT", "/v1/sets/shared", {"contributor": "A", "max_distance": {"pdq": 20}}),
        ("POST", "/v1/sets/shared/changes", change),
        ("PUT", "/v1/sets/shared", {}),
        ("GET", "/v1/sets/shared", None),
    )
    assert made.status_code == 201
    assert made.json()["contributor"] == "A" and made.json()["max_distance"]["pdq"] == 20
    assert changed.status_code == 200
    generation = int(changed.headers["hashmatch-generation"])
    assert changed.json() == {
        "generation": generation,
        "set": "shared",
        "added": 1,
        "updated": 0,
        "removed": 0,
        "unchanged": 0,
        "opinions": 1,
        "rejected": [
            {"row": 0, "field": "removals.0.ref", "reason": "no item 'picture-3' to remove"}
        ],
    }
    problem(again, 409, field="set")
    assert listed.json()["name"] == "shared"
    with hashmatch.open(writer.path) as database:
        assert database.generation == generation
        (match,) = database.match("pdq", CODE)
        assert (match.ref, match.labels, match.verdicts) == (
            "picture-17", ["flag"], ("positive",),
        )  # fmt: skip
        (record,) = (each for each in database.sets() if each.name == "shared")
        assert (record.items, record.checkpoint) == (1, "page 7")
