"""What the clients for threads and for event loops have in common."""

from __future__ import annotations

import os
import threading
import time
from typing import Any, TypeAlias

import httpx

from hashmatch.client.address import Address, sound_token
from hashmatch.client.calls import Answer, Call, Reply
from hashmatch.client.errors import answer_of
from hashmatch.client.tries import Patience, Tries

File: TypeAlias = str | os.PathLike[str]

#: Where a token is looked for that is not given.
TOKEN = "HASHMATCH_TOKEN"
#: Calls of one lookup that are made at a time.
CONNECTIONS = 4
#: Connections that are kept for the next call.
_KEPT = 16
#: A set that is made makes no generation, and each process of a server has it after a moment: for
#: so long it is asked to look.
_LOOKS_S = 2.0


class Session:
    """A server, how it is asked, and the newest state that answers have to be of."""

    def __init__(
        self,
        server: str,
        token: str | None,
        ca: File | None,
        certificate: tuple[File, File] | None,
        timeout: float,
        retries: int,
    ) -> None:
        self._given = (server, ca, certificate, timeout, retries)
        self._address = Address(server, ca, certificate)
        try:
            httpx.URL(self._address.url)
        except httpx.InvalidURL as error:
            raise ValueError(f"{server!r} is no address of a server: {error}") from None
        self._tls = self._address.tls()
        self._patience = Patience(timeout, retries)
        found = token if token is not None else os.environ.get(TOKEN) or None
        self._token = None if found is None else sound_token(found)
        self._token_given = token is not None
        self._lock = threading.Lock()
        self.generation = 0
        #: Of time.monotonic.
        self._looks_until = 0.0

    @property
    def server(self) -> str:
        """Its address."""
        return self._address.text

    def forked(self) -> None:
        """In a forked child: another thread of the parent may have held the lock."""
        self._lock = threading.Lock()

    def saw(self, generation: int) -> int:
        """From now on answers are to be of that state or a newer one."""
        with self._lock:
            self.generation = max(self.generation, generation)
        return generation

    def made_set(self) -> None:
        """From now on answers know of all sets that there are."""
        self._looks_until = time.monotonic() + _LOOKS_S

    def tries(self) -> Tries:
        """Those of one call."""
        return Tries(self.server, self._patience)

    def transport_options(self) -> dict[str, Any]:
        """What a transport of `httpx` is made with. Requests are not sent through proxies."""
        return {
            "verify": self._tls,
            "uds": self._address.socket,
            "trust_env": False,
            "limits": httpx.Limits(
                max_connections=None, max_keepalive_connections=_KEPT, keepalive_expiry=30
            ),
        }

    def request(self, call: Call, left_s: float, body: Any) -> httpx.Request:
        """A call as it is sent. It goes to the transport itself: what `httpx.Client` does besides,
        for cookies and redirects, takes as long as all the rest.
        """
        headers = call.headers(self.generation, time.monotonic() < self._looks_until)
        headers["user-agent"] = "hashmatch"
        if self._token is not None:
            headers["authorization"] = f"Bearer {self._token}"
        params = list(call.params)
        url = httpx.URL(f"{self._address.url}{call.path}", **({"params": params} if params else {}))
        timeouts = dict.fromkeys(("connect", "read", "write", "pool"), left_s)
        return httpx.Request(
            call.method, url, headers=headers, content=body, extensions={"timeout": timeouts}
        )

    def pause(self, call: Call, tries: Tries, error: httpx.TransportError) -> float:
        """How long to wait before a call is made again whose try failed, in seconds."""
        if isinstance(error, httpx.TimeoutException):
            raise tries.late() from None
        if not (call.again or isinstance(error, httpx.ConnectError)):
            raise ConnectionError(
                f"{self.server}: the connection failed ({error}), and it is not known whether it "
                "was done: look, before it is asked for again"
            ) from None
        return tries.broken(error)

    def answered(self, reply: Reply, tries: Tries) -> Answer | float:
        """The answer, or how long to wait before the call is made again."""
        pause_s = tries.after(reply)
        return answer_of(reply, self.server) if pause_s is None else pause_s

    def refused(self, reply: Reply, tries: Tries) -> float:
        """How long to wait before a call is made again that was not answered."""
        pause_s = self.answered(reply, tries)
        assert not isinstance(pause_s, Answer)
        return pause_s

    def broken_off(self, error: httpx.TransportError) -> OSError:
        """What an answer that is taken as it comes ends with."""
        if isinstance(error, httpx.TimeoutException):
            return TimeoutError(
                f"{self.server}: for {self._patience.timeout_s:g} s nothing more came of the "
                "answer: ask again, or give a longer timeout"
            )
        return ConnectionError(f"{self.server}: the answer was broken off ({error}): ask again")

    def arguments(self) -> tuple[Any, ...]:
        """What one like it is made with elsewhere. TypeError if it has a secret of its own: a
        pickle may be kept, and be read by others.
        """
        if self._token_given:
            raise TypeError(
                f"a client that was given a token cannot be pickled: set {TOKEN} there and here, "
                "and give none"
            )
        return (*self._given, self.generation)


def head_of(response: httpx.Response, body: bytes = b"") -> Reply:
    """A reply with that body."""
    return Reply(response.status_code, response.headers, body)
