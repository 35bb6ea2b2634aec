"""What a reader of lists is given, and what it gives.

A format is a module with a reader: it says whether a file looks like one of its own, and reads it,
record by record, as blocks. No reader holds a whole list. A record that cannot be read is a fault,
which names the line or the path of the record; the reader goes on with the next one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO, Protocol, TextIO, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from hashmatch.database.model import Kind, Opinion


#: Bad records that are left out, at most, and letters of what is said of one.
_MOST_FAULTS = 1_000_000
_MOST_REASON = 500


class ListError(ValueError):
    """A list that cannot be read: names the file, the record and the reason."""


@dataclass(frozen=True, slots=True)
class Block:
    """Some consecutive signals of a list, of one hash type, contributor and kind of item.

    An item's signals of one type are beside each other, and in one block.
    """

    hash_type: str
    #: uint8[n, width]
    codes: NDArray[np.uint8]
    #: int64[n]: row numbers in the list, from 0; faulty records count too.
    rows: NDArray[np.int64]
    #: n texts by which the contributor knows the items; None where the list has none.
    refs: Sequence[str] | None = None
    #: The labels of each signal's item; None where the list has none.
    labels: Sequence[Sequence[str]] | None = None
    #: None for the owner of the set that it goes to.
    contributor: str | None = None
    kind: Kind = "image"
    #: 0..100 for each signal, None where there is none; or None for all.
    quality: Sequence[int | None] | None = None
    #: Place in the video, in ms.
    time_ms: Sequence[int | None] | None = None
    opinions: Sequence[Opinion] = ()
    #: What the list says beside all that: n texts for each name.
    columns: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Removal:
    """Items that the list says are withdrawn: deltas say so, whole lists leave them out."""

    refs: Sequence[str]
    #: int64[n]: row numbers in the list.
    rows: NDArray[np.int64]
    contributor: str | None = None


Part: TypeAlias = Block | Removal


@dataclass(frozen=True, slots=True)
class Options:
    """What the user says of a list. Formats that say it themselves take no notice."""

    #: The hash type of lists that do not name one; and of lists with several the one to read. None:
    #: pdq for the former, all for the latter.
    hash_type: str | None = None
    #: CSV, Parquet and so on: the column that holds the hash, the ref, a label or a JSON list of
    #: labels. None for "hash", and for "ref" and "labels" where there are such.
    column: str | None = None
    ref: str | None = None
    labels: str | None = None
    #: CSV: what separates the fields; None for what the header shows.
    delimiter: str | None = None
    #: What the items are, in lists that do not say it. None for image.
    kind: Kind | None = None


@dataclass(slots=True)
class Source:
    """A list that is being read."""

    #: What messages call it.
    name: str
    #: From its beginning, decompressed, without a byte order mark.
    file: BinaryIO
    options: Options = field(default_factory=Options)
    #: The file itself where it is one and not compressed, for libraries that map it.
    path: str | None = None
    #: Leave faulty records out and note them; otherwise the first is a ListError.
    skip_faults: bool = False
    #: It goes into a database: what cannot be a ref is a fault.
    for_database: bool = False
    #: "file:line: reason" of each record left out.
    faults: list[str] = field(default_factory=list)

    def fault(self, place: int | str, reason: str) -> None:
        """Note a faulty record, or stop at it. `place` is its line, from 1, or its path, such as
        "value[3].MD5".
        """
        # Reasons quote the list, which may be made of nothing but faults.
        if len(reason) > _MOST_REASON:
            reason = f"{reason[:_MOST_REASON]}..."
        fault = f"{self.name}:{place}: {reason}"
        if not self.skip_faults:
            raise ListError(f"{fault} (--on-error skip leaves bad rows out)")
        if len(self.faults) >= _MOST_FAULTS:
            raise ListError(f"{fault}; {len(self.faults):,} bad rows came before: it is no list")
        self.faults.append(fault)


class Format(Protocol):
    """A kind of list. `hashmatch.formats.FORMATS` has one of each."""

    @property
    def name(self) -> str:
        """What `--format` calls it, such as "ncmec-xml"."""

    @property
    def about(self) -> str:
        """What `hashmatch formats` says of it, one line."""

    def recognises(self, head: bytes) -> bool:
        """Whether a file that begins like this (up to 64 KiB, decompressed, without a byte order
        mark) is of this format rather than of those that come after it in `FORMATS`.
        """

    def read(self, source: Source) -> Iterator[Part]:
        """The list, in its own order. Only ListError, or OSError from the file, comes out."""


class Writer(Protocol):
    """A kind of list that is written. `hashmatch.formats.WRITERS` has one of each."""

    @property
    def name(self) -> str:
        """What `--format` and `--to` call it, such as "jsonl"."""

    def write(self, parts: Iterable[Part], file: TextIO) -> int:
        """Write a list, which reads back to the same state; how many records it has.

        ValueError says of what the format has no way to say.
        """
