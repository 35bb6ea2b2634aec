"""The contents of a set out of the lines that a server sends."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from hashmatch.client.errors import unusable
from hashmatch.client.records import Fields
from hashmatch.database.model import Item, Signal
from hashmatch.hash_types import HASH_TYPES
from hashmatch.vocabulary import KINDS, VERDICT_BITS, Opinion

MEDIA_TYPE = "application/jsonl"


class Lines:
    """Takes the bytes of lines as they come, and gives what they say: the lines of an item are
    beside each other. ConnectionError at one that says nothing of the kind.
    """

    def __init__(self, server: str) -> None:
        self._server = server
        self._rest = b""
        self._line = 0
        self._item: Item | None = None

    def take(self, part: bytes) -> Iterator[Item | Opinion]:
        """What is whole once a part has come."""
        *lines, self._rest = (self._rest + part).split(b"\n")
        for line in lines:
            self._line += 1
            yield from self._said(line)

    def end(self) -> Iterator[Item | Opinion]:
        """What is left when all has come."""
        if self._rest:
            raise unusable(self._server, "its last line has no end")
        yield from self._ended()

    def _said(self, line: bytes) -> Iterator[Item | Opinion]:
        try:
            fields = self._fields(json.loads(line))
        except (ValueError, RecursionError):
            fields = self._fields(None)
        ref = fields.text("ref")
        opinions = _opinions(fields, ref) if "opinions" in fields else []
        if "hash" not in fields:
            # One that says nothing stands between lines that are not to be taken together.
            if opinions:
                yield from self._ended()
                yield from opinions
            return
        contributor, item = fields.text("contributor"), self._item
        if item is None or (item.ref, item.contributor) != (ref, contributor):
            yield from self._ended()
            kind = fields.one_of("kind", KINDS)
            item = Item(ref, contributor, kind, fields.texts("labels"), [], opinions)
            self._item = item
        item.signals.append(_signal(fields))

    def _ended(self) -> Iterator[Item]:
        if self._item is not None:
            yield self._item
            self._item = None

    def _fields(self, members: Any) -> Fields:
        return Fields(members, self._server, f"line {self._line}")


def _opinions(fields: Fields, ref: str) -> list[Opinion]:
    return [
        Opinion(
            ref,
            each.text("contributor"),
            each.one_of("verdict", tuple(VERDICT_BITS)),
            each.texts("labels"),
        )
        for each in fields.objects("opinions")
    ]


def _signal(fields: Fields) -> Signal:
    name = fields.one_of("type", tuple(HASH_TYPES))
    digits = fields.code("hash", name)
    quality, time_ms = fields.maybe_whole("quality"), fields.maybe_whole("time_ms")
    return Signal(name, bytes.fromhex(digits), quality, time_ms)
