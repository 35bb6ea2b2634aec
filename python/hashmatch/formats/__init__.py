"""Lists of hashes in the formats of the industry's exchanges: read in blocks, and written.

What kind of file a list is shows in its first bytes, decompressed; its name is not believed.
"""

from hashmatch.formats.model import (
    Block,
    Format,
    ListError,
    Options,
    Part,
    Removal,
    Source,
    Writer,
)
from hashmatch.formats.reading import HashList, open_list
from hashmatch.formats.registry import FORMATS, WRITERS

__all__ = [
    "FORMATS",
    "WRITERS",
    "Block",
    "Format",
    "HashList",
    "ListError",
    "Options",
    "Part",
    "Removal",
    "Source",
    "Writer",
    "open_list",
]
