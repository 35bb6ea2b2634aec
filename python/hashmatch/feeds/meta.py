"""Meta's ThreatExchange, which GIFCT's members use.

The library asks it without a time-out, loses a page of records to one that is malformed, and takes
an empty page for a fault. Hash types and tags that it has no signal type for are matched here too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import requests
from threatexchange.exchanges.clients.fb_threatexchange.api import ThreatExchangeAPI
from threatexchange.exchanges.clients.fb_threatexchange.threat_updates import ThreatUpdateJSON
from threatexchange.exchanges.impl.fb_threatexchange_api import (
    FBThreatExchangeCheckpoint,
    FBThreatExchangeIndicatorRecord,
)

from hashmatch.feeds.library import LibraryExchange, position_of, stated, united
from hashmatch.feeds.model import Delta, Entry, Position, hash_of
from hashmatch.feeds.sessions import with_deadlines
from hashmatch.vocabulary import Kind

_PAGE_RECORDS = 500
#: Hash type and kind by the exchange's type of indicator.
_TYPES: dict[str, tuple[str, Kind]] = {
    "HASH_PDQ": ("pdq", "image"),
    "HASH_MD5": ("md5", "file"),
    "HASH_SHA1": ("sha1", "file"),
    "HASH_SHA256": ("sha256", "file"),
    "HASH_VIDEO_MD5": ("md5", "video"),
    "HASH_VIDEO_SHA256": ("sha256", "video"),
}
_KIND_TAGS: dict[str, Kind] = {"media_type_video": "video", "media_type_photo": "image"}


class _Client(ThreatExchangeAPI):
    def get_json_from_url(
        self,
        url: str,
        params: dict[str, Any] | None = None,
        *,
        json_obj_hook: Callable[..., Any] | None = None,
    ) -> Any:
        with with_deadlines(requests.Session()) as session:
            response = session.get(url, params=params or {})
            response.raise_for_status()
            return response.json(object_hook=json_obj_hook)


class ThreatExchange(LibraryExchange):
    """The exchange "fb_threatexchange"."""

    def fetch(self, position: Position | None) -> Iterator[Delta]:
        client = _Client(self.credentials().api_token)
        newest = 0 if position is None else int(self.checkpoint(position).update_time)
        pages = client.get_threat_updates(
            self.config.privacy_group,
            start_time=newest or None,
            page_size=_PAGE_RECORDS,
            fields=FBThreatExchangeIndicatorRecord.te_threat_updates_fields(),
        )
        for page in pages:
            delta = Delta()
            for record in page:
                newest = max(newest, _put(delta, record, client.app_id))
            delta.position = position_of(FBThreatExchangeCheckpoint(newest))
            yield delta


def _put(delta: Delta, record: Any, app_id: int) -> int:
    """Note a record; its time, 0 if it cannot be read."""
    key = "a record"
    try:
        update = ThreatUpdateJSON(record)
        key = f"{update.threat_type} {update.indicator}"
        time = update.time
        delta.put(key, _entry(update, app_id))
    except Exception as error:
        delta.skip(key, _reason(error))
        return 0
    return time


def _entry(update: ThreatUpdateJSON, app_id: int) -> Entry | None:
    # None too where the exchange shows no owner of any descriptor.
    record = FBThreatExchangeIndicatorRecord.from_threatexchange_json(app_id, update)
    if record is None:
        return None
    opinions = stated(record)
    labels = united(opinion.labels for opinion in opinions)
    if update.threat_type not in _TYPES:
        return Entry(())
    hash_type, kind = _TYPES[update.threat_type]
    kind = next((_KIND_TAGS[label] for label in labels if label in _KIND_TAGS), kind)
    return Entry((hash_of(hash_type, update.indicator),), kind, labels, tuple(opinions))


def _reason(error: Exception) -> str:
    return f"has no {error}" if isinstance(error, KeyError) else f"{error}" or type(error).__name__
