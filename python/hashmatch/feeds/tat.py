"""Tech Against Terrorism's hash list.

The library makes an address of the next page that leads to the first again, loses a page to one
entry that is malformed or has a new field, drops the MD5 of pictures and what the list says of the
ideology, and takes one entry's deletion for that of every entry with its hash.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import requests
from threatexchange.exchanges.clients.techagainstterrorism.api import TATEndpoint, TATHashListAPI
from threatexchange.exchanges.impl.techagainstterrorism_api import TATCheckpoint

from hashmatch.database.model import Kind
from hashmatch.feeds.library import LibraryExchange, position_of
from hashmatch.feeds.model import Delta, Entry, Position, hash_of
from hashmatch.feeds.sessions import with_deadlines

_TYPES = {"PDQ": "pdq", "MD5": "md5", "SHA1": "sha1", "SHA256": "sha256"}
_VIDEOS = ("avi", "m4v", "mkv", "mov", "mp4", "webm")
_PICTURES = ("bmp", "gif", "jpeg", "jpg", "png", "tif", "tiff", "webp")


class _Client(TATHashListAPI):
    @contextmanager
    def _get_session(self, auth_token: str | None = None) -> Iterator[requests.Session]:
        with super()._get_session(auth_token) as session:
            yield with_deadlines(session)

    def page(self, token: str | None, after: str) -> Any:
        """Entries updated after a checkpoint, oldest first."""
        address = self.BASE_URL + TATEndpoint.hash_list.value
        return self._get(full_url=address, auth_token=token, order="asc", after=after)


class Tat(LibraryExchange):
    """The exchange "tat"."""

    def fetch(self, position: Position | None) -> Iterator[Delta]:
        credentials = self.credentials()
        client = _Client(credentials.username, credentials.password)
        token = client.get_auth_token(credentials.username, credentials.password)
        after = "" if position is None else str(self.checkpoint(position).checkpoint)
        more = True
        while more:
            page = client.page(token, after)
            reached = page.get("checkpoint") or after
            more = bool(page.get("next"))
            if more and reached == after:
                raise ValueError("Tech Against Terrorism says that there is more, but not where")
            after = reached
            delta = Delta(position=position_of(TATCheckpoint(after)) if after else None)
            for record in page["results"]:
                _put(delta, record)
            yield delta


def _put(delta: Delta, record: Any) -> None:
    key = "a record"
    try:
        key = str(record["id"])
        hash_type = _TYPES.get(str(record["algorithm"]).upper().replace("-", ""))
        if record["deleted"]:
            delta.put(key, None)
        elif hash_type is None:
            delta.put(key, Entry(()))
        else:
            ideology = record.get("ideology")
            labels = (str(ideology),) if ideology else ()
            hashes = (hash_of(hash_type, record["hash_digest"]),)
            delta.put(key, Entry(hashes, _kind(record, hash_type), labels))
    except Exception as error:
        delta.skip(key, f"has no {error}" if isinstance(error, KeyError) else error)


def _kind(record: Any, hash_type: str) -> Kind:
    ending = str(record.get("file_type") or "").lower().lstrip(".")
    if ending in _VIDEOS and hash_type != "pdq":
        return "video"
    return "image" if hash_type == "pdq" or ending in _PICTURES else "file"
