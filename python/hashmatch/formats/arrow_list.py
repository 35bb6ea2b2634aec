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
from itertools import repeat
from typing import Any

import numpy as np

from hashmatch.codes import as_codes
from hashmatch.database.model import Opinion
from hashmatch.formats.arrow_tables import (
    FILE_MAGIC,
    PARQUET_MAGIC,
    STREAM_MAGIC,
    columns_of,
    ipc_batches,
    parquet_batches,
    values,
    written_out,
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
from hashmatch.hash_types import HASH_TYPES, HashType

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


class _Reader:
    """The rows of one source."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._type = HASH_TYPES[source.options.hash_type or "pdq"]
        self._gathering = Gathering(source)
        self._lines = Lines(source, self._gathering, "row")
        self._rows = 0

    def parts(self, batches: Iterator[Any]) -> Iterator[Part]:
        names = None
        for batch in batches:
            columns = columns_of(self._source, batch)
            names = names or self._names(list(columns))
            block = None
            if names.ref is None and names.labels is None and not names.own:
                block = self._block(names, columns)
            if block is not None:
                yield block
            else:
                self._take(names, columns, batch.num_rows)
                yield from self._gathering.take()
            self._rows += batch.num_rows
        self._lines.end()
        yield from self._gathering.rest()

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

    def _block(self, names: _Names, columns: dict[str, Any]) -> Block | None:
        """A batch in which every row is an item of its own; None if some row may be faulty."""
        try:
            column = written_out(self._source, columns[names.hash], self._type.digits)
            codes = as_codes(column, self._type)
            texts = {name: self._texts(columns, name) for name in names.carried}
        except (FieldError, TypeError, ValueError):
            return None
        rows = np.arange(self._rows, self._rows + len(codes))
        usual = self._source.options.kind or "image"
        return Block(self._type.name, codes, rows, kind=usual, columns=texts)

    def _texts(self, columns: dict[str, Any], name: str) -> list[str]:
        return [_text(value, name) for value in values(self._source, columns[name])]

    def _take(self, names: _Names, columns: dict[str, Any], rows: int) -> None:
        """Take a batch row by row."""

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
        for row, (hash, ref, labels, *own, carried) in enumerate(each, self._rows):
            try:
                self._row(names, row, hash, ref, labels, own, carried)
            except FieldError as error:
                self._source.fault(f"row {row}", str(error))

    def _row(
        self,
        names: _Names,
        row: int,
        hash: Any,
        ref: Any,
        labels: Any,
        own: list[Any],
        carried: tuple[Any, ...],
    ) -> None:
        contributor, kind, type, quality, time_ms, opinions = own
        if names.ref is not None and ref is not None:
            ref = take_text(str(ref) if isinstance(ref, int) else ref, names.ref)
        elif names.ref is not None:
            raise FieldError(names.ref, "is null")
        said = _opinions(opinions, ref)
        if hash is None and said:
            self._lines.add(ref, None, opinions=said)
            return
        hash_type = self._type if type is None else take_type(type)
        texts = map(_text, carried, names.carried)
        self._lines.add(
            ref,
            Hash(
                row,
                hash_type.name,
                _code(hash, names.hash, hash_type),
                take_quality(_whole(quality)),
                take_time_ms(_whole(time_ms)),
                dict(zip(names.carried, texts, strict=True)),
            ),
            contributor=None
            if contributor is None
            else take_text(contributor, "contributor", True),
            kind=take_kind(kind, self._source.options.kind),
            labels=None if names.labels is None else _labels(labels, names.labels),
            opinions=said,
        )


def _code(value: Any, name: str, kind: HashType) -> bytes:
    if isinstance(value, bytes):
        if len(value) == kind.width:
            return value
        raise FieldError(name, f"has {len(value):,} bytes, {kind.label} needs {kind.width}")
    return take_code(value, name, kind)


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
