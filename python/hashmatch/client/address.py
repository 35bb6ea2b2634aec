"""Where a server is, and how it is connected to."""

from __future__ import annotations

import os
import re
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

#: What a URL of a socket has in place of a host.
_SOCKET_URL = "http://localhost"
#: What a header can hold: RFC 6750 allows less, but which server made it is not known.
_TOKEN = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class Address:
    """A server's address: "unix:/run/hashmatch.sock", "https://host:port" or "http://host:port".

    ValueError if it is none, or what is given with it does not fit.
    """

    text: str
    #: Certificates that the server's has to be signed by one of; None for the system's.
    ca: str | os.PathLike[str] | None = None
    #: Files of the certificate that the client shows, and its key.
    certificate: tuple[str | os.PathLike[str], str | os.PathLike[str]] | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.text, str):
            raise TypeError(f"a server's address is text, not {type(self.text).__name__}")
        if self.socket is None:
            self._require_url()
        elif not self.socket:
            raise ValueError(f"{self.text!r} names no socket: unix:/run/hashmatch.sock does")
        if not self.text.startswith("https://"):
            for name in ("ca", "certificate"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{self.text}: {name} is for https://: leave it out")

    def _require_url(self) -> None:
        try:
            url = urlsplit(self.text)
            sound = url.scheme in ("http", "https") and bool(url.hostname) and url.port != 0
        except ValueError:
            sound = False
        if not sound or any(character <= " " for character in self.text):
            raise ValueError(
                f"{self.text!r} is no address of a server: give unix:/run/hashmatch.sock, "
                "https://host:port or http://host:port"
            )
        if url.username is not None or url.password is not None:
            # The text may hold a secret.
            raise ValueError(f"the address of {url.hostname} has a user: give token=... instead")
        if url.query or url.fragment:
            raise ValueError(f"{self.text}: has more than a host, a port and a path")

    @property
    def socket(self) -> str | None:
        """The path of the Unix socket, None for an address of another kind."""
        return self.text.removeprefix("unix:") if self.text.startswith("unix:") else None

    @property
    def url(self) -> str:
        """What the paths of requests are put behind."""
        return _SOCKET_URL if self.socket is not None else self.text.rstrip("/")

    def tls(self) -> ssl.SSLContext | bool:
        """How a connection is secured; False if it is not. OSError or ValueError names a file that
        is of no use.
        """
        if not self.url.startswith("https://"):
            return False
        for file in (self.ca, *(self.certificate or ())):
            if file is not None:
                # For the error that names it: that of what follows does not.
                open(file, "rb").close()
        try:
            context = ssl.create_default_context(cafile=self.ca)
        except ssl.SSLError as error:
            raise ValueError(f"{self.ca}: holds no certificates: {error}") from None
        if self.certificate is not None:
            certificate, key = self.certificate
            try:
                # Nobody is asked for the passphrase of a key that has one.
                context.load_cert_chain(certificate, key, password="")
            except ssl.SSLError as error:
                raise ValueError(
                    f"{certificate} and {key} are no certificate and its key without a "
                    f"passphrase: {error}"
                ) from None
        return context


def sound_token(token: str) -> str:
    """`token` itself. ValueError, which does not show it, if it can be none."""
    if not isinstance(token, str):
        raise TypeError(f"token must be text, not {type(token).__name__}")
    if not _TOKEN.fullmatch(token):
        raise ValueError(
            "the token is empty, or has a space, a line end or a letter that no token has: give it "
            "as it was shown when it was made"
        )
    return token
