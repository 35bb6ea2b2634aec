"""vPDQ as its C++ tools write it: a line `frame,quality,hash,seconds` for each frame of one video.

The ref is the file's name without its ending.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import partial

from hashmatch.formats.fields import clipped
from hashmatch.formats.gathering import Gathering, Hash
from hashmatch.formats.model import ListError, Part, Source
from hashmatch.formats.vpdq import MAX_FRAMES, hash_of, name_of_video
from hashmatch.vpdq import Frame, frame_of

_LINE = re.compile(rb"\s*\d{1,10},\d{1,3},[0-9a-fA-F]{64},[\d.]+(?:[eE][+-]?\d+)?\s")
_FRAME_NUMBER = re.compile(r"\d{1,10}", re.ASCII)
#: A line has some 90.
_MAX_LINE_BYTES = 4_096


class VpdqText:
    """The format."""

    name = "vpdq-text"
    about = "vPDQ of one video: frame,quality,hash,seconds a line"

    def recognises(self, head: bytes) -> bool:
        return bool(_LINE.match(head + b"\n"))

    def read(self, source: Source) -> Iterator[Part]:
        gathering = Gathering(source)
        hashes: list[Hash] = []
        row = 0
        lines = iter(partial(source.file.readline, _MAX_LINE_BYTES), b"")
        for line, raw in enumerate(lines, 1):
            if len(raw) == _MAX_LINE_BYTES:
                raise ListError(f"{source.name}:{line}: is a line of more than {len(raw):,} bytes")
            text = raw.rstrip(b"\r\n").decode(errors="replace")
            if not text.strip():
                continue
            try:
                hashes.append(hash_of(row, _frame(text)))
            except ValueError as error:
                source.fault(line, str(error))
            row += 1
            if len(hashes) > MAX_FRAMES:
                raise ListError(f"{source.name}: has more than {MAX_FRAMES:,} frames")
        gathering.item(name_of_video(source), hashes, kind="video")
        yield from gathering.rest()


def _frame(text: str) -> Frame:
    parts = text.split(",")
    if len(parts) != 4:
        raise ValueError(f"has {len(parts):,} parts, not 4: frame,quality,hash,seconds")
    frame, quality, digits, seconds = parts
    if not _FRAME_NUMBER.fullmatch(frame):
        raise ValueError(f"frame is {clipped(frame)}, not a number")
    return frame_of(digits, quality, seconds)


FORMAT = VpdqText()
