"""NCMEC's hash sharing.

The library loses a page for good to one entry that is malformed, fails where it goes on from a page
within the second, and matches neither the MD5 of pictures nor SHA-1. What members say of others'
entries is an opinion too.
"""

from __future__ import annotations

import time
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from typing import Any

import requests
from threatexchange.exchanges.clients.ncmec.hash_api import (
    FeedbackType,
    GetEntriesResponse,
    NCMECEndpoint,
    NCMECEntryUpdate,
    NCMECEnvironment,
    NCMECHashAPI,
    _date_format,
    _XMLWrapper,
)
from threatexchange.exchanges.impl.ncmec_api import NCMECSignalExchangeAPI

from hashmatch.database.model import Verdict
from hashmatch.feeds.library import LibraryExchange, position_of
from hashmatch.feeds.model import Delta, Entry, Hash, Position, Said, hash_of
from hashmatch.feeds.sessions import with_deadlines

#: Hash types by the names of NCMEC's fingerprints.
_TYPES = {"md5": "md5", "sha1": "sha1", "sha256": "sha256", "pdq": "pdq"}


class _Client(NCMECHashAPI):
    #: Entries of the last page that could not be read: their keys, and why.
    faults: list[tuple[str, str]]

    def _get_session(self) -> requests.Session:
        session = with_deadlines(super()._get_session())
        session.hooks["response"].append(_refuse_entities)
        return session

    def get_entries(
        self, *, start_timestamp: int = 0, end_timestamp: int = 0, next_: str = ""
    ) -> GetEntriesResponse:
        now = int(time.time())
        page = self._get(
            NCMECEndpoint.entries,
            next_=next_,
            to=_date_format(end_timestamp or now),
            **{"from": _date_format(start_timestamp)},
        )
        self.faults = []
        for parent in (*page.findall("images"), *page.findall("videos")):
            for child in list(parent):
                try:
                    NCMECEntryUpdate.from_xml(_XMLWrapper(child))
                except Exception as error:
                    self.faults.append((_key(child), f"{error}" or _fault(child)))
                    parent.remove(child)
        return GetEntriesResponse.from_xml(_XMLWrapper(page), now)


class _Api(NCMECSignalExchangeAPI):
    client: _Client

    def get_client(self, environment: NCMECEnvironment) -> _Client:
        self.client = _Client(self._username, self._password, environment)
        return self.client


class Ncmec(LibraryExchange):
    """The exchange "ncmec"."""

    def fetch(self, position: Position | None) -> Iterator[Delta]:
        credentials = self.credentials()
        api = _Api(self.config, credentials.user, credentials.password)
        checkpoint = None if position is None else self.checkpoint(position)
        if checkpoint and checkpoint.paging_info:
            # The library insists that the range of the page ended before the newest it asks for.
            while checkpoint.paging_info.paging_end_ts >= int(time.time()) - 5:
                time.sleep(0.1)
        for fetched in api.fetch_iter((), checkpoint):
            delta = Delta(position=position_of(fetched.checkpoint))
            for key, reason in api.client.faults:
                delta.skip(key, reason)
            for key, update in fetched.updates.items():
                if update:
                    self._put(delta, key, update)
            yield delta

    def _put(self, delta: Delta, key: str, update: NCMECEntryUpdate) -> None:
        wanted = self.config.only_esp_ids
        if update.deleted or (wanted and update.member_id not in wanted):
            delta.put(key, None)
            return
        hashes: list[Hash] = []
        faults: list[str] = []
        for name, text in update.fingerprints.items():
            if hash_type := _TYPES.get(name.lower()):
                try:
                    hashes.append(hash_of(hash_type, text.strip()))
                except ValueError as error:
                    faults.append(f"{name}: {error}")
        for fault in faults:
            delta.skip(key, fault)
        if hashes or not faults:
            labels = (update.classification,) if update.classification else ()
            delta.put(
                key,
                Entry(tuple(hashes), update.entry_type.value, labels, _opinions(update, labels)),
            )


def _opinions(update: NCMECEntryUpdate, labels: tuple[str, ...]) -> tuple[Said, ...]:
    """The uploader's, and those of the members who gave feedback on any of the fingerprints."""
    owner = str(update.member_id)
    said = {owner: Said(owner, "positive", labels)}
    votes: dict[str, set[FeedbackType]] = {}
    reasons: dict[str, dict[str, None]] = {}
    for feedback in (each for given in update.feedback.values() for each in given):
        member = str(feedback.member.esp_id)
        votes.setdefault(member, set()).add(feedback.feedback_type)
        reasons.setdefault(member, {}).update({feedback.reason: None} if feedback.reason else {})
    for member, given in votes.items():
        if member != owner:
            verdict: Verdict = "positive" if FeedbackType.upvote in given else "negative"
            if len(given) > 1:
                verdict = "investigate"
            said[member] = Said(member, verdict, tuple(reasons[member]))
    return tuple(said.values())


def _refuse_entities(response: requests.Response, *_: Any, **__: Any) -> None:
    # No page has any; they could make little text into much.
    if b"<!DOCTYPE" in response.content or b"<!ENTITY" in response.content:
        raise ValueError("the answer is XML with a document type, which is refused")


def _key(element: ET.Element) -> str:
    """An entry's key, as far as it can be made out."""
    member, own = element.find("member"), element.find("id")
    owner = "?" if member is None else member.get("id", "?")
    return f"{owner}-{'?' if own is None else own.text}"


def _fault(element: ET.Element) -> str:
    """What an entry lacks where the library does not say."""
    for name in ("member", "id"):
        if element.find(name) is None:
            return f"<{element.tag}> has no <{name}>"
    return f"<{element.tag}> has an empty <member> or <id>"
