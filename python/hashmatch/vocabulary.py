"""What is said of items, whoever says it: their kinds, refs and names, verdicts on them, and what
stands beside their signals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Kind: TypeAlias = Literal["image", "video", "file"]
Verdict: TypeAlias = Literal["positive", "negative", "investigate"]

#: A whole number for each code, None where there is none; or None for all.
Numbers: TypeAlias = Sequence[int | None] | NDArray[np.integer[Any]] | None
#: A row number and what is wrong with that row.
Fault = tuple[int, str]

#: A catalog file holds the place in this tuple.
KINDS: tuple[Kind, ...] = ("image", "video", "file")

#: A catalog file holds the bit. A mask has the bits of all verdicts that somebody holds.
VERDICT_BITS: dict[Verdict, int] = {"positive": 1, "negative": 2, "investigate": 4}

MAX_QUALITY = 100
MAX_TIME_MS = 2**32 - 2
#: Of a ref or a name, as UTF-8.
MAX_TEXT_BYTES = 1024


@dataclass(frozen=True, slots=True)
class Opinion:
    """What a contributor says of a ref."""

    ref: str
    contributor: str
    verdict: Verdict
    labels: Sequence[str] = ()


def text_fault(text: object, name: str) -> str | None:
    """What is wrong with a ref or a name, or None if nothing is."""
    if not isinstance(text, str):
        return f"{name} must be text, not {type(text).__name__}"
    if "\0" in text:
        return f"{name} has a NUL character"
    if not is_unicode(text):
        return f"{name} has half a surrogate pair, so is no Unicode text"
    size_bytes = len(text.encode())
    if size_bytes > MAX_TEXT_BYTES:
        return f"{name} takes {size_bytes:,} bytes, at most {MAX_TEXT_BYTES:,} are allowed"
    return None


def is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def require_text(text: object, name: str, empty: bool = False) -> str:
    """`text` itself. ValueError says what is wrong with it."""
    fault = text_fault(text, name) or (None if text or empty else f"{name} is empty")
    if fault:
        raise ValueError(fault)
    return str(text)


def ref_faults(refs: Sequence[str]) -> list[Fault]:
    """The refs that cannot be one. Texts that plainly can are looked at all at once."""
    if set(map(type, refs)) <= {str}:
        sizes = set(map(len, refs))
        joined = "".join(refs)
        fit = min(sizes, default=1) > 0 and max(sizes, default=1) <= MAX_TEXT_BYTES
        if fit and joined.isascii() and "\0" not in joined:
            return []
    faults = (
        (row, text_fault(ref, "ref") or ("" if ref else "ref is empty"))
        for row, ref in enumerate(refs)
    )
    return [(row, fault) for row, fault in faults if fault]
