"""Exact matching of perceptual hashes by Hamming distance.

index = hashmatch.Index("pdq")
index.add(known)
for match in index.search(uploads):
    print(match.query, match.id, match.distance)

database = hashmatch.open("bank/", mode="r+")
with database.change("member-a") as change:
    change.add("pdq", codes, refs=refs)
for match in database.match("pdq", uploads):
    print(match.query, match.ref, match.distance)

with hashmatch.connect("unix:/run/hashmatch.sock") as client:  # of `hashmatch serve`
    matches = client.match("pdq", uploads)
"""

from typing import TYPE_CHECKING, Any

from hashmatch._core import FormatError, kernels
from hashmatch.extras import need
from hashmatch.index import Index
from hashmatch.matches import Match, Matches

if TYPE_CHECKING:
    from hashmatch.client import AsyncClient, Client, aconnect, connect
    from hashmatch.database import (
        Database,
        DatabaseMatch,
        DatabaseMatches,
        VideoMatch,
        VideoMatches,
        open,
    )
    from hashmatch.vpdq import Frames

#: They need what comes with the extra of this name.
_CLIENT = frozenset(("AsyncClient", "Client", "aconnect", "connect"))

__all__ = [
    "AsyncClient",
    "Client",
    "Database",
    "DatabaseMatch",
    "DatabaseMatches",
    "FormatError",
    "Frames",
    "Index",
    "Match",
    "Matches",
    "VideoMatch",
    "VideoMatches",
    "__version__",
    "aconnect",
    "connect",
    "kernels",
    "open",
]

__version__: str


def __getattr__(name: str) -> Any:
    # Looking the version up takes longer than importing all the rest, and few ask for it.
    if name == "__version__":
        from importlib.metadata import version

        return version("hashmatch")
    if name in _CLIENT:
        return getattr(need("hashmatch.client", "client"), name)
    # Neither has everybody a database.
    if name in __all__:
        from hashmatch import database

        return getattr(database, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
