"""A local file of the threatexchange command: the type of a signal, a blank, and the signal.

Signals that are not hashes of a type that is matched, such as texts and addresses, are faults. A
file without types is bare hex.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from hashmatch import _core
from hashmatch.codes import hex_fault
from hashmatch.formats.lines import BLOCK_BYTES, first_line, lines_of, whole_lines
from hashmatch.formats.model import Block, ListError, Source
from hashmatch.hash_types import HASH_TYPES, HashType

name = "threatexchange-local"
about = "threatexchange's local file: a type and a hash a line"

#: Names that threatexchange has for types of ours, beside our own.
_NAMES = {
    "video_md5": "md5",
    "photo_md5": "md5",
    "video_sha1": "sha1",
    "video_sha256": "sha256",
    "photo_sha256": "sha256",
}
_VIDEO = "video_"


def recognises(head: bytes) -> bool:
    """Whether the first line is a type and something else."""
    type, blank, value = first_line(head).partition(b" ")
    known = type.decode("ascii", "replace") in (*HASH_TYPES, *_NAMES)
    return bool(known and blank and value.strip())


def read(source: Source) -> Iterator[Block]:
    line, row = 1, 0
    while text := whole_lines(source.file):
        if len(text) > BLOCK_BYTES and not text.endswith(b"\n"):
            raise ListError(f"{source.name}:{line}: a line of a list is not so long")
        #: The digits and row numbers of each type's name.
        found: dict[str, tuple[list[str], list[int]]] = {}
        for raw in lines_of(text):
            if raw.strip():
                try:
                    named, type, digits = _parsed(raw)
                    fault = hex_fault(digits, type)
                except ValueError as error:
                    fault = str(error)
                if fault:
                    source.fault(line, fault)
                else:
                    hashes, rows = found.setdefault(named, ([], []))
                    hashes.append(digits)
                    rows.append(row)
                row += 1
            line += 1
        for named, (hashes, rows) in found.items():
            type = _type(named)
            codes = _core.decode_hex(hashes, type.width)
            kind = "video" if named.startswith(_VIDEO) else source.options.kind or "image"
            yield Block(type.name, codes, np.array(rows, np.int64), kind=kind)


def _parsed(raw: bytes) -> tuple[str, HashType, str]:
    """The type as it is written, that type, and the hash. ValueError says what is wrong."""
    try:
        text = raw.decode().strip()
    except UnicodeDecodeError as error:
        raise ValueError(f"byte {error.start + 1} of the line is not UTF-8") from None
    named, blank, value = text.partition(" ")
    if not blank:
        raise ValueError("has no type before the hash, such as pdq, and a blank")
    return named, _type(named), value.strip()


def _type(named: str) -> HashType:
    type = HASH_TYPES.get(_NAMES.get(named, named))
    if type is None:
        raise ValueError(
            f"type {named!r} is none that is matched: {', '.join((*HASH_TYPES, *_NAMES))}"
        )
    return type
