"""What `hashmatch match` looks uploads up in: the index of a list, a built index, a database, or a
server.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

import hashmatch
from hashmatch.arguments import whole
from hashmatch.codes import encode_hex
from hashmatch.console import tell_faults
from hashmatch.formats.reading import INDEX_MAGIC, HashList
from hashmatch.hash_types import HASH_TYPES, HashType, hash_type
from hashmatch.index import Index
from hashmatch.listed import Cell, Listed, Texts
from hashmatch.matches import Matches
from hashmatch.progress import progress_bar

if TYPE_CHECKING:
    from hashmatch.client import Client
    from hashmatch.database import Database, DatabaseMatches


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
    """The hashes of a list, as an index whose ids are the row numbers; or, in a list that has
    several hashes a row, their numbers.
    """

    index: Index
    #: uint64[n], ascending: the ids, and what the list says beside each.
    ids: NDArray[np.uint64]
    listed: Listed
    faults: list[str]


def read_list(
    hash_list: HashList, max_distance: int | None, threads: int, beside: bool = True
) -> KnownList:
    """The hashes of the type that the list's options name, with what it says `beside` them or not.
    ValueError if it holds none.
    """
    index = Index(hash_list.options.hash_type or "pdq", max_distance=max_distance)
    with progress_bar("reading") as hash_list.on_read:
        listed = Listed.of(hash_list, beside)
    if not len(listed):
        tell_faults(hash_list.faults)
        raise ValueError(f"{hash_list.name}: holds no hashes")
    ids = listed.rows
    if (np.diff(ids) <= 0).any():
        ids = np.arange(len(ids))
    with progress_bar("indexing"):
        index.add(listed.codes, ids.view(np.uint64), threads=threads)
    return KnownList(index, ids.view(np.uint64), listed, hash_list.faults)


@dataclass(frozen=True, slots=True)
class KnownIndex:
    """The hashes of a list, or of a built index, which has no columns."""

    known: KnownList
    max_distance: int
    asked: Search

    @property
    def kind(self) -> HashType:
        index = self.known.index
        # Uploads for plain codes are read as any type of that width is.
        same = (kind.name for kind in HASH_TYPES.values() if kind.bits == index.bits)
        return hash_type(index.hash_type or self.asked.type or next(same))

    @property
    def names(self) -> tuple[str, ...]:
        return self.known.listed.names

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
        rows = np.searchsorted(self.known.ids, matches.id)
        return [hashes[place] for place in places.tolist()], self.known.listed.beside(rows)


@dataclass(frozen=True, slots=True)
class KnownDatabase:
    """The hashes of one type in a database, or in that behind a server, or in some of its sets."""

    database: Database | Client
    kind: HashType
    asked: Search
    lookup: Callable[..., DatabaseMatches]

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
        name, types = self.kind.name, self.database.status().types
        if types:
            return types[name].signals if name in types else 0
        # Who may see some sets only is told what those hold, of all types.
        records = self.database.sets()
        return sum(record.signals for record in records if name in record.hash_types)

    def search(self, codes: NDArray[np.uint8]) -> Found:
        matches = self.lookup(
            self.kind.name,
            codes,
            self.asked.sets,
            self.asked.max_distance,
            self.asked.verdicts,
            self.asked.nearest,
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


@dataclass(frozen=True, slots=True)
class Server:
    """A server that knows the hashes."""

    address: str
    #: A file with the token; None for that of the environment.
    token_file: str | None = None

    def connect(self, asked: Search) -> Client:
        """A client of it. ValueError if something is asked for that it does not heed."""
        if asked.threads:
            raise ValueError("--threads is for a search in this process: leave it out")
        token = None
        if self.token_file is not None:
            with open(self.token_file, encoding="ascii", errors="replace") as file:
                token = file.read().strip()
        return hashmatch.connect(self.address, token=token)


@contextmanager
def open_known(source: HashList | Server, asked: Search) -> Iterator[Known]:
    """The known hashes in a list, or in the built index or the folder of a database at its path, or
    behind a server.
    """
    if isinstance(source, Server):
        with source.connect(asked) as client:
            yield _in_database(client, asked, client.match)
        return
    hash_list, path = source, source.path
    if os.path.isdir(path):
        with hashmatch.open(path) as database:
            yield _in_database(database, asked, partial(database.match, threads=asked.threads))
        return
    if asked.sets or asked.verdicts:
        raise ValueError(f"{path} is no database: leave --set and --verdict out")
    if path != "-" and _is_index(path):
        index = _open_index(path, asked.type)
        known = KnownList(index, np.empty(0, np.uint64), Listed(()), [])
    else:
        kind = hash_type(asked.type or "pdq")
        hash_list.options = replace(hash_list.options, hash_type=kind.name)
        known = read_list(hash_list, None, asked.threads)
    within = known.index.max_distance if asked.max_distance is None else asked.max_distance
    if within is None:
        raise ValueError(f"{path} has no distance of its own: give --max-distance")
    yield KnownIndex(known, whole(within, "--max-distance", 0, known.index.bits), asked)


def _in_database(
    database: Database | Client, asked: Search, lookup: Callable[..., DatabaseMatches]
) -> KnownDatabase:
    held = {name for record in database.sets() for name in record.hash_types}
    kind = hash_type(asked.type or (held.pop() if len(held) == 1 else "pdq"))
    if asked.max_distance is not None:
        whole(asked.max_distance, "--max-distance", 0, kind.bits)
    return KnownDatabase(database, kind, asked, lookup)


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
