"""What is asked of a server and what it answers, whichever client carries it there.

Each method of a client is a generator here: it yields what it asks, is sent the replies, and
returns the result. `Client` runs it with threads, `AsyncClient` on an event loop.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

_R = TypeVar("_R")

JSON = "application/json"
PACKED = "application/octet-stream"
LINES = "application/x-ndjson"

#: Bytes of a body that are handed on at a time.
_PART_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class Call:
    """One request. Most may be sent again: a lookup or a question changes nothing, and a change has
    a key by which the server knows it.
    """

    method: str
    path: str
    params: Sequence[tuple[str, str]] = ()
    body: bytes | memoryview = b""
    media_type: str = JSON
    accept: str = JSON
    #: Of a change: it is made once, however often it is sent.
    key: str | None = None
    #: Whether it may be sent again where it is not known what became of it.
    again: bool = True
    #: Whether it may be asked in parts instead, where the server says that it is too much.
    divisible: bool = False
    #: The answer is to be of this state or a newer one; or of the newest that there is.
    generation: int = 0
    newest: bool = False

    def headers(self, generation: int, newest: bool) -> dict[str, str]:
        """Its headers, for an answer of that state or a newer one, or of the newest."""
        headers = {"accept": self.accept, "accept-encoding": "identity"}
        if self.method != "GET":
            headers["content-type"] = self.media_type
            headers["content-length"] = str(len(self.body))
        if self.key is not None:
            headers["idempotency-key"] = self.key
        least = max(generation, self.generation)
        if self.key is not None or not self.again:
            pass  # A change is of whatever the writer has.
        elif newest or self.newest:
            headers["hashmatch-min-generation"] = "newest"
        elif least:
            headers["hashmatch-min-generation"] = str(least)
        return headers

    @property
    def is_small(self) -> bool:
        """Whether the body is sent in one piece."""
        return len(self.body) <= _PART_BYTES

    def parts(self) -> Iterator[bytes]:
        """The body, anew at each call."""
        for begin in range(0, len(self.body), _PART_BYTES):
            yield bytes(self.body[begin : begin + _PART_BYTES])


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer as it came."""

    status: int
    #: Names are in lower case.
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that says what was asked."""

    #: The state that it is of.
    generation: int
    media_type: str
    body: bytes = field(repr=False)


class TooMuch(ValueError):
    """A call asks for more than the server does at a time."""


#: What there is of a call: only one that is divisible may have been too much.
Outcome: TypeAlias = Answer | TooMuch


@dataclass(frozen=True, slots=True)
class Asked:
    """Calls that may be made at the same time. `after` is told the number of each that has been
    made, and what there is of it.
    """

    calls: Sequence[Call]
    after: Callable[[int, Outcome], object] = lambda number, outcome: None


Talk: TypeAlias = Generator[Asked, Sequence[Outcome], _R]


def ask(call: Call) -> Talk[Answer]:
    """The answer to one call."""
    (answer,) = yield Asked([call])
    if isinstance(answer, TooMuch):
        raise answer
    return answer
