"""The hashes of a lookup out of its body: JSON, packed, or an Arrow stream."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Collection
from typing import Any, TypeAlias

import numpy as np
import orjson
from numpy.typing import NDArray

from hashmatch.codes import as_codes
from hashmatch.formats.fields import clipped
from hashmatch.hash_types import HashType
from hashmatch.index import Progress
from hashmatch.server.http import Request
from hashmatch.server.media import PACKED
from hashmatch.server.parameters import LOOKUP, Asked, asked_of, in_url, together, unknown
from hashmatch.server.problems import Problem
from hashmatch.server.service import Service

#: What a lookup asks for, and its codes as uint8[n, width].
Lookup: TypeAlias = tuple[Asked, NDArray[np.uint8]]
Read: TypeAlias = Callable[[bytes, Request, Service], Lookup]

#: A body of more bytes has searches that may take seconds.
LARGE_BYTES = 65_536
#: Hashes in one JSON body; more are sent in fewer bytes packed.
MAX_JSON_HASHES = 100_000
#: Enough for those, with room for white space.
_MAX_JSON_BYTES = 16 << 20
#: Empty lists and objects take 30 times their JSON's memory; a lookup has a handful of them.
_MAX_LISTS = 1_000
_ROW = re.compile(r"row (\d+): ")
_MEMBERS = {**LOOKUP, "hashes": None}


def json_members(
    body: bytes, known: Collection[str], most_lists: int = _MAX_LISTS
) -> dict[str, Any]:
    """The members of a body, an object with some of the known ones. Problem if it is none, or has
    more lists and objects in it.
    """
    if len(body) > _MAX_JSON_BYTES:
        raise Problem(
            413, f"JSON bodies have at most {_MAX_JSON_BYTES >> 20} MiB: send it in parts"
        )
    if body.count(b"[") + body.count(b"{") > most_lists:
        raise Problem(413, f"a JSON body has at most {most_lists:,} lists and objects")
    try:
        members = orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise Problem(400, f"the body is no JSON: {error}") from None
    if type(members) is not dict:
        raise Problem(400, f"the body is no JSON object, but begins {body[:20]!r}")
    for name in members:
        if name not in known:
            raise unknown(name, known)
    return members


def read_json(body: bytes, request: Request, service: Service) -> Lookup:
    """The lookup in a JSON body: an object with `hashes` and parameters."""
    members = json_members(body, _MEMBERS)
    try:
        hashes = members.pop("hashes")
    except KeyError:
        raise Problem(400, "hashes are missing: give a list of hex texts", field="hashes") from None
    asked = asked_of(together(in_url(request, LOOKUP), members), request, service)
    if type(hashes) is list:
        if len(hashes) > MAX_JSON_HASHES:
            raise Problem(
                413,
                f"hashes has {len(hashes):,}, a JSON body at most {MAX_JSON_HASHES:,}: send them "
                f"in parts, or packed as {PACKED}",
                field="hashes",
            )
        if not set(map(type, hashes)) <= {str}:
            row, value = next((r, v) for r, v in enumerate(hashes) if type(v) is not str)
            raise Problem(400, f"row {row}: a hash is hex text, not {clipped(value)}",
                          field="hashes", row=row)  # fmt: skip
    elif type(hashes) is not str:
        raise Problem(400, f"hashes is {clipped(hashes)}: give a list of hex texts", field="hashes")
    return asked, codes_of(hashes, asked.kind)


def read_packed(body: bytes, request: Request, service: Service) -> Lookup:
    """The lookup in a body of codes, one after another, with its parameters in the URL."""
    asked = asked_of(in_url(request, LOOKUP), request, service)
    width = asked.kind.width
    rows, rest = divmod(len(body), width)
    if rest:
        raise Problem(
            400,
            f"row {rows}: the body has {len(body):,} bytes, which is no multiple of the {width} of "
            f"{asked.kind.label}",
            field="hashes", row=rows,
        )  # fmt: skip
    return asked, np.frombuffer(body, np.uint8).reshape(rows, width)


def codes_of(hashes: Any, kind: HashType) -> NDArray[np.uint8]:
    """uint8[n, width] of hashes. Problem names the row that is none."""
    try:
        return as_codes(hashes, kind)
    except (TypeError, ValueError) as error:
        found = _ROW.match(str(error))
        row = int(found[1]) if found else None
        raise Problem(400, str(error), field="hashes", row=row) from None


def deadline(seconds: float) -> Progress:
    """Ends a search that takes longer, with a Problem."""
    end = time.monotonic() + seconds

    def progress(done: int, total: int) -> None:
        if time.monotonic() > end:
            raise Problem(413, f"the search took longer than {seconds:g} s: send less at a time")

    return progress
