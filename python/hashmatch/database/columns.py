"""One call's codes and what stands beside them, checked and grouped into items."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hashmatch.codes import as_codes
from hashmatch.database.model import Batch, Labels
from hashmatch.database.packing import TYPE_NUMBERS, pack_runs
from hashmatch.hash_types import hash_type
from hashmatch.vocabulary import (
    KINDS,
    MAX_QUALITY,
    MAX_TIME_MS,
    Fault,
    Numbers,
    is_unicode,
    ref_faults,
)


@dataclass(frozen=True, slots=True)
class Items:
    """Items with signals of one hash type, as columns with a row for each item."""

    #: The bit of the hash type in a mask of types.
    type_bit: int
    #: The place in KINDS.
    kind: int
    refs: list[str]
    counts: list[int]
    runs: list[bytes]
    #: As a catalog file holds them; None if labels were not given.
    labels: list[str | None] | None
    #: Rows left out.
    rejected: list[Fault]


def gather(batch: Batch, skip: bool, first_row: int = 0) -> Items:
    """The items of a batch. Rows are counted from `first_row`.

    A bad row is left out if `skip`, else a ValueError; what concerns the whole call, a code
    included, is a ValueError or TypeError.
    """
    kind = hash_type(batch.hash_type)
    if batch.kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {batch.kind!r}")
    codes = as_codes(batch.codes, kind)
    refs = as_refs(batch.refs)
    if len(refs) != len(codes):
        raise ValueError(f"{len(refs):,} refs for {len(codes):,} codes: give one for each code")
    quality, faults = as_numbers(batch.quality, len(refs), "quality", MAX_QUALITY)
    time_ms, time_faults = as_numbers(batch.time_ms, len(refs), "time_ms", MAX_TIME_MS)
    labels = _encoded(batch.labels, len(refs))
    faults = merged(first_row, ref_faults(refs), faults, time_faults)
    if faults and not skip:
        row, reason = faults[0]
        raise ValueError(f'row {row}: {reason} (on_error="skip" leaves bad rows out)')
    order, refs, counts = _grouped(refs, [row - first_row for row, _ in faults])
    if order is not None:
        codes = codes[order]
        quality = None if quality is None else quality[order]
        time_ms = None if time_ms is None else time_ms[order]
        labels = None if labels is None else [labels[row] for row in order.tolist()]
    number = TYPE_NUMBERS[kind.name]
    return Items(
        1 << number,
        KINDS.index(batch.kind),
        refs,
        counts.tolist(),
        pack_runs(number, codes, quality, time_ms, counts),
        None if labels is None else _united(labels, counts),
        faults,
    )


def as_refs(refs: Sequence[str]) -> list[str]:
    """Refs as a list. TypeError if they are none: one text is not taken for many of one letter."""
    if isinstance(refs, np.ndarray):
        refs = refs.tolist()
    if isinstance(refs, str | bytes) or not isinstance(refs, Iterable):
        raise TypeError(f"refs must be a list of text, one for each code, not {refs!r}")
    return list(refs)


def merged(first_row: int, *lists: list[Fault]) -> list[Fault]:
    """The first fault of each row, ordered by row, counted from `first_row`."""
    faults: dict[int, str] = {}
    for row, reason in (fault for faults_of_one in lists for fault in faults_of_one):
        faults.setdefault(row + first_row, reason)
    return sorted(faults.items())


def encode_labels(labels: Sequence[str]) -> str | None:
    """Labels as a catalog file holds them."""
    if isinstance(labels, str) or not all(isinstance(label, str) for label in labels):
        raise TypeError(f"labels must be a list of text, not {labels!r}")
    if not labels:
        return None
    # Half a surrogate pair is no text to SQLite, but may be escaped.
    text = json.dumps(list(labels), ensure_ascii=False, separators=(",", ":"))
    return text if is_unicode(text) else json.dumps(list(labels), separators=(",", ":"))


def _encoded(labels: Labels, rows: int) -> list[str | None] | None:
    """The labels of each row."""
    if labels is None:
        return None
    if isinstance(labels, str | bytes) or not isinstance(labels, Sequence):
        raise TypeError(f"labels must be a list of text or a list of lists, not {labels!r}")
    if all(isinstance(label, str) for label in labels):
        return [encode_labels(labels)] * rows  # type: ignore[arg-type]
    if len(labels) != rows:
        raise ValueError(f"{len(labels):,} lists of labels for {rows:,} codes: give one for each")
    seen: dict[tuple[str, ...], str | None] = {}
    encoded = []
    for row, of_row in enumerate(labels):
        try:
            key = tuple(of_row)
            if key not in seen:
                seen[key] = encode_labels(of_row)
        except TypeError:
            raise TypeError(f"row {row}: labels must be a list of text, not {of_row!r}") from None
        encoded.append(seen[key])
    return encoded


def _united(labels: list[str | None], counts: NDArray[np.int64]) -> list[str | None]:
    """The labels of each item: those of its rows, each label once."""
    if len(labels) == len(counts):
        return labels
    united = []
    begin = 0
    for count in counts.tolist():
        of_rows = dict.fromkeys(labels[begin : begin + count])
        if len(of_rows) == 1:
            united.append(labels[begin])
        else:
            each = (json.loads(text) for text in of_rows if text is not None)
            united.append(
                encode_labels(list(dict.fromkeys(label for one in each for label in one)))
            )
        begin += count
    return united


def _grouped(
    refs: list[str], left_out: list[int]
) -> tuple[NDArray[np.int64] | None, list[str], NDArray[np.int64]]:
    """The rows in order of the items, None if that is their own; the items' refs; their counts."""
    rows = np.arange(len(refs))
    if left_out:
        rows = np.delete(rows, left_out)
        refs = [refs[row] for row in rows.tolist()]
    distinct = dict.fromkeys(refs)
    if len(distinct) == len(refs):
        return rows if left_out else None, refs, np.ones(len(refs), np.int64)
    places = {ref: place for place, ref in enumerate(distinct)}
    owners = np.fromiter(map(places.__getitem__, refs), np.int64, len(refs))
    counts = np.bincount(owners, minlength=len(places))
    if left_out or (np.diff(owners) < 0).any():
        return rows[np.argsort(owners, kind="stable")], list(distinct), counts
    return None, list(distinct), counts


def as_numbers(
    values: Numbers, rows: int, name: str, top: int
) -> tuple[NDArray[np.int64] | None, list[Fault]]:
    """Numbers in 0..top as int64, -1 for none, and the rows where one is not."""
    if values is None:
        return None, []
    if isinstance(values, str | bytes) or not isinstance(values, Sequence | np.ndarray):
        raise TypeError(
            f"{name} must be a list of whole numbers, one for each code, not {values!r}"
        )
    if len(values) != rows or (isinstance(values, np.ndarray) and values.ndim != 1):
        raise ValueError(f"{len(values):,} values of {name} for {rows:,} codes: give one for each")
    if not isinstance(values, np.ndarray) and None not in values:
        values = np.array(values) if rows else np.empty(0, np.int64)
    if not isinstance(values, np.ndarray) or values.dtype == object:
        return _listed(list(values), name, top)
    if values.dtype.kind not in "iu" or isinstance(values, np.ma.MaskedArray):
        raise TypeError(f"{name} must be whole numbers, not {values.dtype}; None stands for none")
    bad = np.flatnonzero((values < 0) | (values > top))
    faults = [(row, _range_fault(name, int(values[row]), top)) for row in bad.tolist()]
    return values.astype(np.int64), faults


def _listed(values: list[int | None], name: str, top: int) -> tuple[NDArray[np.int64], list[Fault]]:
    numbers = np.full(len(values), -1, np.int64)
    faults = []
    for row, value in enumerate(values):
        if value is None:
            continue
        if isinstance(value, bool | np.bool_) or not isinstance(value, int | np.integer):
            raise TypeError(
                f"row {row}: {name} must be a whole number or None, not {type(value).__name__}"
            )
        if 0 <= value <= top:
            numbers[row] = value
        else:
            faults.append((row, _range_fault(name, int(value), top)))
    return numbers, faults


def _range_fault(name: str, value: int, top: int) -> str:
    return f"{name} is {value}, not in 0..{top:,}"
