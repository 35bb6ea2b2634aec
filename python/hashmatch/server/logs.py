"""Logs: a line of JSON each on standard error, or readable lines where that is a terminal.

They never hold a hash, a ref, a token or a part of a body. What an exception says may quote one, so
only its kind is logged, and where it came from.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import traceback
from collections.abc import MutableMapping
from typing import Any, TypeAlias

import orjson
import structlog

from hashmatch.console import printable

Log: TypeAlias = structlog.typing.FilteringBoundLogger


def make_log() -> Log:
    """What to log with: `log.error("what happened", where=...)`."""
    processors: list[structlog.typing.Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if sys.stderr.isatty():
        processors.append(_printable)
        processors.append(structlog.dev.ConsoleRenderer())
    else:
        processors.append(structlog.processors.JSONRenderer(_json))
    log: Log = structlog.wrap_logger(
        structlog.PrintLogger(sys.stderr),
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
    )
    return log


def _printable(
    _log: Any, _name: str, line: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    for name, value in line.items():
        if isinstance(value, str):
            line[name] = printable(value)
    return line


def _json(line: MutableMapping[str, Any], **options: Any) -> str:
    return orjson.dumps(line, default=str).decode()


def origin(error: BaseException) -> dict[str, Any]:
    """Of what kind an exception is, and where it came from, of those that led to it too."""
    kinds: list[str] = []
    frames: list[str] = []
    current: BaseException | None = error
    while current is not None and len(kinds) < 10:
        kinds.append(type(current).__name__)
        frames += [
            f"{frame.filename}:{frame.lineno} {frame.name}"
            for frame in traceback.extract_tb(current.__traceback__)
        ]
        current = current.__cause__ or current.__context__
    return {"exception": kinds, "frames": frames}


def take_over(log: Log) -> None:
    """Have what libraries log, and what nobody caught, told by `log` in its way; for a process that
    only serves.
    """
    root = logging.getLogger()
    root.handlers = [_Others(log)]
    root.setLevel(logging.WARNING)
    asyncio.get_running_loop().set_exception_handler(
        lambda _loop, context: _uncaught(log, context.get("exception"))
    )
    threading.excepthook = lambda thrown: _uncaught(log, thrown.exc_value)


class _Others(logging.Handler):
    """The lines of libraries. What they fill in may be a caller's, and is left out."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        self._log.log(
            record.levelno,
            str(record.msg).splitlines()[0],
            logger=record.name,
            **({} if error is None else origin(error)),
        )


def _uncaught(log: Log, error: BaseException | None) -> None:
    log.error("nobody caught this", **({} if error is None else origin(error)))
