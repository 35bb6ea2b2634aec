"""The OpenAPI document of all routes: FastAPI's own, and those that it does not know of.

A route without a framework is described where its kind is: openapi_lookups.py, say. What holds for
all of them is added here: who may call, the generation that every reply names, and the problem
documents of the gate that each request passes.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeAlias

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from hashmatch.server.gate import OPEN
from hashmatch.server.openapi_hma import HMA
from hashmatch.server.openapi_lookups import LOOKUPS
from hashmatch.server.openapi_pages import PAGES
from hashmatch.server.openapi_parts import CODE, HEADERS, PARAMETERS, problem
from hashmatch.server.openapi_schemas import SCHEMAS

Document: TypeAlias = dict[str, Any]

_ABOUT = """\
Looks up perceptual hashes, exactly, in hash sets that change meanwhile.

A sidecar listens on a Unix socket, `hashmatch.sock` in the database's folder, which its file's \
mode guards. Over TCP each request takes a token, `Authorization: Bearer TOKEN`, or a client \
certificate. A token has scopes, each by itself: `read` looks up, `write` changes sets, `admin` \
makes them and reads them in full.

Every reply comes from one generation of the database, which the header `Hashmatch-Generation` \
names. An error is a problem document (RFC 9457) that names the field or the row; with 429 and 503 \
comes `Retry-After`."""

_TAGS = (
    ("Look-ups", "Which known hashes are near the ones given. A match is within the maximal "
     "distance, inclusive, and none is missed."),
    ("Sets", "The hash sets, and changes of them: each change is made as a whole or not at all, "
     "and is answered once it is durable."),
    ("HMA", "The matcher of Meta's Hasher-Matcher-Actioner as its clients know it, so that they "
     "switch by base URL. Its banks are the sets."),
    ("State", "How the server is, for people, probes and scrapers."),
)  # fmt: skip
#: The first of these that a path begins with is its tag.
_TAG_OF = (
    ("/v1/match", "Look-ups"),
    ("/v1/sets/{set}/match", "Look-ups"),
    ("/v1/sets", "Sets"),
    ("/v1/history", "Sets"),
    ("/m/", "HMA"),
    ("/status", "HMA"),
    ("/", "State"),
)
#: Routes without a framework, by path.
_PLAIN = LOOKUPS | HMA | PAGES
#: Members of a request, as an example, by method and path.
_EXAMPLES = {
    ("put", "/v1/sets/{set}"): {"contributor": "forum", "max_distance": {"pdq": 31}},
    ("post", "/v1/sets/{set}/changes"): {
        "adds": [{"ref": "picture-18", "type": "pdq", "hash": CODE, "labels": ["flag"]}],
        "removals": ["picture-3"],
        "opinions": [{"ref": "picture-17", "contributor": "forum", "verdict": "positive"}],
    },
}
#: What else an operation answers, by method and path.
_MORE = {
    ("put", "/v1/sets/{set}"): {409},
    ("post", "/v1/sets/{set}/changes"): {422},
    ("get", "/v1/history"): {404},
    ("get", "/readyz"): {503},
}


def documented(app: FastAPI) -> Callable[[], Document]:
    """What is to be the `openapi` of that application."""

    def document() -> Document:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app)
        return app.openapi_schema

    return document


def methods_at(document: Document, path: str) -> list[str]:
    """The methods that a path takes, by the document; none where there is nothing."""
    return [
        method.upper()
        for template, operations in document["paths"].items()
        if re.fullmatch(re.escape(template).replace(r"\{set\}", "[^/]+"), path)
        for method in operations
    ]


def _document(app: FastAPI) -> Document:
    found = get_openapi(
        title="hashmatch",
        version=app.version,
        openapi_version="3.1.0",
        description=_ABOUT,
        tags=[{"name": name, "description": said} for name, said in _TAGS],
        routes=app.routes,
    )
    paths = found.setdefault("paths", {})
    for path, operations in _PLAIN.items():
        paths.setdefault(path, {}).update(_copied(operations))
    parts = found.setdefault("components", {})
    schemas = parts.setdefault("schemas", {})
    schemas.update(SCHEMAS)
    for name in ("HTTPValidationError", "ValidationError"):
        schemas.pop(name, None)
    parts["headers"] = HEADERS
    parts["parameters"] = PARAMETERS
    parts["securitySchemes"] = {
        "token": {
            "type": "http",
            "scheme": "bearer",
            "description": "Over TCP, unless the caller has a client certificate.",
        }
    }
    for path, operations in paths.items():
        for method, operation in operations.items():
            _complete(method, path, operation)
    found["paths"] = {path: paths[path] for path in sorted(paths, key=_place)}
    return found


def _copied(part: Any) -> Any:
    """The same, without what is shared by several routes being one object."""
    if isinstance(part, dict):
        return {name: _copied(each) for name, each in part.items()}
    return [_copied(each) for each in part] if isinstance(part, list) else part


def _place(path: str) -> int:
    names = [name for name, _ in _TAGS]
    return names.index(_tag(path))


def _tag(path: str) -> str:
    return next(tag for start, tag in _TAG_OF if path.startswith(start))


def _complete(method: str, path: str, operation: Document) -> None:
    """Add what holds for all routes of a kind."""
    operation["tags"] = [_tag(path)]
    if path not in _PLAIN:
        _reword(operation)
    if example := _EXAMPLES.get((method, path)):
        operation["requestBody"]["content"]["application/json"]["example"] = example
    for parameter in operation.get("parameters", ()):
        if parameter.get("in") == "path":
            parameter["example"] = "shared"
    # A Unix socket, or a client certificate, says who calls.
    operation["security"] = [] if path in OPEN else [{"token": []}, {}]
    responses: Document = operation["responses"]
    for status in _statuses(method, path, operation):
        response = responses.setdefault(str(status), problem(status))
        response["content"] = problem(status)["content"] | response.get("content", {})
    operation["responses"] = dict(sorted(responses.items()))
    for response in operation["responses"].values():
        headers = response.setdefault("headers", {})
        headers["Hashmatch-Generation"] = {"$ref": "#/components/headers/Hashmatch-Generation"}


def _reword(operation: Document) -> None:
    """Say in our words what FastAPI has from a function's name and docstring, and of itself."""
    said: str = operation.get("description") or operation["summary"]
    operation["summary"], _, rest = said.partition(".")
    operation["description"] = rest.strip()
    responses = operation["responses"]
    for status in {"200", "201"} & responses.keys():
        responses[status]["description"] = "The answer."
    # What is not valid is answered as a 400.
    if responses.get("422", {}).get("description") == "Validation Error":
        del responses["422"]


def _statuses(method: str, path: str, operation: Document) -> set[int]:
    """The problems that an operation may answer with."""
    statuses = set(_MORE.get((method, path), ()))
    if path not in OPEN:
        statuses |= {401, 403, 429, 503}
    if operation.get("parameters"):
        statuses.add(400)
    if "requestBody" in operation:
        statuses |= {400, 408, 413}
    if "{set}" in path and method != "put":
        statuses.add(404)
    return statuses
