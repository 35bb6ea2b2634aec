"""JSON Lines: an object a line, or any other JSON whose records are such objects.

    {"ref": "a7", "contributor": "member-a", "kind": "image", "type": "pdq", "hash": "f8f8...22",
     "quality": 100, "time_ms": 2000, "labels": ["x"],
     "opinions": [{"contributor": "member-b", "verdict": "positive", "labels": []}]}

Only `hash` has to be there; what else an object has is carried along as columns (or is within
`columns`, for names such as those above). Lines of one item and type are beside each other. An
object without `hash` has opinions on its ref alone, and one with `"removed": true` withdraws an
item. So a list of hashes, a change to one, and an exported set are all written the same way.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TextIO

from hashmatch.codes import encode_hex
from hashmatch.formats.fields import (
    FieldError,
    Fields,
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
from hashmatch.formats.json_parts import named_contributor, opinions_by_ref, removal_lines
from hashmatch.formats.json_records import Entry, first_records
from hashmatch.formats.json_stream import json_records
from hashmatch.formats.model import Block, Options, Part, Removal, Source
from hashmatch.hash_types import HASH_TYPES
from hashmatch.texts import json_text
from hashmatch.vocabulary import Opinion

#: What is not carried along as a column.
_OWN = frozenset(
    ("ref", "contributor", "kind", "type", "hash", "quality", "time_ms", "labels", "opinions")
) | {"removed", "columns"}


class _Reader:
    """The lines of one source."""

    def __init__(self, source: Source) -> None:
        options: Options = source.options
        self._source = source
        self._hash = options.column or "hash"
        self._ref = options.ref or "ref"
        self._labels = options.labels or "labels"
        self._type = HASH_TYPES[options.hash_type or "pdq"]
        self._ref_is_asked = options.ref is not None
        self._own = (_OWN - {"hash", "ref", "labels"}) | {self._hash, self._ref, self._labels}
        self._gathering = Gathering(source)
        self._lines = Lines(source, self._gathering, "record")

    def parts(self) -> Iterator[Part]:
        for place, row, value in json_records(self._source):
            try:
                if type(value) is not dict:
                    raise FieldError("", "is not an object")
                self._take(row, value)
            except FieldError as error:
                Entry(self._source, place, row, value).fault(error)
            if self._gathering.ready:
                yield from self._gathering.take()
        self._lines.end()
        yield from self._gathering.rest()

    def _take(self, row: int, fields: dict[str, Any]) -> None:
        ref = fields.get(self._ref)
        if type(ref) is int:
            ref = str(ref)
        elif ref is not None:
            ref = take_text(ref, self._ref)
        contributor = fields.get("contributor")
        if contributor is not None:
            contributor = take_text(contributor, "contributor", empty=True)
        if ref is None and self._ref_is_asked:
            raise FieldError("", f"has no {self._ref!r}")
        removed = fields.get("removed", False)
        if type(removed) is not bool:
            raise FieldError("removed", f"is {clipped(removed)}, not true or false")
        digits = fields.get(self._hash)
        if removed or digits is None:
            self._take_without_hash(row, ref, contributor, fields)
            return
        named = fields.get("type")
        kind = self._type if named is None else take_type(named)
        hash = Hash(
            row,
            kind.name,
            take_code(digits, self._hash, kind),
            take_quality(fields.get("quality")),
            take_time_ms(fields.get("time_ms")),
            self._columns(fields),
        )
        self._lines.add(
            ref,
            hash,
            contributor=contributor,
            kind=take_kind(fields.get("kind"), self._source.options.kind),
            labels=take_labels(fields.get(self._labels), self._labels),
            opinions=self._opinions(ref, fields),
        )

    def _take_without_hash(
        self, row: int, ref: str | None, contributor: str | None, fields: Fields
    ) -> None:
        removed = fields.get("removed")
        if not removed and "opinions" not in fields:
            raise FieldError("", f"has no {self._hash!r}")
        if ref is None:
            raise FieldError("", f"has no {self._ref!r}")
        if removed:
            self._lines.remove(row, ref, contributor)
        else:
            self._lines.add(ref, None, opinions=self._opinions(ref, fields))

    def _opinions(self, ref: str | None, fields: Fields) -> list[Opinion]:
        said = fields.get("opinions")
        if said and ref is None:
            raise FieldError("opinions", f"are on no {self._ref!r}")
        return take_opinions(said, ref or "")

    def _columns(self, fields: Fields) -> Mapping[str, str]:
        columns = {
            name: take_column(value, name)
            for name, value in fields.items()
            if name not in self._own
        }
        more = fields.get("columns")
        if isinstance(more, dict):
            columns |= {name: take_column(value, f"columns.{name}") for name, value in more.items()}
        elif more is not None:
            columns["columns"] = take_column(more, "columns")
        return columns


class JsonLines:
    """The format, reader and writer."""

    name = "jsonl"
    about = "JSON Lines: objects with ref, type, hash, quality, labels, opinions and others"

    def recognises(self, head: bytes) -> bool:
        return any(
            isinstance(record, dict)
            and ("hash" in record or ("ref" in record and not record.keys().isdisjoint(_WITHOUT)))
            for record in first_records(head)
        )

    def read(self, source: Source) -> Iterator[Part]:
        yield from _Reader(source).parts()

    def write(self, parts: Iterable[Part], file: TextIO) -> int:
        """Write a line for each signal, removal, and ref with opinions; the number of lines."""
        written = 0
        for line in self.lines(parts):
            file.write(line)
            written += 1
        return written

    def lines(self, parts: Iterable[Part]) -> Iterator[str]:
        """What `write` writes, line by line."""
        last = None
        for part in parts:
            records = removal_lines(part) if isinstance(part, Removal) else _signals(part)
            for number, record in enumerate(records):
                item = (record.get("contributor"), record["ref"]) if "ref" in record else None
                if number == 0 and item == last is not None:
                    # What is said of an item anew does not go on with what was said of it before.
                    yield f"{json_text({'ref': record['ref'], 'opinions': []})}\n"
                last = item
                yield f"{json_text(record)}\n"


#: Of these an object without a hash has one.
_WITHOUT = ("removed", "opinions")


def _signals(block: Block) -> Iterator[dict[str, Any]]:
    beside = {"kind": block.kind, "type": block.hash_type}
    flat = [(name, texts) for name, texts in block.columns.items() if name not in _OWN]
    within = [(name, texts) for name, texts in block.columns.items() if name in _OWN]
    said = opinions_by_ref(block.opinions)
    for row, digits in enumerate(encode_hex(block.codes)):
        line: dict[str, Any] = {}
        if block.refs is not None:
            line["ref"] = block.refs[row]
        line |= named_contributor(block.contributor) | beside
        line["hash"] = digits
        for name, numbers in (("quality", block.quality), ("time_ms", block.time_ms)):
            if numbers is not None and numbers[row] is not None:
                line[name] = numbers[row]
        if block.labels is not None:
            line["labels"] = list(block.labels[row])
        if block.refs is not None and block.refs[row] in said:
            line["opinions"] = said.pop(block.refs[row])
        line |= {name: texts[row] for name, texts in flat}
        if within:
            line["columns"] = {name: texts[row] for name, texts in within}
        yield line
    for ref, opinions in said.items():
        yield {"ref": ref, "opinions": opinions}


FORMAT = JsonLines()
