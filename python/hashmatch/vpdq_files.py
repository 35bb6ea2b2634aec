"""Files of hashed videos, as vPDQ strings.

A file is one of these:

- a JSON list of frames, `["<64 hex digits>,<quality>,<seconds>", ...]`: one video, which has the
  file's name without its ending;
- JSON Lines, a video a line: such a list, which is named by its line, or an object with the list
  as "vpdq" and a name as "ref".

A folder stands for all files in it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TextIO

from hashmatch.lists import ListError
from hashmatch.vpdq import Frames


class NamedVideo(NamedTuple):
    name: str
    frames: Frames


@dataclass(slots=True)
class VideoFiles:
    """Videos that are yet to be read: iteration reads them, once."""

    #: A file or a folder; "-" is standard input.
    path: str
    #: Leave faulty videos out and note them in `faults`; otherwise the first is a ListError.
    skip_faults: bool = False
    #: "file:line: reason" of each video left out.
    faults: list[str] = field(default_factory=list, init=False)

    def __iter__(self) -> Iterator[NamedVideo]:
        if self.path != "-" and os.path.isdir(self.path):
            files = sorted(file for file in Path(self.path).iterdir() if file.is_file())
        else:
            files = [Path(self.path)]
        for file in files:
            yield from self._read(file)

    def _read(self, path: Path) -> Iterator[NamedVideo]:
        standard_input = self.path == "-"
        name = "<stdin>" if standard_input else str(path)
        descriptor = 0 if standard_input else path
        with open(descriptor, encoding="utf-8-sig", closefd=not standard_input) as file:
            lines = self._lines(name, file)
            first = next(lines, None)
            if first is None:
                return
            stem = "stdin" if standard_input else path.stem
            yield from self._videos(name, stem, first, lines)

    def _lines(self, name: str, file: TextIO) -> Iterator[tuple[int, str]]:
        """Lines that are not blank, by their numbers from 1."""
        try:
            for number, line in enumerate(file, 1):
                if line.strip():
                    yield number, line
        except UnicodeDecodeError:
            raise ListError(f"{name}: is not UTF-8 text: give vPDQ JSON") from None

    def _videos(
        self, name: str, stem: str, first: tuple[int, str], lines: Iterator[tuple[int, str]]
    ) -> Iterator[NamedVideo]:
        number, line = first
        try:
            json.loads(line)
        except (ValueError, RecursionError):
            # One list over several lines, or a faulty one.
            yield from self._video(
                name, number, stem, "".join((line, *(text for _, text in lines)))
            )
            return
        second = next(lines, None)
        yield from self._video(name, number, stem if second is None else f"{stem}:{number}", line)
        for number, line in () if second is None else (second, *lines):
            yield from self._video(name, number, f"{stem}:{number}", line)

    def _video(self, name: str, number: int, ref: str, text: str) -> Iterator[NamedVideo]:
        try:
            value = json.loads(text)
            if isinstance(value, dict):
                ref, value = value.get("ref", ref), value.get("vpdq")
                if not isinstance(ref, str) or not ref:
                    raise ValueError('"ref" must be a text')
            if not isinstance(value, list | str):
                raise ValueError('a video is a JSON list of frames, or an object with "vpdq"')
            video = NamedVideo(ref, Frames.parse(value))
        except (ValueError, RecursionError) as error:
            self._fault(name, number, f"no vPDQ video: {error}")
        else:
            yield video

    def _fault(self, name: str, number: int, reason: str) -> None:
        fault = f"{name}:{number}: {reason}"
        if not self.skip_faults:
            raise ListError(f"{fault} (--on-error skip leaves bad videos out)")
        self.faults.append(fault)
