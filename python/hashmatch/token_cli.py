"""The `hashmatch token` commands: who may call a sidecar, and what they may do."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from hashmatch.console import print_table, tell
from hashmatch.extras import need

token = typer.Typer(
    no_args_is_help=True,
    help="Tokens of those who call a sidecar: `hashmatch serve --tokens FILE` heeds them, and "
    "changes of the file within a second.",
)

FileArgument = Annotated[Path, typer.Argument(metavar="FILE", help="The file of tokens.")]


class ScopeName(StrEnum):
    READ = "read"
    WRITE = "write"
    ADMIN = "admin"


@token.command()
def add(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The file; made if missing.")],
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="Who calls, as logs and the history name them.")
    ],
    scope: Annotated[
        list[ScopeName],
        typer.Option(
            help="What they may do: read looks hashes up, write changes sets, admin makes sets and "
            "exports them. Each is given by itself; repeatable."
        ),
    ],
    set: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Only this hash set; repeatable.", show_default="all sets"
        ),
    ] = None,
    expires: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="From when on it is refused, in UTC: 2027-01-01, or 2027-01-01T12:00:00Z.",
            show_default="never",
        ),
    ] = None,
) -> None:
    """Make a token and print it. The file has only its SHA-256, so it is not shown again.

    Callers send it as the header `Authorization: Bearer TOKEN`.
    """
    tokens = need("hashmatch.server.tokens", "server")
    end = None if expires is None else tokens.as_expiry(expires)
    secret = tokens.add_token(file, name, [each.value for each in scope], set or None, end)
    tell(f"added token {name!r} to {file}; this is the only time it is shown:")
    print(secret)


@token.command("list")
def list_tokens(file: FileArgument) -> None:
    """List whose tokens there are, and what they may do."""
    tokens = need("hashmatch.server.tokens", "server").read_tokens(file)
    print_table(
        ("name", "scopes", "sets", "expires (UTC)"),
        [
            (
                each.name,
                " ".join(each.scopes),
                "all" if each.sets is None else " ".join(each.sets),
                _shown(each.expires),
            )
            for each in tokens
        ],
    )


def _shown(expires: datetime | None) -> str:
    return "never" if expires is None else f"{expires:%Y-%m-%d %H:%M:%S}"


@token.command()
def remove(
    file: FileArgument,
    name: Annotated[str, typer.Argument(metavar="NAME", help="Whose token to take out.")],
) -> None:
    """Take a token out. Those who send it are refused within a second."""
    need("hashmatch.server.tokens", "server").remove_token(file, name)
    tell(f"removed token {name!r} from {file}")
