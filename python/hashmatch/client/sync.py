"""The client of a sidecar, for threads."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self, TypeVar

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


class Client:
    """The database behind a server. `hashmatch.connect(server)` makes one.

    It has the methods and the results of `Database`. An answer is of one generation, which it
    names, and of none older than the changes that were made through this client. Of a server that
    hides distances they are masked (None in rows), and hashes are "".

    Any number of threads may use a client, and forked children. It connects when it is first used.
    One that was given no token can be pickled.
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
        self._lock = threading.Lock()
        self._http: httpx.BaseTransport | None = None
        self._parents: httpx.BaseTransport | None = None
        self._closed = False
        _clients.add(self)

    # Looking up.

    def match(
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
        """`Database.match`. Many codes are sent in several requests, a few at a time; all parts of
        the result are of one generation, or it is a TimeoutError.
        """
        where = Where(sets, verdicts, max_distance)
        return self._result(lookups.match(self.server, type, codes, where, limit, bits, progress))

    def match_videos(
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
        """`Database.match_videos`; many uploads are sent in several requests, as by `match`."""
        rule = Rule(query_percent, video_percent, quality_tolerance, steps, pictures)
        where = Where(sets, verdicts, max_distance)
        return self._result(videos.match_videos(self.server, uploads, where, rule, progress))

    def match_file(
        self,
        file: files.File,
        sets: Sequence[str] | None = None,
        max_distance: int | None = None,
        verdicts: Iterable[str] | None = None,
        *,
        quality_tolerance: int = 50,
    ) -> FileMatches:
        """What a file matches: a picture by PDQ, a video by those of its frames, any file by the
        digests that are known of some. The server hashes it. `file` is its path, or its bytes.

        Pictures, and frames, of a quality below `quality_tolerance` are not looked up. ValueError
        if the file cannot be hashed, or is larger than the server takes.
        """
        where, contents = Where(sets, verdicts, max_distance), files.contents_of(file)
        return self._result(files.match_file(self.server, contents, where, quality_tolerance))

    # Reading.

    @property
    def server(self) -> str:
        """The server's address."""
        return self._session.server

    @property
    def generation(self) -> int:
        """The generation that lookups are answered from now."""
        return self._result(questions.generation())

    def sets(self) -> list[SetRecord]:
        """The hash sets, in the order of their names. Their `number` is -1: it is not told."""
        return self._result(questions.sets(self.server))

    def status(self) -> ServerStatus:
        """What is held and how."""
        return self._result(questions.status(self.server))

    def history(
        self, set: str | None = None, ref: str | None = None, limit: int = 100
    ) -> list[HistoryRow]:
        """The latest changes, newest first: of all sets or one, or those of one ref."""
        return self._result(questions.history(self.server, set, ref, limit))

    def contents(self, set: str) -> Iterator[Item | Opinion]:
        """`Database.contents`, as it arrives. ConnectionError if it is broken off."""
        self._require_open()
        lines = Lines(self.server)
        with self._streamed(questions.contents(set)) as parts:
            for part in parts:
                yield from lines.take(part)
        yield from lines.end()

    def refresh(self) -> int:
        """Have the next lookups be of the newest generation or a later one, and return it."""
        return self._session.saw(self._result(questions.generation(newest=True)))

    # Writing.

    def create(
        self, name: str, *, contributor: str = "", max_distance: Mapping[str, int] | None = None
    ) -> None:
        """Make an empty hash set, as `Database.create`."""
        self._result(questions.create(name, contributor, max_distance))
        self._session.made_set()

    @contextmanager
    def change(self, set: str, *, on_error: OnError = "raise") -> Iterator[ClientChange]:
        """A change of one set, as one transaction: sent when the block ends, and made once however
        often it had to be sent. What the block raises leaves all as it was.

        When the block has ended it survives the end of the server, lookups of this client see it,
        and `change.counts` and `change.generation` say what it did.
        """
        self._require_open()
        change = ClientChange(set, on_error)
        try:
            yield change
        finally:
            change.end()
        change.made(self._result(ask(change.call)), self.server)
        self._session.saw(change.generation)

    def load(
        self,
        set: str,
        batches: Iterable[Batch | Removal],
        *,
        on_error: OnError = "raise",
        progress: Progress | None = None,
    ) -> Counts:
        """Batches as several changes of bounded size, one after another.

        Each change is made as a whole, the load is not: where it is broken off, what was sent
        before is there. `Database.load`, where the server runs, loads all in one step, and tens of
        millions of rows much faster. `progress(rows, 0)` is called after each change.
        """
        load = Load(set, batches, on_error)
        for call in load.calls():
            self._session.saw(load.take(self._result(ask(call)), self.server))
            if progress is not None:
                progress(load.done, 0)
        return load.counts

    # Asking.

    def _result(self, talk: Talk[_R]) -> _R:
        """What a talk comes to."""
        self._require_open()
        try:
            asked = next(talk)
            while True:
                outcomes = self._outcomes(asked)
                try:
                    asked = talk.send(outcomes)
                except StopIteration as end:
                    result: _R = end.value
                    return result
        finally:
            talk.close()

    def _outcomes(self, asked: Asked) -> list[Outcome]:
        calls, after = asked.calls, asked.after
        if len(calls) == 1:
            outcome = self._outcome(calls[0])
            after(0, outcome)
            return [outcome]
        ended = threading.Event()
        pool = ThreadPoolExecutor(min(CONNECTIONS, len(calls)), "hashmatch-client")
        try:
            numbers = {pool.submit(self._outcome, call, ended): n for n, call in enumerate(calls)}
            for future in as_completed(numbers):
                after(numbers[future], future.result())
            return [future.result() for future in numbers]
        finally:
            # After an error or an interrupt: those that are amid a request end with it.
            ended.set()
            pool.shutdown(cancel_futures=True)

    def _outcome(self, call: Call, ended: threading.Event | None = None) -> Outcome:
        try:
            return self._answer(call, ended)
        except TooMuch as error:
            if call.divisible:
                return error
            raise

    def _answer(self, call: Call, ended: threading.Event | None) -> Answer:
        tries = self._session.tries()
        while True:
            try:
                answer = self._session.answered(self._reply(call, tries), tries)
            except httpx.TransportError as error:
                answer = self._session.pause(call, tries, error)
            if isinstance(answer, Answer):
                return answer
            self._wait(answer, ended)

    def _wait(self, pause_s: float, ended: threading.Event | None = None) -> None:
        """InterruptedError if the answer is not wanted any more."""
        if ended is None:
            time.sleep(pause_s)
        elif ended.wait(pause_s):
            raise InterruptedError(f"{self.server}: the lookup was ended")

    def _reply(self, call: Call, tries: Tries) -> Reply:
        with self._sent(call, tries) as response:
            return _read(response, tries)

    @contextmanager
    def _streamed(self, call: Call) -> Iterator[Iterator[bytes]]:
        """The parts of the answer to a call, as they come."""
        tries = self._session.tries()
        while True:
            try:
                with self._sent(call, tries) as response:
                    if response.is_success:
                        self._session.answered(head_of(response), tries)
                        yield self._received(response)
                        return
                    pause_s = self._session.refused(_read(response, tries), tries)
            except httpx.TransportError as error:
                pause_s = self._session.pause(call, tries, error)
            self._wait(pause_s)

    def _received(self, response: httpx.Response) -> Iterator[bytes]:
        try:
            yield from response.iter_raw()
        except httpx.TransportError as error:
            raise self._session.broken_off(error) from None

    @contextmanager
    def _sent(self, call: Call, tries: Tries) -> Iterator[httpx.Response]:
        body = bytes(call.body) if call.is_small else call.parts()
        request = self._session.request(call, tries.left_s, body)
        response = self._connected().handle_request(request)
        try:
            yield response
        finally:
            response.close()

    def _connected(self) -> httpx.BaseTransport:
        with self._lock:
            self._require_open()
            if self._http is None:
                self._http = httpx.HTTPTransport(**self._session.transport_options())
            return self._http

    def _forked(self) -> None:
        """In a forked child: leave the parent's connections alone, and what its threads held."""
        self._lock = threading.Lock()
        self._session.forked()
        self._parents = self._http
        self._http = None

    def _require_open(self) -> None:
        if self._closed:
            raise ValueError(f"{self.server}: the client was closed")

    # Closing, pickling.

    def close(self) -> None:
        """Let go of the connections. Closing twice is fine."""
        self._closed = True
        with self._lock:
            if self._http is not None:
                self._http.close()
            self._http = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return _again, self._session.arguments()

    def __repr__(self) -> str:
        return f"<hashmatch.Client: {self.server}{', closed' if self._closed else ''}>"


def _read(response: httpx.Response, tries: Tries) -> Reply:
    parts = []
    for part in response.iter_raw():
        parts.append(part)
        tries.require_time()
    return head_of(response, b"".join(parts))


_clients: weakref.WeakSet[Client] = weakref.WeakSet()


def _after_fork() -> None:
    for client in _clients:
        client._forked()


os.register_at_fork(after_in_child=_after_fork)


def _again(
    server: str,
    ca: File | None,
    certificate: tuple[File, File] | None,
    timeout: float,
    retries: int,
    generation: int,
) -> Client:
    client = Client(server, ca=ca, certificate=certificate, timeout=timeout, retries=retries)
    client._session.saw(generation)
    return client
