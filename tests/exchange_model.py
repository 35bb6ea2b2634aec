"""What the exchanges of the tests have in common: records that come, change and go with the time of
a clock of their own, and what a database that followed them is to hold.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import pytest

#: In every token and password, so that a test can look for it anywhere.
SECRET = "s3cret-Zr7+/kQ"
VARIABLE = "HASHMATCH_TEST_CREDENTIALS"
#: Records a page.
PAGE = 3
DIGITS = {"pdq": 64, "md5": 32, "sha1": 40, "sha256": 64}

#: Kind, hashes as (type, hex), labels, opinions as (contributor, verdict, labels).
Held: TypeAlias = tuple[str, frozenset[tuple[str, str]], frozenset[str], frozenset[Any]]


class Fault(NamedTuple):
    """What a server does in the place of an answer."""

    status: int = 200
    headers: Mapping[str, str] = {}
    #: Sends half of what it announced, and hangs up.
    cut: bool = False
    #: Says nothing for so long.
    stall_s: float = 0.0
    #: Takes so long from one byte to the next.
    drip_s: float = 0.0
    body: bytes | None = None


@dataclass
class Record:
    key: tuple[str, ...]
    time: int
    #: None for one that is deleted.
    body: dict[str, Any] | None


@dataclass
class ExchangeServer:
    """One exchange. Subclasses say what it is called and how it answers."""

    exchange = ""
    options: Mapping[str, str] = field(default_factory=dict)
    records: dict[tuple[str, ...], Record] = field(default_factory=dict)
    #: Malformed records, as they are sent, by their time.
    malformed: list[tuple[int, Any]] = field(default_factory=list)
    now: int = 1_000
    #: What goes wrong with a request, by its number from 1; 0 for every one.
    faults: dict[int, Fault] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    base: str = ""

    # What tests ask.

    def credentials(self) -> str:
        return f"tester:{SECRET}"

    def patch(self, patch: pytest.MonkeyPatch) -> None:
        """Lead the library's client here, and let it have the clock of this server."""
        raise NotImplementedError

    def put(self, key: tuple[str, ...], body: dict[str, Any] | None) -> None:
        self.records[key] = Record(key, self.now, body)

    def expected(self) -> dict[str, Held]:
        found = (self.held(record) for record in self.records.values() if record.body)
        return {ref: held for ref, held in found if held[1]}

    def held(self, record: Record) -> tuple[str, Held]:
        """The ref of a live record, and what a database is to hold of it."""
        raise NotImplementedError

    def random_body(self, chance: random.Random) -> tuple[tuple[str, ...], dict[str, Any]]:
        raise NotImplementedError

    def break_one(self, number: int) -> None:
        """Have a malformed record among the others."""
        raise NotImplementedError

    def spoil(self, number: int) -> None:
        """`break_one`, at a time of its own."""
        self.break_one(number)
        self.now += 1

    def change(self, seed: int, steps: int = 8) -> None:
        """Some records come, change and go, the same for the same seed."""
        chance = random.Random(f"{self.exchange} {seed}")
        for _ in range(steps):
            # Often many in one second.
            self.now += chance.choice([0, 0, 1, 5])
            key, body = self.random_body(chance)
            known = self.records.get(key)
            if known and known.body and chance.random() < 0.4:
                self.put(key, None)
            else:
                self.put(key, body)
        self.now += 10

    # How it answers.

    def reply(self, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Any:
        """JSON, or bytes."""
        raise NotImplementedError

    def updates(self, since: int) -> list[Record | Any]:
        """What came to be as it is at a time or later, oldest first; malformed ones among it."""
        found: list[tuple[int, Any]] = [(each.time, each) for each in self.records.values()]
        found += self.malformed
        return [each for at, each in sorted(found, key=lambda pair: pair[0]) if at >= since]


def digits(hash_type: str, chance: random.Random) -> str:
    return f"{chance.randrange(16 ** DIGITS[hash_type]):0{DIGITS[hash_type]}x}"


def opinions_of(exchange: str, said: Iterator[tuple[str, str, tuple[str, ...]]]) -> frozenset[Any]:
    return frozenset((f"{exchange}:{owner}", verdict, labels) for owner, verdict, labels in said)
