"""Which known items an uploaded video must match: the rule as it is written down, pair by pair."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np


class Frame(NamedTuple):
    code: bytes
    quality: int | None = 100
    time_ms: int | None = None


@dataclass(frozen=True)
class Known:
    ref: str
    frames: list[Frame]
    kind: Any = "video"
    set: str = "films"
    max_distance: int = 31


@dataclass(frozen=True)
class Rule:
    query_percent: float = 80
    video_percent: float = 0
    quality_tolerance: int = 50
    steps: Any = "filter-dedupe"
    pictures: bool = True


#: ref, query_percent, video_percent, pairs of (the upload's frame, the known one's, distance).
Answer = tuple[str, float, float, list[tuple[int, int, int]]]


def counted(frames: list[Frame], rule: Rule) -> list[int]:
    """Places of the frames that count."""

    def good(place: int) -> bool:
        quality = frames[place].quality
        return quality is None or quality >= rule.quality_tolerance

    def distinct(places: list[int]) -> list[int]:
        return list({frames[place].code: place for place in reversed(places)}.values())[::-1]

    everything = list(range(len(frames)))
    if rule.steps == "dedupe-filter":
        return [place for place in distinct(everything) if good(place)]
    kept = [place for place in everything if good(place)]
    return distinct(kept) if rule.steps == "filter-dedupe" else kept


def distance(one: bytes, other: bytes) -> int:
    return (int.from_bytes(one) ^ int.from_bytes(other)).bit_count()


def answer(upload: list[Frame], known: list[Known], rule: Rule) -> list[Answer]:
    """What an upload matches, in no order that means anything."""
    answers = []
    for item in known:
        ours, theirs = counted(upload, rule), counted(item.frames, rule)
        pairs = [
            (mine, other, far)
            for mine in ours
            for other in theirs
            if (far := distance(upload[mine].code, item.frames[other].code)) <= item.max_distance
        ]
        if not pairs:
            continue
        query_percent = len({mine for mine, _, _ in pairs}) * 100 / len(ours)
        video_percent = len({other for _, other, _ in pairs}) * 100 / len(theirs)
        if item.kind == "video":
            if query_percent < rule.query_percent or video_percent < rule.video_percent:
                continue
        elif not rule.pictures:
            continue
        # Of frames with one code the first stands for all.
        first_mine = {upload[place].code: place for place in reversed(ours)}
        first_theirs = {item.frames[place].code: place for place in reversed(theirs)}
        named = sorted(
            pair
            for pair in pairs
            if pair[0] in first_mine.values() and pair[1] in first_theirs.values()
        )
        answers.append((item.ref, query_percent, video_percent, named))
    return answers


def vpdq_index() -> Any:
    """python-threatexchange's VPDQIndex. It imports a package of C++ that hashes video files, which
    matching does without.
    """
    if "vpdq" not in sys.modules:
        stand_in = ModuleType("vpdq")
        stand_in.VpdqFeature = object  # type: ignore[attr-defined]
        sys.modules["vpdq"] = stand_in
    from threatexchange.extensions.vpdq.vpdq_index import VPDQIndex

    return VPDQIndex


def perturbed(code: bytes, bits: int, chance: np.random.Generator) -> bytes:
    """A code at exactly that distance."""
    flipped = np.unpackbits(np.frombuffer(code, np.uint8))
    flipped[chance.permutation(256)[:bits]] ^= 1
    return np.packbits(flipped).tobytes()
