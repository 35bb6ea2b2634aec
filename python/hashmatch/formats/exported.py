"""A hash set as CSV that loads again as it was.

There is a row for each signal, an item's rows of a type beside each other. A row without a type and
a hash has opinions on a ref that no item has; or, where its kind is "removed", withdraws an item.

The column `ref` is left out of a list without refs, and the column `contributor` of one that does
not say whose items they are: whoever loads it is to say. An empty cell of `contributor` is the
contributor whose name is empty; one of `labels` leaves an item's labels as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, TextIO

from hashmatch.codes import encode_hex
from hashmatch.formats.lines import Records
from hashmatch.formats.model import Block, Part, Removal, Source
from hashmatch.texts import CsvWriter, json_text

if TYPE_CHECKING:
    from hashmatch.database.model import Opinion

#: The columns of an exported set.
EXPORT_COLUMNS = (
    *("ref", "contributor", "kind", "type", "hash", "quality", "time_ms"),
    *("labels", "opinions"),
)
#: Those that a list may be without.
_OPTIONAL = ("ref", "contributor")
#: The kind that stands beside a ref which is withdrawn.
REMOVED = "removed"

_Row = tuple[str | int | None, ...]


def is_header(names: Sequence[str]) -> bool:
    """Whether these are the columns of an exported set."""
    left_out = [name for name in _OPTIONAL if name not in names]
    return list(names) == [name for name in EXPORT_COLUMNS if name not in left_out]


def read_rows(source: Source, header: Sequence[str], records: Records) -> Iterator[Part]:
    """What the records that follow the header say."""
    # Whoever has no database and no export does without what only these need.
    from hashmatch.database.exchange import read_export

    return read_export(source, header, records)


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
