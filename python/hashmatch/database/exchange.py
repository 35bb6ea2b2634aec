"""A hash set as CSV that loads again as it was.

There is a row for each signal, an item's rows beside each other; and at the end, for each opinion
on a ref that no item has, a row without a hash.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import islice
from typing import BinaryIO, NamedTuple

import numpy as np

from hashmatch import _core
from hashmatch.codes import hex_fault
from hashmatch.database.columns import require_text
from hashmatch.database.model import KINDS, VERDICT_BITS, Batch, Item, Kind, Opinion, Verdict
from hashmatch.database.packing import MAX_QUALITY, MAX_TIME_MS
from hashmatch.database.together import Together
from hashmatch.hash_types import HASH_TYPES, hash_type
from hashmatch.lists import BLOCK_ROWS, HashList, csv_records, header_of
from hashmatch.texts import json_text

#: The columns of an exported set.
EXPORT_COLUMNS = (
    *("ref", "contributor", "kind", "type", "hash", "quality", "time_ms"),
    *("labels", "opinions"),
)
_BATCH_RECORDS = 4_096
#: Labels and opinions that are told apart by their text, as few differ.
_CACHED_TEXTS = 4_096

#: Contributor, verdict and labels.
_Said = tuple[str, Verdict, tuple[str, ...]]


# Writing.


def export_rows(contents: Iterable[Item | Opinion]) -> Iterator[tuple[str | int | None, ...]]:
    """Rows with the columns `EXPORT_COLUMNS` of what `Database.contents` gives."""
    for each in contents:
        if isinstance(each, Opinion):
            yield each.ref, *([None] * (len(EXPORT_COLUMNS) - 2)), _opinions_text([each])
            continue
        beside = json_text(each.labels), _opinions_text(each.opinions)
        for signal in each.signals:
            yield (
                each.ref, each.contributor, each.kind, signal.hash_type, signal.code.hex(),
                signal.quality, signal.time_ms, *beside,
            )  # fmt: skip


def _opinions_text(opinions: Sequence[Opinion]) -> str:
    return json_text(
        [
            {"contributor": each.contributor, "verdict": each.verdict, "labels": list(each.labels)}
            for each in opinions
        ]
    )


# Reading.


class _Row(NamedTuple):
    ref: str
    #: Type, contributor and kind; None where there are only opinions.
    bucket: tuple[str, str, Kind] | None
    digits: str
    quality: int | None
    time_ms: int | None
    labels: tuple[str, ...]
    said: tuple[_Said, ...]


def is_export(head: bytes) -> bool:
    """Whether a file that begins like this was made of `export_rows`."""
    return header_of(head) == list(EXPORT_COLUMNS)


def read_export(hash_list: HashList, file: BinaryIO) -> Iterator[Batch]:
    """The batches of an exported set, with faults as `hash_list` takes them."""
    records = csv_records(file)
    next(records)
    together = Together(hash_list.name, "line")
    held: list[_Row] = []
    while some := list(islice(records, _BATCH_RECORDS)):
        lines, rows = _parsed(hash_list, some)
        items = [row.bucket and (row.ref, row.bucket[1]) for row in rows]
        together.note(items, lines)
        held += rows
        if len(held) >= BLOCK_ROWS:
            # The last item may go on.
            end = len(held) - 1
            while end and held[end - 1].ref == held[end].ref:
                end -= 1
            yield from _batches(held[:end])
            held = held[end:]
    yield from _batches(held)
    together.require()


def _parsed(
    hash_list: HashList, records: Sequence[tuple[int, list[str], str | None]]
) -> tuple[list[int], list[_Row]]:
    """The lines and what they say, of those that are sound."""
    lines: list[int] = []
    rows: list[_Row] = []
    for line, fields, fault in records:
        if not fault and len(fields) != len(EXPORT_COLUMNS):
            fault = f"number of fields is {len(fields)}, the header's is {len(EXPORT_COLUMNS)}"
        if not fault:
            try:
                rows.append(_row(*fields))
                lines.append(line)
                continue
            except ValueError as error:
                fault = str(error)
        hash_list.fault(line, fault)
    return lines, rows


def _row(
    ref: str,
    contributor: str,
    kind: str,
    type: str,
    digits: str,
    quality: str,
    time_ms: str,
    labels: str,
    opinions: str,
) -> _Row:
    require_text(ref, "ref")
    said = _said(opinions)
    if not (digits or type):
        return _Row(ref, None, "", None, None, (), said)
    fault = hex_fault(digits, hash_type(type))
    if fault:
        raise ValueError(fault)
    require_text(contributor, "contributor", empty=True)
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}")
    return _Row(
        ref,
        (type, contributor, kind),
        digits,
        _number(quality, "quality", MAX_QUALITY),
        _number(time_ms, "time_ms", MAX_TIME_MS),
        _labels(labels),
        said,
    )


def _number(text: str, name: str, top: int) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and int(text) <= top):
        raise ValueError(f"{name} is {text!r}, not a whole number in 0..{top:,}")
    return int(text)


@lru_cache(_CACHED_TEXTS)
def _labels(text: str) -> tuple[str, ...]:
    try:
        labels = json.loads(text or "[]")
    except ValueError:
        labels = None
    return _texts(labels, "labels")


@lru_cache(_CACHED_TEXTS)
def _said(text: str) -> tuple[_Said, ...]:
    try:
        return tuple(
            (
                require_text(each["contributor"], "contributor", empty=True),
                _verdict(each["verdict"]),
                _texts(each["labels"], "the labels of an opinion"),
            )
            for each in json.loads(text or "[]")
        )
    except (KeyError, TypeError, json.JSONDecodeError):
        raise ValueError(
            "opinions must be a JSON list of objects with contributor, verdict and labels"
        ) from None


def _verdict(text: object) -> Verdict:
    if text not in VERDICT_BITS:
        raise ValueError(f"verdict must be one of {', '.join(VERDICT_BITS)}, not {text!r}")
    return text


def _texts(labels: object, name: str) -> tuple[str, ...]:
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise ValueError(f"{name} must be a JSON list of texts")
    return tuple(labels)


def _batches(rows: Sequence[_Row]) -> Iterator[Batch]:
    """A batch for each hash type, contributor and kind, then one with the opinions."""
    buckets: defaultdict[tuple[str, str, Kind], list[_Row]] = defaultdict(list)
    opinions: dict[Opinion, None] = {}
    for row in rows:
        if row.bucket:
            buckets[row.bucket].append(row)
        for said in row.said:
            opinions[Opinion(row.ref, *said)] = None
    for (type, contributor, kind), of_one in buckets.items():
        yield Batch(
            type,
            _core.decode_hex([row.digits for row in of_one], HASH_TYPES[type].width),
            [row.ref for row in of_one],
            [row.labels for row in of_one],
            contributor,
            kind,
            [row.quality for row in of_one],
            [row.time_ms for row in of_one],
        )
    if opinions:
        yield Batch("pdq", np.empty((0, 32), np.uint8), [], opinions=list(opinions))
