"""The client of a sidecar, for event loops of asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from types import TracebackType
from typing import Self, TypeVar

import httpx

from hashmatch.client import files, lookups, questions, videos
from hashmatch.client.calls import Answer, Asked, Call, Outcome, Reply, Talk, TooMuch, ask
from hashmatch.client.changes import ClientChange, OnError
from hashmatch.client.contents import Lines
from hashmatch.client.files import FileMatches
from hashmatch.client.loads import Load
from hashmatch.client.lookups import Where
from hashmatch.client.records import ServerStatus
from hashmatch.client.session import CONNECTIONS, File, Session, head_of
from hashmatch.client.tries import Tries
from hashmatch.codes import Codes
from hashmatch.database.matches import DatabaseMatches
from hashmatch.database.model import Batch, Counts, HistoryRow, Item, Removal, SetRecord
from hashmatch.database.uploads import Rule, Steps, Upload
from hashmatch.database.video_matches import VideoMatches
from hashmatch.index import Progress
from hashmatch.vocabulary import Opinion

_R = TypeVar("_R")


class AsyncClient:
    """The database behind a server. `hashmatch.aconnect(server)` makes one.

    Its methods are those of `Client`, to be awaited; `generation` is a method too. Any number of
    tasks of one event loop may use it.
    """

    def __init__(
        self,
        server: str,
        *,
        token: str | None = None,
        ca: File | None = None,
        certificate: tuple[File, File] | None = None,
        timeout: float = 60.0,
        retries: int = 6,
    ) -> None:
        self._session = Session(server, token, ca, certificate, timeout, retries)
        self._http: httpx.AsyncBaseTransport | None = None
        self._closed = False

    # Looking up.

    async def match(
        self,
        type: str,
        codes: Codes,
        sets: Sequence[str] | None = None,
        max_distance: int | None = None,
        verdicts: Iterable[str] | None = None,
        limit: int | None = None,
        *,
        bits: bool = False,
        progress: Progress | None = None,
    ) -> DatabaseMatches:
        """`Client.match`."""
        where = Where(sets, verdicts, max_distance)
        return await self._result(
            lookups.match(self.server, type, codes, where, limit, bits, progress)
        )

    async def match_videos(
        self,
        uploads: Upload | Sequence[Upload],
        sets: Sequence[str] | None = None,
        max_distance: int | None = None,
        verdicts: Iterable[str] | None = None,
        *,
        query_percent: float = 80,
        video_percent: float = 0,
        quality_tolerance: int = 50,
        steps: Steps = "filter-dedupe",
        pictures: bool = True,
        progress: Progress | None = None,
    ) -> VideoMatches:
        """`Client.match_videos`."""
        rule = Rule(query_percent, video_percent, quality_tolerance, steps, pictures)
        where = Where(sets, verdicts, max_distance)
        return await self._result(videos.match_videos(self.server, uploads, where, rule, progress))

    async def match_file(
        self,
        file: files.File,
        sets: Sequence[str] | None = None,
        max_distance: int | None = None,
        verdicts: Iterable[str] | None = None,
        *,
        quality_tolerance: int = 50,
    ) -> FileMatches:
        """`Client.match_file`."""
        where = Where(sets, verdicts, max_distance)
        contents = await asyncio.to_thread(files.contents_of, file)
        return await self._result(files.match_file(self.server, contents, where, quality_tolerance))

    # Reading.

    @property
    def server(self) -> str:
        """The server's address."""
        return self._session.server

    async def generation(self) -> int:
        """`Client.generation`."""
        return await self._result(questions.generation())

    async def sets(self) -> list[SetRecord]:
        """`Client.sets`."""
        return await self._result(questions.sets(self.server))

    async def status(self) -> ServerStatus:
        """`Client.status`."""
        return await self._result(questions.status(self.server))

    async def history(
        self, set: str | None = None, ref: str | None = None, limit: int = 100
    ) -> list[HistoryRow]:
        """`Client.history`."""
        return await self._result(questions.history(self.server, set, ref, limit))

    async def contents(self, set: str) -> AsyncIterator[Item | Opinion]:
        """`Client.contents`, for `async for`."""
        self._require_open()
        lines = Lines(self.server)
        async with self._streamed(questions.contents(set)) as parts:
            async for part in parts:
                for each in lines.take(part):
                    yield each
        for each in lines.end():
            yield each

    async def refresh(self) -> int:
        """`Client.refresh`."""
        return self._session.saw(await self._result(questions.generation(newest=True)))

    # Writing.

    async def create(
        self, name: str, *, contributor: str = "", max_distance: Mapping[str, int] | None = None
    ) -> None:
        """`Client.create`."""
        await self._result(questions.create(name, contributor, max_distance))
        self._session.made_set()

    @asynccontextmanager
    async def change(self, set: str, *, on_error: OnError = "raise") -> AsyncIterator[ClientChange]:
        """`Client.change`, for `async with`. What is called on the change itself is not awaited."""
        self._require_open()
        change = ClientChange(set, on_error)
        try:
            yield change
        finally:
            change.end()
        change.made(await self._result(ask(change.call)), self.server)
        self._session.saw(change.generation)

    async def load(
        self,
        set: str,
        batches: Iterable[Batch | Removal],
        *,
        on_error: OnError = "raise",
        progress: Progress | None = None,
    ) -> Counts:
        """`Client.load`."""
        load = Load(set, batches, on_error)
        for call in load.calls():
            self._session.saw(load.take(await self._result(ask(call)), self.server))
            if progress is not None:
                progress(load.done, 0)
        return load.counts

    # Asking.

    async def _result(self, talk: Talk[_R]) -> _R:
        """What a talk comes to."""
        self._require_open()
        try:
            asked = next(talk)
            while True:
                outcomes = await self._outcomes(asked)
                try:
                    asked = talk.send(outcomes)
                except StopIteration as end:
                    result: _R = end.value
                    return result
        finally:
            talk.close()

    async def _outcomes(self, asked: Asked) -> list[Outcome]:
        room = asyncio.Semaphore(CONNECTIONS)

        async def made(number: int, call: Call) -> Outcome:
            async with room:
                outcome = await self._outcome(call)
            asked.after(number, outcome)
            return outcome

        tasks = [asyncio.ensure_future(made(n, call)) for n, call in enumerate(asked.calls)]
        try:
            return await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _outcome(self, call: Call) -> Outcome:
        try:
            return await self._answer(call)
        except TooMuch as error:
            if call.divisible:
                return error
            raise

    async def _answer(self, call: Call) -> Answer:
        tries = self._session.tries()
        while True:
            try:
                answer = self._session.answered(await self._reply(call, tries), tries)
            except httpx.TransportError as error:
                answer = self._session.pause(call, tries, error)
            if isinstance(answer, Answer):
                return answer
            await asyncio.sleep(answer)

    async def _reply(self, call: Call, tries: Tries) -> Reply:
        try:
            async with asyncio.timeout(tries.left_s), self._sent(call, tries) as response:
                return await _read(response)
        except TimeoutError:
            raise tries.late() from None

    @asynccontextmanager
    async def _streamed(self, call: Call) -> AsyncIterator[AsyncIterator[bytes]]:
        """The parts of the answer to a call, as they come."""
        tries = self._session.tries()
        while True:
            try:
                async with self._sent(call, tries) as response:
                    if response.is_success:
                        self._session.answered(head_of(response), tries)
                        yield self._received(response)
                        return
                    pause_s = self._session.refused(await _read(response), tries)
            except httpx.TransportError as error:
                pause_s = self._session.pause(call, tries, error)
            await asyncio.sleep(pause_s)

    async def _received(self, response: httpx.Response) -> AsyncIterator[bytes]:
        try:
            async for part in response.aiter_raw():
                yield part
        except httpx.TransportError as error:
            raise self._session.broken_off(error) from None

    @asynccontextmanager
    async def _sent(self, call: Call, tries: Tries) -> AsyncIterator[httpx.Response]:
        body = bytes(call.body) if call.is_small else _parts(call)
        request = self._session.request(call, tries.left_s, body)
        response = await self._connected().handle_async_request(request)
        try:
            yield response
        finally:
            await response.aclose()

    def _connected(self) -> httpx.AsyncBaseTransport:
        if self._http is None:
            self._http = httpx.AsyncHTTPTransport(**self._session.transport_options())
        return self._http

    def _require_open(self) -> None:
        if self._closed:
            raise ValueError(f"{self.server}: the client was closed")

    # Closing.

    async def close(self) -> None:
        """Let go of the connections. Closing twice is fine."""
        self._closed = True
        if self._http is not None:
            http, self._http = self._http, None
            await http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    def __repr__(self) -> str:
        return f"<hashmatch.AsyncClient: {self.server}{', closed' if self._closed else ''}>"


async def _read(response: httpx.Response) -> Reply:
    return head_of(response, b"".join([part async for part in response.aiter_raw()]))


async def _parts(call: Call) -> AsyncIterator[bytes]:
    for part in call.parts():
        yield part
