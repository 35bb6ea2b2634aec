"""Feeds as they are defined, listed and looked at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from hashmatch.database import Database
from hashmatch.database.feeds import FeedRecord
from hashmatch.feeds.credentials import where_credentials_are
from hashmatch.feeds.files import Files
from hashmatch.feeds.following import position_of
from hashmatch.feeds.model import StalePosition
from hashmatch.feeds.registry import open_exchange
from hashmatch.feeds.staging import discard


@dataclass(frozen=True, slots=True)
class Reached:
    """How far a feed was followed, as its exchange tells it."""

    #: The time up to which it was; None where that cannot be told.
    until: datetime | None
    #: Whether it has to be read from the start.
    stale: bool


def add_feed(
    database: Database,
    name: str,
    *,
    set: str,
    exchange: str,
    options: Mapping[str, str] | None = None,
    credentials: str = "",
) -> None:
    """Define a feed that fills a set, which is made if there is none of that name.

    `exchange` is one of `hashmatch.feeds.NAMES`, or module:Class for a class derived from
    threatexchange's SignalExchangeAPI. `options` are those that it takes, as text. `credentials`
    are "env:VARIABLE" or "file:PATH"; what is there is read whenever the feed is followed, and
    never kept. ValueError says what is wrong, and if there is a feed of that name, or another one
    that fills the set; ImportError names the extra to install.
    """
    where = where_credentials_are(credentials)
    given = dict(options or {})
    open_exchange(exchange, name, given, where)
    records = {record.name: record for record in database.sets()}
    if set not in records:
        database.create(set, contributor=exchange)
    elif records[set].checkpoint and not records[set].checkpoint.startswith('{"exchange"'):
        raise ValueError(
            f"{database.path}: the set {set!r} has the checkpoint of something else that fills it: "
            "give the feed a set of its own"
        )
    database.feeds.add(name, set, exchange, given, where)


def remove_feed(database: Database, name: str) -> FeedRecord:
    """Forget a feed; its set stays as it is. What the feed was. ValueError if there is none."""
    feed = database.feeds.get(name)
    database.feeds.remove(name)
    discard(database.path, feed.set)
    return feed


def reached(feed: FeedRecord) -> Reached | None:
    """How far a feed was followed; None if not at all, or where its exchange is not installed."""
    try:
        position = position_of(feed)
        if position is None:
            return None
        exchange = open_exchange(feed.exchange, feed.name, feed.options, feed.credentials)
        if isinstance(exchange, Files):
            return Reached(exchange.progress(position), False)
        stale = not exchange.whole and exchange.is_stale(position)
        return Reached(exchange.progress(position), stale)
    except StalePosition:
        return Reached(None, True)
    except Exception:  # a class of others may raise anything; to follow the feed tells of it
        return None
