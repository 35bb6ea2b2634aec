"""Indices as the bytes that they are stored as, and bytes that are shaped like them."""

from __future__ import annotations

import io
import zlib
from typing import Any

from hashmatch.threatexchange import blob


def stored(index: Any) -> bytes:
    file = io.BytesIO()
    index.serialize(file)
    return file.getvalue()


def envelope(contents: bytes) -> bytes:
    return blob.PREFIX + len(contents).to_bytes(8, "little") + contents + blob.SUFFIX


def payload(header: bytes, sections: bytes, version: int = 1) -> bytes:
    head = blob.MAGIC + version.to_bytes(4, "little") + len(header).to_bytes(4, "little")
    contents = head + header + sections
    return contents + zlib.crc32(contents).to_bytes(4, "little")
