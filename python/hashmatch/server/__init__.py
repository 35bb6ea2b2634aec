"""The sidecar: a database's matcher over HTTP, for services in any language.

`hashmatch serve PATH` runs it. `create_app` makes the ASGI application of one process of it, for
any ASGI server. What a request passes through, in order:

app.py       `Sidecar`, the application: finds the route, and turns errors into problem documents
gate.py      who calls, and whether there is room for one more
matching.py  the routes of lookups, answered without a framework in between; typed.py has the others
service.py   what the routes use: the database, the writer, the counts kept

The writer is a process of its own, for all the processes that answer: see writer.py.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hashmatch.server.app import Sidecar, create_app
    from hashmatch.server.settings import Settings

_MODULES = {"Settings": "settings"}
__all__ = ["Settings", "Sidecar", "create_app"]


def __getattr__(name: str) -> Any:
    # The writer needs none of it, and is to be there soon after it was killed.
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"hashmatch.server.{_MODULES.get(name, 'app')}"), name)
