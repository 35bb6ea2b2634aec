"""The same files as the incumbents' library reads them."""

from __future__ import annotations

import json
from typing import Any
from xml.etree import ElementTree

import pytest
from threatexchange.exchanges.clients.fb_threatexchange.threat_updates import ThreatUpdateJSON
from threatexchange.exchanges.clients.ncmec import hash_api
from threatexchange.exchanges.fetch_state import SignalOpinionCategory
from threatexchange.exchanges.impl.fb_threatexchange_api import FBThreatExchangeIndicatorRecord

from format_samples import SAMPLES, read, state
from hashmatch.formats.model import Removal

_VERDICTS = {
    SignalOpinionCategory.POSITIVE_CLASS: "positive",
    SignalOpinionCategory.NEGATIVE_CLASS: "negative",
    SignalOpinionCategory.INVESTIGATION_SEED: "investigate",
}


def test_ncmec() -> None:
    content = SAMPLES["ncmec-xml"](20)
    root = ElementTree.fromstring(content)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    entries = hash_api.GetEntriesResponse.from_xml(hash_api._XMLWrapper(root), 0).updates
    parts, _ = read("ncmec-xml", content)
    ours = {ref: item for (_, ref), item in state(parts)["items"].items()}
    gone = [ref for part in parts if isinstance(part, Removal) for ref in part.refs]
    assert len(entries) == 42
    for entry in entries:
        ref = f"{entry.member_id}-{entry.id}"
        assert entry.deleted == (ref in gone)
        if not entry.deleted:
            item = ours.pop(ref)
            assert (item["kind"], item["labels"]) == (
                entry.entry_type.value,
                [entry.classification],
            )
            theirs = {name: text.lower() for name, text in entry.fingerprints.items()}
            theirs.pop("pdna", None)
            assert {name: hashes[0][0] for name, hashes in item["signals"].items()} == theirs
    assert ours == {}


@pytest.mark.parametrize("status", ["MALICIOUS", "NON_MALICIOUS", "SUSPICIOUS", "UNKNOWN"])
@pytest.mark.parametrize("owners", [["1"], ["1", "2"], [None], [None, "2"], []])
@pytest.mark.parametrize("reaction", ["HELPFUL", "DISAGREE_WITH_TAGS", "SAW_THIS_TOO"])
def test_threatexchange(status: str, owners: list[str | None], reaction: str) -> None:
    descriptors: list[dict[str, Any]] = [
        {
            "id": f"{number}",
            **({"owner": {"id": owner}} if owner else {}),
            "status": status,
            "tags": ["a", f"tag {number}"],
            "reactions": [
                {"key": reaction, "value": "7,1"},
                {"key": "DISAGREE_WITH_TAGS", "value": "8"},
                {"key": "HELPFUL", "value": "8"},
            ],
        }
        for number, owner in enumerate(owners)
    ]
    record = {
        "id": "5",
        "indicator": "f" * 64,
        "type": "HASH_PDQ",
        "last_updated": 1,
        "should_delete": False,
        "descriptors": {"data": descriptors},
    }
    theirs = FBThreatExchangeIndicatorRecord.from_threatexchange_json(0, ThreatUpdateJSON(record))
    parts, _ = read("threatexchange-json", json.dumps([record]).encode())
    ours = state(parts)
    if theirs is None:
        assert [part.refs for part in parts] == [["5"]] and ours["items"] == {}
        return
    assert {
        who: (verdict, set(labels)) for who, (verdict, labels) in ours["opinions"]["5"].items()
    } == {
        str(opinion.owner_app_id): (_VERDICTS[opinion.category], set(opinion.tags))
        for opinion in theirs.get_as_opinions()
    }
