"""Meta's ThreatExchange: what the Graph API replies on `threat_updates`.

`data` of such replies, or a list of such records:

    {"id": "1", "indicator": "...", "type": "HASH_PDQ", "last_updated": 1600000000,
     "should_delete": false, "descriptors": {"data": [
        {"id": "2", "owner": {"id": "3"}, "status": "MALICIOUS", "tags": ["..."],
         "reactions": [{"key": "HELPFUL", "value": "4,5"}]}]}}

The indicator's id is the ref; its labels are the tags of all descriptors. A descriptor is its
owner's opinion: MALICIOUS is positive and NON_MALICIOUS negative, every other status one to
investigate. Who has no descriptor has an opinion by a reaction: HELPFUL is positive,
DISAGREE_WITH_TAGS negative. Records with should_delete, without `descriptors`, or without any
descriptor whose owner may be seen, are removals: nobody holds anything against them any more.
"""

from __future__ import annotations

from typing import Any

from hashmatch.formats.fields import (
    FieldError,
    clipped,
    take_code,
    take_column,
    take_id,
    take_labels,
    take_text,
)
from hashmatch.formats.gathering import Gathering, Hash
from hashmatch.formats.json_records import Entry, JsonFormat
from hashmatch.hash_types import HASH_TYPES
from hashmatch.vocabulary import Kind, Opinion, Verdict

#: None: of a picture or a video as the tags say.
_TYPES: dict[str, tuple[str, Kind | None]] = {
    "HASH_PDQ": ("pdq", "image"),
    "HASH_MD5": ("md5", None),
    "HASH_SHA1": ("sha1", None),
    "HASH_SHA256": ("sha256", None),
    "HASH_VIDEO_MD5": ("md5", "video"),
    "HASH_VIDEO_SHA1": ("sha1", "video"),
    "HASH_VIDEO_SHA256": ("sha256", "video"),
}
_KINDS: dict[str, Kind] = {"media_type_video": "video", "media_type_photo": "image"}
_VERDICTS: dict[str, Verdict] = {"MALICIOUS": "positive", "NON_MALICIOUS": "negative"}
_REACTIONS: dict[str, Verdict] = {"HELPFUL": "positive", "DISAGREE_WITH_TAGS": "negative"}
_COLUMNS = ("type", "last_updated")


def _take(entry: Entry, gathering: Gathering) -> None:
    fields = entry.fields
    ref = take_id(fields, "id")
    delete = fields.get("should_delete", False)
    if type(delete) is not bool:
        raise FieldError("should_delete", f"is {clipped(delete)}, not true or false")
    opinions = [] if delete or "descriptors" not in fields else _opinions(fields, ref)
    if not opinions:
        gathering.remove(entry.row, ref)
        return
    indicator_type = fields.get("type")
    if not isinstance(indicator_type, str) or indicator_type not in _TYPES:
        raise FieldError("type", f"is {clipped(indicator_type)}, which cannot be matched")
    type_, kind = _TYPES[indicator_type]
    code = take_code(fields.get("indicator"), "indicator", HASH_TYPES[type_])
    labels = tuple(dict.fromkeys(label for opinion in opinions for label in opinion.labels))
    by_tag: list[Kind] = [_KINDS[label] for label in labels if label in _KINDS]
    columns = {name: take_column(fields.get(name), name) for name in _COLUMNS}
    gathering.item(
        ref,
        [Hash(entry.row, type_, code, None, None, columns)],
        kind=kind or (by_tag[0] if by_tag else entry.kind_not_said),
        labels=labels,
        opinions=opinions,
    )


def _opinions(fields: dict[str, Any], ref: str) -> list[Opinion]:
    """What the descriptors that may be seen say, then what reactions do."""
    opinions: dict[str, Opinion] = {}
    reactions: dict[str, Verdict] = {}
    for number, descriptor in enumerate(_listed(fields["descriptors"], "descriptors")):
        name = f"descriptors.data[{number}]"
        if not isinstance(descriptor, dict):
            raise FieldError(name, f"is {clipped(descriptor)}, not an object")
        owner = descriptor.get("owner")
        if owner is None:
            continue
        if not isinstance(owner, dict):
            raise FieldError(f"{name}.owner", f"is {clipped(owner)}, not an object")
        contributor = take_id(owner, "id")
        verdict = _VERDICTS.get(str(descriptor.get("status")), "investigate")
        labels = _tags(descriptor.get("tags"), f"{name}.tags")
        opinions[contributor] = Opinion(ref, contributor, verdict, labels)
        for who, reaction in _reactions(descriptor.get("reactions"), f"{name}.reactions"):
            if reaction == "positive" or who not in reactions:
                reactions[who] = reaction
    for who, reaction in reactions.items():
        if who not in opinions:
            opinions[who] = Opinion(ref, who, reaction)
    return list(opinions.values())


def _listed(value: Any, name: str) -> list[Any]:
    """A list, or what an object has as its `data`; null is none."""
    if isinstance(value, dict):
        value, name = value.get("data"), f"{name}.data"
    if value is None:
        return []
    if not isinstance(value, list):
        raise FieldError(name, f"is {clipped(value)}, not a list")
    return value


def _tags(value: Any, name: str) -> tuple[str, ...]:
    """Tags, which are texts, or objects with a text."""
    tags = [tag.get("text") if isinstance(tag, dict) else tag for tag in _listed(value, name)]
    return take_labels(tags, name) or ()


def _reactions(value: Any, name: str) -> list[tuple[str, Verdict]]:
    """Who reacted, and how."""
    found = []
    for number, reaction in enumerate(_listed(value, name)):
        key = reaction.get("key") if isinstance(reaction, dict) else None
        if not isinstance(key, str):
            raise FieldError(f"{name}[{number}]", "has no 'key' that is text")
        if key in _REACTIONS:
            owners = take_text(reaction.get("value"), f"{name}[{number}].value")
            found += [(owner, _REACTIONS[key]) for owner in owners.split(",") if owner]
    return found


FORMAT = JsonFormat(
    name="threatexchange-json",
    about="Meta's ThreatExchange, as the Graph API replies (JSON)",
    keys=frozenset({"data"}),
    marks=frozenset({"id", "indicator", "type"}),
    empty_page=frozenset({"data", "paging"}),
    take=_take,
)
