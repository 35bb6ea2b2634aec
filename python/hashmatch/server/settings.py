"""How a sidecar is run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from hashmatch.server.callers import Scope

#: Of the variables.
PREFIX = "HASHMATCH_SERVE_"

#: What the process that starts the others tells them, rather than its user.
INTERNAL = ("writer_socket", "shared_folder")

Seconds = Annotated[float, Field(gt=0, le=86_400)]


def _split(value: object) -> object:
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


class Settings(BaseSettings):
    """What a sidecar is told. Each may stand in the environment as HASHMATCH_SERVE_..., and is an
    option of `hashmatch serve`. sources.py reads them as people give them, and says what is wrong.
    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX, env_ignore_empty=True, extra="forbid", frozen=True, allow_inf_nan=False
    )

    #: The database's folder.
    path: Path
    #: "unix:/run/hashmatch.sock", or "host:port"; without it the socket is in the folder.
    listen: str | None = None
    workers: Annotated[int, Field(ge=1, le=256)] = 1
    http: Literal["granian", "uvicorn"] = "granian"
    #: The file of tokens. On a Unix socket callers need none.
    tokens: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    #: Certificates of callers have to be signed by one of these, and not be revoked by those.
    client_ca: Path | None = None
    client_revoked: Path | None = None
    #: What a caller may do who has such a certificate, and sends no token. Whom the certificate
    #: names is not known here, as the servers do not tell.
    client_scopes: Annotated[tuple[Scope, ...], NoDecode, BeforeValidator(_split)] = ("read",)
    #: Bytes of a request's body.
    max_body_bytes: Annotated[int, Field(ge=1)] = 64 << 20
    #: How long a body may take to arrive, and an answer to be taken.
    body_seconds: Seconds = 30
    answer_seconds: Seconds = 60
    #: How long a connection may be open without the whole head of a request.
    idle_seconds: Seconds = 60
    #: How many connections a process has open, and how many requests it works on at a time.
    max_connections: Annotated[int, Field(ge=1, le=65_536)] = 1024
    max_requests: Annotated[int, Field(ge=1)] = 128
    #: Requests a second that one caller may make; without it as many as there is room for.
    rate: Annotated[float | None, Field(gt=0)] = None
    #: Threads of a search.
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    #: Answers say what matches, but not how closely.
    hide_distances: bool = False
    #: No changes are taken.
    read_only: bool = False
    #: How long requests that are being worked on may take once the sidecar is told to end.
    drain_seconds: Annotated[float, Field(ge=0, le=86_400)] = 30
    #: How long the audit keeps what was looked up.
    audit_days: Annotated[int, Field(ge=1, le=36_500)] = 90
    #: Segments are copied into memory, rather than mapped: slower to begin, faster to search.
    memory: bool = False
    #: The socket of the writer, and a folder of all processes together for what they count.
    writer_socket: Path | None = None
    shared_folder: Path | None = None

    def environment(self) -> dict[str, str]:
        """The variables from which another process has the same settings."""
        values = self.model_dump(mode="json", exclude_none=True)
        return {f"{PREFIX}{name.upper()}": _text(value) for name, value in values.items()}


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ",".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)
