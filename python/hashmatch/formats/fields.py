"""The fields of a record, each taken as it is or refused."""

from __future__ import annotations

from binascii import unhexlify
from collections.abc import Mapping
from math import isfinite
from typing import Any

from hashmatch.codes import hex_fault
from hashmatch.hash_types import HASH_TYPES, HashType
from hashmatch.texts import json_text
from hashmatch.vocabulary import (
    KINDS,
    MAX_QUALITY,
    MAX_TIME_MS,
    VERDICT_BITS,
    Kind,
    Opinion,
    is_unicode,
    text_fault,
)

#: What a record maps its fields to.
Fields = Mapping[str, Any]


class FieldError(Exception):
    """A field that cannot be taken: its name, "" for the whole record, and why."""

    def __init__(self, name: str, reason: str) -> None:
        colon = "" if reason.startswith(("is ", "has ", "are ")) else ":"
        named = not name or reason.startswith(f"{name} ")
        super().__init__(reason if named else f"{name}{colon} {reason}")
        self.name = name
        self.reason = reason


def clipped(value: object) -> str:
    """A value for a message about it, which stays short."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    plain = value is None or isinstance(value, bool | int | float)
    text = json_text(value) if plain else repr(value)
    return text if len(text) <= 60 else f"{text[:56]}..."


def take_code(value: object, name: str, kind: HashType) -> bytes:
    """A hash out of its hex digits."""
    if isinstance(value, str):
        try:
            code = unhexlify(value)
        except ValueError:
            code = b""
        if len(code) == kind.width:
            return code
        raise FieldError(name, str(hex_fault(value, kind)))
    raise FieldError(name, f"is {clipped(value)}, not a hash as text")


def take_text(value: object, name: str, empty: bool = False) -> str:
    """A ref or the name of a contributor."""
    if not isinstance(value, str):
        raise FieldError(name, f"is {clipped(value)}, not text")
    if value.isascii() and 0 < len(value) <= 256 and "\0" not in value:
        return value
    fault = text_fault(value, name) or (None if value or empty else f"{name} is empty")
    if fault:
        raise FieldError(name, fault)
    return value


def take_id(record: Fields, name: str) -> str:
    """A ref that is text or a whole number."""
    value = record.get(name)
    if type(value) is int:
        return str(value)
    if value is None:
        raise FieldError("", f"has no {name!r}")
    return take_text(value, name)


def take_column(value: object, name: str) -> str:
    """What is carried along: text as it is, "" for null, anything else as JSON."""
    if isinstance(value, str):
        if not value.isascii() and not is_unicode(value):
            raise FieldError(name, "has half a surrogate pair, so is no Unicode text")
        return value
    if value is None:
        return ""
    if type(value) is int:
        return str(value)
    if isinstance(value, float) and not isfinite(value):
        raise FieldError(name, "is a number too large to be kept")
    return json_text(value)


def take_number(value: object, name: str, top: int) -> int | None:
    """A whole number in 0..top, or None for null."""
    if value is None:
        return None
    if type(value) is int and 0 <= value <= top:
        return value
    raise FieldError(name, f"is {clipped(value)}, not a whole number in 0..{top:,}")


def take_quality(value: object, name: str = "quality") -> int | None:
    return take_number(value, name, MAX_QUALITY)


def take_time_ms(value: object, name: str = "time_ms") -> int | None:
    return take_number(value, name, MAX_TIME_MS)


def take_kind(value: object, usual: Kind | None, name: str = "kind") -> Kind:
    """The kind of an item; null is the usual one, an image if that is not known."""
    if value is None:
        return usual or "image"
    if not isinstance(value, str) or value not in KINDS:
        raise FieldError(name, f"is {clipped(value)}, not one of {', '.join(KINDS)}")
    return value


def take_type(value: object, name: str = "type") -> HashType:
    if not isinstance(value, str) or value not in HASH_TYPES:
        raise FieldError(name, f"is {clipped(value)}, not one of {', '.join(HASH_TYPES)}")
    return HASH_TYPES[value]


def take_labels(value: object, name: str = "labels") -> tuple[str, ...] | None:
    """A list of labels, or one; None for null."""
    if value is None:
        return None
    if isinstance(value, str):
        return (value,) if value else ()
    if not isinstance(value, list) or not all(isinstance(label, str) for label in value):
        raise FieldError(name, f"is {clipped(value)}, not a list of texts")
    return tuple(value)


def take_opinions(value: object, ref: str, name: str = "opinions") -> list[Opinion]:
    """Opinions on a ref: a list of objects with contributor, verdict and labels."""
    if value is None:
        return []
    if not isinstance(value, list):
        raise FieldError(name, f"is {clipped(value)}, not a list")
    opinions = []
    for number, said in enumerate(value):
        place = f"{name}[{number}]"
        if not isinstance(said, dict):
            raise FieldError(place, f"is {clipped(said)}, not an object")
        verdict = said.get("verdict")
        if not isinstance(verdict, str) or verdict not in VERDICT_BITS:
            raise FieldError(
                f"{place}.verdict", f"is {clipped(verdict)}, not one of {', '.join(VERDICT_BITS)}"
            )
        contributor = take_text(said.get("contributor"), f"{place}.contributor", empty=True)
        labels = take_labels(said.get("labels"), f"{place}.labels") or ()
        opinions.append(Opinion(ref, contributor, verdict, labels))
    return opinions
