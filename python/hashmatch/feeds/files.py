"""Files of ours: one list, or a folder of them. Their state is what they hold."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from hashmatch.database import Batch, BatchList, Removal
from hashmatch.feeds.model import Position

#: The options of a feed of files, and what they are for.
_OPTIONS = {
    "path": "a list of hashes, or a folder of them",
    "format": "what `hashmatch formats` calls the lists' format",
    "type": "the kind of hash",
    "column": "the CSV column that holds the hash",
    "ref": "the CSV column that holds the ref",
    "labels": "the CSV column that holds labels",
}


@dataclass(slots=True)
class Files:
    """Lists at a path, which is followed by reading them all anew when any of them is another."""

    options: Mapping[str, str]
    #: "file:line: reason" of each row left out.
    faults: list[str] = field(default_factory=list, init=False)
    #: There are none.
    secrets: tuple[str, ...] = field(default=(), init=False)

    def __post_init__(self) -> None:
        takes = ", ".join(f"{name} ({about})" for name, about in _OPTIONS.items())
        for name in self.options:
            if name not in _OPTIONS:
                raise ValueError(f"exchange 'files' has no option {name!r}; it takes: {takes}")
        if not self.options.get("path"):
            raise ValueError(f"exchange 'files' needs --option path=...; it takes: {takes}")

    def look(self) -> Position:
        """What tells one state of the files from another. OSError if there are none."""
        found: dict[str, list[int]] = {}
        for path in self._paths():
            status = os.stat(path)
            found[path.name] = [status.st_ino, status.st_size, status.st_mtime_ns]
        return {"files": found}

    def progress(self, position: Position) -> datetime | None:
        """When the newest file was written."""
        times = [numbers[2] for numbers in position["files"].values()]
        return datetime.fromtimestamp(max(times) / 1e9, UTC) if times else None

    def read(self) -> Iterator[Batch | Removal]:
        """All that the files hold."""
        for path in self._paths():
            yield from self._batches(path)

    def _batches(self, path: Path) -> Iterator[Batch | Removal]:
        batches = BatchList(
            str(path),
            self.options.get("type"),
            self.options.get("column"),
            self.options.get("ref"),
            self.options.get("labels"),
            skip_faults=True,
            format=self.options.get("format"),
        )
        batches.faults = self.faults
        yield from batches

    def _paths(self) -> list[Path]:
        root = Path(self.options["path"])
        if not stat.S_ISDIR(os.stat(root).st_mode):
            return [root]
        with os.scandir(root) as entries:
            names = [e.name for e in entries if not e.name.startswith(".") and e.is_file()]
        if not names:
            raise FileNotFoundError(f"{root}: the folder holds no lists")
        return [root / name for name in sorted(names)]
