"""Bare hex, one hash a line. UTF-8; lines end in LF or CRLF; blank lines are skipped."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hashmatch import _core
from hashmatch.codes import decode_digits, hex_fault
from hashmatch.formats import lines
from hashmatch.formats.lines import lines_of, plain_text, whole_lines
from hashmatch.formats.model import Block, ListError, Source
from hashmatch.hash_types import HASH_TYPES, HashType, hash_type

name = "hex"
about = "hex digits, one hash a line"


def recognises(head: bytes) -> bool:
    """Any file may be a list of hex, if of faulty lines."""
    return True


def read(source: Source) -> Iterator[Block]:
    type = hash_type(source.options.hash_type or "pdq")
    kind = source.options.kind or "image"
    line, row = 1, 0
    while text := whole_lines(source.file):
        if not text.endswith(b"\n"):
            if len(text) > lines.BLOCK_BYTES:
                size = len(text) - text.rfind(b"\n") - 1
                raise ListError(f"{source.name}: has a line of {size:,} bytes, so is no list")
            text += b"\n"
        codes = _decoded(text, type)
        if codes is not None:
            yield Block(type.name, codes, np.arange(row, row + len(codes)), kind=kind)
            line, row = line + len(codes), row + len(codes)
            continue
        kept: list[str] = []
        rows: list[int] = []
        for raw in lines_of(text):
            if raw.strip():
                digits = plain_text(raw.removesuffix(b"\n").removesuffix(b"\r"))
                fault = hash_fault(digits, type)
                if fault:
                    source.fault(line, fault)
                else:
                    kept.append(digits)
                    rows.append(row)
                row += 1
            line += 1
        codes = _core.decode_hex(kept, type.width)
        yield Block(type.name, codes, np.array(rows, np.int64), kind=kind)


def _decoded(text: bytes, type: HashType) -> NDArray[np.uint8] | None:
    """The codes of a block in which every line is a hash; None if some line may not be."""
    digits = type.digits
    for ending in (b"\n", b"\r\n"):
        length = digits + len(ending)
        if len(text) % length == 0:
            rows = np.frombuffer(text, np.uint8).reshape(-1, length)
            if (rows[:, digits:] == np.frombuffer(ending, np.uint8)).all():
                return decode_digits(rows[:, :digits])
    return None


def hash_fault(text: str, type: HashType) -> str | None:
    """What is wrong with a hash of a list that does not say its type, or None if nothing is."""
    fault = hex_fault(text, type)
    if fault is None:
        return None
    others = [other.name for other in HASH_TYPES.values() if hex_fault(text, other) is None]
    return f"{fault}; for {' or '.join(others)} give --type" if others else fault
