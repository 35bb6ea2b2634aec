"""`hashmatch serve`: parses, and runs the sidecar."""

from __future__ import annotations

import os
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from hashmatch.extras import need

_LISTENING = "Where it listens"
_CALLERS = "Who may call"
_ANSWERS = "What is answered"
_LIMITS = "Limits of each process"
_RUNNING = "How it runs"


class Http(StrEnum):
    GRANIAN = "granian"
    UVICORN = "uvicorn"


def serve(
    path: Annotated[
        Path | None,
        typer.Argument(
            metavar="PATH",
            help="The database's folder: `hashmatch db create` makes one.",
            show_default=False,
        ),
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="A TOML file with these settings, such as `max_body_bytes = 1_000_000`.",
        ),
    ] = None,
    listen: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            help="unix:SOCKET, a Unix socket that is its owner's alone; or HOST:PORT, for TCP.",
            show_default="unix:PATH/hashmatch.sock",
            rich_help_panel=_LISTENING,
        ),
    ] = None,
    tls_certificate: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="PEM: the certificate for HTTPS, with those between it and its root.",
            rich_help_panel=_LISTENING,
        ),
    ] = None,
    tls_key: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="PEM: its key, without a passphrase.", rich_help_panel=_LISTENING
        ),
    ] = None,
    tokens: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="The file of tokens that `hashmatch token` writes. It is read again when it "
            "changes.",
            show_default="nobody needs one on a Unix socket; PATH/tokens for TCP without "
            "--client-ca, made with a first token that is shown once",
            rich_help_panel=_CALLERS,
        ),
    ] = None,
    client_ca: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="PEM: callers need a certificate that one of these signed.",
            rich_help_panel=_CALLERS,
        ),
    ] = None,
    client_revoked: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="PEM: a revocation list (CRL) of --client-ca, for certificates that are no good "
            "any more.",
            rich_help_panel=_CALLERS,
        ),
    ] = None,
    client_scopes: Annotated[
        str | None,
        typer.Option(
            metavar="SCOPES",
            help="What a caller with a certificate, but no token, may do: some of read, write and "
            "admin, with commas between them.",
            show_default="read",
            rich_help_panel=_CALLERS,
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            metavar="REQUESTS",
            help="So many requests a second of one caller are answered.",
            show_default="as many as there is room for",
            rich_help_panel=_CALLERS,
        ),
    ] = None,
    read_only: Annotated[
        bool | None,
        typer.Option(help="Take no changes.", show_default=False, rich_help_panel=_ANSWERS),
    ] = None,
    hide_distances: Annotated[
        bool | None,
        typer.Option(
            help="Say what matches, but not how closely, so that nobody can feel their way to a "
            "confidential hash.",
            show_default=False,
            rich_help_panel=_ANSWERS,
        ),
    ] = None,
    max_body_bytes: Annotated[
        int | None,
        typer.Option(
            metavar="BYTES",
            min=1,
            help="The longest body of a request.",
            show_default="67108864",
            rich_help_panel=_LIMITS,
        ),
    ] = None,
    body_seconds: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="How long a body may take to arrive.",
            show_default="30",
            rich_help_panel=_LIMITS,
        ),
    ] = None,
    answer_seconds: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="How long a caller may take to take the answer.",
            show_default="60",
            rich_help_panel=_LIMITS,
        ),
    ] = None,
    idle_seconds: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="How long a connection may stay open that asks for nothing, or is not done with "
            "asking.",
            show_default="60",
            rich_help_panel=_LIMITS,
        ),
    ] = None,
    max_connections: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            max=65_536,
            help="Connections that are open at a time.",
            show_default="1024",
            rich_help_panel=_LIMITS,
        ),
    ] = None,
    max_requests: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="Requests that are worked on at a time. Others are told to try again.",
            show_default="128",
            rich_help_panel=_LIMITS,
        ),
    ] = None,
    workers: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            max=256,
            help="Processes that answer. They share the memory of the database.",
            show_default="1",
            rich_help_panel=_RUNNING,
        ),
    ] = None,
    threads: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=0,
            max=1024,
            help="Threads of a search of many hashes; 0 is one for each core.",
            show_default="0",
            rich_help_panel=_RUNNING,
        ),
    ] = None,
    memory: Annotated[
        bool | None,
        typer.Option(
            help="Copy the index into the memory of each process, rather than share the files: "
            "slower to begin, faster to search.",
            show_default=False,
            rich_help_panel=_RUNNING,
        ),
    ] = None,
    http: Annotated[
        Http | None,
        typer.Option(
            help="The HTTP server; uvicorn takes `pip install uvicorn`.",
            show_default="granian",
            rich_help_panel=_RUNNING,
        ),
    ] = None,
    drain_seconds: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="How long requests that are being worked on may take once it is told to end.",
            show_default="30",
            rich_help_panel=_RUNNING,
        ),
    ] = None,
    audit_days: Annotated[
        int | None,
        typer.Option(
            metavar="DAYS",
            min=1,
            max=36_500,
            help="How long PATH/audit.db keeps who looked up how much; `hashmatch db history` "
            "shows it.",
            show_default="90",
            rich_help_panel=_RUNNING,
        ),
    ] = None,
) -> None:
    """Answer lookups in a database over HTTP, and take changes, while it changes.

    Services in any language ask it: POST /v1/match looks hashes up, /docs says what else there is,
    and / is a page for people. By default it listens on a Unix socket in the database's folder,
    which only its owner may open:

        curl --unix-socket PATH/hashmatch.sock http://hashmatch/readyz

    Each setting may also stand in an environment variable, such as HASHMATCH_SERVE_WORKERS for
    --workers, or in the file that --config names, as workers. An option goes before a variable,
    and a variable before the file.

    SIGTERM and Ctrl-C end it once the requests being worked on are answered, a second one at once.
    SIGHUP has it read the file and the certificates again, and replace its processes one by one,
    without refusing a connection. Exit code: 0 when it was told to end, 2 after an error.
    """
    given = {name: value for name, value in locals().items() if value is not None}
    given.pop("config", None)
    need("hashmatch.server.settings", "server")
    from hashmatch.server.settings import Settings
    from hashmatch.server.sources import read_settings
    from hashmatch.server.supervisor import supervise

    def read() -> Settings:
        return read_settings(given, config, os.environ)

    supervise(read(), read)
