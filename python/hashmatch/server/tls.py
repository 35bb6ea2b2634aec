"""TLS, and the certificates of callers."""

from __future__ import annotations

import ssl
from pathlib import Path

from hashmatch.server.settings import Settings


class TlsFault(ValueError):
    """A file that is not what it should be. `name` is of the setting that names it."""

    def __init__(self, name: str, fault: str) -> None:
        super().__init__(fault)
        self.name = name


def server_context(settings: Settings) -> ssl.SSLContext:
    """What Python's own TLS needs, of settings with a certificate and its key.

    Raises TlsFault. It is made for a server that has a TLS of its own as well, to see whether the
    files are as they should be.
    """
    assert settings.tls_certificate is not None and settings.tls_key is not None
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    _require_pem("tls_certificate", settings.tls_certificate, "CERTIFICATE")
    _require_pem("tls_key", settings.tls_key, "PRIVATE KEY")
    try:
        context.load_cert_chain(settings.tls_certificate, settings.tls_key)
    except ssl.SSLError as error:
        fault = f"is {settings.tls_key}, which cannot be used: {_reason(error)}"
        if error.reason == "KEY_VALUES_MISMATCH":
            fault = f"is {settings.tls_key}, which is not the key of {settings.tls_certificate}"
        raise TlsFault("tls_key", fault) from None
    if settings.client_ca is not None:
        context.verify_mode = ssl.CERT_REQUIRED
        _load("client_ca", settings.client_ca, "CERTIFICATE", context)
    if settings.client_revoked is not None:
        _load("client_revoked", settings.client_revoked, "X509 CRL", context)
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    return context


def _load(name: str, path: Path, kind: str, context: ssl.SSLContext) -> None:
    _require_pem(name, path, kind)
    try:
        context.load_verify_locations(path)
    except ssl.SSLError as error:
        raise TlsFault(name, f"is {path}, which cannot be used: {_reason(error)}") from None


def _require_pem(name: str, path: Path, kind: str) -> None:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise TlsFault(name, f"is {path}, which cannot be read: {error.strerror}") from None
    if b"ENCRYPTED" in content:
        raise TlsFault(name, f"is {path}, which has a passphrase: `openssl pkey` takes it off")
    if not any(
        line.startswith(b"-----BEGIN ") and line.endswith(f"{kind}-----".encode())
        for line in map(bytes.strip, content.splitlines())
    ):
        raise TlsFault(name, f"is {path}, which has no -----BEGIN {kind}-----: it has to be PEM")


def _reason(error: ssl.SSLError) -> str:
    return (error.reason or str(error)).replace("_", " ").lower()
