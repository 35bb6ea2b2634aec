"""A server of a database as tests of the client have it, and what its answers have to be."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import numpy as np

import hashmatch
from databases import filled
from hashmatch import Client, DatabaseMatches
from hashmatch.database import HistoryRow
from serving import Server


class Served:
    """A server with two processes that answer, a client of it, its database, and the like of it."""

    def __init__(self, folder: Path, server: Server, client: Client) -> None:
        self.server = server
        self.client = client
        #: Read where it lies.
        self.database = hashmatch.open(folder / "bank")
        #: The same changes are made here.
        self.twin, _ = filled(folder / "twin")


@contextmanager
def served_in(folder: Path) -> Iterator[Served]:
    """One with three sets."""
    filled(folder / "bank")[0].close()
    with Server(folder / "bank", workers=2) as server, hashmatch.connect(server.url) as client:
        served = Served(folder, server, client)
        with served.database, served.twin:
            yield served


def assert_same(found: DatabaseMatches, wanted: DatabaseMatches) -> None:
    assert found.generation == wanted.generation
    assert found.queries == wanted.queries
    for name in ("query", "signal", "id", "distance", "offsets"):
        mine, theirs = getattr(found, name), getattr(wanted, name)
        assert mine.dtype == theirs.dtype
        assert np.array_equal(mine, theirs)
        assert not mine.flags.writeable
    for name in ("hash", "ref", "set", "contributor", "labels", "verdicts"):
        assert getattr(found, name) == getattr(wanted, name)
    assert found.to_list() == wanted.to_list()
    assert found.to_arrow() == wanted.to_arrow()
    assert found.set_counts() == wanted.set_counts()
    assert [found[query] for query in range(found.queries)] == [
        wanted[query] for query in range(wanted.queries)
    ]


def alike(rows: list[HistoryRow]) -> list[HistoryRow]:
    """Rows without what differs between a database and its twin."""
    return [replace(row, time=datetime.min, who="") for row in rows]
