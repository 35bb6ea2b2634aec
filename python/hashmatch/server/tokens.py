"""Tokens of callers, in a file: one a line, in JSON, each as the SHA-256 of what the caller sends.

    {"name":"uploads","sha256":"9f86...","scopes":["read"],"sets":["shared"],"expires":"2027-01-01"}

Without "sets" all sets may be seen; without "expires" it lasts. Times are UTC. Empty lines, and
those that begin with "#", say nothing. The file holds no secret, as nobody can guess 256 random
bits from their hash.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
import re
import secrets
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hashmatch.server.callers import SCOPES, Caller, Scope
from hashmatch.texts import json_text, open_output

#: What tokens begin with, so that who searches for leaked secrets finds them.
PREFIX = "hm_"
_TOKEN_BYTES = 32
#: Nothing as long as that is worth hashing.
_MOST_TOKEN_LENGTH = 256
_DIGEST = re.compile("[0-9a-f]{64}", re.ASCII)
_NAME = re.compile(r"[!-~]{1,64}", re.ASCII)
#: Names of callers that send no token.
_TAKEN_NAMES = ("anyone", "certificate", "socket")
_MEMBERS = ("name", "sha256", "scopes", "sets", "expires")
#: Only the owner needs to write it, or to know who the callers are.
_MODE = 0o600


@dataclass(frozen=True, slots=True)
class Token:
    """One line of the file."""

    name: str
    #: In hex.
    sha256: str
    scopes: tuple[Scope, ...]
    sets: tuple[str, ...] | None = None
    expires: datetime | None = None

    def line(self) -> str:
        """As the file has it."""
        members: dict[str, Any] = {
            "name": self.name,
            "sha256": self.sha256,
            "scopes": list(self.scopes),
        }
        if self.sets is not None:
            members["sets"] = list(self.sets)
        if self.expires is not None:
            members["expires"] = f"{self.expires:%Y-%m-%dT%H:%M:%SZ}"
        return json_text(members)


def new_token() -> str:
    """A secret that nobody guesses."""
    return PREFIX + secrets.token_urlsafe(_TOKEN_BYTES)


def read_tokens(path: Path) -> list[Token]:
    """The tokens of a file. ValueError names the line that is none; OSError if there is no file."""
    return [token for _, token in _parsed(path, path.read_bytes()) if token is not None]


def add_token(
    path: Path,
    name: str,
    scopes: Sequence[Scope],
    sets: Sequence[str] | None = None,
    expires: datetime | None = None,
) -> str:
    """Write a new token to the file, which is made if there is none, and return it: it is not kept.

    `expires` has a time zone. ValueError if the name is taken, or something is not as it should be.
    """
    secret = new_token()
    utc = None if expires is None else expires.astimezone(UTC)
    digest = hashlib.sha256(secret.encode()).hexdigest()
    with _held(path):
        before = path.read_bytes() if path.exists() else b""
        if before and not before.endswith(b"\n"):
            before += b"\n"
        token = Token(name, digest, tuple(scopes), None if sets is None else tuple(sets), utc)
        after = before + f"{token.line()}\n".encode()
        _parsed(path, after)
        _write(path, after)
    return secret


def remove_token(path: Path, name: str) -> None:
    """Take a token out of the file. ValueError if it is not there."""
    with _held(path):
        lines = _parsed(path, path.read_bytes())
        kept = [line for line, token in lines if token is None or token.name != name]
        if len(kept) == len(lines):
            raise ValueError(f"{path}: has no token {name!r}: `hashmatch token list` shows them")
        _write(path, b"".join(kept))


@contextmanager
def _held(path: Path) -> Iterator[None]:
    """Others that change files of that folder in this way wait."""
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _write(path: Path, lines: bytes) -> None:
    """Replace the file. One that is there keeps its mode."""
    mode = stat.S_IMODE(path.stat().st_mode) if path.exists() else _MODE
    with open_output(os.fspath(path)) as file:
        os.fchmod(file.fileno(), mode)
        file.write(lines.decode())


def _parsed(path: Path, content: bytes) -> list[tuple[bytes, Token | None]]:
    """Each line, with the token that it is."""
    lines: list[tuple[bytes, Token | None]] = []
    seen: dict[str, int] = {}
    for number, line in enumerate(content.splitlines(keepends=True), 1):
        text = line.strip()
        token = None
        if text and not text.startswith(b"#"):
            try:
                token = _token(text)
                for key in (token.name, token.sha256):
                    if key in seen:
                        raise ValueError(f"is of the name, or has the sha256, of line {seen[key]}")
                    seen[key] = number
            except ValueError as error:
                raise ValueError(f"{path}, line {number}: {error}") from None
        lines.append((line, token))
    return lines


def _token(text: bytes) -> Token:
    # Nothing of the line is repeated in an error: it may be a secret in the wrong place.
    try:
        members = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError(
            "is no JSON: `hashmatch token add` writes lines as they should be"
        ) from None
    if not isinstance(members, dict):
        raise ValueError('must be a JSON object: {"name":...,"sha256":...,"scopes":[...]}')
    if not members.keys() <= set(_MEMBERS):
        raise ValueError(f"may only have the members {', '.join(_MEMBERS)}")
    name, digest = members.get("name"), members.get("sha256")
    if not (isinstance(name, str) and _NAME.fullmatch(name) and name not in _TAKEN_NAMES):
        raise ValueError(
            f"name must be 1 to 64 printable characters of ASCII without spaces, and not "
            f"{' or '.join(_TAKEN_NAMES)}"
        )
    if not (isinstance(digest, str) and _DIGEST.fullmatch(digest)):
        raise ValueError("sha256 must be the 64 hex digits, in lower case, of the token's SHA-256")
    scopes = _texts(members.get("scopes"))
    if scopes is None or not set(scopes) <= set(SCOPES):
        raise ValueError(f"scopes must be a list of some of {', '.join(SCOPES)}")
    sets = _texts(members.get("sets"))
    if sets is None and members.get("sets") is not None:
        raise ValueError("sets must be a list of names of sets; leave it out for all")
    expires = members.get("expires")
    return Token(
        name,
        digest,
        tuple(scope for scope in SCOPES if scope in scopes),
        sets,
        None if expires is None else as_expiry(expires),
    )


def _texts(value: object) -> tuple[str, ...] | None:
    if isinstance(value, list) and value and all(isinstance(each, str) for each in value):
        return tuple(value)
    return None


def as_expiry(text: object) -> datetime:
    """A time in UTC, of "2027-01-01" its beginning. ValueError if it is none."""
    try:
        if not isinstance(text, str):
            raise ValueError
        if re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII):
            text += "T00:00:00Z"
        time = datetime.fromisoformat(text)
        if time.utcoffset() is None:
            raise ValueError
        return time.astimezone(UTC)
    except (ValueError, OverflowError):
        raise ValueError(
            "expires must be a time in UTC, such as 2027-01-01 or 2027-01-01T12:00:00Z"
        ) from None


class Tokens:
    """The tokens of a file as a process knows them: those that it last read without a fault."""

    def __init__(self, path: Path) -> None:
        """OSError or ValueError if the file cannot be read, or is not as it should be."""
        self._path = path
        self._content = b""
        self._callers: dict[bytes, tuple[bytes, Caller, float | None]] = {}
        self._take(path.read_bytes())

    def reload(self) -> str | None:
        """Read the file again. What is wrong with it, if anything is: then nothing changes."""
        try:
            content = self._path.read_bytes()
            if content != self._content:
                self._take(content)
        except (OSError, ValueError) as error:
            return f"{error}"
        return None

    def _take(self, content: bytes) -> None:
        callers = {}
        for _, token in _parsed(self._path, content):
            if token is not None:
                digest = bytes.fromhex(token.sha256)
                sets = None if token.sets is None else frozenset(token.sets)
                end = None if token.expires is None else token.expires.timestamp()
                callers[digest] = digest, Caller(token.name, frozenset(token.scopes), sets), end
        self._callers, self._content = callers, content

    def caller(self, secret: str, now: float) -> Caller | None:
        """Whose token it is at that time; None if it is nobody's, or too old."""
        if len(secret) > _MOST_TOKEN_LENGTH:
            return None
        digest = hashlib.sha256(secret.encode()).digest()
        known, caller, end = self._callers.get(digest, (b"", None, None))
        # What a look-up's time tells is of the hash, which tells nothing of the token.
        if not hmac.compare_digest(known, digest) or (end is not None and now >= end):
            return None
        return caller
