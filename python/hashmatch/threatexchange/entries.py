"""What an index gives back with its matches, as JSON and back again, without running anything.

Values that JSON holds exactly stay as they are: None, bool, int, float, str, lists, and dicts whose
keys are str. Others are written as {"!": [kind, contents]}: tuples, sets, frozensets, bytes, other
dicts, members of an Enum, and instances of dataclasses, which threatexchange's records of an
exchange are.

A dataclass is written as its name and the values of its fields. Reading never imports a module and
never calls a class: a name stands for a dataclass or an Enum that the process has loaded already,
and a dataclass has to be one of threatexchange's exchanges, to derive from its
FetchedSignalMetadata or SignalOpinion, as those of its extensions do, or to be allowed by `allow`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields, is_dataclass
from enum import Enum
from typing import Any, TypeVar

from threatexchange.exchanges.fetch_state import FetchedSignalMetadata, SignalOpinion

from hashmatch.threatexchange.blob import Section

AnyClass = TypeVar("AnyClass", bound=type)

_BLOCK_ENTRIES = 1 << 14
_MARK = "!"
_ATOMS = frozenset((type(None), bool, int, float, str))
_LIBRARY = "threatexchange.exchanges."
_BASES = (FetchedSignalMetadata, SignalOpinion)
_allowed: set[type] = set()


def allow(dataclass: AnyClass) -> AnyClass:
    """Let instances of a dataclass be stored with an index and read again; returns the class.

    It may stand above the class as a decorator. TypeError if it is no dataclass.
    """
    if not (isinstance(dataclass, type) and is_dataclass(dataclass)):
        raise TypeError(f"{dataclass!r} is no dataclass: only dataclasses can be allowed")
    _allowed.add(dataclass)
    return dataclass


def encoded(entries: Sequence[Any]) -> Section:
    """Entries as lines that each are a JSON array of many.

    TypeError names an entry that cannot be stored, and what to do.
    """
    lines = []
    for at in range(0, len(entries), _BLOCK_ENTRIES):
        block = entries[at : at + _BLOCK_ENTRIES]
        if not _ATOMS.issuperset(map(type, block)):
            block = [_plain_entry(at + row, entry) for row, entry in enumerate(block)]
        lines.append(json.dumps(block, separators=(",", ":")).encode() + b"\n")
    return Section(sum(map(len, lines)), lines)


def decoded(contents: bytes, count: int) -> list[Any]:
    """What `encoded` wrote. ValueError if it is damaged or holds what is not allowed."""
    entries: list[Any] = []
    try:
        for line in contents.splitlines():
            entries += _listed(json.loads(line, object_hook=_restored))
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"entries from {len(entries):,} on: {error}") from None
    if len(entries) != count:
        raise ValueError(f"{len(entries):,} entries are stored for {count:,} signals")
    return entries


def _plain_entry(row: int, entry: Any) -> Any:
    try:
        return _plain(entry)
    except RecursionError:
        raise TypeError(f"entry {row:,} cannot be stored, it is nested too deeply") from None
    except TypeError as error:
        raise TypeError(f"entry {row:,} cannot be stored, {error}") from None


def _plain(value: Any) -> Any:
    """`value` in terms of what JSON holds."""
    kind = type(value)
    if kind in _ATOMS:
        return value
    if kind is list:
        return [_plain(part) for part in value]
    if kind is dict:
        if _MARK not in value and all(type(key) is str for key in value):
            return {key: _plain(part) for key, part in value.items()}
        return _marked("dict", [[_plain(key), _plain(part)] for key, part in value.items()])
    if kind in (tuple, set, frozenset):
        return _marked(kind.__name__, [_plain(part) for part in value])
    if kind is bytes:
        return _marked("bytes", value.hex())
    if isinstance(value, Enum):
        return _marked("enum", [_name_of(kind), _member_name(value)])
    if is_dataclass(kind):
        return _marked("object", [_name_of(kind), _field_values(value)])
    raise TypeError(
        f"it has an instance of {kind.__qualname__}: "
        "give an id, values that JSON holds, or a dataclass"
    )


def _marked(kind: str, contents: Any) -> dict[str, Any]:
    return {_MARK: [kind, contents]}


def _name_of(kind: type) -> str:
    """The name that stands for a class. TypeError if reading would not find or not take it."""
    name = f"{kind.__module__}:{kind.__qualname__}"
    try:
        if _class_of(name) is kind:
            return name
    except ValueError as error:
        raise TypeError(str(error)) from None
    raise TypeError(f"{name} is not the class of that name")


def _member_name(value: Enum) -> str:
    if type(value).__members__.get(value.name) is not value:
        raise TypeError(f"{value!r} is several members of {type(value).__qualname__}")
    return value.name


def _field_values(value: Any) -> dict[str, Any]:
    names = [field.name for field in fields(value)]
    unknown = set(getattr(value, "__dict__", ())).difference(names)
    if unknown:
        raise TypeError(f"it has {sorted(unknown)[0]!r}, which is no field of its dataclass")
    return {name: _plain(getattr(value, name)) for name in names}


def _restored(found: dict[str, Any]) -> Any:
    """What a JSON object stands for. ValueError or TypeError if it is nothing that was written."""
    if _MARK not in found:
        return found
    marked = found[_MARK]
    if len(found) != 1 or type(marked) is not list or len(marked) != 2:
        raise ValueError("one has a mark that means nothing")
    kind, contents = marked
    restore = _RESTORED.get(kind) if type(kind) is str else None
    if restore is None:
        raise ValueError(f"one is marked {kind!r}, which is not known")
    return restore(contents)


def _restored_member(contents: Any) -> Enum:
    name, member = contents
    kind = _class_of(name)
    if not issubclass(kind, Enum) or member not in kind.__members__:
        raise ValueError(f"{name} has no member {member!r}")
    return kind.__members__[member]


def _restored_object(contents: Any) -> Any:
    name, values = contents
    kind = _class_of(name)
    if not is_dataclass(kind):
        raise ValueError(f"{name} is no dataclass")
    names = {field.name for field in fields(kind)}
    if type(values) is not dict or values.keys() != names:
        raise ValueError(f"an instance of {name} has not the fields that it has in this process")
    # Neither __init__ nor __post_init__ is called.
    made = object.__new__(kind)
    for field, value in values.items():
        object.__setattr__(made, field, value)
    return made


def _listed(contents: Any) -> list[Any]:
    if type(contents) is not list:
        raise ValueError(f"a list is a {type(contents).__name__}")
    return contents


_RESTORED: dict[str, Callable[[Any], Any]] = {
    "tuple": lambda contents: tuple(_listed(contents)),
    "set": lambda contents: set(_listed(contents)),
    "frozenset": lambda contents: frozenset(_listed(contents)),
    "bytes": bytes.fromhex,
    "dict": lambda contents: {key: value for key, value in _listed(contents)},
    "enum": _restored_member,
    "object": _restored_object,
}


def _class_of(name: Any) -> type:
    """The class that a name stands for: one that is loaded and may be read. ValueError if not."""
    if type(name) is not str:
        raise ValueError("the name of a class is not text")
    module, _, path = name.partition(":")
    if module not in sys.modules:
        raise ValueError(
            f"it has an instance of {name}, which is not loaded: import {module} first"
        )
    scope: Any = sys.modules[module]
    for part in path.split("."):
        # A look into the namespace itself: getattr might run something.
        scope = vars(scope).get(part) if isinstance(scope, type | type(sys)) else None
    if not isinstance(scope, type) or f"{scope.__module__}:{scope.__qualname__}" != name:
        raise ValueError(f"{name} is no class at the top of a module or of another class")
    if not (issubclass(scope, (Enum, *_BASES)) or module.startswith(_LIBRARY) or scope in _allowed):
        raise ValueError(
            f"it has an instance of {name}, which is not allowed: "
            "call hashmatch.threatexchange.allow with that dataclass first"
        )
    return scope
