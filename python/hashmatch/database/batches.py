"""Lists of hashes as batches for `Database.load`, and lists of refs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hashmatch.codes import encode_hex
from hashmatch.database.columns import ref_faults
from hashmatch.database.exchange import is_export, read_export
from hashmatch.database.model import Batch, Kind
from hashmatch.database.together import Together
from hashmatch.hash_types import hash_type
from hashmatch.lists import (
    Block,
    BytesRead,
    HashList,
    ListError,
    csv_records,
    header_of,
    opened_list,
)

#: Cells with labels that are told apart by their text, as few differ.
_CACHED_TEXTS = 4_096


@dataclass(slots=True)
class BatchList:
    """A list that is yet to be read: `for batch in batch_list` reads it, once.

    It is a list of hashes as `HashList` has it, in which the rows of one ref are beside each other
    and make one item; or an exported set, and then only `path` and `skip_faults` are of use.
    """

    #: "-" is standard input.
    path: str
    #: None for pdq.
    hash_type: str | None = None
    #: The CSV column that holds the hash; None for "hash".
    column: str | None = None
    #: That of the ref; None for "ref", or where there is none such the hash's hex.
    ref: str | None = None
    #: That of a label, or a JSON list of labels; None for "labels", if there is one.
    labels: str | None = None
    #: None for the set's owner.
    contributor: str | None = None
    #: None for image.
    kind: Kind | None = None
    #: Leave faulty rows out and note them in `faults`; otherwise the first is a ListError.
    skip_faults: bool = False
    on_read: BytesRead | None = None
    #: "file:line: reason" of each row left out.
    faults: list[str] = field(default_factory=list, init=False)

    def __iter__(self) -> Iterator[Batch]:
        type = hash_type(self.hash_type or "pdq")
        hash_list = HashList(self.path, type, self.column or "hash", self.skip_faults)
        hash_list.faults = self.faults
        with opened_list(self.path, self.on_read) as (head, file):
            if is_export(head):
                self._require_no_options(hash_list.name)
                yield from read_export(hash_list, file)
                return
            hash_list.checks = {self.ref or "ref": ref_faults}
            rows = 0
            for part in self._parts(hash_list, hash_list.read(head, file)):
                rows += len(part.refs)
                contributor, kind = self.contributor, self.kind or "image"
                yield Batch(type.name, part.codes, part.refs, part.labels, contributor, kind)
        if not rows:
            raise ListError(f"{hash_list.name}: holds no hashes")

    def _require_no_options(self, name: str) -> None:
        for option in ("hash_type", "column", "ref", "labels", "contributor", "kind"):
            if getattr(self, option) is not None:
                raise ListError(
                    f"{name}: is an exported set, which says all of itself: leave "
                    f"--{option.removeprefix('hash_')} out"
                )

    def _parts(self, hash_list: HashList, blocks: Iterable[Block]) -> Iterator[_Part]:
        """What is in the blocks, no item cut in two."""
        together = Together(hash_list.name, "row")
        held: list[_Part] = []
        for block in blocks:
            refs = self._column(hash_list, block, self.ref, "ref")
            texts = self._column(hash_list, block, self.labels, "labels")
            labels = None if texts is None else [_labels(text) for text in texts]
            if refs is None:
                yield _distinct(block.codes, labels)
                continue
            together.note(refs, block.rows)
            part = _Part(block.codes, refs, labels)
            end = len(refs) - 1
            while end and refs[end - 1] == refs[end]:
                end -= 1
            if end or (held and held[-1].refs[-1] != refs[0]):
                yield _joined([*held, part.rows(0, end)])
                held = []
            held.append(part.rows(end, len(refs)))  # It may go on in the next block.
        if held:
            yield _joined(held)
        together.require()

    def _column(
        self, hash_list: HashList, block: Block, asked: str | None, usual: str
    ) -> list[str] | None:
        if (asked or usual) in hash_list.columns:
            return block.columns[hash_list.columns.index(asked or usual)]
        if asked is None:
            return None
        there = ", ".join(map(repr, hash_list.columns)) or "none"
        raise ListError(
            f"{hash_list.name}: no column {asked!r} beside that of the hash; there are: {there}"
        )


class _Part(NamedTuple):
    """Some rows of a list."""

    codes: NDArray[np.uint8]
    refs: list[str]
    labels: list[Sequence[str]] | None

    def rows(self, begin: int, end: int) -> _Part:
        labels = None if self.labels is None else self.labels[begin:end]
        return _Part(self.codes[begin:end], self.refs[begin:end], labels)


def _joined(parts: Sequence[_Part]) -> _Part:
    labels = [of_row for part in parts for of_row in part.labels or ()]
    return _Part(
        np.concatenate([part.codes for part in parts]),
        [ref for part in parts for ref in part.refs],
        None if parts[0].labels is None else labels,
    )


def _distinct(codes: NDArray[np.uint8], labels: list[Sequence[str]] | None) -> _Part:
    """Rows with the hash as ref: one that is there twice is one item with one signal."""
    refs = encode_hex(codes)
    places: dict[str, int] = {}
    for row, ref in enumerate(refs):
        places.setdefault(ref, row)
    if len(places) == len(refs):
        return _Part(codes, refs, labels)
    if labels is not None:
        united: dict[str, dict[str, None]] = {ref: {} for ref in places}
        for ref, of_row in zip(refs, labels, strict=True):
            united[ref].update(dict.fromkeys(of_row))
        labels = [tuple(of_ref) for of_ref in united.values()]
    return _Part(codes[list(places.values())], list(places), labels)


@lru_cache(_CACHED_TEXTS)
def _labels(text: str) -> Sequence[str]:
    """The labels that a cell has: a JSON list of them, or one."""
    if text.startswith("["):
        try:
            labels = json.loads(text)
        except ValueError:
            labels = None
        if isinstance(labels, list) and all(isinstance(label, str) for label in labels):
            return tuple(labels)
    return (text,) if text else ()


def read_refs(path: str) -> list[str]:
    """Refs, each once, from a file: one a line, or a CSV whose column "ref" has them.

    ListError names the line of one that cannot be a ref.
    """
    name = "<stdin>" if path == "-" else path
    refs: dict[str, None] = {}
    with opened_list(path, None) as (head, file):
        header = header_of(head)
        if "ref" in header:
            rows = _column(file, header, "ref")
        elif path.lower().endswith(".csv"):
            raise ListError(
                f"{name}:1: no column 'ref' in the header {', '.join(map(repr, header))}"
            )
        else:
            rows = _lines(file)
        for line, ref, fault in rows:
            fault = fault or next((reason for _, reason in ref_faults([ref])), None)
            if fault:
                raise ListError(f"{name}:{line}: {fault}")
            refs[ref] = None
    return list(refs)


def _column(file: BinaryIO, header: list[str], name: str) -> Iterator[tuple[int, str, str | None]]:
    """Line, text of that column, and what is wrong with the row, if anything."""
    place = header.index(name)
    records = csv_records(file)
    next(records)
    for line, fields, fault in records:
        if not fault and len(fields) != len(header):
            fault = f"number of fields is {len(fields)}, the header's is {len(header)}"
        yield line, "" if fault else fields[place], fault


def _lines(file: BinaryIO) -> Iterator[tuple[int, str, str | None]]:
    """The same of lines that are not blank."""
    for line, raw in enumerate(file, 1):
        text = raw.removesuffix(b"\n").removesuffix(b"\r")
        if not text.strip():
            continue
        try:
            yield line, text.decode(), None
        except UnicodeDecodeError as error:
            yield line, "", f"byte {error.start + 1} of the line is not UTF-8"
