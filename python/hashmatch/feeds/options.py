"""The options of a feed as the library's classes want them: each is a field of a dataclass."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, Union, get_args, get_origin, get_type_hints

#: Fields that every class has and that are not for the user.
_OWN = ("name", "api", "enabled")


def made_of_options(cls: Any, name: str, api: str, options: Mapping[str, str]) -> Any:
    """An object of one of the library's configuration classes. ValueError names the option that is
    missing, unknown or cannot be what it is, and says which there are.
    """
    hints = get_type_hints(cls)
    fields = {field.name: field for field in dataclasses.fields(cls) if field.init}
    usual = {"name": name, "api": api, "enabled": True}
    given: dict[str, Any] = {key: usual[key] for key in _OWN if key in fields}
    theirs = {key: field for key, field in fields.items() if key not in _OWN}
    for key, text in options.items():
        if key not in theirs:
            raise ValueError(f"exchange {api!r} has no option {key!r}; {_described(theirs)}")
        try:
            given[key] = _parsed(hints[key], text)
        except ValueError as error:
            raise ValueError(f"option {key!r}: {error}") from None
    missing = [
        key
        for key, field in theirs.items()
        if key not in given
        and field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
    ]
    if missing:
        needed = ", ".join(f"--option {key}=..." for key in missing)
        raise ValueError(f"exchange {api!r} needs {needed}; {_described(theirs)}")
    return cls(**given)


def _described(fields: Mapping[str, dataclasses.Field[Any]]) -> str:
    if not fields:
        return "it takes none"
    about = {key: field.metadata.get("help", "") for key, field in fields.items()}
    return (
        f"it takes: {', '.join(f'{key} ({text})' if text else key for key, text in about.items())}"
    )


def _parsed(kind: Any, text: str) -> Any:
    """Text as a value of a type. ValueError says what it would have to be."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, types.UnionType) and type(None) in inner:
        (kind,) = [each for each in inner if each is not type(None)]
        return _parsed(kind, text)
    if origin in (set, list, tuple, frozenset):
        return origin(_parsed(inner[0], part.strip()) for part in text.split(","))
    if isinstance(kind, type) and issubclass(kind, Enum):
        return _member(kind, text)
    simple: dict[Any, Callable[[str], Any]] = {str: str, int: int, float: float, bool: _truth}
    if kind not in simple:
        raise ValueError("cannot be given as text")
    try:
        return simple[kind](text)
    except ValueError:
        raise ValueError(f"{text!r} is no {kind.__name__}") from None


def _member(kind: type[Enum], text: str) -> Enum:
    by_name = {member.name.lower(): member for member in kind}
    if text.lower() not in by_name:
        raise ValueError(f"{text!r} is none of {', '.join(member.name for member in kind)}")
    return by_name[text.lower()]


def _truth(text: str) -> bool:
    if text.lower() not in ("true", "false"):
        raise ValueError
    return text.lower() == "true"
