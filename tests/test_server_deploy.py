"""The examples of how a sidecar is run say what the command takes."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from hashmatch.cli import app
from hashmatch.server.settings import Settings

DEPLOY = Path(__file__).parents[1] / "examples" / "deploy"


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> Callable[[list[str]], dict[str, Any]]:
    """What the command is told by those words after `hashmatch`, which it would then serve by."""
    told: list[dict[str, Any]] = []

    def read(flags: dict[str, Any], config: Path | None, environment: Mapping[str, str]) -> None:
        told.append(flags)

    monkeypatch.setattr("hashmatch.server.sources.read_settings", read)
    monkeypatch.setattr("hashmatch.server.supervisor.supervise", lambda settings, reread: None)

    def run(words: list[str]) -> dict[str, Any]:
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, result.output
        return told.pop()

    return run


def unit() -> dict[str, str]:
    lines = (DEPLOY / "hashmatch.service").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if re.match("[A-Z][A-Za-z]+=", line))


def image() -> dict[str, str]:
    """The last of each instruction."""
    text = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ")
    return dict(line.split(maxsplit=1) for line in text.splitlines() if re.match("[A-Z]+ ", line))


def test_each_serves_on_a_socket(served: Callable[[list[str]], dict[str, Any]]) -> None:
    command = shlex.split(unit()["ExecStart"])
    assert command[0] == "/opt/hashmatch/bin/hashmatch"
    assert served(command[1:]) == {
        "path": Path("/var/lib/hashmatch"),
        "listen": "unix:/run/hashmatch/socket",
    }
    assert json.loads(image()["ENTRYPOINT"]) == ["hashmatch"]
    given = {"path": Path("/data"), "listen": "unix:/run/hashmatch/socket"}
    assert served(json.loads(image()["CMD"])) == given
    (arguments,) = re.findall(r"^ +args: \[(.*)\]$", manifest(), re.MULTILINE)
    words = [word.strip('" ') for word in arguments.split(",")]
    assert served(words) == {**given, "workers": 2}


def manifest() -> str:
    return (DEPLOY / "kubernetes.yaml").read_text()


def test_each_waits_for_the_end() -> None:
    drain = Settings.model_fields["drain_seconds"].default
    waits = [
        *re.findall(r"^TimeoutStopSec=(\d+)s$", (DEPLOY / "hashmatch.service").read_text(), re.M),
        *re.findall(r"terminationGracePeriodSeconds: (\d+)", manifest()),
    ]
    assert len(waits) == 2
    assert all(int(wait) >= 1.5 * drain for wait in waits)


def test_none_runs_as_root() -> None:
    assert unit()["User"] == "hashmatch"
    user, group = image()["USER"].split(":")
    assert int(user) == int(group) >= 10_000
    assert f"runAsUser: {user}" in manifest() and "runAsNonRoot: true" in manifest()


@pytest.mark.parametrize("text", [image()["HEALTHCHECK"], manifest()])
def test_each_asks_whether_it_is_ready_where_it_listens(text: str) -> None:
    assert "healthy.py" in image()["COPY"]
    probes = re.findall(r"healthy\.py\W+(/[a-z/]+)", text)
    assert probes and set(probes) == {"/run/hashmatch/socket"}
