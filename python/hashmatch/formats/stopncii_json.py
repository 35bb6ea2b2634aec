"""StopNCII.org: hashes of intimate pictures that their owners do not want shared.

`hashRecords` of what FetchHashes replies, or a list of such records:

    {"lastModtimestamp": 1625167804, "hashValue": "2afc...aa82", "hashStatus": "Active",
     "caseNumbers": {"27664732-...": "Active"}, "signalType": "ImagePDQ",
     "CSPFeedbacks": [{"source": "...", "feedbackValue": "Blocked", "tags": [...]}]}

A record has no id: the hash itself, in lower case, is the ref. Withdrawn and Deleted records are
removals. A company's feedback is its opinion: Blocked is positive and NotBlocked negative; what it
has withdrawn is none; every other is one to investigate.
"""

from __future__ import annotations

from hashmatch.formats.fields import (
    FieldError,
    Fields,
    clipped,
    take_code,
    take_column,
    take_labels,
    take_text,
)
from hashmatch.formats.gathering import Gathering, Hash
from hashmatch.formats.json_records import Entry, JsonFormat
from hashmatch.hash_types import HASH_TYPES
from hashmatch.vocabulary import Kind, Opinion, Verdict

_TYPES: dict[str, tuple[str, Kind]] = {"ImagePDQ": ("pdq", "image"), "VideoMD5": ("md5", "video")}
_LIVE = ("Active", "Received", "Unknown")
_WITHDRAWN = ("Withdrawn", "Deleted")
_VERDICTS: dict[str, Verdict | None] = {
    "Blocked": "positive",
    "NotBlocked": "negative",
    "PendingReview": "investigate",
    "QualityUnknown": "investigate",
    "Unknown": "investigate",
    "None": "investigate",
    "Withdrawn": None,
    "Deleted": None,
}
_COLUMNS = ("signalType", "hashStatus", "lastModtimestamp", "caseNumbers")


def _take(entry: Entry, gathering: Gathering) -> None:
    fields = entry.fields
    status = fields.get("hashStatus")
    if status not in _LIVE and status not in _WITHDRAWN:
        known = ", ".join((*_LIVE, *_WITHDRAWN))
        raise FieldError("hashStatus", f"is {clipped(status)}, not one of {known}")
    ref = take_text(fields.get("hashValue"), "hashValue").lower()
    if status in _WITHDRAWN:
        gathering.remove(entry.row, ref)
        return
    signal_type = fields.get("signalType")
    if not isinstance(signal_type, str) or signal_type not in _TYPES:
        reason = f"is {clipped(signal_type)}, which cannot be matched"
        raise FieldError("signalType", reason)
    type, kind = _TYPES[signal_type]
    code = take_code(ref, "hashValue", HASH_TYPES[type])
    columns = {name: take_column(fields.get(name), name) for name in _COLUMNS}
    hashes = [Hash(entry.row, type, code, None, None, columns)]
    gathering.item(ref, hashes, kind=kind, opinions=_opinions(fields, ref))


def _opinions(fields: Fields, ref: str) -> list[Opinion]:
    feedbacks = fields.get("CSPFeedbacks")
    if not feedbacks:
        return []
    if not isinstance(feedbacks, list):
        raise FieldError("CSPFeedbacks", f"is {clipped(feedbacks)}, not a list")
    opinions = []
    for number, feedback in enumerate(feedbacks):
        name = f"CSPFeedbacks[{number}]"
        value = feedback.get("feedbackValue") if isinstance(feedback, dict) else None
        if not isinstance(value, str) or value not in _VERDICTS:
            reason = f"is {clipped(value)}, not one of {', '.join(_VERDICTS)}"
            raise FieldError(f"{name}.feedbackValue", reason)
        verdict = _VERDICTS[value]
        source = take_text(feedback.get("source") or "", f"{name}.source", empty=True)
        labels = take_labels(feedback.get("tags"), f"{name}.tags") or ()
        if verdict:
            opinions.append(Opinion(ref, source, verdict, labels))
    return opinions


FORMAT = JsonFormat(
    name="stopncii-json",
    about="StopNCII.org's hash records (JSON)",
    keys=frozenset({"hashRecords"}),
    marks=frozenset({"hashValue", "signalType"}),
    empty_page=frozenset({"hashRecords"}),
    take=_take,
)
