"""A sidecar as a process: it starts, answers, and ends when it is told to."""

from __future__ import annotations

import socket
import stat
from pathlib import Path
from typing import Literal, TypeAlias

import pytest

import hashmatch
from serving import Server

Http: TypeAlias = Literal["granian", "uvicorn"]
CODE = "f8f8f0cee0f4a84f06370a22038f63f0b36e2ed596621e1d33e6b39c4e9c9b22"


@pytest.fixture(params=["granian", "uvicorn"])
def http(request: pytest.FixtureRequest) -> Http:
    """Each test is made with both servers."""
    name: Http = request.param
    return name


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with hashmatch.open(tmp_path / "bank", "c") as database:
        database.create("shared", contributor="forum")
        with database.change("shared") as change:
            change.add("pdq", [CODE], refs=["picture-17"], labels=["flag"])
    return tmp_path / "bank"


def test_it_answers_on_a_socket_that_is_its_owners_and_ends(path: Path, http: Http) -> None:
    with Server(path, http, workers=2) as server:
        place = Path(server.url.removeprefix("unix:"))
        assert stat.S_IMODE(place.stat().st_mode) == 0o600
        assert len(server.pids("worker")) == 2
        with server.client() as client:
            reply = client.post("/v1/match", json={"type": "pdq", "hashes": [CODE]})
        assert [match["ref"] for match in reply.json()["matches"]] == ["picture-17"]
        assert server.stop() == 0
        assert not place.exists()
        with socket.socket(socket.AF_UNIX) as late, pytest.raises(OSError):
            late.connect(str(place))
