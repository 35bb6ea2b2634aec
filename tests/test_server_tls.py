"""TLS, and callers who show a certificate, on both HTTP servers."""

from __future__ import annotations

import signal
import socket
import ssl
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest

import hashmatch
from certificates import Authority
from hashmatch.server.settings import Settings
from hashmatch.server.tls import TlsFault, server_context
from serving import Server, problem

CODE = "f8f8f0cee0f4a84f06370a22038f63f0b36e2ed596621e1d33e6b39c4e9c9b22"


class Guarded:
    """A sidecar that lets in those whose certificate its authority signed, and did not revoke."""

    def __init__(self, folder: Path) -> None:
        self.authority = Authority(folder, "authority")
        self.revoked = self.authority.sign("revoked")
        of_server = self.authority.sign("server")
        self.settings: dict[str, Any] = {
            "listen": "127.0.0.1:0",
            "tls_certificate": of_server.certificate,
            "tls_key": of_server.key,
            "client_ca": self.authority.file,
            "client_revoked": self.authority.revoke(self.revoked),
        }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tls")


@pytest.fixture(scope="module")
def guarded(folder: Path) -> Guarded:
    return Guarded(folder)


@pytest.fixture(scope="module", params=["granian", "uvicorn"])
def server(request: pytest.FixtureRequest, folder: Path, guarded: Guarded) -> Iterator[Server]:
    http: Literal["granian", "uvicorn"] = request.param
    path = folder / http
    with hashmatch.open(path, "c") as database:
        database.create("shared")
        with database.change("shared") as change:
            change.add("pdq", [CODE], refs=["picture-17"])
    with Server(path, http, read_only=True, **guarded.settings) as server:
        yield server


def test_a_caller_with_a_certificate_may_read(server: Server, guarded: Guarded) -> None:
    context = guarded.authority.sign("caller").context(guarded.authority.file)
    assert server.url.startswith("https://127.0.0.1:")
    with server.client(verify=context) as client:
        reply = client.post("/v1/match", json={"type": "pdq", "hashes": [CODE]})
        assert [match["ref"] for match in reply.json()["matches"]] == ["picture-17"]
        problem(client.post("/v1/sets/shared/changes", json={"removals": ["picture-17"]}), 403)
        # A token that is sent has to be one.
        denied = client.get("/v1/sets", headers={"authorization": "Bearer hm_none"})
        problem(denied, 401)


@pytest.mark.parametrize("who", ["nobody", "another's", "revoked", "expired"])
def test_others_are_refused(server: Server, guarded: Guarded, folder: Path, who: str) -> None:
    trusted = guarded.authority.file
    if who == "nobody":
        context = ssl.create_default_context(cafile=trusted)
    elif who == "another's":
        # Of an authority that has the same name.
        (folder / "another").mkdir(exist_ok=True)
        context = Authority(folder / "another", "authority").sign("caller").context(trusted)
    elif who == "revoked":
        context = guarded.revoked.context(trusted)
    else:
        context = guarded.authority.sign("expired", timedelta(seconds=-1)).context(trusted)
    with server.client(verify=context) as client, pytest.raises(httpx.TransportError):
        client.get("/livez")
    # It is not that the server has gone.
    good = guarded.authority.sign("good").context(trusted)
    with server.client(verify=good) as client:
        assert client.get("/livez").status_code == 200


def test_what_is_no_tls_is_refused(server: Server, guarded: Guarded) -> None:
    host, _, port = server.url.removeprefix("https://").partition(":")
    with socket.create_connection((host, int(port)), timeout=10) as plain:
        plain.sendall(b"GET /livez HTTP/1.1\r\nHost: sidecar\r\n\r\n")
        assert not plain.recv(1000).startswith(b"HTTP")
    old = guarded.authority.sign("old").context(guarded.authority.file)
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    # It is said to be old, and is what is to be refused here.
    with pytest.warns(DeprecationWarning):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with server.client(verify=old) as client, pytest.raises(httpx.TransportError):
        client.get("/livez")


def test_a_new_certificate_is_taken_when_told_to(server: Server, guarded: Guarded) -> None:
    def serial() -> str:
        context = guarded.authority.sign("caller").context(guarded.authority.file)
        host, _, port = server.url.removeprefix("https://").partition(":")
        with (
            socket.create_connection((host, int(port)), timeout=60) as plain,
            context.wrap_socket(plain, server_hostname=host) as connection,
        ):
            certificate = connection.getpeercert()
        assert certificate is not None
        return str(certificate["serialNumber"])

    before = serial()
    new = guarded.authority.sign("server")
    assert new.certificate == guarded.settings["tls_certificate"]
    assert serial() == before
    server.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + 60
    while "the settings were read again" not in server.log():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert int(serial(), 16) == new.x509.serial_number


def test_files_that_are_not_what_they_should_be(folder: Path, guarded: Guarded) -> None:
    locked = guarded.authority.sign("locked", passphrase=b"secret")
    empty = folder / "empty.pem"
    empty.touch()
    broken = folder / "broken.pem"
    broken.write_text("-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n")
    files = guarded.settings
    for given, fault in (
        ({"tls_key": locked.key}, ("tls_key", "locked.key, which has a passphrase")),
        ({"tls_key": guarded.revoked.key}, ("tls_key", "which is not the key of")),
        ({"tls_certificate": empty}, ("tls_certificate", "has no -----BEGIN CERTIFICATE-----")),
        ({"tls_key": folder / "none"}, ("tls_key", "cannot be read: No such file")),
        ({"client_ca": files["tls_key"]}, ("client_ca", "has no -----BEGIN CERTIFICATE-----")),
        ({"client_revoked": broken}, ("client_revoked", "broken.pem, which cannot be used")),
    ):
        with pytest.raises(TlsFault) as error:
            server_context(Settings(path=folder, **files | given))
        assert error.value.name == fault[0]
        assert fault[1] in str(error.value)
