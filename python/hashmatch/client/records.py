"""Answers in JSON, made into the records that a database has."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from hashmatch.arguments import MAX_ID
from hashmatch.client.calls import Answer
from hashmatch.client.errors import unusable
from hashmatch.codes import hex_fault
from hashmatch.database.model import Event, HistoryRow, SetRecord, TypeStatus
from hashmatch.hash_types import HASH_TYPES
from hashmatch.vocabulary import KINDS, VERDICT_BITS

#: A set's number is its catalog's own, and not told.
_NO_NUMBER = -1


class Fields:
    """The members of an object of an answer, each of the type that it is asked for as.

    ConnectionError if it is not.
    """

    def __init__(self, members: Any, server: str, place: str = "the answer") -> None:
        self._server = server
        self._place = place
        if not isinstance(members, dict):
            raise unusable(server, f"{place} is no object")
        self._members: Mapping[str, Any] = members

    def unusable(self, name: str, reason: str) -> ConnectionError:
        """The error that says what is wrong with a member."""
        return unusable(self._server, f"{self._place}: {name} {reason}")

    def text(self, name: str) -> str:
        return str(self._of(name, str, "text"))

    def whole(self, name: str) -> int:
        """A whole number of at least 0."""
        value = self._of(name, int, "a whole number")
        if isinstance(value, bool) or value < 0:
            raise self.unusable(name, "is no whole number of at least 0")
        return int(value)

    def id(self, name: str) -> int:
        """A signal's."""
        value = self.whole(name)
        if value > MAX_ID:
            raise self.unusable(name, "is no id")
        return value

    def number(self, name: str) -> float:
        value = self._of(name, (int, float), "a number")
        if isinstance(value, bool):
            raise self.unusable(name, "is not a number")
        return float(value)

    def maybe_number(self, name: str) -> float | None:
        return None if self._members.get(name) is None else self.number(name)

    def maybe_text(self, name: str) -> str | None:
        return None if self._members.get(name) is None else self.text(name)

    def maybe_whole(self, name: str) -> int | None:
        return None if self._members.get(name) is None else self.whole(name)

    def one_of(self, name: str, known: Sequence[str]) -> Any:
        """A text that is one of these."""
        text = self.text(name)
        if text not in known:
            raise self.unusable(name, f"is none of {', '.join(known)}")
        return text

    def some_of(self, name: str, known: Sequence[str]) -> list[Any]:
        """Texts that are among these."""
        texts = self.texts(name)
        if not set(texts) <= set(known):
            raise self.unusable(name, f"has others than {', '.join(known)}")
        return texts

    def code(self, name: str, hash_type: str) -> str:
        """A hash of a type."""
        digits = self.text(name)
        if fault := hex_fault(digits, HASH_TYPES[hash_type]):
            raise self.unusable(name, fault)
        return digits

    def texts(self, name: str) -> list[str]:
        values = self._of(name, list, "a list")
        if not all(isinstance(value, str) for value in values):
            raise self.unusable(name, "is no list of texts")
        return list(values)

    def time(self, name: str) -> datetime:
        try:
            time = datetime.fromisoformat(self.text(name))
        except ValueError:
            time = datetime.min
        if time.tzinfo is None:
            raise self.unusable(name, "is no time with its zone")
        return time

    def maybe_time(self, name: str) -> datetime | None:
        return None if self._members.get(name) is None else self.time(name)

    def truth(self, name: str) -> bool:
        return bool(self._of(name, bool, "true or false"))

    def object(self, name: str) -> Fields:
        return Fields(self._members.get(name), self._server, f"{self._place}.{name}")

    def objects(self, name: str) -> list[Fields]:
        values = self._of(name, list, "a list")
        place = f"{self._place}.{name}"
        return [Fields(each, self._server, f"{place}.{n}") for n, each in enumerate(values)]

    def __iter__(self) -> Iterator[str]:
        return iter(self._members)

    def _of(self, name: str, kind: type | tuple[type, ...], called: str) -> Any:
        value = self._members.get(name)
        if not isinstance(value, kind):
            raise self.unusable(name, f"is not {called}")
        return value


def encoded(value: Any) -> str:
    """JSON, as it is sent."""
    return json.dumps(value, separators=(",", ":"))


def fields_of(answer: Answer, server: str) -> Fields:
    """The members of an answer that is an object."""
    try:
        return Fields(json.loads(answer.body), server)
    except (ValueError, RecursionError):
        raise unusable(server, "it is no JSON") from None


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """The state of the database behind a server, as the process that answered has it."""

    #: The server's address.
    server: str
    generation: int
    #: When that was made, or a set, and how many seconds ago; None where there is none yet.
    changed: datetime | None
    age_s: float | None
    sets: int
    items: int
    #: By hash type; empty for a token that may not see all sets.
    types: Mapping[str, TypeStatus]
    #: Who has the database open for writing.
    writer: str | None
    #: What keeps changes from being made.
    writer_trouble: str | None
    #: What kept the newest generation from being taken in.
    trouble: str | None
    #: How many processes answer.
    workers: int
    #: Whether no changes are taken.
    read_only: bool


def sets_of(answer: Answer, server: str) -> list[SetRecord]:
    """The sets, in the order of their names."""
    records = [_set_record(each) for each in fields_of(answer, server).objects("sets")]
    return sorted(records, key=lambda record: record.name)


def _set_record(fields: Fields) -> SetRecord:
    distances = fields.object("max_distance")
    return SetRecord(
        _NO_NUMBER,
        fields.text("name"),
        fields.text("contributor"),
        {name: distances.whole(name) for name in distances},
        fields.whole("items"),
        fields.whole("signals"),
        fields.texts("types"),
        fields.text("checkpoint"),
        fields.time("created"),
        fields.time("changed"),
    )


def status_of(answer: Answer, server: str) -> ServerStatus:
    """The state of a server."""
    fields = fields_of(answer, server)
    types = fields.object("types")
    return ServerStatus(
        server,
        fields.whole("generation"),
        fields.maybe_time("changed"),
        fields.maybe_number("age_seconds"),
        fields.whole("sets"),
        fields.whole("items"),
        {name: _type_status(types.object(name)) for name in types},
        fields.maybe_text("writer"),
        fields.maybe_text("writer_trouble"),
        fields.maybe_text("trouble"),
        fields.whole("workers"),
        fields.truth("read_only"),
    )


def _type_status(fields: Fields) -> TypeStatus:
    return TypeStatus(
        fields.whole("signals"),
        fields.whole("segments"),
        fields.whole("unfolded"),
        fields.whole("size_bytes"),
    )


def history_of(answer: Answer, server: str) -> list[HistoryRow]:
    """The latest changes, newest first."""
    return [_history_row(each) for each in fields_of(answer, server).objects("changes")]


def _history_row(fields: Fields) -> HistoryRow:
    return HistoryRow(
        fields.whole("generation"),
        fields.time("time"),
        fields.text("set"),
        fields.text("who"),
        fields.whole("added"),
        fields.whole("updated"),
        fields.whole("removed"),
        fields.whole("unchanged"),
        fields.whole("opinions"),
        fields.whole("rejected"),
        tuple(_event(each) for each in fields.objects("events")),
    )


def _event(fields: Fields) -> Event:
    kind, verdict = fields.maybe_text("kind"), fields.maybe_text("verdict")
    return Event(
        fields.one_of("action", ("added", "updated", "removed", "opinion")),
        fields.text("contributor"),
        tuple(fields.texts("labels")),
        None if kind is None else fields.one_of("kind", KINDS),
        fields.maybe_whole("signal"),
        None if verdict is None else fields.one_of("verdict", tuple(VERDICT_BITS)),
    )
