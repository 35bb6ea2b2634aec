"""A hash set as CSV that loads again as it was.

There is a row for each signal, an item's rows of a type beside each other. A row without a type and
a hash has opinions on a ref that no item has; or, where its kind is "removed", withdraws an item.

The column `ref` is left out of a list without refs, and the column `contributor` of one that does
not say whose items they are: whoever loads it is to say. An empty cell of `contributor` is the
contributor whose name is empty; one of `labels` leaves an item's labels as they are.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, TextIO

import numpy as np

from hashmatch import _core
from hashmatch.codes import encode_hex, hex_fault
from hashmatch.formats.labels import short_texts_cached
from hashmatch.formats.lines import Records
from hashmatch.formats.model import Block, Part, Removal, Source
from hashmatch.formats.together import by_item
from hashmatch.hash_types import HASH_TYPES, hash_type
from hashmatch.texts import CsvWriter, json_text
from hashmatch.vocabulary import (
    KINDS,
    MAX_QUALITY,
    MAX_TIME_MS,
    VERDICT_BITS,
    Kind,
    Opinion,
    Verdict,
    require_text,
)

_BATCH_RECORDS = 4_096

#: The columns of an exported set.
EXPORT_COLUMNS = (
    *("ref", "contributor", "kind", "type", "hash", "quality", "time_ms"),
    *("labels", "opinions"),
)
#: Those that a list may be without.
_OPTIONAL = ("ref", "contributor")
#: The kind that stands beside a ref which is withdrawn.
REMOVED = "removed"

#: Contributor, verdict and labels.
_Said = tuple[str, Verdict, tuple[str, ...]]
#: What is written.
_Row = tuple[str | int | None, ...]


def is_header(names: Sequence[str]) -> bool:
    """Whether these are the columns of an exported set."""
    left_out = [name for name in _OPTIONAL if name not in names]
    return list(names) == [name for name in EXPORT_COLUMNS if name not in left_out]


# Writing.


def write(parts: Iterable[Part], file: TextIO) -> int:
    """Write a list; the number of rows. What is in `Block.columns` is not written.

    ValueError if some parts have refs, or contributors, and some have not.
    """
    writer = CsvWriter(file)
    names: list[str] = []
    for part in parts:
        has = {
            "ref": part.refs is not None,
            "contributor": part.contributor is not None,
        }
        if isinstance(part, Block) and not len(part.rows):
            # Opinions name their refs and contributors themselves.
            has = {name: name in names for name in _OPTIONAL} if names else {}
        if not names:
            names = [name for name in EXPORT_COLUMNS if has.get(name, True)]
            writer.rows([names])
        for name, there in has.items():
            if there != (name in names):
                raise ValueError(
                    f"some records have a {name} and some have none, which CSV cannot say: "
                    "write JSON Lines (jsonl) instead"
                )
        places = [EXPORT_COLUMNS.index(name) for name in names]
        rows = _removal_rows(part) if isinstance(part, Removal) else _block_rows(part)
        writer.rows([row[place] for place in places] for row in rows)
    if not names:
        writer.rows([EXPORT_COLUMNS])
    return writer.written - 1


def _removal_rows(removal: Removal) -> Iterator[_Row]:
    for ref in removal.refs:
        yield ref, removal.contributor, REMOVED, *([None] * 4), "[]", "[]"


def _block_rows(block: Block) -> Iterator[_Row]:
    said: dict[str, list[Opinion]] = {}
    for opinion in block.opinions:
        said.setdefault(opinion.ref, []).append(opinion)
    nothing = [None] * len(block.rows)
    columns = zip(
        block.refs or nothing,
        encode_hex(block.codes),
        block.quality or nothing,
        block.time_ms or nothing,
        nothing if block.labels is None else block.labels,
        strict=True,
    )
    for ref, digits, quality, time_ms, labels in columns:
        yield (
            ref, block.contributor, block.kind, block.hash_type, digits, quality, time_ms,
            None if labels is None else json_text(list(labels)),
            _opinions_text(said.get(ref, ())) if ref is not None else "[]",
        )  # fmt: skip
    refs = set(block.refs or ())
    for ref, opinions in said.items():
        if ref not in refs:
            yield ref, *([None] * (len(EXPORT_COLUMNS) - 2)), _opinions_text(opinions)


def _opinions_text(opinions: Sequence[Opinion]) -> str:
    return json_text(
        [
            {"contributor": each.contributor, "verdict": each.verdict, "labels": list(each.labels)}
            for each in opinions
        ]
    )


# Reading.


#: Type, contributor, kind, and whether the labels are given.
_Bucket = tuple[str, str | None, Kind, bool]


class _Record(NamedTuple):
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


def read_rows(source: Source, header: Sequence[str], records: Records) -> Iterator[Part]:
    """What the records that follow the header say."""
    return by_item(_parts(source, header, records), source)


def _parts(source: Source, header: Sequence[str], records: Records) -> Iterator[Part]:
    for some in _parsed(source, header, records):
        rows: list[_Record] = []
        for record in some:
            if isinstance(record, _Record):
                rows.append(record)
                continue
            yield from _blocks(rows)
            rows = []
            yield Removal([record.ref], np.array([record.number]), record.contributor)
        yield from _blocks(rows)


def _parsed(
    source: Source, header: Sequence[str], records: Records
) -> Iterator[list[_Record | _Withdrawn]]:
    """What the records say that are sound, some at a time."""
    places = [header.index(name) if name in header else None for name in EXPORT_COLUMNS]
    first = 0
    last = None
    while some := records.some(_BATCH_RECORDS):
        rows: list[_Record | _Withdrawn] = []
        for number, (line, fields, fault) in enumerate(some, first):
            if not fault and len(fields) != len(header):
                fault = f"number of fields is {len(fields)}, the header's is {len(header)}"
            if not fault:
                cells = (None if place is None else fields[place] for place in places)
                try:
                    rows.append(last := _record(number, last, *cells))  # type: ignore[arg-type]
                    continue
                except ValueError as error:
                    fault = str(error)
            source.fault(line, fault)
        yield rows
        first += len(some)


def _record(
    number: int,
    last: _Record | _Withdrawn | None,
    ref: str | None,
    contributor: str | None,
    kind: str,
    type: str,
    hash: str,
    quality: str,
    time_ms: str,
    labels: str,
    opinions: str,
) -> _Record | _Withdrawn:
    if ref is not None:
        require_text(ref, "ref")
    said = _said(opinions)
    if not (hash or type) and ref is not None:
        if kind == REMOVED:
            if contributor is not None:
                require_text(contributor, "contributor", empty=True)
            return _Withdrawn(number, ref, contributor)
        return _Record(number, ref, None, "", None, None, (), said)
    fault = hex_fault(hash, hash_type(type))
    if fault:
        raise ValueError(fault)
    if contributor is not None:
        require_text(contributor, "contributor", empty=True)
    if kind not in KINDS:
        raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}")
    bucket = (type, contributor, kind, bool(labels))
    # Rows of an item in two blocks would replace each other.
    before = last.bucket if isinstance(last, _Record) and last.ref == ref else None
    if ref is not None and before and before[:2] == bucket[:2] and before != bucket:
        raise ValueError("kind, or whether there are labels, differs from the ref's row before")
    return _Record(
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


def _blocks(rows: Sequence[_Record]) -> Iterator[Block]:
    """A block for each hash type, contributor and kind, then one with the opinions."""
    buckets: defaultdict[_Bucket, list[_Record]] = defaultdict(list)
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


def opinions_alone(opinions: Sequence[Opinion]) -> Block:
    """A block of opinions on refs that it has no codes of."""
    return Block("pdq", np.empty((0, 32), np.uint8), np.empty(0, np.int64), [], opinions=opinions)
