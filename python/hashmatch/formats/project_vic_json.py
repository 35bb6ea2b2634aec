"""Project VIC and CAID: the hash sets of law enforcement, in the VICS data model's JSON.

    {"@odata.context": "...", "value": [
        {"MediaID": 1, "Category": 1, "MD5": "ADEB...", "SHA1": "2B03...", "MediaSize": 2835,
         "MimeType": "image/jpeg", "PhotoDNA": "..."}]}

The records may be within cases, as their `Media`. MediaID is the ref, Category N is the label
"category N", MimeType says whether it is a picture or a video. PhotoDNA is carried along; nothing
here matches it.
"""

from __future__ import annotations

from hashmatch.formats.fields import (
    FieldError,
    Fields,
    clipped,
    take_code,
    take_column,
    take_id,
)
from hashmatch.formats.gathering import Gathering, Hash
from hashmatch.formats.json_records import Entry, JsonFormat
from hashmatch.hash_types import HASH_TYPES
from hashmatch.vocabulary import Kind

_TYPES = {"MD5": HASH_TYPES["md5"], "SHA1": HASH_TYPES["sha1"], "SHA256": HASH_TYPES["sha256"]}
_KINDS: dict[str, Kind] = {"image": "image", "video": "video"}
_COLUMNS = ("MediaSize", "MimeType", "PhotoDNA")


def _take(entry: Entry, gathering: Gathering) -> None:
    fields = entry.fields
    ref = take_id(fields, "MediaID")
    columns = {name: take_column(fields.get(name), name) for name in _COLUMNS}
    hashes = []
    given = [name for name in _TYPES if fields.get(name) not in (None, "")]
    for name in given:
        type = _TYPES[name]
        try:
            code = take_code(fields[name], name, type)
        except FieldError as error:
            entry.fault(error)
        else:
            hashes.append(Hash(entry.row, type.name, code, None, None, columns))
    if not given:
        others = "PhotoDNA alone" if fields.get("PhotoDNA") else "none"
        raise FieldError("", f"has no MD5, SHA1 or SHA256 that can be matched: it has {others}")
    if hashes:
        media = columns["MimeType"].partition("/")[0].lower()
        kind = _KINDS.get(media, entry.kind_not_said)
        gathering.item(ref, hashes, kind=kind, labels=_category(fields))


def _category(fields: Fields) -> tuple[str, ...]:
    category = fields.get("Category")
    if category is None or category == "":
        return ()
    if type(category) is int or isinstance(category, str):
        return (f"category {category}",)
    raise FieldError("Category", f"is {clipped(category)}, not a number")


FORMAT = JsonFormat(
    name="project-vic-json",
    about="Project VIC and CAID: law enforcement's hash sets (JSON)",
    keys=frozenset({"value", "Media"}),
    marks=frozenset({"MediaID"}),
    empty_page=frozenset({"@odata.context", "value"}),
    take=_take,
)
