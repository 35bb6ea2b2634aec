"""vPDQ: videos as the PDQ hashes of their frames.

A frame is "<64 hex digits>,<quality>,<seconds>", a video a list of them. What a file may be:

- such a list: one video, whose ref is the file's name without its ending;
- an object with a list for each ref: `{"clip-a": ["..."], "clip-b": ["..."]}`;
- JSON Lines or a list of objects, each with the list as `vpdq` (or a text of that list), the ref as
  `ref`, `id` or `name`, and if wanted `contributor`, `labels` and `opinions` as in JSON Lines of
  ours; the rest is carried along as columns. `"removed": true` withdraws a video. So it is written.

Seconds may be written as 1.02e+03, as the incumbents' library does; digits lost there stay lost.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import PurePath
from typing import Any, TextIO

from hashmatch.codes import encode_hex
from hashmatch.formats.fields import (
    FieldError,
    Fields,
    clipped,
    take_column,
    take_id,
    take_labels,
    take_opinions,
    take_text,
)
from hashmatch.formats.gathering import Gathering, Hash
from hashmatch.formats.json_parts import named_contributor, opinions_by_ref, removal_lines
from hashmatch.formats.json_records import Entry
from hashmatch.formats.json_stream import json_records
from hashmatch.formats.json_text import JsonText
from hashmatch.formats.model import Block, ListError, Part, Removal, Source
from hashmatch.texts import json_text
from hashmatch.vpdq import Frame, frame_text, parse_frame

#: Frames of one video, which are held together.
MAX_FRAMES = 1 << 20

_LIST = re.compile(r'\[\s*["\]]')
_NAMED_LIST = re.compile(r'\{\s*"((?:[^"\\]|\\.)*)"\s*:\s*\[')
#: How a file of each sort begins, or what is in it.
_FIRST_FRAME = rb'\[\s*"[0-9a-fA-F]{64},\d{1,3},[\d.]+(?:[eE][+-]?\d+)?"'
_HEADS = (
    re.compile(rb"\s*" + _FIRST_FRAME),
    re.compile(rb'\s*\{\s*"(?:[^"\\]|\\.)*"\s*:\s*' + _FIRST_FRAME),
    re.compile(rb'\s*[\[{].*?"vpdq"\s*:\s*(?:' + _FIRST_FRAME + rb'|"\[|\[\s*\])', re.DOTALL),
)

#: Members of an object that are not carried along as columns.
_REFS = ("ref", "id", "name")
_OWN = frozenset(("vpdq", "contributor", "labels", "opinions", "removed", "columns"))


def hash_of(row: int, frame: Frame) -> Hash:
    """The signal that a frame is."""
    return Hash(row, "pdq", *frame)


def name_of_video(source: Source) -> str:
    """The ref of the only video of a file. ListError if the file's name cannot be one."""
    path = PurePath(source.name)
    name = (path.with_suffix("") if path.suffix in (".gz", ".zst") else path).stem
    try:
        return take_text(name, "the file's name")
    except FieldError as error:
        raise ListError(f"{source.name}: as the ref of the video, {error.reason}") from None


class _Reader:
    """The videos of one source."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._gathering = Gathering(source)
        #: Frames so far, and videos that are no list.
        self._rows = 0

    def parts(self) -> Iterator[Part]:
        text = JsonText(self._source)
        named = text.begins_like(_NAMED_LIST)
        if text.begins_like(_LIST):
            ref = name_of_video(self._source)
            self._gathering.item(ref, self._hashes("", self._frames(text), {}), kind="video")
            if text.peek():
                raise text.error(
                    "has more than one list: name each video, as in "
                    '{"ref": "...", "vpdq": ["..."]}, one a line'
                )
        elif named and named[1] != "vpdq":
            yield from self._named_lists(text)
        else:
            yield from self._objects(text)
        yield from self._gathering.rest()

    def _frames(self, text: JsonText) -> Iterator[Any]:
        """The elements of a list, one by one."""
        text.expect("[")
        if text.peek() == "]":
            text.skip()
            return
        more = True
        while more:
            if not text.peek():
                raise text.error("ends within a list")
            yield text.value()
            more = text.expect(",]") == ","

    def _named_lists(self, text: JsonText) -> Iterator[Part]:
        while text.peek():
            text.expect("{")
            more = text.peek() != "}"
            if not more:
                text.skip()
            while more:
                if text.peek() != '"':
                    text.expect('"')
                name = text.value()
                text.expect(":")
                if text.peek() != "[":
                    text.expect("[")
                self._take_video(name, self._frames(text))
                if self._gathering.ready:
                    yield from self._gathering.take()
                more = text.expect(",}") == ","

    def _take_video(self, ref: str, frames: Iterable[Any]) -> None:
        """Take a list of frames that an object has under a ref."""
        place = ref if len(ref) <= 60 else clipped(ref)
        hashes = self._hashes(place, frames, {})
        try:
            take_text(ref, "ref")
        except FieldError as error:
            self._source.fault(place, error.reason)
        else:
            self._gathering.item(ref, hashes, kind="video")

    def _objects(self, text: JsonText) -> Iterator[Part]:
        for place, row, value in json_records(self._source, text=text):
            entry = Entry(self._source, place, row, value)
            try:
                if type(value) is not dict:
                    raise FieldError("", "is not an object")
                self._take_object(entry)
            except FieldError as error:
                entry.fault(error)
            if self._gathering.ready:
                yield from self._gathering.take()

    def _take_object(self, entry: Entry) -> None:
        fields = entry.fields
        name = next((name for name in _REFS if fields.get(name) is not None), None)
        if name is None:
            raise FieldError("", f"has none of {', '.join(_REFS)}")
        ref = take_id(fields, name)
        contributor = fields.get("contributor")
        if contributor is not None:
            contributor = take_text(contributor, "contributor", empty=True)
        removed = fields.get("removed", False)
        if type(removed) is not bool:
            raise FieldError("removed", f"is {clipped(removed)}, not true or false")
        if removed:
            self._gathering.remove(self._rows, ref, contributor)
            self._rows += 1
            return
        frames = _frame_list(fields)
        columns = _columns(fields, name, len(frames))
        labels = take_labels(fields.get("labels"))
        opinions = take_opinions(fields.get("opinions"), ref)
        colon = ":" if isinstance(entry.place, int) else "."
        self._gathering.item(
            ref,
            self._hashes(f"{entry.place}{colon}vpdq", frames, columns),
            contributor=contributor,
            kind="video",
            labels=labels,
            opinions=opinions,
        )

    def _hashes(
        self, place: str, frames: Iterable[Any], columns: Mapping[str, Sequence[str]]
    ) -> list[Hash]:
        """The sound frames of a video."""
        hashes: list[Hash] = []
        for number, frame in enumerate(frames):
            row = self._rows
            self._rows += 1
            try:
                hash = hash_of(row, parse_frame(frame))
            except ValueError as error:
                self._source.fault(f"{place}[{number}]", str(error))
                continue
            if columns:
                of_frame = {name: texts[number] for name, texts in columns.items()}
                hash = hash._replace(columns=of_frame)
            hashes.append(hash)
            if len(hashes) > MAX_FRAMES:
                raise ListError(f"{self._source.name}:{place}: has more than {MAX_FRAMES:,} frames")
        return hashes


def _frame_list(fields: Fields) -> list[Any]:
    frames = fields.get("vpdq")
    if isinstance(frames, str):
        try:
            frames = json.loads(frames)
        except (ValueError, RecursionError):
            raise FieldError("vpdq", "is text that is not a JSON list") from None
    if not isinstance(frames, list):
        raise FieldError("vpdq", f"is {clipped(frames)}, not a list of frames")
    return frames


def _columns(fields: Fields, ref: str, frames: int) -> dict[str, Sequence[str]]:
    """Columns with a text for each frame: most have one for the video."""
    columns: dict[str, Sequence[str]] = {
        name: [take_column(value, name)] * frames
        for name, value in fields.items()
        if name != ref and name not in _OWN
    }
    more = fields.get("columns") or {}
    if not isinstance(more, dict):
        raise FieldError("columns", f"is {clipped(more)}, not an object")
    for name, texts in more.items():
        place = f"columns.{name}"
        if isinstance(texts, list) and len(texts) != frames:
            raise FieldError(place, f"has {len(texts):,} texts for {frames:,} frames")
        if not isinstance(texts, list):
            texts = [texts] * frames
        columns[name] = [take_column(text, place) for text in texts]
    return columns


class VpdqJson:
    """The format, reader and writer."""

    name = "vpdq-json"
    about = "vPDQ: lists of frames, hash,quality,seconds; one video or several (JSON)"

    def recognises(self, head: bytes) -> bool:
        return any(pattern.match(head) for pattern in _HEADS)

    def read(self, source: Source) -> Iterator[Part]:
        yield from _Reader(source).parts()

    def write(self, parts: Iterable[Part], file: TextIO) -> int:
        """Write a line for each video and removal; the number of lines.

        ListError names what is not a video's frame with a quality and a time.
        """
        written = 0
        for part in parts:
            lines = removal_lines(part) if isinstance(part, Removal) else _videos(part)
            for line in lines:
                file.write(f"{json_text(line)}\n")
                written += 1
        return written


def _videos(block: Block) -> Iterator[dict[str, Any]]:
    """An object for each video of a block."""
    refs, quality, time_ms = block.refs, block.quality, block.time_ms
    fits = block.hash_type == "pdq" and block.kind == "video" and refs is not None
    if len(block.codes) and not fits:
        without = " without refs" if refs is None else ""
        raise ListError(
            f"vpdq-json holds frames of videos (pdq), not {block.hash_type} of kind "
            f"{block.kind}{without}: write jsonl or csv"
        )
    said = opinions_by_ref(block.opinions)
    digits = encode_hex(block.codes)
    for ref, group in groupby(range(len(digits)), (refs or ()).__getitem__):
        rows = list(group)
        line: dict[str, Any] = {"ref": ref, **named_contributor(block.contributor)}
        if block.labels is not None:
            each = (label for row in rows for label in block.labels[row])
            line["labels"] = list(dict.fromkeys(each))
        if ref in said:
            line["opinions"] = said.pop(ref)
        if block.columns:
            line["columns"] = {
                name: [texts[row] for row in rows] for name, texts in block.columns.items()
            }
        frames = []
        for row in rows:
            good, ms = (quality[row] if quality else None), (time_ms[row] if time_ms else None)
            if good is None or ms is None:
                raise ListError(f"vpdq-json: {ref!r} has a frame without quality or time")
            frames.append(frame_text(digits[row], good, ms))
        yield {**line, "vpdq": frames}
    for ref, opinions in said.items():
        yield {"ref": ref, "opinions": opinions, "vpdq": []}


FORMAT = VpdqJson()
