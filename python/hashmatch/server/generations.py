"""`Hashmatch-Min-Generation`: who changed a set is answered from a state that has the change, and
who asks for "newest" from one that has all changes made before.
"""

from __future__ import annotations

import re

from hashmatch.database import Database
from hashmatch.server.http import Request
from hashmatch.server.problems import Problem
from hashmatch.server.service import Service

HEADER = "Hashmatch-Min-Generation"
_NAME = HEADER.lower().encode()
_NUMBER = re.compile(r"\d{1,18}", re.ASCII)
_NEWEST = "newest"


async def reach(request: Request, service: Service) -> None:
    """Be at the generation that the request names, if it names one. Problem if that is not to be
    had.
    """
    text = request.header(_NAME)
    if text is None:
        return
    database = service.database
    if text == _NEWEST:
        await _newest(service)
        return
    if not _NUMBER.fullmatch(text):
        raise Problem(
            400,
            f"{HEADER} is {text!r:.80}: give the number of a generation, or {_NEWEST}",
            field=HEADER,
        )
    wanted = int(text)
    if database.generation >= wanted:
        return
    try:
        reached = await service.beside(_refreshed, database, wanted)
    except (OSError, ValueError):  # The database's trouble, which its status tells.
        reached = database.generation
    if reached < wanted:
        raise Problem(
            503,
            f"generation {wanted} is not here yet, the newest is {reached}: try again",
            retry_after=1,
        )


async def _newest(service: Service) -> None:
    try:
        await service.beside(service.database.refresh)
    except (OSError, ValueError):
        raise Problem(
            503, "the newest generation cannot be taken in now: try again", retry_after=1
        ) from None


def _refreshed(database: Database, wanted: int) -> int:
    # Of many requests that wait for it, the first has brought it in.
    reached = database.generation
    return reached if reached >= wanted else database.refresh()
