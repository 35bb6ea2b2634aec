"""The sidecar under load and change for a moment, on each HTTP server: nothing fails, and no answer
mixes generations. How fast it is, and whether memory levels off, side_by_side.py measures.
"""

from __future__ import annotations

import os

import pytest

if "CI" not in os.environ:
    pytest.importorskip("faiss", reason='needs faiss-cpu: pip install -e ".[bench]"')

import server_jobs

ROWS = 1_000_000
DURATION_S = 10


@pytest.mark.parametrize("http", ("granian", "uvicorn"))
def test_under_change(http: str) -> None:
    figures = list(server_jobs.under_change(ROWS, DURATION_S, http))
    measured = {figure.work: figure.value for figure in figures}
    assert measured["answers looked through for two generations"] > 0
    for figure in figures:
        if figure.unit in ("requests", "answers"):
            assert figure.passes is not False, figure
