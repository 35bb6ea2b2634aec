"""Lists as Parquet or Arrow IPC (`[arrow]`).

The column `hash` is of fixed-size binary, binary or hex text. Others may be those of an exported
set: ref, contributor, kind, type, quality, time_ms, labels (a list of texts, or text that is a
label or a JSON list of labels) and opinions (JSON text); the rest is carried along as text. Rows of
one item and type are beside each other.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, repeat
from typing import Any, NamedTuple

import numpy as np

from hashmatch.codes import as_codes
from hashmatch.formats.arrow_tables import (
    FILE_MAGIC,
    PARQUET_MAGIC,
    STREAM_MAGIC,
    columns_of,
    ipc_batches,
    is_dictionary,
    parquet_batches,
    values,
)
from hashmatch.formats.fields import (
    FieldError,
    clipped,
    take_code,
    take_column,
    take_kind,
    take_labels,
    take_opinions,
    take_quality,
    take_text,
    take_time_ms,
    take_type,
)
from hashmatch.formats.gathering import Gathering, Hash
from hashmatch.formats.item_lines import Lines
from hashmatch.formats.labels import labels_of
from hashmatch.formats.model import Block, ListError, Part, Source
from hashmatch.formats.together import by_item
from hashmatch.hash_types import HASH_TYPES, HashType
from hashmatch.vocabulary import Kind, Opinion, ref_faults

#: Columns of an exported set besides those that options can name.
_OWN = ("contributor", "kind", "type", "quality", "time_ms", "opinions")


@dataclass(frozen=True, slots=True)
class _Names:
    """The columns of a list."""

    hash: str
    ref: str | None
    labels: str | None
    #: Those of `_OWN`.
    own: tuple[str, ...]
    carried: tuple[str, ...]


class _Row(NamedTuple):
    """A row as it is taken; without a hash it has opinions on the ref alone."""

    ref: str | None
    hash: Hash | None
    contributor: str | None
    kind: Kind
    labels: Sequence[str] | None
    opinions: Sequence[Opinion]


class _Reader:
    """The rows of one source."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._type = HASH_TYPES[source.options.hash_type or "pdq"]
        self._rows = 0

    def parts(self, batches: Iterator[Any]) -> Iterator[Part]:
        first = next(batches, None)
        if first is None:
            return
        names = self._names(list(columns_of(self._source, first)))
        batches = chain([first], batches)
        if set(names.own) <= {"quality", "time_ms"}:
            yield from by_item(self._blocks(names, batches), self._source)
        else:
            yield from self._gathered(names, batches)

    def _blocks(self, names: _Names, batches: Iterator[Any]) -> Iterator[Block]:
        """The batches of a list whose rows differ in nothing that a block has one of."""
        for batch in batches:
            columns = columns_of(self._source, batch)
            try:
                block = self._sound_block(names, columns)
            except (FieldError, TypeError, ValueError):
                block = self._careful_block(names, columns, batch.num_rows)
            yield block
            self._rows += batch.num_rows

    def _gathered(self, names: _Names, batches: Iterator[Any]) -> Iterator[Part]:
        """The batches of a list with several types, contributors or kinds, or with opinions."""
        gathering = Gathering(self._source)
        lines = Lines(self._source, gathering, "row")
        for batch in batches:
            columns = columns_of(self._source, batch)
            for number, row in self._each_row(names, columns, batch.num_rows):
                try:
                    lines.add(
                        row.ref,
                        row.hash,
                        contributor=row.contributor,
                        kind=row.kind,
                        labels=row.labels,
                        opinions=row.opinions,
                    )
                except FieldError as error:
                    self._source.fault(f"row {number}", str(error))
            self._rows += batch.num_rows
            yield from gathering.take()
        lines.end()
        yield from gathering.rest()

    def _names(self, there: list[str]) -> _Names:
        """Which columns there are. ListError names one that is asked for and missing."""
        options = self._source.options
        listed = ", ".join(map(clipped, there))
        asked = (options.column or "hash", options.ref or "ref", options.labels or "labels")
        for name, needed in zip(asked, (True, options.ref, options.labels), strict=True):
            if needed and name not in there:
                raise ListError(f"{self._source.name}: no column {name!r} among {listed}")
        own = tuple(name for name in _OWN if name in there and name not in asked)
        carried = tuple(name for name in there if name not in asked and name not in own)
        hash, ref, labels = (name if name in there else None for name in asked)
        return _Names(str(hash), ref, labels, own, carried)

    def _sound_block(self, names: _Names, columns: dict[str, Any]) -> Block:
        """A batch as a block. It raises if some row may be faulty."""

        def listed(name: str) -> list[Any]:
            return values(self._source, columns[name])

        hashes = columns[names.hash]
        codes = as_codes(listed(names.hash) if is_dictionary(hashes) else hashes, self._type)
        refs = labels = quality = time_ms = None
        if names.ref is not None:
            refs = [_ref(value) for value in listed(names.ref)]
            if ref_faults(refs):
                raise ValueError("some row has no ref")
        if names.labels is not None:
            labels = [_labels(value, names.labels) for value in listed(names.labels)]
        if "quality" in names.own:
            quality = [take_quality(_whole(value)) for value in listed("quality")]
        if "time_ms" in names.own:
            time_ms = [take_time_ms(_whole(value)) for value in listed("time_ms")]
        return Block(
            self._type.name,
            codes,
            np.arange(self._rows, self._rows + len(codes)),
            refs,
            labels,
            kind=self._source.options.kind or "image",
            quality=quality,
            time_ms=time_ms,
            columns={
                name: [_text(value, name) for value in listed(name)] for name in names.carried
            },
        )

    def _careful_block(self, names: _Names, columns: dict[str, Any], rows: int) -> Block:
        """The sound rows of a batch as a block."""
        taken = [row for _, row in self._each_row(names, columns, rows)]
        hashes = [row.hash for row in taken if row.hash]
        codes = b"".join(hash.code for hash in hashes)
        return Block(
            self._type.name,
            np.frombuffer(codes, np.uint8).reshape(len(hashes), self._type.width),
            np.array([hash.row for hash in hashes], np.int64),
            None if names.ref is None else [str(row.ref) for row in taken],
            None if names.labels is None else [row.labels or () for row in taken],
            kind=self._source.options.kind or "image",
            quality=[hash.quality for hash in hashes] if "quality" in names.own else None,
            time_ms=[hash.time_ms for hash in hashes] if "time_ms" in names.own else None,
            columns={name: [hash.columns[name] for hash in hashes] for name in names.carried},
        )

    def _each_row(
        self, names: _Names, columns: dict[str, Any], rows: int
    ) -> Iterator[tuple[int, _Row]]:
        """The sound rows of a batch, with their numbers."""

        def column(name: str | None) -> Any:
            if name is None or name not in columns:
                return repeat(None, rows)
            return values(self._source, columns[name])

        each = zip(
            column(names.hash),
            column(names.ref),
            column(names.labels),
            *(column(name if name in names.own else None) for name in _OWN),
            zip(*map(column, names.carried), strict=True) if names.carried else repeat((), rows),
            strict=True,
        )
        for number, (hash, ref, labels, *own, carried) in enumerate(each, self._rows):
            try:
                row = self._row(names, number, hash, ref, labels, own, carried)
            except FieldError as error:
                self._source.fault(f"row {number}", str(error))
            else:
                yield number, row

    def _row(
        self,
        names: _Names,
        row: int,
        hash: Any,
        ref: Any,
        labels: Any,
        own: list[Any],
        carried: tuple[Any, ...],
    ) -> _Row:
        contributor, kind, type, quality, time_ms, opinions = own
        if names.ref is not None and ref is not None:
            ref = take_text(_ref(ref), names.ref)
        elif names.ref is not None:
            raise FieldError(names.ref, "is null")
        said = _opinions(opinions, ref)
        if hash is None and said:
            return _Row(ref, None, None, "image", None, said)
        hash_type = self._type if type is None else take_type(type)
        texts = map(_text, carried, names.carried)
        taken = Hash(
            row,
            hash_type.name,
            _code(hash, names.hash, hash_type),
            take_quality(_whole(quality)),
            take_time_ms(_whole(time_ms)),
            dict(zip(names.carried, texts, strict=True)),
        )
        return _Row(
            ref,
            taken,
            None if contributor is None else take_text(contributor, "contributor", True),
            take_kind(kind, self._source.options.kind),
            None if names.labels is None else _labels(labels, names.labels),
            said,
        )


def _code(value: Any, name: str, kind: HashType) -> bytes:
    if isinstance(value, bytes):
        if len(value) == kind.width:
            return value
        raise FieldError(name, f"has {len(value):,} bytes, {kind.label} needs {kind.width}")
    return take_code(value, name, kind)


def _ref(value: Any) -> Any:
    """A ref may be a whole number."""
    return str(value) if type(value) is int else value


def _text(value: Any, name: str) -> str:
    """What is carried along: bytes as hex, other values as they are printed."""
    if value is None or isinstance(value, str):
        return take_column(value, name)
    return value.hex() if isinstance(value, bytes) else str(value)


def _whole(value: Any) -> Any:
    """Tables made elsewhere have floating-point numbers where some are missing."""
    if isinstance(value, float):
        if value != value:
            return None
        return int(value) if value.is_integer() else value
    return value


def _labels(value: Any, name: str) -> Sequence[str]:
    if isinstance(value, str):
        return labels_of(value)
    return take_labels(value, name) or ()


def _opinions(value: Any, ref: str | None) -> list[Opinion]:
    if isinstance(value, str):
        try:
            value = json.loads(value or "[]")
        except (ValueError, RecursionError):
            raise FieldError("opinions", "is text that is not a JSON list") from None
    if value and ref is None:
        raise FieldError("opinions", "are there, but no ref")
    return take_opinions(value, ref or "")


@dataclass(frozen=True, slots=True)
class ArrowFormat:
    """A format of tables."""

    name: str
    about: str
    magics: tuple[bytes, ...]
    batches: Callable[[Source], Iterator[Any]]

    def recognises(self, head: bytes) -> bool:
        return head.startswith(self.magics)

    def read(self, source: Source) -> Iterator[Part]:
        """As `Format` has it; ImportError without pyarrow."""
        yield from _Reader(source).parts(self.batches(source))


PARQUET = ArrowFormat(
    "parquet",
    "Parquet: columns hash, ref, labels and others",
    (PARQUET_MAGIC,),
    parquet_batches,
)
IPC = ArrowFormat(
    "arrow",
    "Arrow IPC, file or stream: columns as in Parquet",
    (FILE_MAGIC, STREAM_MAGIC),
    ipc_batches,
)
