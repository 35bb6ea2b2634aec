"""The OpenAPI document: complete, sound, and as a page."""

from __future__ import annotations

import asyncio
import re
import shlex
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.routing import BaseRoute, Route

import hashmatch
from hashmatch.server import Settings, Sidecar, create_app
from hashmatch.server.app import ROUTES
from hashmatch.server.matching import SET_ROUTES
from hashmatch.server.tokens import add_token
from serving import problem, with_application
from writers import writer_of

CODE = "f8f8f0cee0f4a84f06370a22038f63f0b36e2ed596621e1d33e6b39c4e9c9b22"


@pytest.fixture(scope="module")
def app() -> Sidecar:
    return create_app(Settings(path=Path()))


@pytest.fixture(scope="module")
def document(app: Sidecar) -> Any:
    return app.typed.openapi()


def operations(document: Any) -> dict[tuple[str, str], Any]:
    return {
        (method.upper(), path): operation
        for path, each in document["paths"].items()
        for method, operation in each.items()
    }


def plain_routes(routes: Sequence[BaseRoute]) -> Iterator[Route]:
    for route in routes:
        if isinstance(route, Route):
            yield route
        else:
            yield from plain_routes(route.original_router.routes)  # type: ignore[attr-defined]


def test_every_route_is_documented_and_nothing_else(app: Sidecar, document: Any) -> None:
    routes = {key for key in ROUTES if not key[1].startswith("/page/")}
    routes |= {(method, f"/v1/sets/{{set}}/{last}") for method, last in SET_ROUTES}
    for route in plain_routes(app.typed.routes):
        # A path may say of a part how it is read.
        path = re.sub(r":\w+\}", "}", route.path)
        routes |= {(method, path) for method in route.methods or () if method != "HEAD"}
    assert routes == operations(document).keys()


def test_every_operation_says_what_callers_need_to_know(document: Any) -> None:
    found = operations(document)
    names = [operation["operationId"] for operation in found.values()]
    assert len(set(names)) == len(names) and all(name.isidentifier() for name in names)
    for (method, path), operation in found.items():
        assert operation["summary"][0].isupper() and "_" not in operation["summary"], path
        responses = operation["responses"]
        needs_token = {"401", "403", "429", "503"} <= responses.keys()
        assert needs_token == bool(operation["security"]), path
        assert ("413" in responses) == ("requestBody" in operation), path
        for status, response in responses.items():
            assert "Hashmatch-Generation" in response["headers"], (path, status)
            is_problem = "application/problem+json" in response.get("content", {})
            # HMA says in a word whether it is well.
            assert is_problem == (int(status) >= 400 and path != "/status"), path
        if method == "POST" and path.startswith("/v1/"):
            media_type, body = next(iter(operation["requestBody"]["content"].items()))
            assert "example" in body or media_type != "application/json", path


def test_other_methods_are_refused(document: Any, tmp_path: Path) -> None:
    hashmatch.open(tmp_path / "bank", "c").close()
    found = operations(document)
    paths = [path.replace("{set}", "shared") for path in document["paths"]]

    async def use(client: httpx.AsyncClient) -> list[httpx.Response]:
        return [await client.request("DELETE", path) for path in paths]

    for path, reply in zip(
        document["paths"], with_application(tmp_path / "bank", use), strict=True
    ):
        assert "DELETE" in problem(reply, 405)["detail"]
        allowed = set(reply.headers["allow"].split(", "))
        assert allowed == {method for method, each in found if each == path}


def test_what_takes_a_token_says_so(document: Any, tmp_path: Path) -> None:
    hashmatch.open(tmp_path / "bank", "c").close()
    add_token(tmp_path / "tokens", "nobody", ["read"])
    found = operations(document)

    async def use(client: httpx.AsyncClient) -> list[httpx.Response]:
        # Who is refused waits a while: all at once.
        asked = (client.request(method, path.replace("{set}", "shared")) for method, path in found)
        return await asyncio.gather(*asked)

    settings = {"listen": "127.0.0.1:0", "tokens": tmp_path / "tokens"}
    replies = with_application(tmp_path / "bank", use, **settings)
    for operation, reply in zip(found.values(), replies, strict=True):
        assert reply.status_code == (401 if operation["security"] else 200), reply.request.url
        assert ("www-authenticate" in reply.headers) == bool(operation["security"])


def test_examples_are_answered(document: Any, tmp_path: Path) -> None:
    with hashmatch.open(tmp_path / "bank", "c") as database:
        database.create("shared", contributor="forum")
        with database.change("shared") as change:
            change.add("pdq", [CODE], refs=["picture-17"])
    examples = [
        (method, path.replace("{set}", "shared"), content["example"])
        for (method, path), operation in operations(document).items()
        for media_type, content in operation.get("requestBody", {}).get("content", {}).items()
        if media_type == "application/json" and method == "POST"
    ]

    async def use(client: httpx.AsyncClient) -> list[httpx.Response]:
        return [await client.request(*example[:2], json=example[2]) for example in examples]

    with writer_of(tmp_path / "bank") as writer:
        replies = with_application(tmp_path / "bank", use, writer_socket=writer.socket)
    assert examples and [reply.status_code for reply in replies] == [200] * len(examples), [
        reply.text for reply in replies
    ]


class Page(HTMLParser):
    """What a page links to and names, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.names: list[str] = []
        self.tags: set[str] = set()
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        for name, value in attrs:
            if name in ("href", "src"):
                self.links.append(value or "")
            elif name == "id":
                self.names.append(value or "")
            assert name != "style" and not name.startswith("on"), (tag, name)

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.mark.parametrize("path", ["/", "/docs"])
def test_pages_load_nothing_from_elsewhere(path: str, tmp_path: Path) -> None:
    hashmatch.open(tmp_path / "bank", "c").close()

    async def use(client: httpx.AsyncClient) -> list[httpx.Response]:
        links = [link for link in Page((await client.get(path)).text).links if link[0] != "#"]
        assert not any(link.startswith(("/", "http")) for link in links), links
        return [await client.get(each) for each in (path, *(f"/{link}" for link in links))]

    page, *linked = with_application(tmp_path / "bank", use)
    assert {reply.status_code for reply in linked} == {200}
    assert {"text/css; charset=utf-8", "image/svg+xml"} <= {
        reply.headers["content-type"] for reply in linked
    }
    policy = page.headers["content-security-policy"].split("; ")
    assert policy[0] == "default-src 'none'"
    sources = {source for each in policy for source in each.split()[1:]}
    assert sources == {"'none'", "'self'", "'script'"}
    assert page.headers["x-content-type-options"] == "nosniff"


def test_the_page_of_the_document_is_complete(document: Any, tmp_path: Path) -> None:
    hashmatch.open(tmp_path / "bank", "c").close()

    async def use(client: httpx.AsyncClient) -> httpx.Response:
        return await client.get("/docs")

    page = Page(with_application(tmp_path / "bank", use).text)
    assert "script" not in page.tags
    assert len(set(page.names)) == len(page.names)
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.names)
    commands = [shlex.split(each) for each in re.findall(r"curl .*?\S(?=\n[^ ])", page.text, re.S)]
    urls = {command[-1].partition("?")[0].removeprefix("http://localhost") for command in commands}
    assert urls == {path.replace("{set}", "shared") for path in document["paths"]}
    for (method, path), operation in operations(document).items():
        assert method == "HEAD" or f"{method} {path}" in page.text
        for parameter in operation.get("parameters", ()):
            assert parameter.get("name", "") in page.text
    for schema in document["components"]["schemas"].values():
        for name in schema.get("properties", {}):
            assert name in page.text
