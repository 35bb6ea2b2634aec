"""How a sidecar is run: from flags, environment variables and a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

#: Of the variables.
PREFIX = "HASHMATCH_SERVE_"


class Settings(BaseSettings):
    """What a sidecar is told. Each may stand in the environment as HASHMATCH_SERVE_..."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, extra="forbid", frozen=True)

    #: The database's folder.
    path: Path
    #: "unix:/run/hashmatch.sock", or "host:port"; without it the socket is in the folder.
    listen: str | None = None
    workers: Annotated[int, Field(ge=1, le=256)] = 1
    http: Literal["granian", "uvicorn"] = "granian"
    #: The file of tokens.
    tokens: Path | None = None
    tls_certificate: Path | None = None
    tls_key: Path | None = None
    #: Certificates of callers have to be signed by one of these, and not be revoked by those.
    client_ca: Path | None = None
    client_revoked: Path | None = None
    #: Bytes of a request's body.
    max_body_bytes: Annotated[int, Field(ge=1)] = 64 << 20
    #: How long a body may take to arrive, and an answer to be taken.
    body_seconds: Annotated[float, Field(gt=0)] = 30
    answer_seconds: Annotated[float, Field(gt=0)] = 60
    #: How many requests a process works on at a time.
    max_requests: Annotated[int, Field(ge=1)] = 128
    #: Requests a second that one caller may make; without it as many as there is room for.
    rate: Annotated[float, Field(gt=0)] | None = None
    #: Threads of a search.
    threads: Annotated[int, Field(ge=0, le=1024)] = 0
    #: Answers say what matches, but not how closely.
    hide_distances: bool = False
    #: No changes are taken.
    read_only: bool = False
    #: How long requests that are being worked on may take once the sidecar is told to end.
    drain_seconds: Annotated[float, Field(ge=0)] = 30
    #: How long the audit keeps what was looked up.
    audit_days: Annotated[int, Field(ge=1)] = 90
    #: Segments are copied into memory, rather than mapped: slower to begin, faster to search.
    memory: bool = False
    #: The socket of the writer; of the process that starts the others, not of its user.
    writer_socket: Path | None = None

    def environment(self) -> dict[str, str]:
        """The variables from which another process has the same settings."""
        values = self.model_dump(mode="json", exclude_none=True)
        return {f"{PREFIX}{name.upper()}": _plain(value) for name, value in values.items()}


def _plain(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
