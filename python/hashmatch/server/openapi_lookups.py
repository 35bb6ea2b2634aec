"""What the OpenAPI document says of look-ups, whose routes have no framework."""

from __future__ import annotations

from typing import Any

from hashmatch.arguments import MAX_COUNT
from hashmatch.server.openapi_parts import CODE, HEX, TYPE, VERDICT, problem, said
from hashmatch.server.openapi_schemas import ANSWER, FILE_ANSWER, VIDEO_ANSWER

_ARROW = "application/vnd.apache.arrow.stream"
_PACKED = "application/octet-stream"
#: Bytes, which no schema says more of.
_BYTES = {"type": "string", "format": "binary"}

_SETS = {
    "type": ["array", "null"],
    "items": {"type": "string"},
    "description": "The names of the sets to look in; without it all that the caller may see.",
}
_VERDICTS = {
    "type": ["array", "null"],
    "items": VERDICT,
    "description": "Only items on which somebody holds one of these; `none` stands for items that "
    "nobody has an opinion on.",
}
_MAX_DISTANCE = {
    "type": ["integer", "null"],
    "minimum": 0,
    "maximum": 256,
    "description": "How many bits a match may differ by, inclusive, at most those that the type "
    "has; without it that of each set. Refused where the server hides distances.",
}
_LIMIT = {
    "type": ["integer", "null"],
    "minimum": 1,
    "maximum": MAX_COUNT,
    "description": "How many matches of each hash, the nearest; without it all. Refused where the "
    "server hides distances.",
}
_FIELDS = {
    "enum": ["joined", "ids"],
    "default": "joined",
    "description": "`joined` has what is known of each match's item, `ids` leaves that out.",
}
_LOOKUP = {
    "type": {**TYPE, "enum": [*TYPE["enum"], None]},
    "max_distance": _MAX_DISTANCE,
    "limit": _LIMIT,
    "sets": _SETS,
    "verdicts": _VERDICTS,
    "fields": _FIELDS,
}
_HASHES = {
    "oneOf": [HEX, {"type": "array", "items": HEX, "maxItems": 100_000}],
    "description": "The hashes to look up, or a single one.",
}


def _in_url(members: dict[str, Any]) -> list[dict[str, Any]]:
    """The parameters in the URL that stand for members of a JSON body. Lists are repeated."""
    parameters = []
    for name, schema in members.items():
        kinds = schema.get("type")
        plain = {key: value for key, value in schema.items() if key != "description"}
        if isinstance(kinds, list):
            plain["type"] = kinds[0]
        if None in plain.get("enum", ()):
            plain["enum"] = [each for each in plain["enum"] if each is not None]
        parameters.append(
            {
                "name": name,
                "in": "query",
                "description": schema.get("description", ""),
                "schema": plain,
                **({"style": "form", "explode": True} if plain.get("type") == "array" else {}),
            }
        )
    return parameters


def _object(members: dict[str, Any], required: str) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": members,
        "required": [required],
        "additionalProperties": False,
    }


_MIN_GENERATION = {"$ref": "#/components/parameters/Hashmatch-Min-Generation"}
_SET = {"$ref": "#/components/parameters/set"}
_ANSWER = {"$ref": "#/components/schemas/Answer"}

_MATCH_TEXT = """\
One hash or many in a request: as JSON up to 100,000, as codes one after another \
(`application/octet-stream`), or as an Arrow stream with a column `hash` of fixed-size binary, \
binary or string values. With the latter two the parameters stand in the URL; with JSON they may \
stand there or in the body, not in both.

The answer has the media type that `Accept` asks for, without it that of the body. A packed answer \
is 48 bytes of header, `HMANSWER` and five little-endian u64 (generation, queries, matches, \
has_distances, joined_bytes), then offsets as i64 for each query and the end, signals as u64, \
distances as u16, and JSON with a list for each thing that is known of the signals. An Arrow \
answer has a row for each match, and the generation in its metadata."""


def _match(name: str, summary: str, path: list[Any], members: dict[str, Any]) -> dict[str, Any]:
    body = _object({"hashes": _HASHES, **members}, "hashes")
    return {
        "operationId": name,
        "summary": summary,
        "description": _MATCH_TEXT,
        "parameters": [*path, _MIN_GENERATION, *_in_url(members)],
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": body,
                    "example": {"type": "pdq", "hashes": [CODE], "max_distance": 31},
                },
                _PACKED: {"schema": _BYTES},
                _ARROW: {"schema": _BYTES},
            },
        },
        "responses": {
            "200": {
                "description": "What matches.",
                "content": {
                    "application/json": {"schema": _ANSWER, "example": ANSWER},
                    _PACKED: {"schema": _BYTES},
                    _ARROW: {"schema": _BYTES},
                },
            },
            **{str(status): problem(status) for status in (406, 415)},
        },
    }


_PERCENT = {"type": "number", "minimum": 0, "maximum": 100}
_FRAME = {
    "type": "string",
    "pattern": r"^[0-9a-fA-F]{64},(100|[1-9]?[0-9]),[0-9]{1,6}(\.[0-9]{1,3})?$",
    "description": "`hex,quality,seconds` of a frame, as a vPDQ string has it.",
}
_VIDEOS: dict[str, Any] = {
    "videos": {
        "type": "array",
        "description": "The uploads, each an object with `frames`, or a vPDQ string.",
        "items": {
            "oneOf": [
                _object({"frames": {"type": "array", "items": _FRAME}}, "frames"),
                {
                    "type": "string",
                    "pattern": r"^\[.*\]$",
                    "description": "A vPDQ string: JSON of a list of frames.",
                },
            ]
        },
    },
    "max_distance": _MAX_DISTANCE,
    "sets": _SETS,
    "verdicts": _VERDICTS,
    "query_percent": said(
        {**_PERCENT, "default": 80}, "How much of an upload has to match, of its distinct frames."
    ),
    "video_percent": said(
        {**_PERCENT, "default": 0}, "How much of a known video has to match, of its own."
    ),
    "quality_tolerance": {
        "type": "integer",
        "minimum": 0,
        "maximum": 100,
        "default": 50,
        "description": "Frames of a lower quality are left out, of uploads and of known videos.",
    },
    "steps": {
        "enum": ["filter-dedupe", "dedupe-filter", "filter"],
        "default": "filter-dedupe",
        "description": "Whether frames are left out by their quality before repeated ones count "
        "once, or after, or repeated ones count each time.",
    },
    "pictures": {
        "type": "boolean",
        "default": True,
        "description": "Whether an upload also matches items that are no videos.",
    },
    "pairs": {
        "type": "boolean",
        "default": False,
        "description": "Whether the answer has which frames match which.",
    },
}


def _json(description: str, schema: str, example: Any) -> dict[str, Any]:
    content = {"schema": {"$ref": f"#/components/schemas/{schema}"}, "example": example}
    return {
        "200": {"description": description, "content": {"application/json": content}},
        **{str(status): problem(status) for status in (406, 415)},
    }


_VIDEO = {
    "operationId": "match_video",
    "summary": "Which known videos some uploads match, by their frames",
    "description": "A known video matches by how much of the upload, and of itself, is near the "
    "other; a picture by any frame. Parameters stand in the body or in the URL, not in both.",
    "parameters": [
        _MIN_GENERATION,
        *_in_url({name: schema for name, schema in _VIDEOS.items() if name != "videos"}),
    ],
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": _object(_VIDEOS, "videos"),
                "example": {"videos": [{"frames": [f"{CODE},100,0.000"]}], "query_percent": 80},
            }
        },
    },
    "responses": _json("What matches.", "VideoAnswer", VIDEO_ANSWER),
}

_FILE = {
    "operationId": "match_file",
    "summary": "What a picture, a video or another file matches",
    "description": "The body is the file as it is. It is hashed here, by what it holds and not by "
    "its media type, and not kept. Takes the extra `images` or `video` on the server.",
    "parameters": [
        _MIN_GENERATION,
        *_in_url(
            {
                **{name: _LOOKUP[name] for name in ("max_distance", "sets", "verdicts")},
                "quality_tolerance": said(
                    _VIDEOS["quality_tolerance"],
                    "A picture of a lower quality is not matched, nor are such frames.",
                ),
            }
        ),
    ],
    "requestBody": {
        "required": True,
        "content": {_PACKED: {"schema": _BYTES}},
    },
    "responses": {
        **_json("What it is, its hashes, and what each matches.", "FileAnswer", FILE_ANSWER),
        "422": problem(422, "The file cannot be hashed: the document says why."),
    },
}

_OF_SET = {name: schema for name, schema in _LOOKUP.items() if name != "sets"}

#: By path, and method.
LOOKUPS: dict[str, Any] = {
    "/v1/match": {"post": _match("match", "What is known near some hashes", [], _LOOKUP)},
    "/v1/match/video": {"post": _VIDEO},
    "/v1/match/file": {"post": _FILE},
    "/v1/sets/{set}/match": {
        "post": _match("match_in_set", "The same in one set", [_SET], _OF_SET)
    },
}
