"""Damaged and endless files of the industry's formats."""

from __future__ import annotations

import io
import json
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import chain, count, repeat
from typing import Any

import pytest

from format_samples import (
    BY_NAME,
    SAMPLES,
    digest,
    json_lines,
    ncmec,
    read,
    state,
    vpdq_frames,
    vpdq_lines,
)
from hashmatch.formats import gathering, item_lines, vpdq, vpdq_text
from hashmatch.formats.model import Block, ListError, Source
from mutation import mutants

MUTANTS = 20_000
#: What may spell the digits of a hash otherwise than they are: escapes, entities, sections.
_OTHER_SPELLINGS = (b"\\", b"&", b"<!")
_TABLES = ("parquet", "arrow")


@pytest.mark.parametrize("name", SAMPLES)
def test_mutants(name: str) -> None:
    """Nothing but ListError comes out, and no hash that is not there."""
    sample = SAMPLES[name](3)
    sound = failed = 0
    for mutant in mutants(sample, MUTANTS, seed=21):
        try:
            parts, faults = read(name, mutant, skip=True)
        except ListError as error:
            assert str(error).startswith("list:")
            failed += 1
            continue
        assert all(fault.startswith("list:") for fault in faults)
        state(parts)
        sound += 1
        if name not in _TABLES and not any(each in mutant for each in _OTHER_SPELLINGS):
            text = mutant.lower()
            for part in parts:
                if isinstance(part, Block):
                    assert all(code.tobytes().hex().encode() in text for code in part.codes)
    assert sound > MUTANTS // 50
    assert failed < MUTANTS


@pytest.mark.parametrize("name", SAMPLES)
def test_mutants_take_little_memory(name: str) -> None:
    tracemalloc.start()
    for mutant in mutants(SAMPLES[name](3), MUTANTS // 40, seed=22):
        with suppress(ListError):
            read(name, mutant, skip=True)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2_000_000


class _Endless(io.RawIOBase):
    """A file that is made as it is read, and knows how much has been."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self._rest = b""
        self.given = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while len(self._rest) < len(buffer):
            piece = next(self._pieces, b"")
            if not piece:
                break
            self._rest += piece
        some, self._rest = self._rest[: len(buffer)], self._rest[len(buffer) :]
        buffer[: len(some)] = some
        self.given += len(some)
        return len(some)


def _page(name: str, key: str) -> Iterator[bytes]:
    """One page without an end: its records again and again, each with its number as the id."""
    page = json.loads(SAMPLES[name](20))
    records = page.pop(key)
    begin = json.dumps(page)[:-1] + f', "{key}": ['
    texts = [json.dumps(record) for record in records]
    return chain([begin.encode()], (f"{text}, ".encode() for text in _again(texts)))


def _again(texts: list[str]) -> Iterator[str]:
    return chain.from_iterable(repeat(texts))


def _ncmec() -> Iterator[bytes]:
    begin, image, rest = ncmec(20).partition(b"<image>")
    body = (image + rest).partition(b"</images>")[0]
    return chain([begin], repeat(body))


def _videos() -> Iterator[bytes]:
    frames = vpdq_frames(300)
    return (json.dumps({"ref": f"{number}", "vpdq": frames}).encode() for number in count())


def _named_videos() -> Iterator[bytes]:
    frames = json.dumps(vpdq_frames(300))
    return chain([b"{"], (f'"{number}": {frames},\n'.encode() for number in count()))


_ENDLESS: dict[str, Callable[[], Iterator[bytes]]] = {
    "ncmec-xml": _ncmec,
    "stopncii-json": lambda: _page("stopncii-json", "hashRecords"),
    "tat-json": lambda: _page("tat-json", "results"),
    "threatexchange-json": lambda: _page("threatexchange-json", "data"),
    "project-vic-json": lambda: _page("project-vic-json", "value"),
    "vpdq-json": _videos,
    "vpdq-json named": _named_videos,
    "jsonl": lambda: repeat(json_lines(500)),
}


@pytest.mark.parametrize("name", _ENDLESS)
def test_endless_lists(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts come before much of a list has been read, and little of it is held."""
    monkeypatch.setattr(gathering, "_HELD_SIGNALS", 1_000)
    file = _Endless(_ENDLESS[name]())
    tracemalloc.start()
    rows = 0
    for part in BY_NAME[name.partition(" ")[0]].read(_source(file)):
        rows += len(part.rows)
        assert file.given < 1_000_000 + rows * 2_000
        if file.given > 2_000_000:
            break
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rows > 2_000
    assert file.given < 3_000_000
    assert peak < 6_000_000


def _source(file: _Endless) -> Source:
    return Source("list", io.BufferedReader(file))


def test_a_large_list_takes_little_memory() -> None:
    """200 MB of records of 10 kB."""
    note = "x" * 10_000
    pieces = (
        f'{{"ref": "{number}", "hash": "{number:064x}", "note": "{note}"}}\n'.encode()
        for number in range(20_000)
    )
    file = _Endless(pieces)
    tracemalloc.start()
    rows = 0
    for part in BY_NAME["jsonl"].read(_source(file)):
        rows += len(part.rows)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert file.given > 200_000_000
    assert rows == 20_000
    assert peak < 48_000_000


def test_a_video_without_an_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vpdq, "MAX_FRAMES", 1_000)
    monkeypatch.setattr(vpdq_text, "MAX_FRAMES", 1_000)
    monkeypatch.setattr(item_lines, "_MAX_SIGNALS", 1_000)
    frame = json.dumps(vpdq_frames(1)[0]).encode()
    line = json.dumps({"ref": "a", "hash": digest("pdq", 1)}).encode()
    for name, begin, piece, reason in (
        ("vpdq-text", b"", vpdq_lines(1), "has more than 1,000 frames"),
        ("vpdq-json", b"[", frame + b",", "has more than 1,000 frames"),
        ("vpdq-json", b'{"a": [', frame + b",", "a: has more than 1,000 frames"),
        ("jsonl", b"", line + b"\n", "has an item of more than 1,000 signals"),
    ):
        file = _Endless(chain([begin] if begin else [], repeat(piece)))
        with pytest.raises(ListError, match=reason):
            list(BY_NAME[name].read(_source(file)))
        assert file.given < 1_000_000
