"""Tech Against Terrorism's hash list: terrorist content that its analysts have verified.

`results` of what the interface replies, or a list of such records:

    {"hash_digest": "...", "algorithm": "PDQ", "ideology": "islamist", "file_type": "gif",
     "deleted": false, "updated_on": 1724856487.7, "created_on": "...", "id": 2821}

The id is the ref, the ideology a label; deleted records are removals.
"""

from __future__ import annotations

from hashmatch.formats.fields import (
    FieldError,
    clipped,
    take_code,
    take_column,
    take_id,
    take_labels,
)
from hashmatch.formats.gathering import Gathering, Hash
from hashmatch.formats.json_records import Entry, JsonFormat
from hashmatch.hash_types import HASH_TYPES
from hashmatch.vocabulary import Kind

_TYPES = {
    "PDQ": "pdq",
    "MD5": "md5",
    "SHA1": "sha1",
    "SHA-1": "sha1",
    "SHA256": "sha256",
    "SHA-256": "sha256",
}
#: By file type; the others are files.
_KINDS: dict[str, Kind] = {
    **dict.fromkeys(("avi", "flv", "m4v", "mkv", "mov", "mp4", "mpeg", "mpg", "webm"), "video"),
    **dict.fromkeys(("wmv", "3gp"), "video"),
    **dict.fromkeys(("bmp", "gif", "heic", "jpeg", "jpg", "png", "tif", "tiff", "webp"), "image"),
}
_COLUMNS = ("algorithm", "file_type", "updated_on", "created_on")


def _take(entry: Entry, gathering: Gathering) -> None:
    fields = entry.fields
    ref = take_id(fields, "id")
    deleted = fields.get("deleted", False)
    if type(deleted) is not bool:
        raise FieldError("deleted", f"is {clipped(deleted)}, not true or false")
    if deleted:
        gathering.remove(entry.row, ref)
        return
    algorithm = fields.get("algorithm")
    type_ = _TYPES.get(algorithm.upper()) if isinstance(algorithm, str) else None
    if type_ is None:
        raise FieldError("algorithm", f"is {clipped(algorithm)}, which cannot be matched")
    code = take_code(fields.get("hash_digest"), "hash_digest", HASH_TYPES[type_])
    columns = {name: take_column(fields.get(name), name) for name in _COLUMNS}
    gathering.item(
        ref,
        [Hash(entry.row, type_, code, None, None, columns)],
        kind=_KINDS.get(columns["file_type"].lower().lstrip("."), "file"),
        labels=take_labels(fields.get("ideology"), "ideology") or (),
    )


FORMAT = JsonFormat(
    name="tat-json",
    about="Tech Against Terrorism's hash list (JSON)",
    keys=frozenset({"results"}),
    marks=frozenset({"hash_digest", "algorithm"}),
    empty_page=frozenset({"results", "checkpoint"}),
    take=_take,
)
