"""The sidecar: a database's matcher over HTTP, for services in any language.

`hashmatch serve PATH` runs it. `create_app` makes the ASGI application of one process of it, for
any ASGI server. What a request passes through, in order:

app.py       `Sidecar`, the application: finds the route, and turns errors into problem documents
gate.py      who calls, and whether there is room for one more
matching.py  the routes of lookups, answered without a framework in between; typed.py has the others
service.py   what the routes use: the database, the writer, the counts kept

The writer is a process of its own, for all the processes that answer: see writer.py.
"""

from hashmatch.server.app import Sidecar, create_app
from hashmatch.server.settings import Settings

__all__ = ["Settings", "Sidecar", "create_app"]
