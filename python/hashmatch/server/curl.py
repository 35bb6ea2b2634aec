"""How an operation of the OpenAPI document is called from a shell."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote, urlencode

_SOCKET = "curl --unix-socket hashmatch.sock"


def curl_command(
    method: str,
    path: str,
    parameters: Sequence[Mapping[str, Any]],
    bodies: Mapping[str, Mapping[str, Any]],
) -> str:
    """The command with the examples of the parameters, and of the first of the bodies, which are by
    media type. It is for the folder that has the sidecar's socket.
    """
    query: list[tuple[str, str]] = []
    for parameter in parameters:
        if "example" in parameter:
            value = str(parameter["example"])
            if parameter["in"] == "path":
                path = path.replace(f"{{{parameter['name']}}}", quote(value, safe=""))
            elif parameter["in"] == "query":
                query.append((parameter["name"], value))
    url = f"http://localhost{path}" + (f"?{urlencode(query)}" if query else "")
    parts = [_SOCKET]
    if method == "put":
        parts.append("-X PUT")
    for media_type, body in bodies.items():
        if media_type == "multipart/form-data":
            # Of several forms, the first.
            form = body["schema"].get("oneOf", [body["schema"]])[0]
            parts += [f"-F {name}=@picture.jpg" for name in form["required"]]
            break
        parts.append(f"-H 'content-type: {media_type}'")
        if isinstance(body.get("example"), dict | list):
            parts.append(f"-d {shlex.quote(json.dumps(body['example']))}")
        else:
            parts.append("--data-binary @picture.jpg")
        break
    return " \\\n  ".join([*parts, shlex.quote(url)])
