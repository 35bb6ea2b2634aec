"""The index of PDQ hashes that takes the place of threatexchange's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from threading import Lock
from typing import Any, BinaryIO, Generic, Self, TypeVar

import numpy as np
from threatexchange.signal_type.index import (
    IndexMatchUntyped,
    SignalSimilarityInfoWithSingleDistance,
    SignalTypeIndex,
)

from hashmatch import _core
from hashmatch.threatexchange import blob
from hashmatch.threatexchange.engine import (
    PDQ,
    THRESHOLD,
    Codes,
    code_pieces,
    many_codes,
    new_engine,
    one_code,
    still,
    stored_codes,
    whole_threshold,
)
from hashmatch.threatexchange.entries import decoded, encoded

Entry = TypeVar("Entry")

_BLOCK_ROWS = 1 << 12


class PDQIndex(SignalTypeIndex[Entry], Generic[Entry]):
    """PDQ hashes, each with an entry: whatever is to be known when something matches it.

    It answers as threatexchange's PDQIndex and PDQIndex2 do: all entries within `threshold` bits of
    the query, inclusive, and here the nearest first, equally near ones in the order in which they
    were added. A hash may be added many times; each of its entries is an answer of its own, and
    counts in `len`.

    Any number of threads may query while others add. An addition is there for every query that
    begins after it has returned; `add_all` adds all or, if it raises, nothing.
    """

    kind = "pdq"

    def __init__(
        self,
        index: Iterable[tuple[str, Entry]] | None = None,
        entries: Iterable[tuple[str, Entry]] = (),
        *,
        threshold: int | None = None,
    ) -> None:
        """An index of `entries`, that matches within `threshold` or `get_match_threshold()`.

        `index` is where PDQIndex2 takes an index of faiss, of which there is none here, and where
        PDQIndex takes its entries. TypeError if it is neither None nor entries.
        """
        super().__init__()
        if index is not None:
            if not isinstance(index, Iterable):
                raise TypeError(
                    f"index must be None, not {type(index).__name__}: hashmatch has its own engine"
                )
            entries = index
        if threshold is None:
            threshold = self.get_match_threshold()
        self._begin(threshold, new_engine(), [])
        self.add_all(entries)

    @classmethod
    def get_match_threshold(cls) -> int:
        """The threshold of an index for which none is given: 31, unless a subclass says other."""
        return THRESHOLD

    def _begin(self, threshold: int, engine: _core.Index, entries: list[Entry]) -> None:
        self.threshold = threshold
        self._lock = Lock()
        #: The place of an entry is the id of its hash. None once they are disposed of. Read once a
        #: query, so that it sees both of one state.
        self._held: tuple[_core.Index, list[Entry]] | None = (engine, entries)

    @property
    def threshold(self) -> int:
        """The largest distance of a match, in bits: a whole number in 0..256."""
        return self._threshold

    @threshold.setter
    def threshold(self, threshold: int) -> None:
        self._threshold = whole_threshold(threshold)

    def __len__(self) -> int:
        return len(self._held[1]) if self._held else 0

    def query(
        self, hash: str
    ) -> list[IndexMatchUntyped[SignalSimilarityInfoWithSingleDistance[int], Entry]]:
        """Every entry within the threshold, nearest first. ValueError if `hash` is no PDQ hash."""
        engine, entries = still(self._held)
        found = engine.search(one_code(hash), self._threshold, 0, 1, None)
        if not len(found):
            return []
        return [
            IndexMatchUntyped(SignalSimilarityInfoWithSingleDistance(distance), entries[id])
            for id, distance in zip(found.id.tolist(), found.distance.tolist(), strict=True)
        ]

    def add(self, signal_str: str, entry: Entry) -> None:
        """Add an entry. ValueError if `signal_str` is no PDQ hash."""
        self._add(one_code(signal_str), [entry], threads=1)

    def add_all(self, entries: Iterable[tuple[str, Entry]]) -> None:
        """Add all of them, or none: ValueError names the first that is no PDQ hash."""
        added: list[Entry] = []
        codes: list[Codes] = []
        for block in _blocks(entries):
            codes.append(many_codes([signal for signal, _ in block], "entry", len(added)))
            added += [entry for _, entry in block]
        if added:
            self._add(np.concatenate(codes), added, threads=0)

    def _add(self, codes: Codes, added: list[Entry], threads: int) -> None:
        with self._lock:
            engine, entries = still(self._held)
            # Entries first: a query that finds a hash has to find its entry.
            entries += added
            try:
                engine.add(codes, None, threads)
            finally:
                # Both have it or neither, whatever was raised and when.
                del entries[len(engine) :]

    def serialize(self, fout: BinaryIO) -> None:
        """Write the index to a binary file. TypeError names an entry that cannot be stored."""
        engine, entries = self._snapshot()
        rows = len(entries)
        blob.write(
            fout,
            self.kind,
            {"threshold": self.threshold},
            [blob.Section(PDQ.width * rows, code_pieces(engine, rows)), encoded(entries)],
        )

    @classmethod
    def deserialize(cls, fin: BinaryIO) -> Self:
        """The index that `serialize` wrote.

        ValueError if it is damaged or something else. Nothing in it is run; a pickle, as which
        threatexchange's own indices are stored, is refused.
        """
        return cls._of(blob.read(fin, cls.kind))

    @classmethod
    def _of(cls, stored: blob.Stored) -> Self:
        index = cls.__new__(cls)
        with blob.reading():
            codes, lines = stored.sections
            rows = stored_codes(codes)
            threshold = stored.options["threshold"]
            index._begin(threshold, new_engine(rows), decoded(lines, len(rows)))
        return index

    def dispose(self) -> None:
        """Give the memory back. Whatever the index is used for later raises ValueError."""
        with self._lock:
            self._held = None

    def _snapshot(self) -> tuple[_core.Index, list[Entry]]:
        with self._lock:
            engine, entries = still(self._held)
            return engine, entries.copy()

    def __getstate__(self) -> dict[str, Any]:
        engine, entries = self._snapshot()
        codes = b"".join(code_pieces(engine, len(entries)))
        return {"threshold": self.threshold, "codes": codes, "entries": entries}

    def __setstate__(self, state: dict[str, Any]) -> None:
        engine = new_engine(stored_codes(state["codes"]))
        self._begin(state["threshold"], engine, list(state["entries"]))


def _blocks(entries: Iterable[tuple[str, Entry]]) -> Iterator[list[tuple[str, Entry]]]:
    iterator = iter(entries)
    while block := list(islice(iterator, _BLOCK_ROWS)):
        yield block
