"""What a lookup asks for, out of the members of a JSON body or of the URL's parameters."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

from hashmatch.arguments import MAX_COUNT
from hashmatch.database.filters import NO_VERDICT
from hashmatch.formats.fields import clipped
from hashmatch.hash_types import HASH_TYPES, HashType
from hashmatch.server.http import Request
from hashmatch.server.problems import Problem
from hashmatch.server.service import Service
from hashmatch.vocabulary import VERDICT_BITS

_T = TypeVar("_T")
#: Parameters as they were given, by name.
Given: TypeAlias = Mapping[str, Any]

FIELDS = ("joined", "ids")
VERDICTS = (*VERDICT_BITS, NO_VERDICT)
#: Those that a list is given of.
_LISTS = frozenset(("sets", "verdicts"))
_NUMBER = re.compile(r"\d{1,20}", re.ASCII)
_DECIMAL = re.compile(r"\d{1,9}(?:\.\d{1,20})?(?:e-?\d{1,3})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Where:
    """Which known items a lookup is of: the names of sets, and verdicts; None for all."""

    sets: list[str] | None
    verdicts: list[str] | None
    #: In bits; None for that of each set.
    max_distance: int | None


@dataclass(frozen=True, slots=True)
class Asked:
    """What a lookup of hashes asks for."""

    kind: HashType
    where: Where
    #: How many matches of each hash; None for all.
    limit: int | None
    #: Whether what the catalog says of matches is wanted, or ids only.
    joined: bool


def in_url(request: Request, known: Mapping[str, Callable[[str, str], Any]]) -> dict[str, Any]:
    """The parameters in the URL, each as a member of a JSON body would be. Problem names one that
    is not known, or given twice.
    """
    given: dict[str, Any] = {}
    for name, values in request.query.items():
        if name not in known:
            raise unknown(name, known)
        if name in _LISTS:
            given[name] = values
        elif len(values) > 1:
            raise Problem(400, f"{name} is given twice: give it once", field=name)
        else:
            given[name] = known[name](name, values[0])
    return given


def together(url: Given, body: Given) -> Given:
    """What was given in either. Problem names what was given in both."""
    if not url:
        return body
    for name in url:
        if name in body:
            raise Problem(
                400, f"{name} is given in the URL and in the body: give it once", field=name
            )
    return {**body, **url}


def asked_of(given: Given, request: Request, service: Service) -> Asked:
    """What the members of a body ask for, `hashes` aside."""
    name = given.get("type")
    if name is None:
        kind = HASH_TYPES["pdq"]
    elif isinstance(name, str) and name in HASH_TYPES:
        kind = HASH_TYPES[name]
    else:
        raise bad("type", name, f"one of {', '.join(HASH_TYPES)}")
    limit = given.get("limit")
    if limit is not None:
        _require_shown(service, "limit")
        whole(given, "limit", 1, MAX_COUNT)
    fields = given.get("fields", "joined")
    if fields not in FIELDS:
        raise bad("fields", fields, '"joined" or "ids"')
    return Asked(kind, where_of(given, kind, request, service), limit, fields == "joined")


def where_of(given: Given, kind: HashType, request: Request, service: Service) -> Where:
    """The sets, verdicts and distance that are asked for, of sets that the caller may see."""
    max_distance = given.get("max_distance")
    if max_distance is not None:
        _require_shown(service, "max_distance")
        whole(given, "max_distance", 0, kind.bits)
    verdicts = texts(given, "verdicts")
    for verdict in verdicts or ():
        if verdict not in VERDICTS:
            raise bad("verdicts", verdict, f"some of {', '.join(VERDICTS)}")
    return Where(_sets(texts(given, "sets"), request, service), verdicts, max_distance)


def _sets(asked: list[str] | None, request: Request, service: Service) -> list[str] | None:
    caller = request.caller
    assert caller is not None
    own = request.parts.get("set")
    if own is None and asked is None and caller.sets is None:
        return None
    there = service.database.set_names
    if own is not None:
        if asked is not None:
            raise Problem(400, "the URL names the set: leave sets out", field="sets")
        if own not in there:
            raise Problem(404, f"there is no set {own!r}", field="set")
        return [own]
    narrowed = caller.narrowed(asked)
    assert narrowed is not None
    if asked is None:
        # Who may see sets that nobody has made yet sees what there is of them.
        return [name for name in narrowed if name in there]
    for name in narrowed:
        if name not in there:
            raise Problem(400, f"there is no set {name!r}", field="sets")
    return narrowed


def _require_shown(service: Service, name: str) -> None:
    if service.settings.hide_distances:
        raise Problem(
            403, f"distances are not shown here, and {name} would tell them: leave it out",
            field=name,
        )  # fmt: skip


def whole(given: Given, name: str, low: int, high: int, default: int = 0) -> int:
    """A whole number. Problem if it is none, or not in low..high."""
    value = given.get(name)
    if value is None:
        return default
    if type(value) is not int or not low <= value <= high:
        top = "" if high == MAX_COUNT else f" and at most {high:,}"
        raise bad(name, value, f"a whole number of at least {low:,}{top}")
    return value


def texts(given: Given, name: str) -> list[str] | None:
    """A list of texts, or None where it is not given."""
    values = given.get(name)
    if values is None:
        return None
    if not isinstance(values, list) or not all(isinstance(each, str) for each in values):
        raise bad(name, values, "a list of texts")
    return values


def bad(name: str, value: object, wanted: str) -> Problem:
    """What to say of a parameter that is not what it has to be."""
    return Problem(400, f"{name} is {clipped(value)}: give {wanted}", field=name)


def unknown(name: str, known: Iterable[str]) -> Problem:
    """What to say of a parameter that is none."""
    return Problem(400, f"there is no parameter {name[:80]!r}: give some of {', '.join(known)}",
                   field=name[:80])  # fmt: skip


def as_text(name: str, text: str) -> str:
    """A parameter in the URL that is text."""
    return text


def as_whole(name: str, text: str) -> int:
    """One that is a whole number."""
    if not _NUMBER.fullmatch(text):
        raise bad(name, text, "a whole number")
    return int(text)


def as_number(name: str, text: str) -> float:
    """One that is a number."""
    if not _DECIMAL.fullmatch(text):
        raise bad(name, text, "a number such as 80 or 12.5")
    return float(text)


def as_truth(name: str, text: str) -> bool:
    """One that is true or false."""
    if text not in ("true", "false"):
        raise bad(name, text, "true or false")
    return text == "true"


#: The parameters of a lookup of hashes.
LOOKUP: dict[str, Callable[[str, str], Any]] = {
    "type": as_text,
    "max_distance": as_whole,
    "limit": as_whole,
    "sets": as_text,
    "verdicts": as_text,
    "fields": as_text,
}
