"""Every file under a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import NamedTuple


class Seen(NamedTuple):
    """Something under a folder that is no folder itself, or one that cannot be read."""

    path: str
    #: Why there is nothing to read.
    reason: str | None = None


def walk(folder: str, without: str | None = None) -> Iterator[Seen]:
    """What is under a folder, at any depth, in the order of the names. Symbolic links are not
    followed; the folder itself may be one. A folder that is the same as `without` is left out.

    OSError if the folder cannot be read.
    """
    left_out = _identity(without) if without is not None else None
    # The entries of one folder after another, the innermost last.
    open_folders = [iter(_entries(folder))]
    while open_folders:
        entry = next(open_folders[-1], None)
        if entry is None:
            open_folders.pop()
        elif not entry.is_dir(follow_symlinks=False):
            yield Seen(entry.path)
        elif left_out is None or _identity(entry.path) != left_out:
            try:
                open_folders.append(iter(_entries(entry.path)))
            except OSError as error:
                yield Seen(entry.path, f"is a folder that cannot be read: {error.strerror}".lower())


def _entries(folder: str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)


def _identity(path: str) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino
