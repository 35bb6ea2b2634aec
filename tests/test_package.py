"""The package as a whole."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

import hashmatch


def test_public_names() -> None:
    assert set(hashmatch.__all__) == {
        "AsyncClient",
        "Client",
        "Database",
        "DatabaseMatch",
        "DatabaseMatches",
        "FormatError",
        "Frames",
        "Index",
        "Match",
        "Matches",
        "VideoMatch",
        "VideoMatches",
        "__version__",
        "aconnect",
        "connect",
        "kernels",
        "open",
    }
    assert all(hasattr(hashmatch, name) for name in hashmatch.__all__)
    assert hashmatch.__version__ == version("hashmatch")
    with pytest.raises(AttributeError, match="no attribute 'index2'"):
        _ = hashmatch.index2


def test_importing_is_light() -> None:
    program = (
        "import sys, hashmatch;"
        "heavy = {'typer', 'rich', 'click', 'pyarrow', 'importlib.metadata', 'httpx'};"
        "print(*heavy & set(sys.modules))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program], check=True, capture_output=True, text=True
    )
    assert run.stdout.strip() == ""


def test_kernels() -> None:
    assert hashmatch.kernels()[-1] == "portable"
