"""StopNCII.org.

The library looks for withdrawn and deleted records in the wrong field, so that they are never
removed, and keeps a time to go on from before all its pages have come.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import requests
from threatexchange.exchanges.clients.stopncii.api import (
    StopNCIIAPI,
    StopNCIICaseStatus,
    StopNCIICSPFeedbackValue,
    StopNCIIEndpoint,
)
from threatexchange.exchanges.impl.stop_ncii_api import StopNCIICheckpoint

from hashmatch.database.model import Kind, Verdict
from hashmatch.feeds.library import LibraryExchange, position_of, united
from hashmatch.feeds.model import Delta, Entry, Position, Said, hash_of
from hashmatch.feeds.sessions import with_deadlines

_PAGE_RECORDS = 800
_TYPES: dict[str, tuple[str, Kind]] = {"ImagePDQ": ("pdq", "image"), "VideoMD5": ("md5", "video")}
_GONE = (StopNCIICaseStatus.Withdrawn, StopNCIICaseStatus.Deleted)
#: Feedback that is none of these is no opinion.
_VERDICTS: dict[StopNCIICSPFeedbackValue, Verdict] = {
    StopNCIICSPFeedbackValue.Blocked: "positive",
    StopNCIICSPFeedbackValue.NotBlocked: "negative",
    StopNCIICSPFeedbackValue.PendingReview: "investigate",
    StopNCIICSPFeedbackValue.QualityUnknown: "investigate",
}


class _Client(StopNCIIAPI):
    def _get_session(self, endpoint: StopNCIIEndpoint) -> requests.Session:
        return with_deadlines(super()._get_session(endpoint))


class StopNcii(LibraryExchange):
    """The exchange "stop_ncii"."""

    def fetch(self, position: Position | None) -> Iterator[Delta]:
        credentials = self.credentials()
        client = _Client(
            credentials.subscription_key,
            credentials.fetch_function_key,
            base_url_override=credentials.base_url_override,
        )
        start = StopNCIIAPI.DEFAULT_START_TIME
        if position is not None:
            start = self.checkpoint(position).update_time
        asked: dict[str, Any] = {"startTimestamp": start, "pageSize": _PAGE_RECORDS}
        while True:
            page = client._get(StopNCIIEndpoint.FetchHashes, **asked)
            delta = Delta()
            for record in page.get("hashRecords") or []:
                _put(delta, record)
            if not page.get("hasMoreRecords"):
                # Only now: the time to go on from leaves out what the pages yet to come hold.
                reached = StopNCIICheckpoint(int(page["nextSetTimestamp"]), int(time.time()))
                delta.position = position_of(reached)
                yield delta
                return
            token = page.get("nextPageToken")
            if not token or token == asked.get("nextPageToken"):
                raise ValueError("StopNCII says that there is more, but not where")
            yield delta
            asked["nextPageToken"] = token


def _put(delta: Delta, record: Any) -> None:
    key = "a record"
    try:
        signal_type, text = record["signalType"], record["hashValue"]
        key = f"{signal_type} {text}"
        if StopNCIICaseStatus(record["hashStatus"]) in _GONE:
            delta.put(key, None)
        elif signal_type not in _TYPES:
            delta.put(key, Entry(()))
        else:
            hash_type, kind = _TYPES[signal_type]
            feedbacks = record.get("CSPFeedbacks") or []
            labels = united(sorted(each.get("tags") or []) for each in feedbacks)
            hashes = (hash_of(hash_type, text),)
            delta.put(key, Entry(hashes, kind, labels, _opinions(feedbacks)))
    except Exception as error:
        delta.skip(key, f"has no {error}" if isinstance(error, KeyError) else error)


def _opinions(feedbacks: list[Any]) -> tuple[Said, ...]:
    said: dict[str, Said] = {}
    for feedback in feedbacks:
        verdict = _VERDICTS.get(StopNCIICSPFeedbackValue(feedback["feedbackValue"]))
        source = feedback.get("source") or ""
        if verdict:
            said[source] = Said(source, verdict, tuple(sorted(feedback.get("tags") or [])))
    return tuple(said.values())
