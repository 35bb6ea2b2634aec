"""The index: known codes, searched exactly by Hamming distance. A thin layer over the engine."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NoReturn, Self, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from hashmatch import _core
from hashmatch.arguments import MAX_COUNT, MAX_ID, Ids, as_ids, whole
from hashmatch.codes import Codes, as_codes
from hashmatch.hash_types import WIDTHS, HashType, hash_type
from hashmatch.matches import Matches

#: Called with (queries done, queries in all) now and then during a long search.
Progress = Callable[[int, int], object]

_MAX_THREADS = 1024


class Index:
    """Known codes of one width, each under an id, searched exactly by Hamming distance.

        index = Index("pdq")                        # 256 bits, matches within distance 31
        index = Index(bits=64, max_distance=8)

    `Index(name)` takes the width and the default distance of a type: pdq, phash, dhash, ahash,
    whash, simhash, md5, sha1 or sha256. `Index(bits=...)` takes 64, 128, 160 or 256 bits and no
    default distance unless one is given; then every search has to give its own.

    Every search is exact: it finds what comparing with every code would find. `max_distance` is in
    bits and inclusive. Codes may be given in many forms, one or many at a time; see
    `hashmatch.codes.as_codes`. An added code is found by the next search, a removed one no longer.

    Any number of threads may search while others add, remove or compact: each search answers from
    one state of the index. The interpreter lock is released meanwhile.
    """

    __slots__ = ("_default", "_engine", "_kind")
    _engine: _core.Index
    _kind: HashType
    #: The max_distance of searches that give none; -1 if there is none.
    _default: int

    def __init__(
        self,
        hash_type: str | None = None,
        *,
        bits: int | None = None,
        max_distance: int | None = None,
    ) -> None:
        """An empty index. ValueError or TypeError says what is allowed."""
        kind = _chosen(hash_type, bits)
        default = kind.max_distance if max_distance is None else max_distance
        if default is not None:
            default = whole(default, "max_distance", 0, kind.bits)
        self._adopt(_core.Index(kind.bits, -1 if default is None else default, kind.name))

    @classmethod
    def open(cls, path: str | os.PathLike[str], memory: bool = False) -> Self:
        """The index saved at `path`.

        The file is mapped, not read: opening takes milliseconds whatever the size, and processes on
        one machine share its memory. `memory=True` copies what searches read most into this
        process's memory (huge pages, where the system has them): slower to open, faster to search.
        FormatError if the file is damaged or no index, OSError if it cannot be read.
        """
        if not isinstance(memory, bool):
            raise TypeError(f"memory must be True or False, not {memory!r}")
        index = cls.__new__(cls)
        index._adopt(_core.Index.open(_file(path), memory))
        return index

    def _adopt(self, engine: _core.Index) -> None:
        self._engine = engine
        self._default = engine.max_distance
        self._kind = HashType(engine.hash_type, engine.bits, self.max_distance)

    def add(
        self, codes: Codes, ids: Ids | None = None, *, bits: bool = False, threads: int = 0
    ) -> NDArray[np.uint64]:
        """Add codes and return their ids, uint64[n].

        `ids` are whole numbers in 0..2**64 - 1, one for each code; without them ids are
        consecutive, from 0. `bits=True` says that `codes` are 0/1 arrays. `threads` 0 uses all
        cores. ValueError on a bad code or an id that is there already or twice: nothing is added.
        """
        rows = as_codes(codes, self._kind, bits)
        numbers = None if ids is None else as_ids(ids)
        if numbers is not None and len(numbers) != len(rows):
            raise ValueError(
                f"{len(numbers):,} ids for {len(rows):,} codes: give one id for each code"
            )
        return self._engine.add(rows, numbers, whole(threads, "threads", 0, _MAX_THREADS))

    def search(
        self,
        codes: Codes,
        max_distance: int | None = None,
        *,
        bits: bool = False,
        limit: int | None = None,
        threads: int = 0,
        progress: Progress | None = None,
    ) -> Matches:
        """Every code within `max_distance` bits of each query, nearest first, ties by id.

        `max_distance` is inclusive and falls back on the index's own. `bits=True` says that `codes`
        are 0/1 arrays. `limit` keeps the first so many matches of each query. `threads` 0 uses all
        cores. `progress(done, total)` is called now and then, in queries; what it raises ends the
        search. The answer does not depend on the number of threads.
        """
        return Matches(
            self._engine.search(
                as_codes(codes, self._kind, bits),
                self._distance(max_distance),
                0 if limit is None else whole(limit, "limit", 1, MAX_COUNT),
                whole(threads, "threads", 0, _MAX_THREADS),
                None if progress is None else _callable(progress),
            )
        )

    def nearest(
        self,
        codes: Codes,
        k: int = 10,
        max_distance: int | None = None,
        *,
        bits: bool = False,
        threads: int = 0,
        progress: Progress | None = None,
    ) -> Matches:
        """The `k` nearest codes within `max_distance` bits of each query, ties by id.

        The other arguments are those of `search`.
        """
        return Matches(
            self._engine.nearest(
                as_codes(codes, self._kind, bits),
                whole(k, "k", 1, MAX_COUNT),
                self._distance(max_distance),
                whole(threads, "threads", 0, _MAX_THREADS),
                None if progress is None else _callable(progress),
            )
        )

    def _distance(self, max_distance: SupportsIndex | None) -> int:
        if max_distance is not None:
            return whole(max_distance, "max_distance", 0, self._kind.bits)
        if self._default < 0:
            raise ValueError(f"give max_distance, 0..{self._kind.bits}: this index has no default")
        return self._default

    def remove(self, ids: Ids) -> None:
        """Remove codes by id. KeyError names an id that is not there: nothing is removed."""
        self._engine.remove(as_ids(ids))

    def compact(self, *, threads: int = 0) -> None:
        """Fold everything added and removed since into one piece, for the fastest searches.

        Searches go on meanwhile. `threads` 0 uses all cores.
        """
        self._engine.compact(whole(threads, "threads", 0, _MAX_THREADS))

    def codes(self, ids: Ids) -> NDArray[np.uint8]:
        """The codes of ids as uint8[n, bits / 8]. KeyError names an id that is not there."""
        return self._engine.codes(as_ids(ids))

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the index to one file. A file already there is replaced only by a whole one."""
        self._engine.save(_file(path), 0)

    def __len__(self) -> int:
        return len(self._engine)

    def __contains__(self, id: object) -> bool:
        """Whether a code has this id. What cannot be an id is in no index."""
        if isinstance(id, bool) or not isinstance(id, int | np.integer):
            return False
        return bool(0 <= id <= MAX_ID) and self._engine.contains(int(id))

    @property
    def bits(self) -> int:
        """Bits in a code: 64, 128, 160 or 256."""
        return self._kind.bits

    @property
    def hash_type(self) -> str | None:
        """The name of the type, or None for an index of plain bits."""
        return self._kind.name or None

    @property
    def max_distance(self) -> int | None:
        """Distance, in bits and inclusive, of searches that give none. None: each must give one."""
        return None if self._default < 0 else self._default

    @property
    def size_bytes(self) -> int:
        """Memory and mapped file that the index takes, everything counted."""
        return self._engine.size_bytes

    @property
    def kernel(self) -> str:
        """The instruction set in use; `hashmatch.kernels()` lists those that this machine has."""
        return _core.kernel()

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "an Index cannot be pickled or copied: save(path) it, and Index.open(path) it where "
            "it is needed; processes that open one file share its memory"
        )

    def __repr__(self) -> str:
        name = f"{self.hash_type}, " if self.hash_type else ""
        return (
            f"<hashmatch.Index: {name}{self.bits} bits, max_distance={self.max_distance}, "
            f"{len(self):,} codes>"
        )


def _chosen(name: str | None, bits: int | None) -> HashType:
    if name is not None and bits is not None:
        raise ValueError("give a hash type or bits, not both")
    if name is not None:
        return hash_type(name)
    if bits is None:
        raise TypeError("give a hash type, such as 'pdq', or bits=..., such as 64")
    if isinstance(bits, bool) or bits not in WIDTHS:
        raise ValueError(f"bits must be 64, 128, 160 or 256, not {bits!r}")
    return HashType("", int(bits), None)


def _callable(progress: Progress) -> Progress:
    if not callable(progress):
        raise TypeError(f"progress must be a function of (done, total), not {progress!r}")
    return progress


def _file(path: str | os.PathLike[str]) -> bytes:
    """A path as the engine takes it. C would end it at a zero byte and open another file."""
    name = os.fsencode(path)
    if b"\0" in name:
        raise ValueError(f"{os.fsdecode(name)!r} is no path: it has a zero byte")
    return name
