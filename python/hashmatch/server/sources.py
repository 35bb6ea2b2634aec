"""Where settings come from: flags, before environment variables, before a file.

Whoever reads an error should find at once what to change, so each names the setting as it stands
where it was given: "--workers", "HASHMATCH_SERVE_WORKERS", "sidecar.toml: workers".
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from types import NoneType
from typing import Any, Literal, NamedTuple, get_args, get_origin

from pydantic import ValidationError

from hashmatch.console import printable
from hashmatch.server.settings import INTERNAL, PREFIX, Settings
from hashmatch.server.sockets import parse_address
from hashmatch.server.tls import TlsFault, server_context
from hashmatch.server.tokens import read_tokens

#: Those that people give.
NAMES = tuple(name for name in Settings.model_fields if name not in INTERNAL)


class _Given(NamedTuple):
    value: object
    #: What it is called where it was given.
    origin: str


def read_settings(
    flags: Mapping[str, object], config: Path | None, environment: Mapping[str, str]
) -> Settings:
    """The settings of a sidecar. `flags` has those that were given, by the names of Settings.

    Raises ValueError that says what is wrong with them.
    """
    given = {
        **_of_file(config),
        **_of_environment(environment),
        **{name: _Given(value, _flag(name)) for name, value in flags.items()},
    }
    if "path" not in given:
        raise ValueError(
            "the database's folder is missing: give PATH, or path in the file of --config"
        )
    values: dict[str, Any] = {name: each.value for name, each in given.items()}
    try:
        settings = Settings(**values)
        wrong = [
            f"{given[name].origin if name in given else name} {fault}"
            for name, fault in _conflicts(settings)
        ]
    except ValidationError as error:
        # Each setting once, however many of its parts are wrong.
        names = dict.fromkeys(str(each["loc"][0]) for each in error.errors())
        wrong = [_fault(name, given[name]) for name in names]
    if wrong:
        raise ValueError("\n  ".join(map(printable, wrong)))
    return settings


def _flag(name: str) -> str:
    return "PATH" if name == "path" else f"--{name.replace('_', '-')}"


def _variable(name: str) -> str:
    return f"{PREFIX}{name.upper()}"


def _of_environment(environment: Mapping[str, str]) -> dict[str, _Given]:
    given = {}
    for variable, value in environment.items():
        # An empty one is as good as none, since some places can only empty it.
        if variable.startswith(PREFIX) and value:
            name = variable.removeprefix(PREFIX).lower()
            _require_known(name, variable, _variable)
            given[name] = _Given(value, variable)
    return given


def _of_file(config: Path | None) -> dict[str, _Given]:
    if config is None:
        return {}
    try:
        members = tomllib.loads(config.read_bytes().decode())
    except OSError as error:
        raise ValueError(f"--config is {config}, which cannot be read: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{config}: is no TOML: {error}") from None
    given = {}
    for name, value in members.items():
        origin = f"{config}: {name}"
        _require_known(name, origin, str)
        given[name] = _Given(value, origin)
        # 1 is no true, and true is no 1.
        if isinstance(value, bool) != (Settings.model_fields[name].annotation is bool):
            raise ValueError(printable(_fault(name, given[name])))
    return given


def _require_known(name: str, origin: str, called: Callable[[str], str]) -> None:
    if name not in NAMES:
        close = difflib.get_close_matches(name, NAMES, 1)
        advice = f"did you mean {called(close[0])}?" if close else "see `hashmatch serve --help`"
        raise ValueError(printable(f"{origin} is no setting: {advice}"))


def _fault(name: str, given: _Given) -> str:
    value = given.value
    shown = repr(value).lower() if isinstance(value, bool) else repr(value)
    return f"{given.origin} must be {_wanted(name)}, not {shown}"


def _wanted(name: str) -> str:
    """What a value has to be, in words."""
    field = Settings.model_fields[name]
    kind: Any = field.annotation
    choices = get_args(kind)
    if get_origin(kind) is Literal:
        return " or ".join(choices)
    if get_origin(kind) is tuple:
        return f"some of {', '.join(get_args(choices[0]))}, with commas between them"
    if NoneType in choices:
        kind = choices[0]
    noun = {bool: "true or false", int: "a whole number", float: "a number", Path: "a path"}
    words = {"ge": "at least", "gt": "more than", "le": "at most"}
    bounds = (
        f"{phrase} {getattr(bound, sign):,}"
        for bound in field.metadata
        for sign, phrase in words.items()
        if hasattr(bound, sign)
    )
    return " of ".join(part for part in (noun.get(kind, "a text"), " and ".join(bounds)) if part)


def _conflicts(settings: Settings) -> Iterator[tuple[str, str]]:
    """What is wrong with settings beside each other, or with what they name."""
    try:
        unix = settings.listen is None or isinstance(parse_address(settings.listen), Path)
    except ValueError as error:
        yield "listen", str(error)
        return
    if not settings.path.is_dir():
        yield "path", f"is {settings.path}, and no folder: `hashmatch db create` makes a database"
    if settings.http == "uvicorn" and find_spec("uvicorn") is None:
        yield "http", "takes a server that is not installed: pip install uvicorn"
    if settings.tokens is not None:
        try:
            read_tokens(settings.tokens)
        except OSError as error:
            yield "tokens", f"is {settings.tokens}, which cannot be read: {error.strerror}"
        except ValueError as error:
            yield "tokens", f"is a file with a fault: {error}"
    yield from _tls_conflicts(settings, unix)


def _tls_conflicts(settings: Settings, unix: bool) -> Iterator[tuple[str, str]]:
    needs = (
        ("tls_certificate", "tls_key"),
        ("tls_key", "tls_certificate"),
        ("client_ca", "tls_certificate"),
        ("client_revoked", "client_ca"),
    )
    missing = [
        (name, other)
        for name, other in needs
        if getattr(settings, name) and not getattr(settings, other)
    ]
    for name, other in missing:
        yield name, f"needs {_flag(other)} as well"
    if missing or settings.tls_certificate is None:
        return
    if unix:
        yield "tls_certificate", "is for --listen HOST:PORT: a Unix socket needs no TLS"
        return
    try:
        server_context(settings)
    except TlsFault as fault:
        yield fault.name, str(fault)
