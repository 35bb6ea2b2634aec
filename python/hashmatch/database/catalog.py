"""The catalog of a database: the file that holds the truth, its one writer and its readers.

with Catalog.open(Path("known"), "c") as catalog:
    catalog.create_set("member-a", "Member A", {"pdq": 31})
    with catalog.change("member-a") as change:
        change.add("pdq", codes, refs=refs)
    with catalog.snapshot() as snapshot:
        for codes, ids in snapshot.live_signals("pdq"):
            ...
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Literal, Self, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hashmatch._core import FormatError
from hashmatch.arguments import whole
from hashmatch.database import schema
from hashmatch.database.answered import Asked, find_answer, keep_answer
from hashmatch.database.changes import Change, OnError
from hashmatch.database.checking import find_faults
from hashmatch.database.connections import Connection
from hashmatch.database.loading import Progress, load
from hashmatch.database.locking import WriterLock
from hashmatch.database.model import (
    Batch,
    Counts,
    HistoryRow,
    Joined,
    Removal,
    SegmentRecord,
    SetRecord,
    now_ms,
)
from hashmatch.database.readers import Readers
from hashmatch.database.rows import contributor_number, list_segment
from hashmatch.database.snapshot import Snapshot, join
from hashmatch.database.writer import Writer
from hashmatch.hash_types import hash_type
from hashmatch.vocabulary import require_text

Mode: TypeAlias = Literal["r", "r+", "c"]
#: Writes segment files of the signals with ids in a range, of a generation yet to be committed.
MakeSegments: TypeAlias = Callable[
    [Snapshot, Sequence[str], tuple[int, int], int], list[SegmentRecord]
]

FILE = "catalog.db"
SEGMENTS = "segments"
_MAX_SETS = 1 << 16


class SetExists(ValueError):
    """A hash set was to be made that is there."""


class Catalog:
    """Named hash sets in one folder, changed while they are read.

    One process at a time may have it open for writing, and any number for reading. Threads may
    share a Catalog: every snapshot has a connection of its own, and changes wait for one another.
    A forked child has to open it anew.

    Errors are builtins that name the file: FormatError (a ValueError) for one that is damaged, no
    catalog, or of a newer version; OSError for what the system refuses.
    """

    def __init__(
        self, folder: Path, readers: Readers, lock: WriterLock | None, writer: Writer | None
    ) -> None:
        """Use `open`."""
        self.folder = folder
        self._readers = readers
        self._lock = lock
        self._writer = writer

    @classmethod
    def open(cls, folder: str | os.PathLike[str], mode: Mode) -> Self:
        """The catalog in `folder`.

        "r" reads, also where nothing can be written; "r+" writes too; "c" also creates what is
        missing. FileNotFoundError if there is none, BlockingIOError, which names the other process,
        if one writes to it already.
        """
        if mode not in ("r", "r+", "c"):
            raise ValueError(f"mode must be 'r', 'r+' or 'c', not {mode!r}")
        folder = Path(folder)
        path = folder / FILE
        if mode == "c":
            folder.mkdir(parents=True, exist_ok=True)
        elif not path.is_file():
            raise FileNotFoundError(
                f'{folder}: holds no database; mode "c" or `hashmatch db create` makes one'
            )
        with ExitStack() as undo:
            lock = writer = None
            if mode != "r":
                lock = WriterLock(folder)
                undo.callback(lock.release)
                if mode == "c" and not path.exists():
                    _create(path)
                writer = Writer(path)
                undo.callback(writer.close)
            readers = Readers(path)
            undo.callback(readers.close)
            with readers.transaction() as connection:
                schema.require_current(connection)
            undo.pop_all()
        return cls(folder, readers, lock, writer)

    @property
    def writable(self) -> bool:
        """Whether it was opened for writing."""
        return self._writer is not None

    @property
    def is_open(self) -> bool:
        """False once it was closed, and in a forked child."""
        return self._readers.is_open

    def close(self) -> None:
        """Let go of the file, and of the right to write. Closing twice is as good as once."""
        self._readers.close()
        if self._writer:
            self._writer.close()
        if self._lock:
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # Reading.

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """The newest generation, held until the block ends."""
        with self._readers.transaction() as connection:
            snapshot = Snapshot(connection)
            try:
                yield snapshot
            finally:
                snapshot.end()

    def join(self, ids: NDArray[np.uint64]) -> Joined:
        """What is known of signals that were allocated, live or not; ids ascending, each once."""
        with self._readers.statement() as connection:
            return join(connection, ids)

    def data_version(self) -> int:
        """A number that differs from the last one if anything was committed since; cheap to ask."""
        return self._readers.data_version()

    def generation(self) -> int:
        """The newest generation; 0 before the first change."""
        with self.snapshot() as snapshot:
            return snapshot.generation

    def sets(self) -> list[SetRecord]:
        """The hash sets, ordered by number."""
        with self.snapshot() as snapshot:
            return snapshot.sets()

    def list_segments(self) -> list[SegmentRecord]:
        """The live segment files, ordered by type and first id."""
        with self.snapshot() as snapshot:
            return snapshot.list_segments()

    def history(
        self, set_name: str | None = None, ref: str | None = None, limit: int = 100
    ) -> list[HistoryRow]:
        """The newest generations first, of one set or all.

        With `ref` those that concerned it, with what they did to its items and opinions.
        """
        with self.snapshot() as snapshot:
            return snapshot.history(set_name, ref, limit)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that sees one state until the block ends."""
        with self._readers.transaction() as connection:
            yield connection

    def check(self) -> list[str]:
        """Read everything and say in words what is wrong; an empty list if nothing is."""
        with self._readers.transaction() as connection:
            return find_faults(connection)

    # Writing.

    def create_set(self, name: str, contributor: str, max_distance: Mapping[str, int]) -> None:
        """Add an empty hash set, owned by a contributor.

        `max_distance` is in bits and inclusive; hash types that it does not have get their usual
        one. It makes no generation. SetExists if there is a set of that name.
        """
        require_text(name, "set name")
        require_text(contributor, "contributor", empty=True)
        distances = {
            kind: whole(bits, f"max_distance of {kind}", 0, hash_type(kind).bits)
            for kind, bits in max_distance.items()
        }
        with self._require_writer().transaction() as connection:
            if connection.rows("SELECT 1 FROM hash_set WHERE name = ?", (name,)):
                raise SetExists(f"{self.folder}: has a hash set {name!r} already")
            (number,) = connection.row("SELECT count(*) FROM hash_set")
            if number == _MAX_SETS:
                raise ValueError(f"{self.folder}: has {number:,} hash sets, there can be no more")
            owner = contributor_number(connection, contributor)
            now = now_ms()
            connection.run(
                "INSERT INTO hash_set VALUES (?, ?, ?, ?, '', 0, 0, 0, ?, ?)",
                (number, name, owner, json.dumps(distances), now, now),
            )

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction that makes no generation: it is for what does not concern searches."""
        with self._require_writer().transaction() as connection:
            yield connection

    @contextmanager
    def change(self, set_name: str, who: str = "", on_error: OnError = "raise") -> Iterator[Change]:
        """A change to one hash set, committed when the block ends, or not at all if it raises.

        It is kept in the log under the name `who`. Another thread's change is waited for.
        ValueError if there is no such set.
        """
        transaction = self._require_writer().transaction()
        with transaction as connection, _changed(connection, set_name, who, on_error) as change:
            yield change

    def change_once(
        self, set_name: str, asked: Asked, make: Callable[[Change], str], on_error: OnError
    ) -> str:
        """What `make` returns, given a change as `change` gives it. If the same was asked for under
        the same key before, no change is made, and what it returned then is returned. KeyTaken if
        something else was.
        """
        with self._require_writer().transaction() as connection:
            answer = find_answer(connection, asked)
            if answer is None:
                with _changed(connection, set_name, asked.who, on_error) as change:
                    answer = make(change)
                keep_answer(connection, asked, answer)
            return answer

    def load(
        self,
        set_name: str,
        batches: Iterable[Batch | Removal],
        who: str = "",
        progress: Progress | None = None,
        on_error: OnError = "raise",
        segments: MakeSegments | None = None,
    ) -> Counts:
        """One change of many batches: the fast way to fill a set that is empty.

        Memory is bounded by the batches; some 100,000 rows are a good size for one. Until the
        commit is done, the disk needs room for twice what is loaded. `progress(rows, 0)` is called
        after each batch; what it raises ends the load, of which then nothing is kept.

        `segments` is given what was loaded, as a snapshot within the transaction, its hash types,
        the range of its signal ids, and its generation, and returns the files to list with it.
        """
        with self.change(set_name, who, on_error) as change:
            first = change.rows.end
            load(change, batches, progress)
            if segments is not None:
                change.flush()
                with self._within(change) as snapshot:
                    made = segments(
                        snapshot, change.hash_types, (first, change.rows.end), change.generation
                    )
                for record in made:
                    change.list_segment(record)
        return change.counts

    @contextmanager
    def _within(self, change: Change) -> Iterator[Snapshot]:
        snapshot = change.snapshot()
        try:
            yield snapshot
        finally:
            snapshot.end()

    def replace_segments(self, remove: Iterable[str], add: Iterable[SegmentRecord]) -> None:
        """Take segment files off the list and put others on it, at once. No generation is made.

        ValueError if one to remove is not listed, or one to add is: nothing changes.
        """
        with self._require_writer().transaction() as connection:
            for file in remove:
                if not connection.run("DELETE FROM segment WHERE file = ?", (file,)):
                    raise ValueError(f"{self.folder}: has no segment {file!r} on its list")
            for record in add:
                list_segment(connection, record)

    def _require_writer(self) -> Writer:
        if self._writer is None:
            raise PermissionError(
                errno.EACCES, 'was opened for reading: open it with mode "r+"', str(self.folder)
            )
        return self._writer


@contextmanager
def _changed(
    connection: Connection, set_name: str, who: str, on_error: OnError
) -> Iterator[Change]:
    change = Change(connection, set_name, who, on_error)
    try:
        yield change
        change.finish()
    finally:
        change.end()


def _create(path: Path) -> None:
    """A new catalog, unless the folder shows that there was one."""
    segments = path.with_name(SEGMENTS)
    segments.mkdir(exist_ok=True)
    if any(segments.iterdir()) or Path(f"{path}-wal").exists():
        raise FormatError(
            f"{path}: is missing, but the rest of the database is there: restore a copy of it"
        )
    schema.create(path)
