"""JSON that is decoded value by value through a window on its file."""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Callable
from typing import Any

from hashmatch.formats.model import ListError, Source

#: Bytes read at a time; and characters that are there, if the file has so many, when a value is
#: decoded, which is then whole but for rare ones.
_CHUNK_BYTES = 256 << 10
_WINDOW = 64 << 10
#: Characters of a value.
_MAX_CHARACTERS = 8 << 20
#: An error nearer than this to the end of what was read may be for want of the rest.
_LONGEST_TOKEN = 16
#: Python refuses to make numbers of more digits.
_MAX_DIGITS = 4_000

_DIGITS = frozenset("0123456789")
_BLANKS = re.compile(r"[ \t\n\r]*")


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

    def back(self, position: int) -> None:
        """Go back to where `whole` was called, before anything else is asked for."""
        self._at = position - self._before

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
