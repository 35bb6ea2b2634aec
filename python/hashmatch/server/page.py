"""The page for a person at `/`: what is held, how much is looked up, and a box to try a hash.

It is made of the files in page/, which nothing is built from and which load nothing from elsewhere.
Its security policy allows a browser no more: what a server's answers hold becomes text, and a mark
that slipped through would neither run nor be styled. The page itself says nothing of the database:
the requests that it makes are those of a caller, with a token where one is needed.
"""

from __future__ import annotations

from functools import cache
from html import escape
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from hashmatch.hash_types import HASH_TYPES
from hashmatch.server.http import Reply, Request

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

    from hashmatch.server.matching import Handler
    from hashmatch.server.service import Service

_MEDIA_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
#: How people write the types whose name is not spelled so.
_NAMES = {
    "pdq": "PDQ",
    "phash": "pHash",
    "dhash": "dHash",
    "ahash": "aHash",
    "whash": "wHash",
    "simhash": "SimHash",
    "md5": "MD5",
    "sha1": "SHA-1",
    "sha256": "SHA-256",
}

#: Of every page here.
HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    # A newer version's page must not meet the parts of an older one.
    "cache-control": "no-cache",
}


async def _page(request: Request, service: Service) -> Reply:
    body = _rendered(service.settings.hide_distances)
    return Reply(body, "text/html; charset=utf-8", headers=HEADERS)


@cache
def _rendered(hidden: bool) -> bytes:
    options = (
        f'<option value="{kind.name}" data-digits="{kind.digits}" '
        f'data-distance="{kind.max_distance}">{escape(_NAMES[kind.name])}</option>\n'
        for kind in HASH_TYPES.values()
    )
    template = Template((_folder() / "index.html").read_text("utf-8"))
    mark = ' data-hidden="distances"' if hidden else ""
    return template.substitute(types="".join(options), hidden=mark).encode()


def _part(name: str, media_type: str) -> Handler:
    @cache
    def body() -> bytes:
        return (_folder() / name).read_bytes()

    async def part(request: Request, service: Service) -> Reply:
        return Reply(body(), media_type, headers=HEADERS)

    return part


def _folder() -> Traversable:
    return files("hashmatch.server") / "page"


def _parts() -> dict[tuple[str, str], Handler]:
    return {
        ("GET", f"/page/{each.name}"): _part(each.name, media_type)
        for each in _folder().iterdir()
        if (media_type := _MEDIA_TYPES.get(Path(each.name).suffix)) is not None
    }


#: By method and path. None of them needs a token.
ROUTES: dict[tuple[str, str], Handler] = {("GET", "/"): _page, **_parts()}
