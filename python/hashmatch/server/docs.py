"""The page at /docs: the OpenAPI document as a person reads it.

Written here from the document itself, without scripts: the viewers that there are take half a
megabyte and more of them, styles that the pages' security policy forbids, and none shows how a
packed body is sent.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any, TypeAlias

from fastapi import APIRouter, FastAPI
from fastapi.responses import HTMLResponse
from starlette.requests import Request

from hashmatch.server.curl import curl_command
from hashmatch.server.page import HEADERS

#: A part of the document.
Part: TypeAlias = Mapping[str, Any]

_METHODS = ("get", "put", "post", "delete")


def routes() -> APIRouter:
    """The route of the page. It answers without the token that others need."""
    router = APIRouter()

    @router.get("/docs", include_in_schema=False)
    async def docs(request: Request) -> HTMLResponse:
        return HTMLResponse(_page(request.app), headers=HEADERS)

    return router


def _page(app: FastAPI) -> str:
    if not hasattr(app.state, "docs"):
        app.state.docs = docs_page(app.openapi())
    page: str = app.state.docs
    return page


def docs_page(document: Part) -> str:
    """The page of an OpenAPI document."""
    template = Template((files("hashmatch.server") / "page" / "docs.html").read_text("utf-8"))
    tags: dict[str, list[tuple[str, str, Part]]] = {tag["name"]: [] for tag in document["tags"]}
    for path, operations in document["paths"].items():
        for method in _METHODS:
            if method in operations:
                operation = operations[method]
                tags[operation["tags"][0]].append((method, path, operation))
    said = {tag["name"]: tag["description"] for tag in document["tags"]}
    return template.substitute(
        about=_prose(document["info"]["description"]),
        contents="".join(_contents(tags)),
        operations="".join(_tag(document, tag, said[tag], of) for tag, of in tags.items()),
        schemas="".join(
            f'<section class="sheet" id="schema-{_anchor(name)}"><h3>{escape(name)}</h3>'
            f"{_prose(schema.get('description', ''))}{_members(schema)}</section>\n"
            for name, schema in sorted(document["components"]["schemas"].items())
        ),
    )


def _contents(tags: Mapping[str, list[tuple[str, str, Part]]]) -> Iterator[str]:
    for tag, operations in tags.items():
        yield f'<li><a href="#{_anchor(tag)}">{escape(tag)}</a><ul>\n'
        for method, path, operation in operations:
            yield (
                f'<li><a href="#{_anchor(operation["operationId"])}"><code>{method.upper()} '
                f"{_path(path)}</code></a></li>\n"
            )
        yield "</ul></li>\n"


def _tag(document: Part, tag: str, said: str, of: list[tuple[str, str, Part]]) -> str:
    each = "".join(_operation(document, *operation) for operation in of)
    return (
        f'<section aria-labelledby="{_anchor(tag)}"><h2 id="{_anchor(tag)}">{escape(tag)}</h2>\n'
        f"{_prose(said)}{each}</section>\n"
    )


def _operation(document: Part, method: str, path: str, operation: Part) -> str:
    anchor = _anchor(operation["operationId"])
    bodies = operation.get("requestBody", {}).get("content", {})
    parameters = [_resolved(document, each) for each in operation.get("parameters", ())]
    command = curl_command(method, path, parameters, bodies)
    return (
        f'<article class="sheet" aria-labelledby="{anchor}">\n'
        f'<h3 id="{anchor}"><span class="method {method}">{method.upper()}</span> '
        f"<code>{_path(path)}</code></h3>\n"
        f"<p><strong>{_inline(operation['summary'])}.</strong></p>\n"
        f"{_prose(operation.get('description', ''))}"
        f'<pre tabindex="0" role="group" aria-label="With curl"><code>{escape(command)}</code>'
        "</pre>\n"
        f"{_parameters(parameters)}"
        f"{_bodies(bodies)}{_responses(document, operation['responses'])}</article>\n"
    )


def _parameters(parameters: Sequence[Part]) -> str:
    rows = []
    for parameter in parameters:
        schema = parameter["schema"]
        where = {"query": "in the URL", "path": "in the path", "header": "a header"}
        rows.append(
            _row(
                parameter["name"],
                f"{_kind(schema)}, {where[parameter['in']]}",
                parameter.get("required", False),
                parameter.get("description", "") + _limits(schema),
            )
        )
    return f"<h4>Parameters</h4>\n{_table(rows)}" if rows else ""


def _bodies(bodies: Part) -> str:
    parts = []
    for media_type, body in bodies.items():
        parts.append(f"<h4>Body, as <code>{escape(media_type)}</code></h4>\n")
        parts.append(_shape(body.get("schema", {})))
        parts.append(_example(body))
    return "".join(parts)


def _responses(document: Part, responses: Part) -> str:
    parts = ["<h4>Answers</h4>\n<dl class='answers'>\n"]
    for status, each in responses.items():
        response = _resolved(document, each)
        parts.append(f"<dt><code>{status}</code></dt><dd>{_inline(response['description'])}")
        for name, header in response.get("headers", {}).items():
            if name != "Hashmatch-Generation":
                said = _resolved(document, header)["description"]
                parts.append(f"<p><code>{escape(name)}</code>: {_inline(said)}</p>")
        for media_type, content in response.get("content", {}).items():
            if media_type != "application/problem+json":
                shape = _shape(content.get("schema", {}))
                parts.append(f"<p>As <code>{escape(media_type)}</code>:</p>{shape}")
                parts.append(_example(content))
        parts.append("</dd>\n")
    return "".join(parts) + "</dl>\n"


def _example(content: Part) -> str:
    if "example" not in content or not isinstance(content["example"], dict | list):
        return ""
    text = json.dumps(content["example"], indent=2)
    return (
        "<details><summary>Example</summary>"
        f'<pre tabindex="0" role="group" aria-label="Example"><code>{escape(text)}</code></pre>'
        "</details>\n"
    )


# Schemas.


def _shape(schema: Part) -> str:
    forms = schema.get("oneOf", ())
    if forms and all("properties" in form for form in forms):
        return "<p>or</p>\n".join(map(_members, forms))
    if "properties" in schema:
        return _prose(schema.get("description", "")) + _members(schema)
    said = _kind(schema)
    if "description" in schema:
        said += f": {_inline(schema['description'])}"
    return f"<p>{said}</p>\n"


def _members(schema: Part) -> str:
    required = schema.get("required", ())
    rows = [
        _row(name, _kind(each), name in required, each.get("description", "") + _limits(each))
        for name, each in schema.get("properties", {}).items()
    ]
    return _table(rows) if rows else f"<p>{_kind(schema)}</p>\n"


def _table(rows: list[str]) -> str:
    head = "".join(f'<th scope="col">{name}</th>' for name in ("Name", "Type", "What it is"))
    return f"<table><thead><tr>{head}</tr></thead><tbody>\n{''.join(rows)}</tbody></table>\n"


def _row(name: str, kind: str, required: bool, said: str) -> str:
    mark = ' <span class="chip">required</span>' if required else ""
    return (
        f'<tr><th scope="row"><code>{escape(name)}</code>{mark}</th>'
        f'<td data-name="Type">{kind}</td><td data-name="What it is">{_inline(said)}</td></tr>\n'
    )


def _kind(schema: Part) -> str:
    """The type of a value in words, as HTML."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f'<a href="#schema-{_anchor(name)}">{escape(name)}</a>'
    for word in ("anyOf", "oneOf"):
        if word in schema:
            return " or ".join(_kind(each) for each in schema[word])
    if "enum" in schema:
        return " or ".join(f"<code>{escape(json.dumps(each))}</code>" for each in schema["enum"])
    if "const" in schema:
        return f"<code>{escape(json.dumps(schema['const']))}</code>"
    kind = schema.get("type", "bytes")
    if isinstance(kind, list):
        return " or ".join(escape(each) for each in kind)
    if kind == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    if kind == "object" and isinstance(schema.get("additionalProperties"), Mapping):
        return f"object of {_kind(schema['additionalProperties'])}"
    return "bytes" if schema.get("format") == "binary" else escape(kind)


def _limits(schema: Part) -> str:
    """What else a value has to keep to, as a sentence."""
    words = {
        "minimum": "at least {}",
        "maximum": "at most {}",
        "exclusiveMinimum": "more than {}",
        "minItems": "at least {} of them",
        "maxItems": "at most {} of them",
        "maxLength": "at most {} characters",
    }
    said = [text.format(f"{schema[word]:,}") for word, text in words.items() if word in schema]
    if schema.get("minItems") == schema.get("maxItems") is not None:
        said = [f"{schema['minItems']} of them"]
    if "default" in schema:
        said.append(f"without it `{json.dumps(schema['default'])}`")
    return f" ({', '.join(said)})" if said else ""


def _resolved(document: Part, part: Part) -> Part:
    while "$ref" in part:
        found = document
        for name in part["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        part = found
    return part


# Text.


def _prose(text: str) -> str:
    return "".join(f"<p>{_inline(each)}</p>\n" for each in text.split("\n\n") if each.strip())


def _inline(text: str) -> str:
    """Text in which `...` is code, as HTML."""
    parts = escape(text.strip()).split("`")
    return "".join(f"<code>{part}</code>" if n % 2 else part for n, part in enumerate(parts))


def _path(path: str) -> str:
    return escape(path).replace("/", "/<wbr>")


def _anchor(name: str) -> str:
    return escape("".join(letter if letter.isalnum() else "-" for letter in name.lower()))
