"""Media types: of a request's body, and of the answer that its caller takes."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence

from hashmatch import wire
from hashmatch.server.http import Request
from hashmatch.server.problems import Problem

JSON = "application/json"
PACKED = wire.MEDIA_TYPE
ARROW = "application/vnd.apache.arrow.stream"

_QUALITY = re.compile(r"[01](?:\.\d{0,3})?", re.ASCII)


def require_plain(request: Request) -> None:
    """Problem if the body is compressed, say: it could unpack to any size."""
    coding = request.header(b"content-encoding")
    if coding is not None and coding.lower() != "identity":
        raise Problem(
            415, f"the body is encoded as {coding!r:.40}: send it as it is",
            field="Content-Encoding", headers={"accept-encoding": "identity"},
        )  # fmt: skip


def content_type(request: Request, known: Collection[str]) -> str:
    """The media type of the body. Problem if it is none of those."""
    require_plain(request)
    text = request.header(b"content-type")
    if text is not None and text in known:
        return text
    name, _, parameter = (text or "").partition(";")
    name = name.strip().lower()
    charset = parameter.strip().lower().replace('"', "")
    if name not in known or charset not in ("", "charset=utf-8"):
        raise Problem(
            415, f"Content-Type is {text!r:.80}: send {' or '.join(known)}", field="Content-Type"
        )
    return name


def accepted(request: Request, offered: Sequence[str]) -> str:
    """The media type of the answer: of those offered the one that the caller likes best, of equals
    the first. Problem if they take none.
    """
    text = request.header(b"accept")
    if text is None or text == "*/*":
        return offered[0]
    if text in offered:
        return text
    ranges = dict(map(_range, text.split(",")))

    def liking(name: str) -> float:
        """By the range that says most about it."""
        for each in (name, f"{name.partition('/')[0]}/*", "*/*"):
            if each in ranges:
                return ranges[each]
        return 0

    best = max(offered, key=liking)
    if not liking(best):
        raise Problem(406, f"Accept is {text!r:.80}: take {' or '.join(offered)}", field="Accept")
    return best


def _range(text: str) -> tuple[str, float]:
    """A media range, and how much it is liked."""
    name, *parameters = (part.strip().lower() for part in text.split(";"))
    for parameter in parameters:
        if parameter.startswith("q="):
            value = parameter[2:].strip()
            return name, float(value) if _QUALITY.fullmatch(value) else 0
    return name, 1
