"""A client of servers whose processes are killed, and of another HTTP server."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import hashmatch
from database_model import codes_near
from databases import filled, wait_until
from oracle import random_codes
from served import Served, assert_same, served_in
from serving import Server


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served_in(tmp_path_factory.mktemp("served")) as served:
        yield served


def test_another_http_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hashmatch.client.lookups._MOST_CODES", 10_000)
    filled(tmp_path)[0].close()
    queries = np.concatenate([random_codes(35_000, 256), codes_near("pdq", 9, 1)])
    with (
        Server(tmp_path, "uvicorn") as server,
        hashmatch.connect(server.url) as client,
        hashmatch.open(tmp_path) as database,
    ):
        assert_same(client.match("pdq", queries), database.match("pdq", queries))
        with client.change("films") as change:
            change.add("pdq", queries[:1], refs=["new"])
        assert client.match("pdq", queries[0]).ref == ["new"]
        database.refresh()
        assert list(client.contents("films")) == list(database.contents("films"))
        with pytest.raises(ValueError, match="no set"):
            client.match("pdq", queries, ["nowhere"])


def killed_soon(server: Server, module: str, seconds: float) -> threading.Timer:
    """Kills one of a server's processes in a moment."""

    def kill() -> None:
        os.kill(server.pids(module)[0], signal.SIGKILL)

    timer = threading.Timer(seconds, kill)
    timer.start()
    return timer


def test_workers_killed_amid_lookups(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hashmatch.client.lookups._MOST_CODES", 2_000)
    queries = np.concatenate([random_codes(20_000, 256, 1), codes_near("pdq", 50, 1)])
    served.database.refresh()
    wanted = served.database.match("pdq", queries)
    for turn in range(3):
        before = set(served.server.pids("worker"))
        with hashmatch.connect(served.server.url, retries=20) as client:
            assert client.refresh() == wanted.generation
            timer = killed_soon(served.server, "worker", 0.02 * (turn + 1))
            assert_same(client.match("pdq", queries), wanted)
        timer.join()
        wait_until(lambda: len(served.server.pids("worker")) == 2)
        assert set(served.server.pids("worker")) != before


def test_the_writer_killed_amid_changes(served: Served) -> None:
    served.client.create("kept")
    before = served.client.generation
    with hashmatch.connect(served.server.url, retries=20) as client:
        for made in range(1, 25):
            timer = killed_soon(served.server, "writer", 0.002) if made % 12 == 5 else None
            with client.change("kept") as change:
                change.add("pdq", random_codes(1, 256), refs=[f"ref-{made}"])
            # Once each, however often it was asked for.
            assert (change.generation, change.counts.added) == (before + made, 1)
            if timer is not None:
                timer.join()
        assert [item.ref for item in client.contents("kept")] == [
            f"ref-{made}" for made in range(1, 25)
        ]
