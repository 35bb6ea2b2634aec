"""Lookups of files, which the server hashes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np

from hashmatch.arguments import whole
from hashmatch.client.calls import PACKED, Answer, Call, Talk, ask
from hashmatch.client.lookups import Where, params_of
from hashmatch.client.records import Fields, fields_of
from hashmatch.client.results import as_of, said_of, together
from hashmatch.client.video_results import Row, matches_of_rows, no_pairs
from hashmatch.database.matches import DatabaseMatches
from hashmatch.database.video_matches import VideoMatches
from hashmatch.hash_types import HASH_TYPES
from hashmatch.vocabulary import KINDS, MAX_QUALITY, Kind
from hashmatch.vpdq import Frames

#: A picture, a video or any other file: its path, or its bytes.
File: TypeAlias = str | os.PathLike[str] | bytes

#: What the hashes of a video's frames are called.
VIDEO = "vpdq"


@dataclass(frozen=True, slots=True)
class FileHash:
    """A hash that the server made of a file."""

    #: A hash type, or "vpdq" for those of a video's frames.
    type: str
    #: Hex; None for a video's.
    hash: str | None
    #: PDQ's quality of a picture; None for others.
    quality: int | None
    #: A video's; None for others.
    frames: Frames | None


@dataclass(frozen=True, slots=True)
class FileMatches:
    """What a file matches."""

    generation: int
    kind: Kind
    #: Why the file was not hashed or matched in full, if it was not.
    reason: str | None
    hashes: Sequence[FileHash]
    #: By the type of the hash that was looked up. Those of "vpdq" are `VideoMatches`, without pairs
    #: of frames: `match_videos` has them, given the frames.
    matches: Mapping[str, DatabaseMatches | VideoMatches]


def contents_of(file: File) -> bytes:
    """The bytes of a file; OSError if it cannot be read."""
    return file if isinstance(file, bytes) else Path(file).read_bytes()


def match_file(
    server: str, contents: bytes, where: Where, quality_tolerance: int
) -> Talk[FileMatches]:
    """What a file matches."""
    members = where.members(HASH_TYPES["pdq"].bits)
    if [] in members.values():
        raise ValueError("sets and verdicts must not be empty: leave them out for all")
    members["quality_tolerance"] = whole(quality_tolerance, "quality_tolerance", 0, MAX_QUALITY)
    call = Call("POST", "/v1/match/file", params_of(members), contents, PACKED)
    return _result((yield from ask(call)), server)


def _result(answer: Answer, server: str) -> FileMatches:
    fields = fields_of(answer, server)
    types = fields.object("matches")
    return FileMatches(
        answer.generation,
        fields.one_of("kind", KINDS),
        fields.maybe_text("reason"),
        [_hash(each) for each in fields.objects("hashes")],
        {name: _matches(types, name, answer.generation) for name in types},
    )


def _hash(fields: Fields) -> FileHash:
    name = fields.one_of("type", (VIDEO, *HASH_TYPES))
    if name != VIDEO:
        quality = fields.maybe_whole("quality")
        return FileHash(name, fields.code("hash", name), quality, None)
    try:
        return FileHash(name, None, None, Frames.parse(fields.texts("frames")))
    except ValueError as error:
        raise fields.unusable("frames", f"has one that is none: {error}") from None


def _matches(types: Fields, name: str, generation: int) -> DatabaseMatches | VideoMatches:
    rows = types.objects(name)
    if name == VIDEO:
        return matches_of_rows([Row(0, row) for row in rows], 1, generation, no_pairs)
    if name not in HASH_TYPES:
        raise types.unusable(name, "is no hash type")
    distances = [row.whole("distance") for row in rows if "distance" in row]
    shown = len(distances) == len(rows) and max(distances, default=0) <= HASH_TYPES[name].bits
    said = said_of(rows, "signal", name)
    columns = together(
        np.array([0, len(rows)]),
        np.array([row.id("signal") for row in rows], np.uint64),
        np.array(distances, np.uint16) if shown else None,
    )
    return DatabaseMatches(columns, as_of(generation, said), said)
