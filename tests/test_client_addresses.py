"""What a client is made with: addresses, tokens, certificates, and how patient it is."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import hashmatch
from certificates import Authority
from fake_server import CODES, FakeServer, assert_found, found_only


@pytest.mark.parametrize(
    "address",
    [
        "", "unix:", "sidecar", "sidecar:8000", "127.0.0.1:8000", "ftp://sidecar", "https://",
        "http://:8000", "http://sidecar:port", "http://sidecar:99999", "http://side car",
        "http://sidecar/?a=b", "http://sidecar/#a", "http://[::1", "http://sidecar\n", "//sidecar",
        "http://side\x7fcar",
    ],
)  # fmt: skip
def test_what_is_no_address(address: str) -> None:
    for connect in (hashmatch.connect, hashmatch.aconnect):
        with pytest.raises(ValueError):
            connect(address)


def test_an_address_with_a_secret_is_not_shown() -> None:
    with pytest.raises(ValueError, match="give token=") as caught:
        hashmatch.connect("https://user:hidden-word@sidecar")
    assert "hidden-word" not in str(caught.value)


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({"token": ""}, ValueError),
        ({"token": "two words"}, ValueError),
        ({"token": "hidden-word\n"}, ValueError),
        ({"token": "\N{SNOWMAN}"}, ValueError),
        ({"token": b"bytes"}, TypeError),
        ({"ca": "ca.pem"}, ValueError),
        ({"certificate": ("a", "b")}, ValueError),
        ({"timeout": 0}, ValueError),
        ({"timeout": float("inf")}, ValueError),
        ({"timeout": float("nan")}, ValueError),
        ({"timeout": "1"}, TypeError),
        ({"retries": -1}, ValueError),
        ({"retries": 1.5}, ValueError),
        ({"retries": True}, TypeError),
    ],
)
def test_what_does_not_fit(given: dict[str, Any], kind: type[Exception]) -> None:
    with pytest.raises(kind) as caught:
        hashmatch.connect("http://sidecar", **given)
    if given.get("token"):
        assert str(given["token"]).strip() not in str(caught.value)


def test_the_token_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    with FakeServer(found_only) as server:
        for variable, given, sent in (
            (None, None, None),
            ("", None, None),
            ("of-the-environment", None, "Bearer of-the-environment"),
            ("of-the-environment", "given", "Bearer given"),
        ):
            if variable is not None:
                monkeypatch.setenv("HASHMATCH_TOKEN", variable)
            with hashmatch.connect(server.url, token=given) as client:
                client.match("pdq", CODES)
            assert server.heard[-1].headers.get("authorization") == sent


def test_proxies_of_the_environment_are_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with FakeServer(found_only) as server, hashmatch.connect(server.url) as client:
        assert_found(client.match("pdq", CODES))


def test_a_path_before_the_routes() -> None:
    address = hashmatch.connect("http://sidecar:8000/behind/")._session.request
    from hashmatch.client.calls import Call

    assert str(address(Call("GET", "/v1/sets"), 1, None).url) == (
        "http://sidecar:8000/behind/v1/sets"
    )


def test_without_httpx(tmp_path: Path) -> None:
    (tmp_path / "httpx.py").write_text("raise ModuleNotFoundError(name='httpx')\n")
    program = (
        "import hashmatch\n"
        "try: hashmatch.connect\n"
        "except ImportError as error: print(error)\n"
    )  # fmt: skip
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    run = subprocess.run(
        [sys.executable, "-c", program],
        env=os.environ | {"PYTHONPATH": path}, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert run.stdout == "httpx is not installed: pip install 'hashmatch[client]'\n"


# TLS.


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "authority")


def test_tls(authority: Authority, tmp_path: Path, pauses: list[float]) -> None:
    files = authority.sign("server")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    stranger = Authority(tmp_path, "stranger")
    with FakeServer(found_only, context) as server:
        with hashmatch.connect(server.url, ca=authority.file) as client:
            assert_found(client.match("pdq", CODES))
        for ca in (None, stranger.file):
            with (
                hashmatch.connect(server.url, ca=ca) as client,
                pytest.raises(ConnectionError, match="not one to trust"),
            ):
                client.match("pdq", CODES)
        # Another name than that of the certificate.
        other = server.url.replace("127.0.0.1", "localhost")
        with (
            hashmatch.connect(other, ca=authority.file) as client,
            pytest.raises(ConnectionError, match="not one to trust"),
        ):
            client.match("pdq", CODES)
    assert pauses == []


def test_the_certificate_of_a_caller(authority: Authority, pauses: list[float]) -> None:
    files, mine = authority.sign("server"), authority.sign("caller")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    context.load_verify_locations(authority.file)
    context.verify_mode = ssl.CERT_REQUIRED
    both = (mine.certificate, mine.key)
    with FakeServer(found_only, context) as server:
        with hashmatch.connect(server.url, ca=authority.file, certificate=both) as client:
            assert_found(client.match("pdq", CODES))
        with (
            hashmatch.connect(server.url, ca=authority.file, retries=1) as client,
            pytest.raises(ConnectionError, match=r"the connection failed .*certificate"),
        ):
            client.match("pdq", CODES)


def test_files_that_are_of_no_use(authority: Authority, tmp_path: Path) -> None:
    mine, locked = authority.sign("mine"), authority.sign("locked", passphrase=b"word")
    nothing, empty = tmp_path / "nothing", tmp_path / "empty"
    empty.touch()
    for given, kind, text in (
        ({"ca": nothing}, FileNotFoundError, "nothing"),
        ({"ca": empty}, ValueError, "empty: holds no certificates"),
        ({"certificate": (nothing, mine.key)}, FileNotFoundError, "nothing"),
        ({"certificate": (mine.certificate, nothing)}, FileNotFoundError, "nothing"),
        ({"certificate": (mine.certificate, empty)}, ValueError, "are no certificate and its key"),
        ({"certificate": (mine.certificate, locked.key)}, ValueError, "without a passphrase"),
        ({"certificate": (locked.certificate, locked.key)}, ValueError, "without a passphrase"),
    ):
        with pytest.raises(kind, match=text):
            hashmatch.connect("https://sidecar", **given)
