"""Credentials: the catalog holds where they are, and nobody is shown what they are."""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote, quote_plus

_HIDDEN = "[hidden]"
#: In addresses and forms that are quoted in messages, whatever the value is.
_PARAMETERS = re.compile(
    r"""((?:access_token|token|api_?key|code|password|secret|sig(?:nature)?)["']?\s*[=:]\s*["']?)"""
    r"""[^&\s"',)]+""",
    re.IGNORECASE,
)
_BEARER = re.compile(r"\b((?:Bearer|Basic)\s+)[\w.~+/=-]+")


def where_credentials_are(text: str) -> str:
    """`text` as it is kept: "env:VARIABLE", or "file:PATH" with a whole path; "" for none.

    ValueError for anything else, which may be a secret and so is not repeated.
    """
    kind, _, place = text.partition(":")
    if text and (kind not in ("env", "file") or not place):
        raise ValueError(
            "credentials must be env:VARIABLE or file:PATH: they are read from there, never given "
            "themselves"
        )
    if kind == "env" and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", place):
        raise ValueError("credentials: after env: comes the name of an environment variable")
    return f"file:{Path(place).expanduser().absolute()}" if kind == "file" else text


def read_credentials(where: str) -> str:
    """What is there. ValueError names a variable that is not set or a file that is empty; OSError a
    file that cannot be read.
    """
    kind, _, place = where.partition(":")
    if kind == "env":
        text = os.environ.get(place, "").strip()
        if not text:
            raise ValueError(f"the environment variable {place} with the credentials is not set")
        return text
    try:
        text = Path(place).read_text(encoding="utf-8").strip()
    except UnicodeDecodeError:
        raise ValueError(f"{place}: the file with the credentials is no UTF-8 text") from None
    if not text:
        raise ValueError(f"{place}: the file with the credentials is empty")
    return text


def forms_of(secrets: Iterable[str]) -> tuple[str, ...]:
    """Secrets in the forms that they take in addresses and headers, the longest first."""
    forms: set[str] = set()
    for secret in secrets:
        encoded = base64.b64encode(secret.encode()).decode()
        forms |= {secret, quote(secret), quote(secret, safe=""), quote_plus(secret), encoded}
        forms.add(repr(secret)[1:-1])
    return tuple(sorted(forms - {""}, key=len, reverse=True))


def scrub(text: str, secrets: Iterable[str]) -> str:
    """`text` without secrets, given in all their forms, and without what looks like one."""
    for secret in secrets:
        text = text.replace(secret, _HIDDEN)
    return _BEARER.sub(rf"\1{_HIDDEN}", _PARAMETERS.sub(rf"\1{_HIDDEN}", text))
