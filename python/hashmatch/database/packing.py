"""An item's signals as one blob, and many blobs' signals as columns.

A blob is a run for each hash type, ordered by the type's number, in little-endian:

    uint8 type, uint8 flags (1: has qualities, 2: has times), uint32 count
    count codes
    count uint8 qualities, 255 for none      if any signal of the run has one
    count uint32 times in ms, 2**32-1 for none   if any has one

Equal signals make equal blobs. The signal of place i in the blob has the id of the item's row + i.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from hashmatch._core import FormatError
from hashmatch.hash_types import HASH_TYPES

#: The types' numbers in catalog files.
TYPE_NUMBERS = {
    "pdq": 1,
    "phash": 2,
    "dhash": 3,
    "ahash": 4,
    "whash": 5,
    "simhash": 6,
    "md5": 7,
    "sha1": 8,
    "sha256": 9,
}
TYPE_NAMES = {number: name for name, number in TYPE_NUMBERS.items()}


def type_names(mask: int) -> list[str]:
    """The types whose bits, 1 << number, are set."""
    return [name for name, number in TYPE_NUMBERS.items() if mask >> number & 1]


_HEAD = np.dtype([("type", "u1"), ("flags", "u1"), ("count", "<u4")])
_HEAD_FIELDS = struct.Struct("<BBI")
_TIME_FIELD = struct.Struct("<I")
_QUALITY, _TIME = 1, 2
_NO_QUALITY, _NO_TIME = 255, 2**32 - 1
#: Bytes in a code by type number, 0 where there is no such type.
_WIDTH_OF = {number: HASH_TYPES[name].width for number, name in TYPE_NAMES.items()}
_WIDTHS = np.array([_WIDTH_OF.get(number, 0) for number in range(256)], np.int64)


def pack_runs(
    number: int,
    codes: NDArray[np.uint8],
    quality: NDArray[np.int64] | None,
    time_ms: NDArray[np.int64] | None,
    counts: NDArray[np.int64],
) -> list[bytes]:
    """The run of each item; the first has the first `counts[0]` codes, and so on.

    Qualities and times are -1 for none.
    """
    begins = np.cumsum(counts) - counts
    flags = np.zeros(len(counts), np.int64)
    for bit, column in ((_QUALITY, quality), (_TIME, time_ms)):
        if column is not None and len(counts):
            flags |= np.where(np.maximum.reduceat(column, begins) >= 0, bit, 0)
    runs: list[bytes] = [b""] * len(counts)
    # Items of the same form are packed together as rows of one array.
    forms, which = np.unique(counts << 2 | flags, return_inverse=True)
    order = np.argsort(which, kind="stable")
    bounds = np.searchsorted(which[order], np.arange(len(forms) + 1))
    for form, low, high in zip(forms.tolist(), bounds, bounds[1:], strict=False):
        items = order[low:high]
        rows = begins[items, None] + np.arange(form >> 2)
        parts = [codes[rows].reshape(len(items), -1)]
        if form & _QUALITY and quality is not None:
            parts.append(np.where(quality[rows] < 0, _NO_QUALITY, quality[rows]).astype(np.uint8))
        if form & _TIME and time_ms is not None:
            times = np.where(time_ms[rows] < 0, _NO_TIME, time_ms[rows]).astype("<u4")
            parts.append(times.view(np.uint8))
        head = np.array((number, form & 3, form >> 2), _HEAD).tobytes()
        heads = np.broadcast_to(np.frombuffer(head, np.uint8), (len(items), _HEAD.itemsize))
        packed = np.ascontiguousarray(np.concatenate([heads, *parts], axis=1))
        packed_items = packed.view(f"V{packed.shape[1]}").ravel().tolist()
        if len(forms) == 1:
            return list(packed_items)
        for item, run in zip(items.tolist(), packed_items, strict=True):
            runs[item] = run
    return runs


def replace_run(blob: bytes, run: bytes) -> tuple[bytes, int]:
    """A blob with the run of that type replaced, or added, and how many signals it then has."""
    runs = {run[0]: run}
    begin = 0
    while begin < len(blob):
        number, flags, count = _HEAD_FIELDS.unpack_from(blob, begin)
        end = begin + _HEAD.itemsize + count * (int(_WIDTHS[number]) + _extra_bytes(flags))
        runs.setdefault(number, blob[begin:end])
        begin = end
    counts = (_HEAD_FIELDS.unpack_from(run)[2] for run in runs.values())
    return b"".join(runs[number] for number in sorted(runs)), sum(counts)


_Flags = TypeVar("_Flags", int, NDArray[np.int64])


def _extra_bytes(flags: _Flags) -> _Flags:
    """What a signal takes besides its code."""
    return (flags & _QUALITY) + (flags & _TIME) // _TIME * 4


class _Runs(NamedTuple):
    """The heads of some runs, and where the runs end; each int64 and checked."""

    types: NDArray[np.int64]
    flags: NDArray[np.int64]
    counts: NDArray[np.int64]
    ends: NDArray[np.int64]

    def only(self, chosen: NDArray[np.bool_] | NDArray[np.intp]) -> _Runs:
        return _Runs(*(column[chosen] for column in self))


class Details(NamedTuple):
    """Some signals, as columns."""

    #: Numbers of hash types.
    types: NDArray[np.int64]
    #: -1 for none, as for times.
    quality: NDArray[np.int16]
    time_ms: NDArray[np.int64]
    codes: list[bytes]


def one_detail(blob: bytes, first: int, place: int) -> tuple[int, int, int, bytes]:
    """What `Signals.details` says of the signal in a place of one item: type, quality, time, code.
    For one, columns would take ten times as long. FormatError, with the item's first signal id, if
    the blob is damaged.
    """
    begin = 0
    while begin + _HEAD.itemsize <= len(blob):
        number, flags, count = _HEAD_FIELDS.unpack_from(blob, begin)
        width = _WIDTH_OF.get(number, 0)
        codes = begin + _HEAD.itemsize
        end = codes + count * (width + _extra_bytes(flags))
        if not width or flags > (_QUALITY | _TIME) or not count or end > len(blob):
            break
        if place < count:
            quality = time_ms = -1
            at = codes + count * width
            if flags & _QUALITY:
                quality = -1 if blob[at + place] == _NO_QUALITY else blob[at + place]
                at += count
            if flags & _TIME:
                (time_ms,) = _TIME_FIELD.unpack_from(blob, at + 4 * place)
                time_ms = -1 if time_ms == _NO_TIME else time_ms
            at = codes + place * width
            return number, quality, time_ms, blob[at : at + width]
        begin, place = end, place - count
    raise _damaged(first)


def _damaged(first: int) -> FormatError:
    return FormatError(f"the signals of the item with id {first} are damaged")


class Frames(NamedTuple):
    """The signals of one type of some items, as columns ordered by item."""

    #: uint8[n, width]
    codes: NDArray[np.uint8]
    ids: NDArray[np.uint64]
    #: Places of the items.
    items: NDArray[np.int64]
    #: -1 for none, as for times.
    quality: NDArray[np.int64]
    time_ms: NDArray[np.int64]


class Signals:
    """The signals of many items, in columns. FormatError if a blob is damaged."""

    def __init__(self, blob: bytes, sizes: NDArray[np.int64], firsts: NDArray[np.int64]) -> None:
        """The items' blobs one after another, how long each is, and the items' first signal ids,
        which errors name.
        """
        if sizes.sum() != len(blob):
            raise FormatError(f"the signals of items from id {firsts[0]} on are damaged")
        self._blob = blob
        self._buffer = np.frombuffer(blob, np.uint8)
        self._firsts = firsts
        self._ends = np.cumsum(sizes)
        self._begins = np.append(0, self._ends)[:-1]

    @classmethod
    def of(cls, blobs: Sequence[bytes], firsts: NDArray[np.int64]) -> Self:
        """Those of a blob for each item."""
        return cls(b"".join(blobs), np.fromiter(map(len, blobs), np.int64, len(blobs)), firsts)

    def codes(self, number: int) -> tuple[NDArray[np.uint8], NDArray[np.uint64]]:
        """The codes of one type and their ids, ordered by item."""
        found = [
            np.stack([items, begins + _HEAD.itemsize, runs.counts, places])[:, ours]
            for items, begins, runs, places in self._walk()
            if (ours := runs.types == number).any()
        ]
        width = int(_WIDTHS[number])
        if not found:
            return np.empty((0, width), np.uint8), np.empty(0, np.uint64)
        columns = np.concatenate(found, axis=1)
        items, begins, counts, places = columns[:, np.argsort(columns[0], kind="stable")]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        windows = np.lib.stride_tricks.sliding_window_view(self._buffer, width)
        codes = windows[np.repeat(begins, counts) + within * width]
        ids = np.repeat(self._firsts[items] + places, counts) + within
        return codes, ids.astype(np.uint64)

    def frames(self, number: int) -> Frames:
        """The signals of one type with what stands beside them."""
        width = int(_WIDTHS[number])
        found: list[Frames] = []
        for items, begins, runs, places in self._walk():
            ours = np.flatnonzero(runs.types == number)
            if not len(ours):
                continue
            counts = runs.counts[ours]
            which = np.repeat(ours, counts)
            within = np.arange(len(which)) - np.repeat(np.cumsum(counts) - counts, counts)
            windows = np.lib.stride_tricks.sliding_window_view(self._buffer, width)
            codes = windows[begins[which] + _HEAD.itemsize + within * width]
            ids = self._firsts[items[which]] + places[which] + within
            beside = self._beside(begins[which], runs.only(which), within)
            found.append(Frames(codes, ids.astype(np.uint64), items[which], *beside))
        if len(found) == 1:
            return found[0]
        if not found:
            none = np.empty(0, np.int64)
            return Frames(np.empty((0, width), np.uint8), none.astype(np.uint64), none, none, none)
        # The run of this type stands first in one item's blob, second in another's.
        joined = [np.concatenate(parts) for parts in zip(*found, strict=True)]
        order = np.argsort(joined[2], kind="stable")
        return Frames(*(column[order] for column in joined))

    def details(self, items: NDArray[np.int64], places: NDArray[np.int64]) -> Details:
        """What there is of the signal in each place of each item."""
        types = np.zeros(len(items), np.int64)
        codes = np.zeros(len(items), np.int64)
        quality = np.full(len(items), -1, np.int16)
        time_ms = np.full(len(items), -1, np.int64)
        rows, begins = np.arange(len(items)), self._begins[items]
        while len(rows):
            runs = self._read(items[rows], begins)
            here = places < runs.counts
            settled = rows[here]
            types[settled] = runs.types[here]
            within = places[here] * _WIDTHS[runs.types[here]]
            codes[settled] = begins[here] + _HEAD.itemsize + within
            columns = self._beside(begins[here], runs.only(here), places[here])
            quality[settled], time_ms[settled] = columns
            rows, begins, places = rows[~here], runs.ends[~here], (places - runs.counts)[~here]
        return Details(types, quality, time_ms, self._cut(codes, _WIDTHS[types]))

    def _cut(self, begins: NDArray[np.int64], sizes: NDArray[np.int64]) -> list[bytes]:
        ends = (begins + sizes).tolist()
        return [self._blob[begin:end] for begin, end in zip(begins.tolist(), ends, strict=True)]

    def _beside(
        self, begins: NDArray[np.int64], runs: _Runs, places: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Quality and time, -1 for none, of the signal in each place of each run."""
        qualities = begins + _HEAD.itemsize + runs.counts * _WIDTHS[runs.types]
        has_quality, has_time = runs.flags & _QUALITY != 0, runs.flags & _TIME != 0
        quality = np.full(len(begins), -1)
        quality[has_quality] = self._buffer[(qualities + places)[has_quality]]
        quality[quality == _NO_QUALITY] = -1
        times = (qualities + runs.counts * has_quality + 4 * places)[has_time]
        time_ms = np.full(len(begins), -1)
        time_ms[has_time] = self._buffer[times[:, None] + np.arange(4)].view("<u4").ravel()
        time_ms[time_ms == _NO_TIME] = -1
        return quality, time_ms

    def totals(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The number of signals of each item, and its types as a mask of bits 1 << number."""
        counts = np.zeros(len(self._begins), np.int64)
        masks = np.zeros(len(self._begins), np.int64)
        for items, _, runs, _ in self._walk():
            counts[items] += runs.counts
            masks[items] |= 1 << runs.types
        return counts, masks

    def _walk(
        self,
    ) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], _Runs, NDArray[np.int64]]]:
        """The first run of every item, then the second of those that have two, and so on.

        Item, where the run begins, the run, and the place of its first signal in the item.
        """
        items, begins = np.arange(len(self._begins)), self._begins
        places = np.zeros(len(items), np.int64)
        while len(items):
            runs = self._read(items, begins)
            yield items, begins, runs, places
            more = runs.ends < self._ends[items]
            items, begins, places = items[more], runs.ends[more], (places + runs.counts)[more]

    def _read(self, items: NDArray[np.int64], begins: NDArray[np.int64]) -> _Runs:
        """The runs of those items that begin there."""
        self._require(begins + _HEAD.itemsize <= self._ends[items], items)
        heads = self._buffer[begins[:, None] + np.arange(_HEAD.itemsize)].view(_HEAD).ravel()
        types, flags, counts = (heads[name].astype(np.int64) for name in _HEAD.names or ())
        widths = _WIDTHS[types]
        ends = begins + _HEAD.itemsize + counts * (widths + _extra_bytes(flags))
        sound = (widths > 0) & (flags <= (_QUALITY | _TIME)) & (counts > 0)
        self._require(sound & (ends <= self._ends[items]), items)
        return _Runs(types, flags, counts, ends)

    def _require(self, sound: NDArray[np.bool_], items: NDArray[np.int64]) -> None:
        if not sound.all():
            raise _damaged(self._firsts[items[~sound][0]])
