"""A folder's files, hashed by several processes and matched as they come."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from hashmatch.hashing.contents import FileHashes, hash_file
from hashmatch.hashing.thumbnails import thumbnail
from hashmatch.hashing.walking import walk
from hashmatch.hashing.workers import Failure, Workers, cores
from hashmatch.scanning.findings import Finding
from hashmatch.scanning.matching import Matcher

#: What one process may hold: more than the largest picture takes.
MEMORY_BYTES = 4 << 30
#: A video gives what it has when its time is up, for which it is given some more.
_GRACE = 1.25
_GRACE_S = 5.0
#: Pixels a side, twice what a page shows.
THUMBNAIL_SIDE = 320

#: Called with the files done and those in all.
Progress: TypeAlias = Callable[[int, int], object]


@dataclass(frozen=True, slots=True)
class HashTask:
    """What the processes do with a path: `hash_file`."""

    types: Sequence[str]
    time_limit_s: float
    turns: str

    def __call__(self, path: str) -> FileHashes:
        return hash_file(path, self.types, time_limit_s=self.time_limit_s, turns=self.turns)


def hash_paths(
    paths: Sequence[str],
    types: Sequence[str],
    workers: int,
    time_limit_s: float,
    progress: Progress | None = None,
) -> Iterator[FileHashes]:
    """`hash_file` of each path, in their order, by so many processes (0: one for each core).

    A file that crashes its process, or takes longer than `time_limit_s`, has that as its reason.
    """
    with (
        tempfile.NamedTemporaryFile(prefix="hashmatch-") as turns,
        Workers(
            HashTask(types, time_limit_s, turns.name),
            workers or cores(),
            time_limit_s=time_limit_s * _GRACE + _GRACE_S,
            memory_bytes=MEMORY_BYTES,
        ) as processes,
    ):
        early: dict[int, FileHashes] = {}
        due = 0
        for done, (number, result) in enumerate(processes.run(paths), 1):
            if isinstance(result, Failure):
                result = FileHashes(reason=result.reason)
            early[number] = result
            while due in early:
                yield early.pop(due)
                due += 1
            if progress:
                progress(done, len(paths))


def scan(
    folder: str,
    matcher: Matcher,
    workers: int = 0,
    time_limit_s: float = 600.0,
    progress: Progress | None = None,
) -> Iterator[Finding]:
    """Every file under a folder, in the order of their names, and what it matched. The database
    itself is left out. OSError if the folder cannot be read.
    """
    types = matcher.types
    seen = list(walk(folder, os.fspath(matcher.database.path)))
    paths = [each.path for each in seen if each.reason is None]
    hashed = hash_paths(paths, types, workers, time_limit_s, progress)
    for each in seen:
        hashes = FileHashes(reason=each.reason) if each.reason is not None else next(hashed)
        finding = matcher.match(each.path, hashes)
        hashes.frames.clear()  # A long video has thousands.
        yield finding


@dataclass(frozen=True, slots=True)
class ThumbnailTask:
    """What the processes do with a path and a time: `thumbnail`, or None if there is none."""

    side: int

    def __call__(self, job: tuple[str, int | None]) -> bytes | None:
        try:
            return thumbnail(job[0], self.side, job[1])
        except Exception:  # Decoders raise whatever comes to their mind.
            return None


def thumbnails(
    findings: Sequence[Finding],
    workers: int = 0,
    time_limit_s: float = 600.0,
    progress: Progress | None = None,
) -> dict[str, bytes]:
    """JPEGs of the pictures and videos among the findings, by file; without those that there are
    none of.
    """
    media = [finding for finding in findings if finding.hashes.kind != "file"]
    jobs = [
        (finding.file, finding.shown_ms if finding.hashes.kind == "video" else None)
        for finding in media
    ]
    made: dict[str, bytes] = {}
    with Workers(
        ThumbnailTask(THUMBNAIL_SIDE),
        workers or cores(),
        time_limit_s=time_limit_s,
        memory_bytes=MEMORY_BYTES,
    ) as processes:
        for done, (number, result) in enumerate(processes.run(jobs), 1):
            if isinstance(result, bytes):
                made[jobs[number][0]] = result
            if progress:
                progress(done, len(jobs))
    return made
