"""JSON records, read one after another through a window on the file.

A file is one JSON value or several: JSON Lines, pages of an interface one after another, or one
large list. Its records are

- the elements of a list, and of a list that an object has under one of some given keys, such as
  `{"value": [...]}`, as often as such objects are within such lists;
- every other object.

A list is read element by element, and an object too large for the window member by member, so that
no more than one record is held. A malformed record of JSON Lines is a fault, as the next line is
sound; elsewhere nothing says where the next record begins, and reading ends there.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from hashmatch.formats.model import ListError, Source

#: Bytes read at a time; and characters that are there, if the file has so many, when a value is
#: decoded, which is then whole but for rare ones.
_CHUNK_BYTES = 256 << 10
_WINDOW = 64 << 10
#: Characters of a record, or of what an object has beside its lists.
_MAX_CHARACTERS = 8 << 20
#: Lists within lists whose elements are records.
_MAX_DEPTH = 4
#: An error nearer than this to the end of what was read may be for want of the rest.
_LONGEST_TOKEN = 16
#: Python refuses to make numbers of more digits.
_MAX_DIGITS = 4_000

_DIGITS = frozenset("0123456789")
_BLANKS = re.compile(r"[ \t\n\r]*")


class Record(NamedTuple):
    """A record, and where it is."""

    #: The line that it begins on, from 1, or its path, such as "value[3]".
    place: int | str
    #: Its number, from 0, faulty ones included.
    row: int
    value: Any


class _Oddities:
    """What a decoder meets that has no one meaning, and goes on."""

    def __init__(self) -> None:
        self.found: str | None = None

    def decoder(self, parse_int: Callable[[str], int] | None = None) -> json.JSONDecoder:
        return json.JSONDecoder(
            object_pairs_hook=self.members, parse_constant=self.constant, parse_int=parse_int
        )

    def members(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        members = dict(pairs)
        if len(members) != len(pairs):
            self.found = "has a key twice"
        return members

    def constant(self, name: str) -> None:
        self.found = f"has {name}, which is not JSON"

    def integer(self, digits: str) -> int:
        if len(digits) > _MAX_DIGITS:
            self.found = f"has a number of {len(digits):,} digits"
            return 0
        return int(digits)


class JsonText:
    """A text of JSON values that is read from its beginning."""

    def __init__(self, source: Source) -> None:
        self._name = source.name
        self._file = source.file
        # A byte that is not UTF-8 becomes half a surrogate pair, and a fault of its record.
        self._utf8 = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._text = ""
        self._at = 0
        self._ended = False
        #: The line of that place in the text.
        self._line, self._line_at = 1, 0
        #: Characters that have been read before the text.
        self._before = 0
        #: What is wrong with the value decoded last, though its end is known.
        self.oddity: str | None = None
        self._oddities = _Oddities()
        self._decoder = self._oddities.decoder()
        self._careful = self._oddities.decoder(parse_int=self._oddities.integer)

    def peek(self) -> str:
        """The next character that is not blank, which is not taken; "" at the end."""
        while True:
            blanks = _BLANKS.match(self._text, self._at)
            assert blanks
            self._at = blanks.end()
            if self._at < len(self._text):
                return self._text[self._at]
            if not self._more():
                return ""

    def begins_like(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        """A match of what comes next, as far as it is in the window."""
        while len(self._text) - self._at < _WINDOW and self._more():
            pass
        self.peek()
        return pattern.match(self._text, self._at)

    def skip(self) -> None:
        """Take the character that was peeked at."""
        self._at += 1

    def expect(self, characters: str) -> str:
        """Take the next character that is not blank, one of these."""
        found = self.peek()
        if not found or found not in characters:
            where = f"has {found!r}" if found else "ends"
            raise self.error(f"{where} where one of {' '.join(characters)} is needed")
        self._at += 1
        return found

    def whole(self) -> tuple[Any, str | None]:
        """The value that begins here, if all of it is in the window: then it is taken.

        Else the second is not None: what is wrong, or "" if it goes on beyond the window.
        """
        while len(self._text) - self._at < _WINDOW and self._more():
            pass
        begin = self._at
        self._oddities.found = None
        try:
            value, end = self._decode(begin)
        except json.JSONDecodeError as error:
            cut = error.msg.startswith("Unterminated") or (
                error.pos + _LONGEST_TOKEN >= len(self._text)
            )
            if cut and not self._ended:
                return None, ""
            line = self.line + self._text.count("\n", begin, error.pos)
            where = "" if line == self.line else f" on line {line}"
            return None, f"is not valid JSON: {error.msg}{where}"
        except RecursionError:
            return None, "lists and objects are nested too deeply"
        if end + 2 >= len(self._text) and self._text[end - 1] in _DIGITS and not self._ended:
            return None, ""  # A number may go on: 1 as 1.5, and 1.5 as 1.5e+3.
        self.require_fit(end - begin)
        self.oddity = self._oddities.found
        if not self._text.isascii():
            self._require_utf8(begin, end)
        self._at = end
        return value, None

    def value(self) -> Any:
        """The value that begins here."""
        while True:
            value, fault = self.whole()
            if fault is None:
                return value
            if fault:
                raise self.error(fault)
            size = len(self._text) - self._at
            self.require_fit(size)
            while len(self._text) - self._at < 2 * size and self._more():
                pass

    def rest_of_line(self) -> str | None:
        """What follows on this line; None if the line goes on beyond the window."""
        end = self._text.find("\n", self._at)
        if end >= 0:
            return self._text[self._at : end]
        return self._text[self._at :] if self._ended else None

    def next_line_begins(self) -> str:
        """The first character that is not blank after this line; "" if none is in the window."""
        end = self._text.find("\n", self._at)
        blanks = _BLANKS.match(self._text, end if end >= 0 else len(self._text))
        assert blanks
        return self._text[blanks.end() : blanks.end() + 1]

    def skip_line(self) -> None:
        """Go to the end of this line."""
        while (end := self._text.find("\n", self._at)) < 0:
            self._at = len(self._text)
            if not self._more():
                return
        self._at = end

    @property
    def line(self) -> int:
        """The number of this line, from 1."""
        self._line += self._text.count("\n", self._line_at, self._at)
        self._line_at = self._at
        return self._line

    @property
    def position(self) -> int:
        """Characters that have been taken."""
        return self._before + self._at

    def mark(self) -> int:
        """For `back`, which has to come before anything else is asked for but `whole`."""
        return self._before + self._at

    def back(self, mark: int) -> None:
        self._at = mark - self._before

    def require_fit(self, characters: int) -> None:
        """ListError if a record is of more characters than are held."""
        if characters > _MAX_CHARACTERS:
            raise self.error(f"has a record of more than {_MAX_CHARACTERS:,} characters")

    def error(self, reason: str) -> ListError:
        return ListError(f"{self._name}:{self.line}: {reason}")

    def _decode(self, begin: int) -> tuple[Any, int]:
        try:
            return self._decoder.raw_decode(self._text, begin)
        except json.JSONDecodeError:
            raise
        except ValueError:  # A number of thousands of digits.
            return self._careful.raw_decode(self._text, begin)

    def _require_utf8(self, begin: int, end: int) -> None:
        piece = self._text[begin:end]
        if not piece.isascii():
            try:
                piece.encode()
            except UnicodeEncodeError:
                self.oddity = "has a byte that is not UTF-8"

    def _more(self) -> bool:
        """Read on; False at the end."""
        if self._ended:
            return False
        chunk = self._file.read(_CHUNK_BYTES)
        self._ended = not chunk
        _ = self.line
        self._before += self._at
        self._text = self._text[self._at :] + self._utf8.decode(chunk, final=not chunk)
        self._at = self._line_at = 0
        return True


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
            prefix = f"{line}:" if self._documents else ""
            if begins == "[":
                yield from self._elements(prefix, 0)
            elif begins == "{":
                mark = text.mark()
                value, fault = text.whole()
                if fault is None and text.oddity is None and not self._has_lists(value, 0):
                    yield Record(line, self._rows, value)
                    self._rows += 1
                else:
                    yield from self._document(line, prefix, mark, value, fault)
            else:
                self._fault(line, "is not JSON's { or [")
                text.skip_line()
            self._documents += 1

    def _document(
        self, line: int, prefix: str, mark: int, value: Any, fault: str | None
    ) -> Iterator[Record]:
        """An object that stands by itself, as far as `whole` could decode it."""
        text = self._text
        if fault is None:
            if text.oddity and self._has_lists(value, 0):  # Only one of its records may be odd.
                text.back(mark)
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
        lists = False
        oddity = None
        held = 0
        more = text.peek() != "}"
        if not more:
            text.skip()
        while more:
            if text.peek() != '"':
                text.expect('"')
            key = text.value()
            text.expect(":")
            if key in self._keys and depth < _MAX_DEPTH and text.peek() == "[":
                lists = True
                yield from self._elements(f"{prefix}{key}", depth + 1)
            else:
                if not text.peek():
                    raise text.error("ends within an object")
                begin = text.position
                value = text.value()
                oddity = oddity or text.oddity or ("has a key twice" if key in members else None)
                members[key] = value
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
