"""The library's signal types and ours: which hash each is, and of what."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

from threatexchange.content_type.content_base import ContentType
from threatexchange.signal_type.md5 import VideoMD5Signal
from threatexchange.signal_type.pdq.signal import PdqSignal
from threatexchange.signal_type.sha256 import VideoSHA256Signal
from threatexchange.signal_type.signal_base import (
    SignalType,
    SimpleSignalType,
    TrivialSignalTypeIndex,
)

from hashmatch.database.model import Kind
from hashmatch.database.packing import MAX_QUALITY, MAX_TIME_MS
from hashmatch.feeds.model import Hash, hash_of
from hashmatch.hash_types import HASH_TYPES


class Meaning(NamedTuple):
    """What a signal type is to us."""

    hash_type: str
    kind: Kind
    #: Whether it is a video's frames: a JSON list of "hex,quality,seconds".
    frames: bool = False


_DIGESTS = ("md5", "sha1", "sha256")
_MEANINGS = {
    **{name: Meaning(name, "file" if name in _DIGESTS else "image") for name in HASH_TYPES},
    **{f"photo_{name}": Meaning(name, "image") for name in _DIGESTS},
    **{f"video_{name}": Meaning(name, "video") for name in _DIGESTS},
    "vpdq": Meaning("pdq", "video", True),
}


def meaning_of(name: str) -> Meaning | None:
    """What the signal type of that name is; None for one that cannot be matched."""
    return _MEANINGS.get(name)


def hashes_of(meaning: Meaning, text: str) -> list[Hash]:
    """The hashes that a signal is. ValueError says what is wrong with it."""
    return _frames(text) if meaning.frames else [hash_of(meaning.hash_type, text)]


def _frames(text: str) -> list[Hash]:
    try:
        frames = json.loads(text)
    except (ValueError, RecursionError):
        raise ValueError("vPDQ signal is no JSON") from None
    if not isinstance(frames, list) or not frames:
        raise ValueError("vPDQ signal is no JSON list of frames")
    return [_frame(place, frame) for place, frame in enumerate(frames)]


def _frame(place: int, text: object) -> Hash:
    parts = text.split(",") if isinstance(text, str) else []
    if len(parts) != 3:
        raise ValueError(f"frame {place} is not hash,quality,seconds")
    try:
        digits, quality, time_ms = parts[0], int(parts[1]), round(float(parts[2]) * 1000)
    except (ValueError, OverflowError):
        raise ValueError(f"frame {place} has a quality or a time that is no number") from None
    if not (0 <= quality <= MAX_QUALITY and 0 <= time_ms <= MAX_TIME_MS):
        raise ValueError(f"frame {place} has a quality or a time out of range")
    try:
        return hash_of("pdq", digits, quality)._replace(time_ms=time_ms)
    except ValueError as error:
        raise ValueError(f"frame {place}: {error}") from None


def _signal_type(name: str) -> type[SignalType]:
    """A type of the library for what it has none for, or one that takes more to import."""
    meaning = _MEANINGS[name]

    class Ours(SimpleSignalType):
        @classmethod
        def get_name(cls) -> str:
            return name

        @classmethod
        def get_content_types(cls) -> list[type[ContentType]]:
            return []

        @classmethod
        def get_index_cls(cls) -> type[TrivialSignalTypeIndex[Any]]:
            return TrivialSignalTypeIndex

        @classmethod
        def validate_signal_str(cls, signal_str: str) -> str:
            hashes_of(meaning, signal_str)
            return signal_str

        @staticmethod
        def get_examples() -> list[str]:
            return []

    return Ours


_THEIRS: dict[str, type[SignalType]] = {
    each.get_name(): each for each in (PdqSignal, VideoMD5Signal, VideoSHA256Signal)
}
#: All that is asked for.
SIGNAL_TYPES: Sequence[type[SignalType]] = [
    _THEIRS[name] if name in _THEIRS else _signal_type(name) for name in _MEANINGS
]
