"""What the OpenAPI document says of HMA's endpoints, whose routes have no framework."""

from __future__ import annotations

from typing import Any

from hashmatch.hash_types import HASH_TYPES
from hashmatch.server.openapi_parts import CODE, problem

_TYPES = ["pdq", "video_md5", "vpdq", *(name for name in HASH_TYPES if name != "pdq")]
_TRUTH = {"enum": ["true", "false", "1", "0", "yes", "no", "y", "n", "t", "f", "on", "off", ""]}
_FOUND = {
    "type": "object",
    "properties": {
        "bank_content_id": {
            "type": "integer",
            "description": "The id of the known signal, or of a video's first one.",
        },
        "distance": {
            "type": "string",
            "description": "Bits that differ, `-` for digests and where distances are hidden, "
            "`80%[20%]` for videos: of the upload, and of the known one.",
        },
    },
    "required": ["bank_content_id", "distance"],
}


def _hex(name: str) -> str:
    kind = HASH_TYPES.get(name, HASH_TYPES["md5"])
    return f"[0-9a-fA-F]{{{kind.digits}}}"


def _parameter(name: str, schema: Any, said: str, **more: Any) -> dict[str, Any]:
    return {"name": name, "in": "query", "description": said, "schema": schema, **more}


_BANKS = _parameter(
    "banks",
    {"type": "string"},
    "The names of sets, with commas between; without it all that the caller may see.",
)
_ASKED = [
    {"$ref": "#/components/parameters/Hashmatch-Min-Generation"},
    _parameter(
        "signal",
        {"type": "string", "minLength": 1},
        "The hash in hex, or a vPDQ string.",
        required=True,
        example=CODE,
    ),
    _parameter(
        "signal_type",
        {"enum": _TYPES},
        "Its type; `video_md5` is md5 by HMA's name.",
        required=True,
        example="pdq",
    ),
    _BANKS,
]


def _json(schema: Any, example: Any) -> dict[str, Any]:
    content = {"application/json": {"schema": schema, "example": example}}
    return {"200": {"description": "As HMA answers it.", "content": content}}


def _text(statuses: dict[str, str]) -> dict[str, Any]:
    content = {"text/plain": {"schema": {"type": "string"}}}
    return {status: {"description": said, "content": content} for status, said in statuses.items()}


def _alive(name: str, summary: str, statuses: dict[str, str]) -> dict[str, Any]:
    return {
        method: {
            "operationId": name if method == "get" else f"{name}_head",
            "summary": summary,
            "responses": _text(statuses),
        }
        for method in ("get", "head")
    }


_INDEX = {
    "type": "object",
    "properties": {
        "present": {"type": "boolean"},
        "built_to": {"type": "integer", "description": "Seconds since 1970, -1 for never."},
        "size": {"type": "integer"},
    },
    "required": ["present", "built_to", "size"],
}

#: By path, and method.
HMA: dict[str, Any] = {
    "/m/raw_lookup": {
        "get": {
            "operationId": "raw_lookup",
            "summary": "The ids of what a signal matches",
            "parameters": [
                *_ASKED,
                _parameter("include_distance", _TRUTH, "Whether distances are told with them."),
            ],
            "responses": {
                **_json(
                    {
                        "type": "object",
                        "properties": {
                            "matches": {
                                "type": "array",
                                "items": {"anyOf": [{"type": "integer"}, _FOUND]},
                            }
                        },
                        "required": ["matches"],
                    },
                    {"matches": [1001]},
                ),
                "422": problem(422, "A parameter is missing, or is no truth value."),
            },
        }
    },
    "/m/lookup": {
        "get": {
            "operationId": "lookup",
            "summary": "What a signal matches, by bank",
            "description": "No URL is fetched: give `signal` and `signal_type`.",
            "parameters": [
                *_ASKED,
                _parameter("bypass_coinflip", _TRUTH, "Taken, and of no effect."),
            ],
            "responses": {
                **_json(
                    {
                        "type": "object",
                        "additionalProperties": {"type": "array", "items": _FOUND},
                    },
                    {"shared": [{"bank_content_id": 1001, "distance": "4"}]},
                ),
                "422": problem(422, "A parameter is no truth value."),
            },
        },
        "post": {
            "operationId": "lookup_file",
            "summary": "What a picture or a video matches, by signal type and bank",
            "description": "The name of the form's field says what the file is. Pictures are "
            "looked up by PDQ, videos by MD5.",
            "parameters": [
                {"$ref": "#/components/parameters/Hashmatch-Min-Generation"},
                _BANKS,
                _parameter("types", {"enum": ["pdq", "video_md5"]}, "Only these signal types."),
            ],
            "requestBody": {
                "required": True,
                "content": {
                    "multipart/form-data": {
                        "schema": {
                            "oneOf": [
                                {
                                    "type": "object",
                                    "properties": {name: {"type": "string", "format": "binary"}},
                                    "required": [name],
                                }
                                for name in ("photo", "video")
                            ]
                        }
                    }
                },
            },
            "responses": {
                **_json(
                    {
                        "type": "object",
                        "additionalProperties": {
                            "type": "object",
                            "additionalProperties": {"type": "array", "items": _FOUND},
                        },
                    },
                    {"pdq": {"shared": [{"bank_content_id": 1001, "distance": "4"}]}},
                ),
                "415": problem(415),
                "422": problem(422, "The picture cannot be read."),
            },
        },
    },
    "/m/compare": {
        "post": {
            "operationId": "compare",
            "summary": "Whether two signals match, and how near they are",
            "requestBody": {
                "required": True,
                "content": {
                    "application/json": {
                        "schema": {
                            "type": "object",
                            "properties": {
                                name: {
                                    "type": "array",
                                    "items": {"type": "string", "pattern": f"^{_hex(name)}$"},
                                    "minItems": 2,
                                    "maxItems": 2,
                                }
                                for name in _TYPES
                                if name != "vpdq"
                            },
                            "additionalProperties": False,
                        },
                        "example": {"pdq": [CODE, CODE[:-1] + "1"]},
                    }
                },
            },
            "responses": {
                **_json(
                    {
                        "type": "object",
                        "additionalProperties": {
                            "type": "array",
                            "items": {"anyOf": [{"type": "boolean"}, {"type": "object"}]},
                            "minItems": 2,
                            "maxItems": 2,
                        },
                    },
                    {"pdq": [True, {"distance": 2}]},
                ),
                "415": problem(415),
            },
        }
    },
    "/m/index/status": {
        "get": {
            "operationId": "index_status",
            "summary": "How many signals of each type are held, and of which time",
            "parameters": [_parameter("signal_type", {"enum": _TYPES}, "Only this type.")],
            "responses": _json(
                {"type": "object", "additionalProperties": _INDEX},
                {"pdq": {"present": True, "built_to": 1700146048, "size": 591}},
            ),
        }
    },
    "/status": _alive(
        "hma_status",
        "Whether lookups are answered, from the newest state",
        {
            "200": "`I-AM-ALIVE`.",
            "503": "`INDEX-NOT-LOADED`, or `INDEX-STALE`: an older state is served.",
        },
    ),
    "/status/live": _alive("hma_live", "That the process answers", {"200": "`I-AM-ALIVE`."}),
}
