"""What the OpenAPI document says of the pages, and of itself."""

from __future__ import annotations

from typing import Any


def _served(name: str, summary: str, media_type: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {
        "get": {
            "operationId": name,
            "summary": summary,
            "responses": {
                "200": {"description": summary + ".", "content": {media_type: {"schema": schema}}}
            },
        }
    }


_PAGE = {"type": "string"}

#: By path. The parts that the pages are made of are no interface.
PAGES: dict[str, Any] = {
    "/": _served(
        "page", "What is held now, and a box to look up a hash or a picture", "text/html", _PAGE
    ),
    "/docs": _served("docs", "This reference", "text/html", _PAGE),
    "/openapi.json": _served("openapi", "This document", "application/json", {"type": "object"}),
}
