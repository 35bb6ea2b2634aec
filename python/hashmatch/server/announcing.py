"""What is said when a sidecar begins: to whoever started it, and to systemd."""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from hashmatch.console import count, printable, tell
from hashmatch.server.settings import Settings
from hashmatch.server.sockets import Listener

#: How systemd is told; of the process that it started, and not of that one's children.
NOTIFY = "NOTIFY_SOCKET"
#: Sets that are named; the others are counted.
_NAMED_SETS = 5


def say(message: str) -> None:
    """On standard error, if somebody still reads it: what is served does not depend on that."""
    with suppress(OSError):
        tell(message)


def announce(settings: Settings, listener: Listener, served: dict[str, Any]) -> None:
    """Say what is served where. `served` is what a worker reports."""
    say(f"serving {printable(str(settings.path))}, generation {served['generation']:,}")
    for name, fact in _facts(settings, listener, served):
        say(f"  {name:8} {printable(fact)}")


def _facts(
    settings: Settings, listener: Listener, served: dict[str, Any]
) -> Iterator[tuple[str, str]]:
    sets = served["sets"]
    named = [f"{name} ({count(items, 'item')})" for name, items in sets[:_NAMED_SETS]]
    if len(sets) > _NAMED_SETS:
        named.append(f"and {len(sets) - _NAMED_SETS:,} more")
    yield "sets", ", ".join(named) or "none yet"
    signals = served["signals"]
    yield (
        "hashes",
        ", ".join(f"{number:,} {kind}" for kind, number in signals.items()) or "none yet",
    )
    yield "at", url(listener, settings)
    yield "callers", _callers(settings, listener)
    changes = "read only" if settings.read_only else "changes are taken"
    yield "by", f"{count(settings.workers, 'worker')} on {settings.http}, {changes}"


def _callers(settings: Settings, listener: Listener) -> str:
    token = "" if settings.tokens is None else f"with a token of {settings.tokens}"
    if listener.path is not None:
        others = "who may open the socket, which is its owner"
    elif settings.client_ca is not None:
        scopes = ", ".join(settings.client_scopes)
        others = f"with a certificate that {settings.client_ca} signed, to {scopes}"
    else:
        return token
    return f"{others}; or {token}" if token else others


def url(listener: Listener, settings: Settings) -> str:
    """Where callers find it."""
    if listener.path is not None:
        return listener.address
    return f"{'http' if settings.tls_certificate is None else 'https'}://{listener.address}"


def warn_of_clear_text(listener: Listener, settings: Settings) -> None:
    """Where others might listen to what passes by."""
    if listener.path is not None or settings.tls_certificate is not None:
        return
    host = listener.socket.getsockname()[0].partition("%")[0]
    if not ipaddress.ip_address(host).is_loopback:
        say(
            f"hashmatch: tokens, hashes and answers are sent to {listener.address} and back in the "
            "clear, for all between to read: give --tls-certificate and --tls-key, or listen on "
            "127.0.0.1 or a Unix socket"
        )


def notify_systemd(*lines: str) -> None:
    """Tell the service manager, where there is one that wants to know (sd_notify(3))."""
    place = os.environ.get(NOTIFY)
    if not place:
        return
    # A name that begins with @ is in the abstract namespace.
    address = f"\0{place[1:]}" if place.startswith("@") else place
    with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as telling:
        telling.sendto("\n".join(lines).encode(), address)
