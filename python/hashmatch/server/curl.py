"""How an operation of the OpenAPI document is called from a shell."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode


def curl_command(method: str, path: str, operation: Mapping[str, Any]) -> str:
    """The command with the operation's first example. $HASHMATCH is where the sidecar is."""
    query: list[tuple[str, str]] = []
    for parameter in operation.get("parameters", ()):
        if "example" in parameter:
            value = str(parameter["example"])
            if parameter["in"] == "path":
                path = path.replace(f"{{{parameter['name']}}}", quote(value, safe=""))
            elif parameter["in"] == "query":
                query.append((parameter["name"], value))
    url = f"$HASHMATCH{path}" + (f"?{urlencode(query)}" if query else "")
    parts = ["curl"]
    if method != "get":
        parts.append(f"-X {method.upper()}")
    parts.append(f'"{url}"')
    for media_type, body in operation.get("requestBody", {}).get("content", {}).items():
        parts.append(f"-H 'content-type: {media_type}'")
        if isinstance(body.get("example"), dict | list):
            parts.append(f"-d {shlex.quote(json.dumps(body['example']))}")
        else:
            parts.append("--data-binary @picture.jpg")
        break
    return " \\\n  ".join([" ".join(parts[:3]), *parts[3:]]) if len(parts) > 3 else " ".join(parts)
