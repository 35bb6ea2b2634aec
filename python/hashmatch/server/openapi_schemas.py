"""The schemas of answers to look-ups, and of problems, in the OpenAPI document."""

from __future__ import annotations

from typing import Any

from hashmatch.hash_types import HASH_TYPES
from hashmatch.server.openapi_parts import CODE, COUNT, said
from hashmatch.vocabulary import KINDS, VERDICT_BITS

_TEXTS = {"type": "array", "items": {"type": "string"}}
_MAYBE = {"type": ["integer", "null"], "minimum": 0}
_PERCENT = {"type": "number", "minimum": 0, "maximum": 100}
_GENERATION = said(COUNT, "The state that all of it is of.")

#: What the catalog says of a match's item.
_ITEM: dict[str, Any] = {
    "ref": {"type": "string", "description": "The item's name within its set and contributor."},
    "set": {"type": "string"},
    "contributor": {"type": "string", "description": "Who contributed the item."},
    "kind": {"enum": list(KINDS)},
    "labels": _TEXTS,
    "verdicts": {
        "type": "array",
        "items": {"enum": list(VERDICT_BITS)},
        "description": "Of all who have an opinion on the item, in the answer's generation.",
    },
}
_QUERY = said(COUNT, "The number of what was looked up, from 0.")
_SIGNAL = said(COUNT, "The id of the known hash.")
_DISTANCE = said(COUNT, "Bits that differ; left out where the server hides distances.")


def _object(description: str, required: list[str], properties: dict[str, Any]) -> dict[str, Any]:
    return {
        "type": "object",
        "description": description,
        "properties": properties,
        "required": required,
    }


def _list(name: str) -> dict[str, Any]:
    return {"type": "array", "items": {"$ref": f"#/components/schemas/{name}"}}


_HASH = {
    "type": "string",
    "description": "The known hash, in hex; left out where distances are hidden.",
}
_VIDEO_PARTS = {
    "item": said(COUNT, "The id of the known item's first hash."),
    "query_percent": said(_PERCENT, "How much of the upload matched, of its distinct frames."),
    "video_percent": said(_PERCENT, "How much of the known video matched, of its own."),
    **_ITEM,
}

SCHEMAS: dict[str, Any] = {
    "Problem": _object(
        "Why a request is not answered (RFC 9457).",
        ["type", "title", "status", "detail"],
        {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {
                "type": "string",
                "description": "What is wrong and what to do about it, for a person.",
            },
            "field": {"type": "string", "description": "The part of the request it is about."},
            "row": said(COUNT, "The row of that part, from 0."),
            "retry_after": said(COUNT, "Seconds, as `Retry-After` has them."),
            "message": {"type": "string", "description": "`detail`, for HMA's clients."},
        },
    ),
    "Match": _object(
        "A known hash within the distance. With `fields` as `ids` it has `query`, `signal` and "
        "`distance` alone.",
        ["query", "signal"],
        {"query": _QUERY, "signal": _SIGNAL, "distance": _DISTANCE, "hash": _HASH, **_ITEM},
    ),
    "Answer": _object(
        "Matches by query, then the nearest first, then by signal.",
        ["generation", "type", "queries", "matches"],
        {
            "generation": _GENERATION,
            "type": {"enum": list(HASH_TYPES)},
            "queries": said(COUNT, "How many hashes were looked up."),
            "matches": _list("Match"),
        },
    ),
    "FramePair": _object(
        "A frame of an upload and a known one that is near it; of frames with one code the first.",
        ["frame", "time_ms", "signal", "signal_ms"],
        {
            "frame": said(COUNT, "The upload's frame, from 0."),
            "time_ms": said(_MAYBE, "Its place in the video."),
            "signal": _SIGNAL,
            "signal_ms": said(_MAYBE, "The known frame's place in its video."),
            "distance": _DISTANCE,
        },
    ),
    "VideoMatch": _object(
        "A known item that an upload matches.",
        ["query", *_VIDEO_PARTS],
        {
            "query": _QUERY,
            **_VIDEO_PARTS,
            "frames": said(_list("FramePair"), "Only if `pairs` were asked for."),
        },
    ),
    "VideoAnswer": _object(
        "Matches by upload, then by how much of it matches, then by item.",
        ["generation", "type", "queries", "matches"],
        {
            "generation": _GENERATION,
            "type": {"const": "vpdq"},
            "queries": said(COUNT, "How many videos were looked up."),
            "matches": _list("VideoMatch"),
        },
    ),
    "FileHash": _object(
        "A hash of a file.",
        ["type"],
        {
            "type": {"enum": ["pdq", "vpdq", "md5", "sha1", "sha256"]},
            "hash": {"type": "string", "description": "In hex; a video has `frames` instead."},
            "frames": said(_TEXTS, "`hex,quality,seconds` of each frame."),
            "quality": {"type": "integer", "minimum": 0, "maximum": 100},
        },
    ),
    "FileMatch": _object(
        "A known hash, as in Match, or for `vpdq` a known item, as in VideoMatch.",
        ["ref", "set", "contributor", "kind", "labels", "verdicts"],
        {
            "signal": _SIGNAL,
            "distance": _DISTANCE,
            "hash": _HASH,
            **_VIDEO_PARTS,
        },
    ),
    "FileAnswer": _object(
        "What a file is, and what it matches.",
        ["generation", "kind", "reason", "hashes", "matches"],
        {
            "generation": _GENERATION,
            "kind": {"enum": list(KINDS)},
            "reason": {
                "type": ["string", "null"],
                "description": "Why it was not matched in full, if it was not.",
            },
            "hashes": _list("FileHash"),
            "matches": {
                "type": "object",
                "description": "By the type of the hash, the nearest first.",
                "additionalProperties": _list("FileMatch"),
            },
        },
    ),
}

# Examples.

_FOUND = {
    "ref": "picture-17",
    "set": "shared",
    "contributor": "forum",
    "kind": "image",
    "labels": ["flag"],
    "verdicts": ["positive"],
}
_NEAR = {"signal": 17, "distance": 2, "hash": CODE[:-1] + "1", **_FOUND}
ANSWER = {"generation": 7, "type": "pdq", "queries": 1, "matches": [{"query": 0, **_NEAR}]}
VIDEO_ANSWER = {
    "generation": 7,
    "type": "vpdq",
    "queries": 1,
    "matches": [
        {
            "query": 0,
            "item": 101,
            "query_percent": 100,
            "video_percent": 20,
            **_FOUND,
            "ref": "film-1",
            "kind": "video",
        }
    ],
}
FILE_ANSWER = {
    "generation": 7,
    "kind": "image",
    "reason": None,
    "hashes": [{"type": "pdq", "hash": CODE, "quality": 100}],
    "matches": {"pdq": [_NEAR]},
}
