"""Hash sets as lists: what is written of one, and what an exported one says when it is read."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np

from hashmatch import _core
from hashmatch.codes import hex_fault
from hashmatch.database.columns import require_text
from hashmatch.database.model import (
    KINDS,
    VERDICT_BITS,
    Item,
    Kind,
    Opinion,
    Signal,
    Verdict,
)
from hashmatch.database.packing import MAX_QUALITY, MAX_TIME_MS
from hashmatch.formats.exported import EXPORT_COLUMNS, REMOVED
from hashmatch.formats.labels import short_texts_cached
from hashmatch.formats.lines import Records
from hashmatch.formats.model import Block, Part, Removal, Source
from hashmatch.formats.together import by_item
from hashmatch.hash_types import HASH_TYPES, hash_type

_BATCH_RECORDS = 4_096
#: Items and opinions that are written at a time.
_BATCH_ITEMS = 4_096

#: Contributor, verdict and labels.
_Said = tuple[str, Verdict, tuple[str, ...]]


# Writing.


def export_parts(contents: Iterable[Item | Opinion]) -> Iterator[Block]:
    """The blocks of what `Database.contents` gives. An opinion is in a block that has its ref, or
    else in one without codes.
    """
    each = iter(contents)
    row = 0
    while some := list(islice(each, _BATCH_ITEMS)):
        for block in _exported(some, row):
            row += len(block.rows)
            yield block


def _exported(some: Sequence[Item | Opinion], row: int) -> Iterator[Block]:
    signals: defaultdict[tuple[str, str, Kind], list[tuple[Item, Signal]]] = defaultdict(list)
    others = [each for each in some if isinstance(each, Opinion)]
    for item in some:
        if isinstance(item, Item):
            for signal in item.signals:
                signals[signal.hash_type, item.contributor, item.kind].append((item, signal))
    for (type, contributor, kind), found in signals.items():
        opinions = {item.ref: item.opinions for item, _ in found}
        yield Block(
            type,
            np.frombuffer(b"".join(signal.code for _, signal in found), np.uint8).reshape(
                len(found), -1
            ),
            np.arange(row, row + len(found)),
            [item.ref for item, _ in found],
            [item.labels for item, _ in found],
            contributor,
            kind,
            [signal.quality for _, signal in found],
            [signal.time_ms for _, signal in found],
            [opinion for of_ref in opinions.values() for opinion in of_ref],
        )
        row += len(found)
    if others:
        yield opinions_alone(others)


def opinions_alone(opinions: Sequence[Opinion]) -> Block:
    """A block of opinions on refs that it has no codes of."""
    return Block("pdq", np.empty((0, 32), np.uint8), np.empty(0, np.int64), [], opinions=opinions)


# Reading.


#: Type, contributor, kind, and whether the labels are given.
_Bucket = tuple[str, str | None, Kind, bool]


class _Row(NamedTuple):
    number: int
    ref: str | None
    #: None where there are only opinions.
    bucket: _Bucket | None
    digits: str
    quality: int | None
    time_ms: int | None
    labels: tuple[str, ...]
    said: tuple[_Said, ...]


class _Withdrawn(NamedTuple):
    number: int
    ref: str
    contributor: str | None


def read_export(source: Source, header: Sequence[str], records: Records) -> Iterator[Part]:
    """What the records of an exported set say that follow its header."""
    return by_item(_parts(source, header, records), source)


def _parts(source: Source, header: Sequence[str], records: Records) -> Iterator[Part]:
    for some in _parsed(source, header, records):
        rows: list[_Row] = []
        for record in some:
            if isinstance(record, _Row):
                rows.append(record)
                continue
            yield from _blocks(rows)
            rows = []
            yield Removal([record.ref], np.array([record.number]), record.contributor)
        yield from _blocks(rows)


def _parsed(
    source: Source, header: Sequence[str], records: Records
) -> Iterator[list[_Row | _Withdrawn]]:
    """What the records say that are sound, some at a time."""
    places = [header.index(name) if name in header else None for name in EXPORT_COLUMNS]
    first = 0
    last = None
    while some := records.some(_BATCH_RECORDS):
        rows: list[_Row | _Withdrawn] = []
        for number, (line, fields, fault) in enumerate(some, first):
            if not fault and len(fields) != len(header):
                fault = f"number of fields is {len(fields)}, the header's is {len(header)}"
            if not fault:
                cells = (None if place is None else fields[place] for place in places)
                try:
                    rows.append(last := _row(number, last, *cells))  # type: ignore[arg-type]
                    continue
                except ValueError as error:
                    fault = str(error)
            source.fault(line, fault)
        yield rows
        first += len(some)


def _row(
    number: int,
    last: _Row | _Withdrawn | None,
    ref: str | None,
    contributor: str | None,
    kind: str,
    type: str,
    hash: str,
    quality: str,
    time_ms: str,
    labels: str,
    opinions: str,
) -> _Row | _Withdrawn:
    if ref is not None:
        require_text(ref, "ref")
    said = _said(opinions)
    if not (hash or type) and ref is not None:
        if kind == REMOVED:
            if contributor is not None:
                require_text(contributor, "contributor", empty=True)
            return _Withdrawn(number, ref, contributor)
        return _Row(number, ref, None, "", None, None, (), said)
    fault = hex_fault(hash, hash_type(type))
    if fault:
        raise ValueError(fault)
    if contributor is not None:
        require_text(contributor, "contributor", empty=True)
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}")
    bucket = (type, contributor, kind, bool(labels))
    # Rows of an item in two blocks would replace each other.
    before = last.bucket if isinstance(last, _Row) and last.ref == ref else None
    if ref is not None and before and before[:2] == bucket[:2] and before != bucket:
        raise ValueError("kind, or whether there are labels, differs from the ref's row before")
    return _Row(
        number,
        ref,
        bucket,
        hash,
        _number(quality, "quality", MAX_QUALITY),
        _number(time_ms, "time_ms", MAX_TIME_MS),
        _labels(labels),
        said if ref is not None else (),
    )


def _number(text: str, name: str, top: int) -> int | None:
    if not text:
        return None
    if not (text.isascii() and text.isdecimal() and len(text) < 20 and int(text) <= top):
        raise ValueError(f"{name} is {text!r}, not a whole number in 0..{top:,}")
    return int(text)


@short_texts_cached
def _labels(text: str) -> tuple[str, ...]:
    try:
        labels = json.loads(text or "[]")
    except ValueError:
        labels = None
    return _texts(labels, "labels")


@short_texts_cached
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


def _blocks(rows: Sequence[_Row]) -> Iterator[Block]:
    """A block for each hash type, contributor and kind, then one with the opinions."""
    buckets: defaultdict[_Bucket, list[_Row]] = defaultdict(list)
    opinions: list[Opinion] = []
    seen: set[tuple[str, _Said]] = set()
    for row in rows:
        if row.bucket:
            buckets[row.bucket].append(row)
        for said in row.said:
            if row.ref is not None and (row.ref, said) not in seen:
                seen.add((row.ref, said))
                opinions.append(Opinion(row.ref, *said))
    for (type, contributor, kind, labelled), of_one in buckets.items():
        yield Block(
            type,
            _core.decode_hex([row.digits for row in of_one], HASH_TYPES[type].width),
            np.array([row.number for row in of_one], np.int64),
            [row.ref for row in of_one if row.ref is not None] or None,
            [row.labels for row in of_one] if labelled else None,
            contributor,
            kind,
            [row.quality for row in of_one],
            [row.time_ms for row in of_one],
        )
    if opinions:
        yield opinions_alone(opinions)
