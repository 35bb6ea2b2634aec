"""What the routes of one process use: the database, the writer, and the counts that are kept."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import ParamSpec, TypeVar

import hashmatch
from hashmatch.database import Database
from hashmatch.server.audit import Audit
from hashmatch.server.hashing import Hasher
from hashmatch.server.logs import make_log
from hashmatch.server.metrics import Metrics
from hashmatch.server.settings import Settings
from hashmatch.server.writing import Writing

_P = ParamSpec("_P")
_R = TypeVar("_R")

#: What takes long is done beside the event loop, so much at a time: what takes a part of a second,
#: and, for that not to wait for it, what takes seconds.
_SHORT = 4
_LONG = 4


class Service:
    """Open between `start` and `stop`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.log = make_log()
        self.metrics = Metrics(settings.shared_folder)
        self._database: Database | None = None
        #: Makes changes; None where none are taken.
        self.writer: Writing | None = None
        if settings.writer_socket is not None and not settings.read_only:
            self.writer = Writing(settings.writer_socket)
        #: Notes who looked up how much.
        self.audit = Audit(settings.path, settings.audit_days)
        #: Hashes files that are to be looked up.
        self.hasher = Hasher(settings.workers, settings.shared_folder)
        self._short = ThreadPoolExecutor(_SHORT, "search")
        self._long = ThreadPoolExecutor(_LONG, "long-search")

    async def start(self) -> None:
        """Open what is used. OSError or ValueError if the database cannot be opened."""
        settings = self.settings
        if self.writer is not None:
            # It brings a catalog of an older version to this one, which only a writer can.
            await self.writer.settled()
        self._database = await asyncio.to_thread(
            hashmatch.open, settings.path, memory=settings.memory
        )
        self.audit.start()

    async def stop(self) -> None:
        """Let go of everything."""
        await asyncio.to_thread(self.hasher.stop)
        await asyncio.to_thread(self._long.shutdown)
        await asyncio.to_thread(self._short.shutdown)
        await asyncio.to_thread(self.audit.stop)
        if self._database is not None:
            await asyncio.to_thread(self._database.close)

    @property
    def database(self) -> Database:
        """The database, opened for reading."""
        if self._database is None:
            raise ValueError("the service has not been started")
        return self._database

    @property
    def generation(self) -> int | None:
        """The generation that is answered from; None where none can be read."""
        try:
            return self.database.generation
        except (OSError, ValueError):
            return None

    async def beside(
        self, function: Callable[_P, _R], *arguments: _P.args, **named: _P.kwargs
    ) -> _R:
        """Call what takes long, while others' requests are answered."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._short, lambda: function(*arguments, **named))

    async def bulk(self, function: Callable[_P, _R], *arguments: _P.args, **named: _P.kwargs) -> _R:
        """The same for what may take seconds, such as many searches."""
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._long, lambda: function(*arguments, **named))
