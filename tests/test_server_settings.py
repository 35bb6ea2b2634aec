"""Settings of a sidecar: flags before variables before the file, and errors that say what to do."""

from __future__ import annotations

import inspect
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.models import OptionInfo

from hashmatch.server.settings import Settings
from hashmatch.server.sources import NAMES, read_settings
from hashmatch.server_cli import serve


def read(
    tmp_path: Path,
    *,
    file: str | None = None,
    variables: dict[str, str] | None = None,
    **flags: Any,
) -> Settings:
    config = None
    if file is not None:
        config = tmp_path / "sidecar.toml"
        config.write_text(file)
    environment = {f"HASHMATCH_SERVE_{name}": value for name, value in (variables or {}).items()}
    return read_settings({"path": tmp_path, **flags}, config, environment)


def test_flags_go_before_variables_and_those_before_the_file(tmp_path: Path) -> None:
    file = 'workers = 2\nrate = 20\nmax_requests = 200\nclient_scopes = ["read", "write"]'
    variables = {"WORKERS": "3", "RATE": "30", "HIDE_DISTANCES": "true", "LISTEN": ""}
    settings = read(tmp_path, file=file, variables=variables, workers=4)
    assert settings.workers == 4
    assert settings.rate == 30
    assert settings.max_requests == 200
    assert settings.hide_distances is True
    assert settings.client_scopes == ("read", "write")
    # An empty variable is none, and the rest is as it is by itself.
    assert settings.listen is None
    assert settings.body_seconds == Settings(path=tmp_path).body_seconds


def test_the_folder_may_stand_in_the_file(tmp_path: Path) -> None:
    config = tmp_path / "sidecar.toml"
    config.write_text(f"path = {str(tmp_path)!r}")
    assert read_settings({}, config, {}).path == tmp_path
    with pytest.raises(ValueError, match="give PATH, or path in the file of --config"):
        read_settings({}, None, {})


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(
        ValueError, match=r"^--config is .*/none, which cannot be read: No such file"
    ):
        read_settings({"path": tmp_path}, tmp_path / "none", {})


def test_another_process_gets_the_same_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = Settings(
        path=tmp_path / "a b",
        listen="[::1]:80",
        workers=3,
        client_scopes=("read", "admin"),
        rate=0.5,
        read_only=True,
        drain_seconds=0,
        tokens=tmp_path / "tokens",
    )
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    assert Settings() == settings  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"workers": 0}, "--workers must be a whole number of at least 1 and at most 256, not 0"),
        ({"rate": float("nan")}, "--rate must be a number of more than 0, not nan"),
        ({"body_seconds": float("inf")}, "--body-seconds must be a number of more than 0"),
        ({"listen": "8080"}, "--listen must be unix:PATH or HOST:PORT, such as"),
        ({"listen": ":8080"}, "--listen must be unix:PATH or HOST:PORT, such as"),
        ({"listen": "unix:"}, "--listen must be unix:PATH or HOST:PORT, such as"),
        ({"listen": "host:65536"}, "--listen must be unix:PATH or HOST:PORT, such as"),
        ({"listen": f"host:{'9' * 5000}"}, "--listen must be unix:PATH or HOST:PORT, such as"),
        ({"client_scopes": "read,rite"}, "--client-scopes must be some of read, write, admin"),
        ({"client_scopes": ""}, "--client-scopes must be some of read, write, admin"),
        ({"path": Path("/nowhere")}, "PATH is /nowhere, and no folder: `hashmatch db create`"),
        ({"tls_key": Path("key")}, "--tls-key needs --tls-certificate as well"),
        ({"client_ca": Path("ca")}, "--client-ca needs --tls-certificate as well"),
        ({"client_revoked": Path("crl")}, "--client-revoked needs --client-ca as well"),
        (
            {"tls_key": Path("key"), "tls_certificate": Path("certificate")},
            "--tls-certificate is for --listen HOST:PORT",
        ),
        (
            {"tls_key": Path("k"), "tls_certificate": Path("/no/c"), "listen": "127.0.0.1:0"},
            "--tls-certificate is /no/c, which cannot be read: No such file or directory",
        ),
        ({"tokens": Path("/no/tokens")}, "--tokens is /no/tokens, which cannot be read: No such"),
        ({"variables": {"WORKERS": "many"}}, "HASHMATCH_SERVE_WORKERS must be a whole number"),
        ({"variables": {"READ_ONLY": "maybe"}}, "HASHMATCH_SERVE_READ_ONLY must be true or false"),
        ({"variables": {"HTTP": "nginx"}}, "HASHMATCH_SERVE_HTTP must be granian or uvicorn, not"),
        (
            {"variables": {"WORKRES": "1"}},
            "HASHMATCH_SERVE_WORKRES is no setting: did you mean HASHMATCH_SERVE_WORKERS?",
        ),
        ({"variables": {"SHARED_FOLDER": "/"}}, "HASHMATCH_SERVE_SHARED_FOLDER is no setting"),
        ({"file": "workers = true"}, "sidecar.toml: workers must be a whole number of"),
        ({"file": "read_only = 1"}, "sidecar.toml: read_only must be true or false, not 1"),
        ({"file": "workers = 1.5"}, "sidecar.toml: workers must be a whole number of"),
        ({"file": "workers = [1]"}, "sidecar.toml: workers must be a whole number of"),
        ({"file": "[server]\nworkers = 1"}, "sidecar.toml: server is no setting"),
        ({"file": "workers ="}, "sidecar.toml: is no TOML: Invalid value (at end of document)"),
        ({"file": 'listen = "\\u001b[2J"'}, "sidecar.toml: listen must be unix:PATH or"),
    ],
)
def test_an_error_names_the_setting_and_where_it_was_given(
    tmp_path: Path, given: dict[str, Any], fault: str
) -> None:
    with pytest.raises(ValueError) as error:
        read(tmp_path, **given)
    assert fault in str(error.value)
    assert str(error.value).isprintable()


def test_all_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    with pytest.raises(ValueError) as error:
        read(tmp_path, file="rate = -1", variables={"WORKERS": "0"}, threads=-1)
    faults = str(error.value).split("\n  ")
    assert [fault.rpartition(" must be ")[0].rpartition("/")[2] for fault in faults] == [
        "HASHMATCH_SERVE_WORKERS",
        "sidecar.toml: rate",
        "--threads",
    ]


def test_each_setting_is_an_option_that_says_its_default() -> None:
    parameters = inspect.signature(serve, eval_str=True).parameters
    assert set(parameters) == {*NAMES, "config"}
    for name in set(NAMES) - {"path", "listen", "tokens"}:
        (option,) = parameters[name].annotation.__metadata__
        assert isinstance(option, OptionInfo)
        assert option.help and option.rich_help_panel
        default = Settings.model_fields[name].default
        if isinstance(default, int | float | str) and not isinstance(default, bool):
            assert option.show_default == f"{default}"
    # Only what is given counts: none has a value of its own.
    assert {parameter.default for parameter in parameters.values()} == {None}


def test_without_the_extra_the_error_names_it(tmp_path: Path) -> None:
    # A module that cannot be found, as where the extra is not installed.
    code = "import sys; sys.modules['pydantic_settings'] = None; import hashmatch.__main__"
    said = subprocess.run(
        [sys.executable, "-c", code, "serve", str(tmp_path)],
        capture_output=True,
        text=True,
        env=os.environ,
        timeout=60,
    )
    assert said.returncode == 2
    assert said.stderr.endswith("is not installed: pip install 'hashmatch[server]'\n")
    assert said.stderr.count("\n") == 1
