"""Exchanges by the names that users give."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hashmatch.extras import need
from hashmatch.feeds.files import Files
from hashmatch.feeds.model import Exchange

FILES = "files"

#: Ours for exchanges of the library, and the library's own, by the name that its class has.
_OURS = {
    "fb_threatexchange": ("hashmatch.feeds.meta", "ThreatExchange"),
    "ncmec": ("hashmatch.feeds.ncmec", "Ncmec"),
    "stop_ncii": ("hashmatch.feeds.stopncii", "StopNcii"),
    "tat": ("hashmatch.feeds.tat", "Tat"),
}
_THEIRS = {
    "fb_threatexchange": ("fb_threatexchange_api", "FBThreatExchangeSignalExchangeAPI"),
    "ncmec": ("ncmec_api", "NCMECSignalExchangeAPI"),
    "stop_ncii": ("stop_ncii_api", "StopNCIISignalExchangeAPI"),
    "tat": ("techagainstterrorism_api", "TATSignalExchangeAPI"),
    "local_file": ("file_api", "LocalFileSignalExchangeAPI"),
    "sample": ("static_sample", "StaticSampleSignalExchangeAPI"),
}
_EXTRA = "exchange"

#: All that `open_exchange` knows without a module.
NAMES = (*_THEIRS, FILES)


def open_exchange(
    exchange: str, name: str, options: Mapping[str, str], credentials: str
) -> Exchange | Files:
    """What a feed of that name follows.

    `exchange` is one of NAMES, or module:Class for a class of the library's kind. Nothing is
    connected to yet. ValueError says what is wrong with the options; ImportError which extra to
    install.
    """
    if exchange == FILES:
        if credentials:
            raise ValueError("exchange 'files' takes no credentials")
        return Files(options)
    api_class = _api_class(exchange)
    module, adapter = _OURS.get(exchange, ("hashmatch.feeds.library", "LibraryExchange"))
    opened: Exchange = getattr(need(module, _EXTRA), adapter)(api_class, name, options, credentials)
    return opened


def _api_class(exchange: str) -> Any:
    base = need("threatexchange.exchanges.signal_exchange_api", _EXTRA).SignalExchangeAPI
    if exchange in _THEIRS:
        module, name = _THEIRS[exchange]
        return getattr(need(f"threatexchange.exchanges.impl.{module}", _EXTRA), name)
    module, separator, name = exchange.partition(":")
    if not (separator and module and name):
        raise ValueError(
            f"there is no exchange {exchange!r}: give one of {', '.join(NAMES)}, or module:Class"
        )
    found = getattr(_imported(module), name, None)
    if not (isinstance(found, type) and issubclass(found, base)):
        raise ValueError(f"{exchange} is no class derived from threatexchange's SignalExchangeAPI")
    return found


def _imported(module: str) -> Any:
    from importlib import import_module

    try:
        return import_module(module)
    except ImportError as error:
        raise ImportError(f"the exchange's module {module} cannot be imported: {error}") from None
