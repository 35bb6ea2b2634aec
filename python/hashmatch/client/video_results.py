"""Answers to lookups of videos, made into the results that a database gives."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hashmatch.client.calls import Answer
from hashmatch.client.records import Fields, fields_of
from hashmatch.client.results import Ids, as_of, hidden, said_of
from hashmatch.database.video_matches import FramePairs, Pair, VideoMatches
from hashmatch.database.video_search import Answer as Found
from hashmatch.hash_types import HASH_TYPES
from hashmatch.vocabulary import MAX_TIME_MS

#: Of an upload's frames, int64[n]: where they are in ms, -1 where it is not known.
Times = NDArray[np.int64]


def videos_of(
    answers: Sequence[tuple[Answer, int]], times: Sequence[Times], server: str
) -> VideoMatches:
    """The matches in answers of one generation, each with the number of its uploads; `times` are
    those of all uploads. ConnectionError if one of them is no such answer.
    """
    rows: list[Row] = []
    first = 0
    for answer, queries in answers:
        fields = fields_of(answer, server)
        if (fields.whole("queries"), fields.whole("generation")) != (queries, answer.generation):
            raise fields.unusable("queries", f"or generation is not {queries:,}")
        last = 0
        for row in fields.objects("matches"):
            query = row.whole("query")
            if not last <= query < queries:
                raise row.unusable("query", "is out of order")
            last = query
            rows.append(Row(first + query, row))
        first += queries
    pairs = _pairs(rows, times)

    generation = answers[0][0].generation
    return matches_of_rows(rows, len(times), generation, lambda item, offsets: pairs)


class Row(NamedTuple):
    """A match, and the number of its upload."""

    query: int
    fields: Fields


def matches_of_rows(rows: Sequence[Row], uploads: int, generation: int, pair: Pair) -> VideoMatches:
    """The matches of some uploads, ordered by upload."""
    items = np.array([row.fields.id("item") for row in rows], np.uint64)
    query = np.array([row.fields.number("query_percent") for row in rows], float)
    video = np.array([row.fields.number("video_percent") for row in rows], float)
    edges = np.searchsorted([row.query for row in rows], np.arange(uploads + 1)).tolist()
    found = [
        Found(items[begin:end], query[begin:end], video[begin:end])
        for begin, end in pairwise(edges)
    ]
    said = said_of([row.fields for row in rows], "item", "pdq")
    return VideoMatches(found, as_of(generation, said), said, pair)


def no_pairs(item: Ids, offsets: NDArray[np.int64]) -> FramePairs:
    """Of matches whose pairs were not asked for."""
    none, ids = np.empty(0, np.int64), np.empty(0, np.uint64)
    begins = np.zeros(len(item) + 1, np.int64)
    return FramePairs(none, none, none, ids, none, np.empty(0, np.uint16), begins)


def _pairs(rows: Sequence[Row], times: Sequence[Times]) -> FramePairs:
    """The pairs of frames of all matches."""
    frames = [row.fields.objects("frames") for row in rows]
    pairs = [
        _pair(number, pair, times[row.query])
        for number, (row, of_row) in enumerate(zip(rows, frames, strict=True))
        for pair in of_row
    ]
    columns = list(zip(*pairs, strict=True)) if pairs else [()] * 6
    shown = None not in columns[5]
    match = np.array(columns[0], np.int64)
    return FramePairs(
        match,
        np.array(columns[1], np.int64),
        np.array(columns[2], np.int64),
        np.array(columns[3], np.uint64),
        np.array(columns[4], np.int64),
        np.array(columns[5], np.uint16) if shown else hidden(len(pairs)),
        np.searchsorted(match, np.arange(len(rows) + 1)),
    )


class _Pair(NamedTuple):
    match: int
    frame: int
    time_ms: int
    signal: int
    signal_ms: int
    distance: int | None


def _pair(match: int, fields: Fields, times: Times) -> _Pair:
    frame, signal_ms = fields.whole("frame"), fields.maybe_whole("signal_ms")
    if frame >= len(times):
        raise fields.unusable("frame", "is none of the upload's")
    distance = fields.maybe_whole("distance")
    if distance is not None and distance > HASH_TYPES["pdq"].bits:
        raise fields.unusable("distance", "is no distance")
    if signal_ms is not None and signal_ms > MAX_TIME_MS:
        raise fields.unusable("signal_ms", "is no time")
    time_ms = int(times[frame])
    signal = fields.id("signal")
    return _Pair(match, frame, time_ms, signal, -1 if signal_ms is None else signal_ms, distance)
