"""Lists of hashes as batches for `Database.load`, and lists of refs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from hashmatch.codes import encode_hex
from hashmatch.database.columns import ref_faults
from hashmatch.database.model import Batch, Kind, Labels, Removal
from hashmatch.formats.lines import Records, header_of
from hashmatch.formats.model import Block, ListError, Options
from hashmatch.formats.opening import BytesRead, name_of, opened
from hashmatch.formats.reading import HashList

_BATCH_RECORDS = 4_096


@dataclass(slots=True)
class BatchList:
    """A list that is yet to be read: `for batch in batch_list` reads it, once.

    It may be of any format of `hashmatch.formats`. A list says of itself what the options do not;
    an exported set says all, and takes none.
    """

    #: "-" is standard input.
    path: str
    #: None for pdq, or for all types of a list that names them.
    hash_type: str | None = None
    #: The CSV column that holds the hash; None for "hash".
    column: str | None = None
    #: That of the ref; None for "ref", or where there is none such the hash's hex.
    ref: str | None = None
    #: That of a label, or a JSON list of labels; None for "labels", if there is one.
    labels: str | None = None
    #: None for the one that the list names, or else the set's owner.
    contributor: str | None = None
    #: None for what the list says, or else image.
    kind: Kind | None = None
    #: Leave faulty rows out and note them in `faults`; otherwise the first is a ListError.
    skip_faults: bool = False
    on_read: BytesRead | None = None
    #: What separates the fields of a CSV; None for what its header shows.
    delimiter: str | None = None
    #: The name of the list's format; None for the one that the content shows.
    format: str | None = None
    #: "file:line: reason" of each row left out.
    faults: list[str] = field(default_factory=list, init=False)

    def __iter__(self) -> Iterator[Batch | Removal]:
        options = Options(
            self.hash_type, self.column, self.ref, self.labels, self.delimiter, self.kind
        )
        parts = HashList(
            self.path, self.format, options, self.skip_faults, self.on_read, for_database=True
        )
        parts.faults = self.faults
        found = False
        for part in parts:
            if parts.is_export:
                self._require_no_options(parts.name)
            who = self._contributor(part.contributor)
            if isinstance(part, Block):
                found = found or len(part.rows) > 0
                yield _batch(part, who)
            else:
                found = True
                yield Removal(part.refs, who)
        if not (found or parts.is_export):
            raise ListError(f"{parts.name}: holds no hashes")

    def _require_no_options(self, name: str) -> None:
        for option in ("hash_type", "column", "ref", "labels", "contributor", "kind"):
            if getattr(self, option) is not None:
                raise ListError(
                    f"{name}: is an exported set, which says all of itself: leave "
                    f"--{option.removeprefix('hash_')} out"
                )

    def _contributor(self, named: str | None) -> str | None:
        if named is not None and self.contributor is not None:
            raise ListError(
                f"{name_of(self.path)}: says itself whose items they are: leave --contributor out"
            )
        return self.contributor if named is None else named


def _batch(block: Block, contributor: str | None) -> Batch:
    refs, labels, codes = block.refs, block.labels, block.codes
    quality, time_ms = block.quality, block.time_ms
    if refs is None:
        places, refs, labels = _distinct(block)
        codes = codes[places]
        quality = quality and [quality[place] for place in places]
        time_ms = time_ms and [time_ms[place] for place in places]
    return Batch(
        block.hash_type,
        codes,
        list(refs),
        labels,
        contributor,
        block.kind,
        quality,
        time_ms,
        block.opinions,
    )


def _distinct(block: Block) -> tuple[list[int], list[str], Labels]:
    """Hashes as refs, each once: one that is there twice is one item with one signal. The row of
    each, and its labels.
    """
    refs = encode_hex(block.codes)
    places: dict[str, int] = {}
    for row, ref in enumerate(refs):
        places.setdefault(ref, row)
    if block.labels is None or len(places) == len(refs):
        return list(places.values()), list(places), block.labels
    united: dict[str, dict[str, None]] = {ref: {} for ref in places}
    for ref, of_row in zip(refs, block.labels, strict=True):
        united[ref].update(dict.fromkeys(of_row))
    return list(places.values()), list(places), [tuple(of_ref) for of_ref in united.values()]


def read_refs(path: str) -> list[str]:
    """Refs, each once, from a file: one a line, or a CSV whose column "ref" has them.

    ListError names the line of one that cannot be a ref.
    """
    name = name_of(path)
    refs: dict[str, None] = {}
    with opened(path) as (head, file, _):
        header = header_of(head)
        if "ref" in header:
            rows = _column(name, file, header, "ref")
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


def _column(
    name: str, file: BinaryIO, header: list[str], column: str
) -> Iterator[tuple[int, str, str | None]]:
    """Line, text of that column, and what is wrong with the row, if anything."""
    place = header.index(column)
    records = Records(name, b"", file)
    records.first()
    while some := records.some(_BATCH_RECORDS):
        for line, fields, fault in some:
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
