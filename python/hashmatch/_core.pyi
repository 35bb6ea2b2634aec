"""The compiled engine: arrays in, arrays out. `hashmatch` wraps it; nothing here is public."""

from collections.abc import Callable, Sequence
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

class FormatError(ValueError):
    """A file that is not a segment, or is damaged."""

@final
class Matches:
    """Columns of one search, ordered by query, distance, id. Arrays are read-only views."""

    @property
    def query(self) -> NDArray[np.int64]: ...
    @property
    def id(self) -> NDArray[np.uint64]: ...
    @property
    def distance(self) -> NDArray[np.uint16]: ...
    @property
    def offsets(self) -> NDArray[np.int64]: ...
    def __len__(self) -> int: ...

@final
class Index:
    def __init__(self, bits: int, max_distance: int, hash_type: str) -> None:
        """`max_distance` -1 stands for none; `bits` is 64, 128, 160 or 256."""

    @staticmethod
    def open(path: bytes | str, memory: bool) -> Index: ...
    @staticmethod
    def of(
        segments: Sequence[Segment],
        bits: int,
        max_distance: int,
        hash_type: str,
        before: Index | None,
    ) -> Index:
        """An index of segments that are there already, which never folds by itself. What `before`
        has removed from one of them is removed here too. ValueError if their widths differ from
        `bits` or their ranges of ids overlap."""

    def save(self, path: bytes | str, threads: int) -> None: ...
    def snapshot(self) -> Snapshot:
        """The state it has now, for searches that go on seeing that one."""

    def change(
        self,
        codes: NDArray[np.uint8],
        ids: NDArray[np.uint64],
        removed: NDArray[np.uint64],
        threads: int,
    ) -> None:
        """Add and remove in one step, of which a search sees all or nothing. ValueError or KeyError
        as `add` and `remove` raise them: nothing is changed."""

    def add(
        self, codes: NDArray[np.uint8], ids: NDArray[np.uint64] | None, threads: int
    ) -> NDArray[np.uint64]:
        """Rows: `uint8[n, bits / 8]`, C-contiguous. ValueError on a repeated id: nothing added."""

    def search(
        self,
        codes: NDArray[np.uint8],
        max_distance: int,
        limit: int,
        threads: int,
        progress: Callable[[int, int], object] | None,
    ) -> Matches:
        """`limit` 0 stands for none, `threads` 0 for all cores; progress(done, total): queries."""

    def nearest(
        self,
        codes: NDArray[np.uint8],
        k: int,
        max_distance: int,
        threads: int,
        progress: Callable[[int, int], object] | None,
    ) -> Matches: ...
    def remove(self, ids: NDArray[np.uint64]) -> None:
        """KeyError names an id that is not there: nothing is removed."""

    def compact(self, threads: int) -> None: ...
    def contains(self, id: int) -> bool: ...
    def contains_each(self, ids: NDArray[np.uint64]) -> NDArray[np.uint8]:
        """uint8[n]: 1 for each id that is held."""

    def codes(self, ids: NDArray[np.uint64]) -> NDArray[np.uint8]: ...
    def ids(self) -> NDArray[np.uint64]:
        """Every id held, ascending."""

    def layout(self) -> list[dict[str, Any]]:
        """One dict a segment: rows, distinct, bands, band_bits, sketch_bits, size_bytes."""

    def __len__(self) -> int: ...
    @property
    def bits(self) -> int: ...
    @property
    def hash_type(self) -> str: ...
    @property
    def max_distance(self) -> int: ...
    @property
    def size_bytes(self) -> int: ...

@final
class Snapshot:
    """One state of an index."""

    def search(
        self,
        codes: NDArray[np.uint8],
        max_distance: int,
        limit: int,
        threads: int,
        progress: Callable[[int, int], object] | None,
        limits_from: NDArray[np.uint64] | None,
        limits: NDArray[np.int16] | None,
    ) -> Matches:
        """As `Index.search`. With limits, ids in [limits_from[i], limits_from[i + 1]) match within
        limits[i], or not at all where that is negative or they come before limits_from[0]; what
        they leave out does not count for `limit`."""

    def near_groups(
        self,
        codes: NDArray[np.uint8],
        max_distance: int,
        threads: int,
        firsts: NDArray[np.uint64],
        until: NDArray[np.uint64],
        weights: NDArray[np.uint32],
        needed: int,
        others: bool,
        limits_from: NDArray[np.uint64] | None,
        limits: NDArray[np.int16] | None,
    ) -> tuple[NDArray[np.uint32], NDArray[np.uint64]]:
        """The groups of ids that codes with weights of `needed` or more in all are near, and maybe
        more groups; and the ids in no group that any code is near. Ascending.

        Group g has the ids from firsts[g] on, ascending, up to the next; but from until[g] on ids
        are in none, up to the next. Groups that follow one another without a gap all have that of
        the last. Without `others` ids in no group are not looked for. Limits are those of `search`.
        """

    def __len__(self) -> int: ...

@final
class Segment:
    """A segment file that is open; indexes made of it share its memory."""

    @staticmethod
    def open(path: bytes | str, memory: bool) -> Segment: ...
    def check(self, progress: Callable[[int, int], object] | None = None) -> None:
        """Verify every checksum and every number. FormatError says what is wrong and where.

        `progress` is called with bytes done and in all."""

    def __len__(self) -> int: ...
    @property
    def id_range(self) -> tuple[int, int] | None:
        """The least and the largest id; None if it holds none."""

    @property
    def bits(self) -> int: ...
    @property
    def hash_type(self) -> str: ...
    @property
    def size_bytes(self) -> int: ...

def kernels() -> list[str]:
    """Names usable on this machine, fastest first."""

def kernel() -> str:
    """The kernel in use: HASHMATCH_KERNEL, or the fastest. ValueError lists the usable ones."""

def scan(
    queries: NDArray[np.uint8], rows: NDArray[np.uint8], max_distance: int, threads: int
) -> Matches:
    """Every query against every row, linearly, with no index: ids are row numbers."""

def distinct(
    codes: NDArray[np.uint8], groups: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The first row of each code of each run of rows with one group, ascending, and how many rows
    of it have that code. Codes are uint8[n, a multiple of 4], C-contiguous."""

def decode_hex(rows: Sequence[str], width: int) -> NDArray[np.uint8]:
    """`uint8[n, width]` of n hex strings of 2 * width digits. ValueError names the row (from 0)."""

def inspect(path: bytes | str) -> dict[str, Any]:
    """The header of a segment file: version, bits, hash_type, max_distance, rows, distinct, bands,
    band_bits, sketch_bits, size_bytes, sections (a list of dicts: name, offset, size_bytes,
    crc32c)."""
