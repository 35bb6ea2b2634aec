"""The sidecar: a database's matcher over HTTP, for services in any language.

`hashmatch serve PATH` runs it. `create_app` makes the ASGI application of one process of it, for
any ASGI server. What a request passes through, in order:

app.py       `Sidecar`, the application: finds the route, and turns errors into problem documents
gate.py      who calls, and whether there is room for one more
matching.py  the routes of lookups, answered without a framework in between; typed.py has the others
service.py   what the routes use: the database, the writer, the counts kept
openapi.py   the document of all routes; docs.py writes it as a page, and page.py is that at `/`

The processes, and who starts them:

supervisor.py  listens, starts the others and replaces those that die
worker.py      a process of the application, on one of the HTTP servers of servers.py
writer.py      the one that writes, for all those that answer
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hashmatch.server.app import Sidecar, create_app
    from hashmatch.server.settings import Settings

__all__ = ["Settings", "Sidecar", "create_app"]


def __getattr__(name: str) -> Any:
    # The process that only starts others has no use for the libraries of those that answer.
    if name in __all__:
        module = "settings" if name == "Settings" else "app"
        return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
