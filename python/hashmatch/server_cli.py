"""`hashmatch serve`: parses, and runs the sidecar."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from hashmatch.extras import need


class Http(StrEnum):
    GRANIAN = "granian"
    UVICORN = "uvicorn"


def serve(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The database's folder.")],
    listen: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="unix:PATH for a Unix socket, or HOST:PORT for TCP.",
            show_default="unix:PATH/hashmatch.sock",
        ),
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that answer.", show_default="1")
    ] = None,
    http: Annotated[
        Http | None, typer.Option(help="The HTTP server.", show_default="granian")
    ] = None,
    tokens: Annotated[Path | None, typer.Option(metavar="FILE")] = None,
    tls_certificate: Annotated[Path | None, typer.Option(metavar="FILE")] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE")] = None,
    client_ca: Annotated[Path | None, typer.Option(metavar="FILE")] = None,
    client_revoked: Annotated[Path | None, typer.Option(metavar="FILE")] = None,
    max_body_bytes: Annotated[int | None, typer.Option()] = None,
    body_seconds: Annotated[float | None, typer.Option()] = None,
    answer_seconds: Annotated[float | None, typer.Option()] = None,
    max_requests: Annotated[int | None, typer.Option()] = None,
    rate: Annotated[float | None, typer.Option()] = None,
    threads: Annotated[int | None, typer.Option()] = None,
    hide_distances: Annotated[
        bool | None, typer.Option("--hide-distances/--show-distances")
    ] = None,
    read_only: Annotated[bool | None, typer.Option("--read-only/--read-write")] = None,
    drain_seconds: Annotated[float | None, typer.Option()] = None,
    audit_days: Annotated[int | None, typer.Option()] = None,
    memory: Annotated[bool | None, typer.Option("--memory/--mapped")] = None,
) -> None:
    """Answer lookups over HTTP."""
    given = {name: value for name, value in locals().items() if value is not None}
    need("hashmatch.server", "server")
    from hashmatch.server.settings import Settings
    from hashmatch.server.supervisor import supervise

    supervise(Settings(**given))
