"""JSON records, read one after another, no more than one of which is held.

A file is one JSON value or several: JSON Lines, pages of an interface one after another, or one
large list. Its records are

- the elements of a list, and of a list that an object has under one of some given keys, such as
  `{"value": [...]}`, as often as such objects are within such lists;
- every other object.

A malformed record of JSON Lines is a fault, as the next line is sound. Elsewhere nothing says where
the next record begins, and reading ends there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from hashmatch.formats.json_text import JsonText
from hashmatch.formats.model import ListError, Source

#: Lists within lists whose elements are records.
_MAX_DEPTH = 4


class Record(NamedTuple):
    """A record, and where it is."""

    #: The line that it begins on, from 1, or its path, such as "value[3]".
    place: int | str
    #: Its number, from 0, faulty ones included.
    row: int
    value: Any


def json_records(
    source: Source, keys: frozenset[str] = frozenset(), text: JsonText | None = None
) -> Iterator[Record]:
    """The records of a file, whose `text` has at most been looked at.

    Malformed ones are faults, or a ListError ends the reading.
    """
    return _Records(source, keys, text or JsonText(source)).read()


class _Records:
    def __init__(self, source: Source, keys: frozenset[str], text: JsonText) -> None:
        self._source = source
        self._keys = keys
        self._text = text
        self._rows = 0
        self._documents = 0
        listed = "|".join(map(re.escape, sorted(keys)))
        self._has_list = re.compile(rf'"(?:{listed})"\s*:\s*\[') if keys else None

    def read(self) -> Iterator[Record]:
        text = self._text
        while begins := text.peek():
            line = text.line
            if begins == "[":
                yield from self._elements(self._prefix(line), 0)
            elif begins == "{":
                position = text.position
                value, fault = text.whole()
                if fault is None and text.oddity is None and not self._has_lists(value, 0):
                    yield Record(line, self._rows, value)
                    self._rows += 1
                else:
                    yield from self._document(line, position, value, fault)
            else:
                self._fault(line, "is not JSON's { or [")
                text.skip_line()
            self._documents += 1

    def _prefix(self, line: int) -> str:
        """What paths within a value begin with: its line, where it is not the first of the file."""
        return f"{line}:" if self._documents else ""

    def _document(
        self, line: int, position: int, value: Any, fault: str | None
    ) -> Iterator[Record]:
        """An object that stands by itself, as far as `whole` could decode it."""
        text = self._text
        prefix = self._prefix(line)
        if fault is None:
            if text.oddity and self._has_lists(value, 0):  # Only one of its records may be odd.
                text.back(position)
                yield from self._members(line, prefix, 0)
            else:
                yield from self._spread(line, prefix, value, text.oddity, 0)
        elif fault and self._is_line():
            self._fault(line, fault)
            text.skip_line()
        else:
            yield from self._members(line, prefix, 0)

    def _is_line(self) -> bool:
        """Whether a malformed object is one line of JSON Lines, so that the next one is sound."""
        line = self._text.rest_of_line()
        if line is None or (self._has_list and self._has_list.search(line)):
            return False
        begins = self._text.next_line_begins()
        # The last line may be cut.
        return line.rstrip().endswith("}") or begins == "{" or (not begins and self._documents > 0)

    def _elements(self, path: str, depth: int) -> Iterator[Record]:
        """The elements of a list."""
        text = self._text
        text.expect("[")
        if text.peek() == "]":
            text.skip()
            return
        number = 0
        while True:
            place = f"{path}[{number}]"
            value, fault = text.whole() if text.peek() else (None, "ends within a list")
            if fault is None:
                if text.oddity is None and not self._has_lists(value, depth):
                    yield Record(place, self._rows, value)
                    self._rows += 1
                else:
                    yield from self._spread(place, f"{place}.", value, text.oddity, depth)
            elif fault:
                raise ListError(f"{self._source.name}:{place}: {fault}")
            elif text.peek() == "{":
                yield from self._members(place, f"{place}.", depth)
            else:
                value = text.value()
                yield from self._record(place, value, text.oddity)
            number += 1
            if text.expect(",]") == "]":
                return

    def _has_lists(self, value: Any, depth: int) -> bool:
        return type(value) is dict and depth < _MAX_DEPTH and not self._keys.isdisjoint(value)

    def _spread(
        self, place: int | str, prefix: str, value: Any, oddity: str | None, depth: int
    ) -> Iterator[Record]:
        """A decoded value: a record, or the elements of the lists that it has under the keys."""
        lists = []
        if self._has_lists(value, depth):
            lists = [key for key in value if key in self._keys and type(value[key]) is list]
        for key in lists:
            for number, element in enumerate(value[key]):
                inner = f"{prefix}{key}[{number}]"
                yield from self._spread(inner, f"{inner}.", element, oddity, depth + 1)
        if not lists:
            yield from self._record(place, value, oddity)

    def _members(self, place: int | str, prefix: str, depth: int) -> Iterator[Record]:
        """An object member by member."""
        text = self._text
        text.expect("{")
        members: dict[str, Any] = {}
        lists: set[str] = set()
        oddity = None
        held = 0
        more = text.peek() != "}"
        if not more:
            text.skip()
        while more:
            if text.peek() != '"':
                text.expect('"')
            begin = text.position
            key = text.value()
            text.expect(":")
            if key in members or key in lists:
                oddity = "has a key twice"
            begins = text.peek()
            if begins == "[" and key in self._keys and depth < _MAX_DEPTH:
                if oddity:
                    raise text.error(oddity)
                lists.add(key)
                yield from self._elements(f"{prefix}{key}", depth + 1)
            else:
                if not begins:
                    raise text.error("ends within an object")
                members[key] = text.value()
                oddity = oddity or text.oddity
                held += text.position - begin
                text.require_fit(held)
            more = text.expect(",}") == ","
        if not lists:
            yield from self._record(place, members, oddity)

    def _record(self, place: int | str, value: Any, oddity: str | None) -> Iterator[Record]:
        row = self._rows
        if oddity:
            self._fault(place, oddity)
            return
        self._rows += 1
        yield Record(place, row, value)

    def _fault(self, place: int | str, reason: str) -> None:
        self._rows += 1
        self._source.fault(place, reason)
