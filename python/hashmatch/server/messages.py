"""What the processes that answer requests and the one that writes say to each other.

A connection carries one question and its answer. Each is a message: a head, which is small JSON,
and a body as it came from a caller, or as it goes to one. The layout, little-endian:

    4 bytes   "HMw1"
    u32       bytes of the head
    u64       bytes of the body
    the head, the body
"""

from __future__ import annotations

import struct
from typing import Any

import orjson

from hashmatch.server.problems import Problem

PREFIX = struct.Struct("<4sIQ")
_MAGIC = b"HMw1"
#: A head has names, which are short.
_MOST_HEAD_BYTES = 1 << 16
_MOST_BODY_BYTES = 1 << 32


def packed(head: dict[str, Any], body_bytes: int) -> bytes:
    """A message up to its body."""
    text = orjson.dumps(head)
    return PREFIX.pack(_MAGIC, len(text), body_bytes) + text


def sizes(prefix: bytes) -> tuple[int, int]:
    """Bytes of the head and the body. ValueError if that is no message."""
    magic, head, body = PREFIX.unpack(prefix)
    if magic != _MAGIC or head > _MOST_HEAD_BYTES or body > _MOST_BODY_BYTES:
        raise ValueError("what came is no message of this version of hashmatch")
    return head, body


def head_of(text: bytes) -> dict[str, Any]:
    """ValueError if it is none."""
    head = orjson.loads(text)
    if not isinstance(head, dict):
        raise ValueError("the head of a message is no object")
    return head


def of_problem(problem: Problem) -> dict[str, Any]:
    """The head that says why a question is not answered."""
    names = ("status", "detail", "field", "row", "retry_after")
    return {"problem": {name: getattr(problem, name) for name in names}}
