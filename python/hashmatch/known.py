"""What `hashmatch match` looks uploads up in: the index of a list, a built index, or a database."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

import hashmatch
from hashmatch.arguments import whole
from hashmatch.codes import encode_hex
from hashmatch.console import tell_faults
from hashmatch.hash_types import HashType, hash_type
from hashmatch.index import Index
from hashmatch.lists import INDEX_MAGIC, HashList
from hashmatch.matches import Matches
from hashmatch.progress import progress_bar
from hashmatch.texts import json_text

if TYPE_CHECKING:
    from hashmatch.database import Database, DatabaseMatches


class Texts(list[str]):
    """Some texts in one cell: a list in JSON, and a JSON list where a cell is text."""

    def __str__(self) -> str:
        return json_text(self)


Cell: TypeAlias = str | int | float | Texts | None


class Found(NamedTuple):
    """What one search found."""

    matches: Matches
    #: Looks up the hash of each match, and each of the columns `names`.
    describe: Callable[[], tuple[list[str], list[Sequence[Cell]]]]


@dataclass(frozen=True, slots=True)
class Search:
    """What is asked for."""

    #: None for the known hashes' own.
    type: str | None = None
    max_distance: int | None = None
    #: Keep so many matches of each upload; None for all.
    nearest: int | None = None
    threads: int = 0
    #: Names of sets in a database, and verdicts; None for all.
    sets: list[str] | None = None
    verdicts: list[str] | None = None


class Known(Protocol):
    """Known hashes of one type, and what there is to say beside each match."""

    @property
    def kind(self) -> HashType: ...

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns beside a match's id, hash and distance."""

    @property
    def minor(self) -> tuple[str, ...]:
        """Titles of columns that there is no room for in a narrow table."""

    @property
    def within(self) -> str:
        """How far a match may be, in bits."""

    @property
    def faults(self) -> list[str]:
        """Rows left out."""

    def __len__(self) -> int: ...

    def search(self, codes: NDArray[np.uint8]) -> Found: ...


@dataclass(frozen=True, slots=True)
class KnownList:
    """The hashes of a list, as an index whose ids are the row numbers."""

    index: Index
    names: tuple[str, ...]
    #: int64[n]: row numbers, ascending, and for each column its n texts.
    rows: NDArray[np.int64]
    columns: list[list[str]]
    faults: list[str]


def read_list(
    path: str,
    kind: HashType,
    max_distance: int | None,
    column: str,
    skip_faults: bool,
    threads: int,
) -> KnownList:
    """ValueError if it holds no hashes."""
    index = Index(kind.name, max_distance=max_distance)
    with progress_bar("reading") as bar:
        hash_list = HashList(path, kind, column, skip_faults, bar)
        blocks = list(hash_list)
    if not sum(len(block.rows) for block in blocks):
        tell_faults(hash_list.faults)
        raise ValueError(f"{hash_list.name}: holds no hashes")
    rows = np.concatenate([block.rows for block in blocks])
    columns = [
        [text for block in blocks for text in block.columns[place]]
        for place in range(len(hash_list.columns))
    ]
    with progress_bar("indexing"):
        codes = np.concatenate([block.codes for block in blocks])
        index.add(codes, rows.view(np.uint64), threads=threads)
    return KnownList(index, hash_list.columns, rows, columns, hash_list.faults)


@dataclass(frozen=True, slots=True)
class KnownIndex:
    """The hashes of a list, or of a built index, which has no columns."""

    known: KnownList
    max_distance: int
    asked: Search

    @property
    def kind(self) -> HashType:
        index = self.known.index
        return HashType(index.hash_type or "", index.bits, index.max_distance)

    @property
    def names(self) -> tuple[str, ...]:
        return self.known.names

    @property
    def minor(self) -> tuple[str, ...]:
        return ()

    @property
    def within(self) -> str:
        return str(self.max_distance)

    @property
    def faults(self) -> list[str]:
        return self.known.faults

    def __len__(self) -> int:
        return len(self.known.index)

    def search(self, codes: NDArray[np.uint8]) -> Found:
        index, nearest, threads = self.known.index, self.asked.nearest, self.asked.threads
        if nearest is None:
            matches = index.search(codes, self.max_distance, threads=threads)
        else:
            matches = index.nearest(codes, nearest, self.max_distance, threads=threads)
        return Found(matches, partial(self._describe, matches))

    def _describe(self, matches: Matches) -> tuple[list[str], list[Sequence[Cell]]]:
        # Many uploads may match one hash: each code is fetched and written out once.
        distinct, places = np.unique(matches.id, return_inverse=True)
        hashes = encode_hex(self.known.index.codes(distinct))
        rows = np.searchsorted(self.known.rows, matches.id.astype(np.int64)).tolist()
        return (
            [hashes[place] for place in places.tolist()],
            [[column[row] for row in rows] for column in self.known.columns],
        )


@dataclass(frozen=True, slots=True)
class KnownDatabase:
    """The hashes of one type in a database, or in some of its sets."""

    database: Database
    kind: HashType
    asked: Search

    @property
    def names(self) -> tuple[str, ...]:
        return "ref", "set", "contributor", "labels", "verdicts"

    @property
    def minor(self) -> tuple[str, ...]:
        return "matched hash", "contributor"

    @property
    def faults(self) -> list[str]:
        return []

    @property
    def within(self) -> str:
        if self.asked.max_distance is not None:
            return str(self.asked.max_distance)
        distances = {
            record.max_distance[self.kind.name]
            for record in self.database.sets()
            if record.name in (self.asked.sets or [record.name])
            and self.kind.name in record.hash_types
        }
        least, most = min(distances, default=0), max(distances, default=0)
        return str(least) if least == most else f"{least} to {most}"

    def __len__(self) -> int:
        status = self.database.status().types.get(self.kind.name)
        return status.signals if status else 0

    def search(self, codes: NDArray[np.uint8]) -> Found:
        matches = self.database.match(
            self.kind.name,
            codes,
            self.asked.sets,
            self.asked.max_distance,
            self.asked.verdicts,
            self.asked.nearest,
            self.asked.threads,
        )
        return Found(matches, partial(self._describe, matches))

    def _describe(self, matches: DatabaseMatches) -> tuple[list[str], list[Sequence[Cell]]]:
        return matches.hash, [
            matches.ref,
            matches.set,
            matches.contributor,
            [Texts(labels) for labels in matches.labels],
            [";".join(verdicts) for verdicts in matches.verdicts],
        ]


@contextmanager
def open_known(path: str, asked: Search, column: str, skip_faults: bool) -> Iterator[Known]:
    """The known hashes in a list, a built index, or the folder of a database."""
    if os.path.isdir(path):
        with hashmatch.open(path) as database:
            yield _in_database(database, asked)
        return
    if asked.sets or asked.verdicts:
        raise ValueError(f"{path} is no database: leave --set and --verdict out")
    if path != "-" and _is_index(path):
        index = _open_index(path, asked.type)
        known = KnownList(index, (), np.empty(0, np.int64), [], [])
    else:
        kind = hash_type(asked.type or "pdq")
        known = read_list(path, kind, None, column, skip_faults, asked.threads)
    within = known.index.max_distance if asked.max_distance is None else asked.max_distance
    if within is None:
        raise ValueError(f"{path} has no distance of its own: give --max-distance")
    yield KnownIndex(known, whole(within, "--max-distance", 0, known.index.bits), asked)


def _in_database(database: Database, asked: Search) -> KnownDatabase:
    held = list(database.status().types)
    kind = hash_type(asked.type or (held[0] if len(held) == 1 else "pdq"))
    if asked.max_distance is not None:
        whole(asked.max_distance, "--max-distance", 0, kind.bits)
    return KnownDatabase(database, kind, asked)


def _open_index(path: str, type: str | None) -> Index:
    index = Index.open(path)
    kind = None if type is None else hash_type(type)
    if kind and (kind.bits != index.bits or kind.name != (index.hash_type or kind.name)):
        raise ValueError(
            f"{path} holds {index.hash_type or f'{index.bits}-bit'} hashes, not {kind.name}: "
            "leave --type out"
        )
    return index


def _is_index(path: str) -> bool:
    if not os.path.isfile(path):
        return False  # Reading a pipe to find out would use it up.
    with open(path, "rb") as file:
        return file.read(len(INDEX_MAGIC)) == INDEX_MAGIC
