"""Fixtures of several files."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fresh_process import FreshProcesses


@pytest.fixture(scope="module")
def plain_processes() -> Iterator[FreshProcesses]:
    with FreshProcesses() as server:
        yield server


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long a client would have waited before it asks again; it does not."""
    from hashmatch.client import Client

    slept: list[float] = []
    monkeypatch.setattr(Client, "_wait", lambda client, pause_s, ended=None: slept.append(pause_s))
    return slept
