"""JSON, CSV and files as they are written out: any text survives, and files appear whole."""

from __future__ import annotations

import csv
import io
import json
import os
import stat
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import TextIO

#: `json.dumps` makes one each time.
_ENCODER = json.JSONEncoder(ensure_ascii=False)


def json_text(value: object) -> str:
    """One line of JSON. Half a surrogate pair is no Unicode text, but may be escaped."""
    text = _ENCODER.encode(value)
    try:
        text.encode()
    except UnicodeEncodeError:
        return json.dumps(value)
    return text


class CsvWriter:
    """Writes CSV with lines that end in LF."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        #: Rows.
        self.written = 0
        # The writer quotes what its line ending consists of. A carriage return that is not quoted
        # would end a line.
        self._writer = csv.writer(self, lineterminator="\r\n")

    def rows(self, rows: Iterable[Sequence[object]]) -> None:
        self._writer.writerows(rows)

    def write(self, line: str) -> None:
        """What the writer calls, once a row."""
        self._file.write(f"{line[:-2]}\n")
        self.written += 1


@contextmanager
def open_output(path: str | None) -> Iterator[TextIO]:
    """A new file that takes the place of `path` at the end, if all went well; None: the standard
    output.
    """
    with _standard_output() if path is None else _replaced(path) as file:
        yield file


@contextmanager
def _standard_output() -> Iterator[TextIO]:
    # Lists are UTF-8, so what is carried over from them is written as such, whatever the locale.
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", newline="\n")
    yield sys.stdout
    sys.stdout.flush()


@contextmanager
def _replaced(path: str) -> Iterator[TextIO]:
    """A new file that takes the place of `path` at the end, if all went well."""
    target = os.path.realpath(path)
    if os.path.exists(target) and not stat.S_ISREG(os.stat(target).st_mode):
        with open(target, "w", encoding="utf-8", newline="") as file:  # A pipe or /dev/null.
            yield file
        return
    draft = f"{target}.{os.getpid()}.tmp"
    try:
        with open(draft, "x", encoding="utf-8", newline="") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, target)
    except BaseException:
        with suppress(FileNotFoundError):
            os.unlink(draft)
        raise
