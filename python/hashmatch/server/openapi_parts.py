"""Parts of the OpenAPI document that several routes share: hashes, headers, problems."""

from __future__ import annotations

from typing import Any

from hashmatch.hash_types import HASH_TYPES
from hashmatch.vocabulary import VERDICT_BITS

#: A hash in examples.
CODE = "f8f8f0cee0f4a84f06370a22038f63f0b36e2ed596621e1d33e6b39c4e9c9b22"
_SIZES = sorted({kind.digits for kind in HASH_TYPES.values()})
HEX = {
    "type": "string",
    "pattern": "^(?:" + "|".join(f"[0-9a-fA-F]{{{digits}}}" for digits in _SIZES) + ")$",
    "description": "Hex digits, of either case: 64 for pdq, "
    + ", ".join(f"{k.digits} for {k.name}" for k in HASH_TYPES.values() if k.name != "pdq")
    + ".",
}
TYPE = {
    "enum": list(HASH_TYPES),
    "default": "pdq",
    "description": "The hash type, of all hashes of the request.",
}
VERDICT = {"enum": [*VERDICT_BITS, "none"]}

COUNT = {"type": "integer", "minimum": 0}


def said(schema: dict[str, Any], description: str) -> dict[str, Any]:
    """That schema, with what it means here."""
    return {**schema, "description": description}


HEADERS: dict[str, Any] = {
    "Hashmatch-Generation": {
        "description": "The generation that the reply is of.",
        "required": True,
        "schema": {"type": "integer", "minimum": 0},
    },
    "Retry-After": {
        "description": "Seconds to wait before the request is made again.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "WWW-Authenticate": {
        "description": "How to say who calls.",
        "schema": {"type": "string"},
    },
}

PARAMETERS: dict[str, Any] = {
    "Hashmatch-Min-Generation": {
        "name": "Hashmatch-Min-Generation",
        "in": "header",
        "description": "Answer from this generation or a newer one: who has made a change is sure "
        'to see it. "newest" is from one that has all changes made before. 503 where it cannot be '
        "taken in yet.",
        "schema": {
            "oneOf": [
                {"type": "integer", "minimum": 0, "maximum": 10**18 - 1},
                {"type": "string", "enum": ["newest"]},
            ]
        },
    },
    "set": {
        "name": "set",
        "in": "path",
        "required": True,
        "description": "The name of a hash set.",
        "schema": {"type": "string", "minLength": 1},
        "example": "shared",
    },
}

_SAID = {
    400: "The request is not as it has to be: the document names the field or the row.",
    401: "No token, or one that is not known here or has expired.",
    403: "The caller may not do that.",
    404: "There is no such set.",
    406: "The answer has none of the media types that `Accept` names.",
    408: "The body took too long to arrive.",
    409: "It contradicts what is there.",
    413: "The body is too large: send it in parts.",
    415: "The body is of a media type that is not taken here.",
    422: "The `Idempotency-Key` was given with another body before.",
    429: "The caller makes more requests than they may.",
    503: "There is no room for it now, or what it needs is not there yet.",
}


def problem(status: int, description: str | None = None) -> dict[str, Any]:
    """The response with that status."""
    headers = {}
    if status in (429, 503):
        headers["Retry-After"] = {"$ref": "#/components/headers/Retry-After"}
    if status == 401:
        headers["WWW-Authenticate"] = {"$ref": "#/components/headers/WWW-Authenticate"}
    schema = {"$ref": "#/components/schemas/Problem"}
    return {
        "description": description or _SAID[status],
        "headers": headers,
        "content": {"application/problem+json": {"schema": schema}},
    }
