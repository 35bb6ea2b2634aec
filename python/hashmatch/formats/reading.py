"""A list as its users read it, whatever its format."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from hashmatch.formats.exported import is_header
from hashmatch.formats.lines import header_of
from hashmatch.formats.model import Block, ListError, Options, Part, Source
from hashmatch.formats.opening import BytesRead, name_of, opened
from hashmatch.formats.registry import detected, format_named
from hashmatch.hash_types import hash_type

#: How a built index begins.
INDEX_MAGIC = b"HASHMTCH"


@dataclass(slots=True)
class HashList:
    """A list that is yet to be read: `for part in hash_list` reads it, once.

    With a hash type in the options only what is of that type is given, whatever else there is.
    """

    #: "-" is standard input.
    path: str
    #: The name of one of `FORMATS`; None for the one that the content shows.
    format: str | None = None
    options: Options = field(default_factory=Options)
    #: Leave faulty records out and note them in `faults`; otherwise the first is a ListError.
    skip_faults: bool = False
    on_read: BytesRead | None = None
    #: See `Source.for_database`.
    for_database: bool = False
    #: "file:line: reason" of each record left out.
    faults: list[str] = field(default_factory=list, init=False)
    #: Whether it is an exported set; known once reading has begun.
    is_export: bool = field(default=False, init=False)

    @property
    def name(self) -> str:
        """What messages call the list."""
        return name_of(self.path)

    def __iter__(self) -> Iterator[Part]:
        """ListError, or OSError from the file."""
        chosen = format_named(self.format) if self.format else None
        wanted = self.options.hash_type and hash_type(self.options.hash_type).name
        with opened(self.path, self.on_read) as (head, file, path):
            if head.startswith(INDEX_MAGIC):
                raise ListError(f"{self.name}: is a built index, where a list of hashes is needed")
            source = Source(self.name, file, self.options, path, self.skip_faults)
            source.for_database, source.faults = self.for_database, self.faults
            format = chosen or detected(head, self.options, self.path)
            self.is_export = format.name == "csv" and is_header(header_of(head))
            others: dict[str, None] = {}
            found = False
            for part in format.read(source):
                if not isinstance(part, Block) or wanted in (None, part.hash_type):
                    found = found or not isinstance(part, Block) or len(part.rows) > 0
                    yield part
                elif len(part.rows):
                    others[part.hash_type] = None
        if others and not found:
            raise ListError(
                f"{self.name}: holds no {wanted} hashes, but {', '.join(others)}: give --type"
            )


def open_list(
    path: str,
    *,
    format: str | None = None,
    options: Options | None = None,
    skip_faults: bool = False,
    on_read: BytesRead | None = None,
) -> HashList:
    """The list in a file, "-" for standard input, of any of `FORMATS`.

    `for part in open_list(path)` gives its blocks and removals in its own order, once; nothing is
    read before. A faulty record is a ListError, or with `skip_faults` noted in `.faults`.
    """
    return HashList(path, format, options or Options(), skip_faults, on_read)
