"""Fixtures of several files."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fresh_process import FreshProcesses


@pytest.fixture(scope="module")
def plain_processes() -> Iterator[FreshProcesses]:
    with FreshProcesses() as server:
        yield server
