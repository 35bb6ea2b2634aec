"""Formats whose files are JSON records."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import islice
from typing import Any, NamedTuple

from hashmatch.formats.fields import FieldError
from hashmatch.formats.gathering import Gathering
from hashmatch.formats.json_stream import json_records
from hashmatch.formats.model import ListError, Part, Source
from hashmatch.vocabulary import Kind

#: Records that are looked at to tell a file's format.
_LOOKED_AT = 8
#: Characters of a field's name that a message has.
_MOST_NAME = 80


class Entry(NamedTuple):
    """A record that is an object, where it is, and the list that it is of."""

    source: Source
    place: int | str
    row: int
    fields: dict[str, Any]

    @property
    def kind_not_said(self) -> Kind:
        """What the item is where its record does not say it."""
        return self.source.options.kind or "file"

    def fault(self, error: FieldError) -> None:
        """Note a field that cannot be taken."""
        if isinstance(self.place, int):
            self.source.fault(self.place, str(error))
        else:
            named = error.name and f".{error.name[:_MOST_NAME]}"
            self.source.fault(f"{self.place}{named}", error.reason)


#: Adds what a record says, or raises FieldError; leaves fields of it out by `Entry.fault`.
Take = Callable[[Entry, Gathering], None]


@dataclass(frozen=True, slots=True)
class JsonFormat:
    """Records that are objects, of one kind each: a format."""

    name: str
    about: str
    #: Under which an object has the list of the records.
    keys: frozenset[str]
    #: What every record has.
    marks: frozenset[str]
    #: What a page without records has.
    empty_page: frozenset[str]
    take: Take

    def recognises(self, head: bytes) -> bool:
        records = first_records(head, self.keys)
        if not records:
            return self._is_empty_page(head)
        return any(isinstance(each, dict) and each.keys() >= self.marks for each in records)

    def read(self, source: Source) -> Iterator[Part]:
        gathering = Gathering(source)
        for place, row, value in json_records(source, self.keys):
            entry = Entry(source, place, row, value)
            try:
                if type(value) is not dict:
                    raise FieldError("", "is not an object")
                self.take(entry, gathering)
            except FieldError as error:
                entry.fault(error)
            if gathering.ready:
                yield from gathering.take()
        yield from gathering.rest()

    def _is_empty_page(self, head: bytes) -> bool:
        if not self.empty_page or not head.lstrip().startswith(b"{"):
            return False
        try:
            page = json.loads(head)
        except (ValueError, RecursionError):
            return False
        return isinstance(page, dict) and page.keys() >= self.empty_page


def first_records(head: bytes, keys: frozenset[str] = frozenset()) -> Sequence[Any]:
    """Some records of a file that begins like this, as far as they can be read."""
    records: list[Any] = []
    if head.lstrip()[:1] in (b"{", b"["):
        source = Source("", BytesIO(head), skip_faults=True)
        try:
            for record in islice(json_records(source, keys), _LOOKED_AT):
                records.append(record.value)
        except ListError:
            pass  # The head ends within a record.
    return records
