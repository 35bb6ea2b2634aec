"""What the readers of the industry's formats make of each format's files."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from format_samples import BY_NAME, FORMATS, SAMPLES, digest, read, state, vpdq_frames
from hashmatch.formats import registry
from hashmatch.formats.model import Block, ListError, Options, Part, Removal

_NS = "https://hashsharing.ncmec.org/hashsharing/v2"


def _blocks(parts: list[Part]) -> list[Block]:
    return [part for part in parts if isinstance(part, Block)]


def _removed(parts: list[Part]) -> list[tuple[str | None, str]]:
    return [
        (part.contributor, ref) for part in parts if isinstance(part, Removal) for ref in part.refs
    ]


def _items(name: str, records: list[dict[str, Any]], **options: Any) -> dict[Any, Any]:
    """The items of a list of records, all of them sound."""
    parts, faults = read(name, json.dumps(records).encode(), **options)
    assert faults == []
    items: dict[Any, Any] = state(parts)["items"]
    return items


def _faults(name: str, records: list[Any]) -> list[str]:
    return read(name, json.dumps(records).encode(), skip=True)[1]


@pytest.mark.parametrize("name", SAMPLES)
def test_each_format_is_told_by_its_content(name: str) -> None:
    for items in (1, 3, 2_000):  # The first 64 KiB are a part of the last.
        head = SAMPLES[name](items)[: 1 << 16]
        assert [format.name for format in FORMATS if format.recognises(head)] == [name]
        for other in registry.FORMATS:
            # These take what no other does.
            if other.name not in (name, "csv", "hex"):
                assert not other.recognises(head)


def test_beginnings_that_take_long_to_tell() -> None:
    """Each pattern looks at each byte a few times at most."""
    begun = time.process_time()
    for piece in (b"<!---->", b"<!--", b" ", b'"', b'{"', b"[", b'["', b"\\", b'"vpdq": [', b"1,"):
        for begin in (b"", b"{", b'[{"', b'<queryResult x="'):
            head = begin + piece * (65_536 // len(piece))
            assert not any(format.recognises(head) for format in FORMATS)
    assert time.process_time() - begun < 5


def test_other_files_are_of_no_format() -> None:
    for head in (
        b"",
        b"\n",
        b"{",
        b"[]",
        b"[1, 2]",
        b'{"a": 1}',
        b"\xff\xff\xff",
        f"{digest('pdq', 1)}\n".encode(),
        b"hash,ref\n" + digest("pdq", 1).encode(),
        b"<html><body></body></html>",
        f"pdq {digest('pdq', 1)}\nvideo_md5 {digest('md5', 1)}\n".encode(),
        f"{digest('pdq', 1)},1,2020-07-31T18:09:43+0000,a b\n".encode(),
        f"MD5;SHA1;PhotoDNA;Image ID\n{digest('md5', 1)};{digest('sha1', 1)};x;1\n".encode(),
        b"\x93NUMPY\x01\0",
        b'<?xml version="1.0"?><queryResult xmlns="https://example.org/"></queryResult>',
        bytes(range(256)),
    ):
        assert [format.name for format in FORMATS if format.recognises(head)] == []


@pytest.mark.parametrize(
    ("name", "page"),
    [
        ("stopncii-json", {"count": 0, "hashRecords": []}),
        ("tat-json", {"results": [], "checkpoint": "1,2", "next": None}),
        ("threatexchange-json", {"data": [], "paging": {}}),
        ("project-vic-json", {"@odata.context": "x", "value": []}),
    ],
)
def test_a_page_without_records_is_known_too(name: str, page: dict[str, Any]) -> None:
    content = json.dumps(page).encode()
    assert [format.name for format in FORMATS if format.recognises(content)] == [name]
    assert read(name, content) == ([], [])


@pytest.mark.parametrize("name", SAMPLES)
def test_every_format_says_what_it_is(name: str) -> None:
    format = BY_NAME[name]
    assert format.name == name
    assert 10 < len(format.about) <= 80 and "\n" not in format.about


# NCMEC.


def _ncmec(body: str) -> bytes:
    return f'<?xml version="1.0"?>\n<queryResult xmlns="{_NS}">\n{body}\n</queryResult>'.encode()


def test_ncmec() -> None:
    parts, faults = read("ncmec-xml", SAMPLES["ncmec-xml"](2))
    assert faults == []
    items = state(parts)["items"]
    assert items["Member & Söhne 1", "41-image1"] == {
        "kind": "image",
        "labels": ["A1"],
        "signals": {
            name: [
                (
                    digest(name, 1),
                    None,
                    None,
                    {"timestamp": "2017-10-24T15:01:00Z", "pdna": "1,2,1"},
                )
            ]
            for name in ("md5", "sha1", "pdq")
        },
    }
    assert items["Member & Söhne 0", "40-video0"]["kind"] == "video"
    assert list(items["Member & Söhne 0", "40-video0"]["signals"]) == ["md5", "sha1"]
    assert _removed(parts) == [("Gone", "43-image9"), ("Gone", "43-video9")]
    assert sorted({row for part in parts for row in part.rows.tolist()}) == list(range(6))


def test_ncmec_members_without_a_name_and_prefixes() -> None:
    content = (
        f'<x:queryResult xmlns:x="{_NS}"><x:images><x:image><x:member id="7"/><x:id>a</x:id>'
        f"<x:fingerprints><x:md5>{digest('md5', 1)}</x:md5></x:fingerprints></x:image></x:images>"
        "</x:queryResult>"
    ).encode()
    assert BY_NAME["ncmec-xml"].recognises(content)
    assert list(state(read("ncmec-xml", content)[0])["items"]) == [("7", "7-a")]


def test_ncmec_faults() -> None:
    def image(inner: str) -> str:
        return f'<image><member id="1">M</member><id>a</id>{inner}</image>'

    sound = image(f"<fingerprints><sha1>{digest('sha1', 1)}</sha1><md5>12</md5></fingerprints>")
    body = "\n".join(
        [
            f"<images>{sound}",
            image("<fingerprints><pdna>1</pdna><tmk_pdqf>2</tmk_pdqf></fingerprints>"),
            image(""),
            '<image><member id="x">M</member><id>a</id></image>',
            '<image><member id="1">M</member></image></images>',
        ]
    )
    parts, faults = read("ncmec-xml", _ncmec(body), skip=True)
    assert faults == [
        "list:3: md5: hash has 2 hex digits, md5 needs 32",
        "list:4: has no hash that can be matched: it has pdna, tmk_pdqf",
        "list:5: has no hash that can be matched: it has none",
        "list:6: the id of the member is 'x', not a number",
        "list:7: id is empty",
    ]
    assert list(state(parts)["items"]["M", "1-a"]["signals"]) == ["sha1"]
    with pytest.raises(ListError, match=r"list:3: md5: hash has 2 hex digits.*--on-error skip"):
        read("ncmec-xml", _ncmec(body))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b'<!DOCTYPE q [<!ENTITY a "b">]><q>&a;</q>', "document type or entities"),
        (b'<!DOCTYPE q SYSTEM "file:///etc/passwd"><q/>', "document type or entities"),
        (b"<q>&a;</q>", "is not well-formed: undefined entity"),
        (b"<q><image></q>", "is not well-formed: mismatched tag"),
        (b"", "is not well-formed: no element found"),
        (b'<q xmlns="http://x"/>', "is XML of 'http://x'"),
        (b'<?xml version="1.0" encoding="utf-7"?><q/>', "encoding"),
        (b'<?xml version="1.0" encoding="no such"?><q/>', "not well-formed|encoding"),
        (b"<q>" * 40, "nested more than 32 deep"),
        (b"<q><image><id>" + b"x" * (5 << 20), "an item of more than 4,194,304 characters"),
        (b"<q><image " + b"x" * (3 << 20), "a tag of more than 1,048,576 bytes"),
        (b"<q>" + b"".join(b"<a%d/>" % n for n in range(1_500)), "more than 1,000 names"),
        (b"<q " + b" ".join(b'a%d=""' % n for n in range(1_500)) + b"/>", "more than 1,000"),
    ],
)
def test_ncmec_refuses_what_xml_can_do_to_a_reader(content: bytes, reason: str) -> None:
    with pytest.raises(ListError, match=reason):
        read("ncmec-xml", content, skip=True)


# StopNCII.


def test_stopncii() -> None:
    parts, faults = read("stopncii-json", SAMPLES["stopncii-json"](3))
    assert faults == []
    all_of_it = state(parts)
    ref = digest("pdq", 2)
    assert all_of_it["items"][None, ref]["signals"] == {
        "pdq": [
            (
                ref,
                None,
                None,
                {
                    "signalType": "ImagePDQ",
                    "hashStatus": "Received",
                    "lastModtimestamp": "1625167806",
                    "caseNumbers": '{"27664732-2": "Received"}',
                },
            )
        ]
    }
    assert all_of_it["opinions"][ref] == {
        "Söhne": ("positive", ("a", "b")),
        "Other": ("negative", ()),
    }
    assert all_of_it["items"][None, digest("md5", 901)]["kind"] == "video"
    assert _removed(parts) == [(None, digest("pdq", 900))]


def test_stopncii_faults_and_order() -> None:
    one = {"hashValue": digest("pdq", 1).upper(), "signalType": "ImagePDQ", "hashStatus": "Active"}
    gone = one | {"hashStatus": "Deleted"}
    assert _items("stopncii-json", [one, gone]) == {}
    assert list(_items("stopncii-json", [gone, one])) == [(None, digest("pdq", 1))]
    # What cannot be matched may still be withdrawn.
    assert _items("stopncii-json", [gone | {"signalType": "VideoTMK"}]) == {}
    assert _faults(
        "stopncii-json",
        [
            one | {"signalType": "VideoTMK"},
            one | {"hashStatus": "New"},
            one | {"hashValue": "12"},
            one | {"hashValue": 12},
            one | {"CSPFeedbacks": [{"feedbackValue": "Blocked"}, {"feedbackValue": "?"}]},
            one | {"CSPFeedbacks": [3]},
            7,
        ],
    ) == [
        "list:[0].signalType: is 'VideoTMK', which cannot be matched",
        "list:[1].hashStatus: is 'New', not one of Active, Received, Unknown, Withdrawn, Deleted",
        "list:[2].hashValue: hash has 2 hex digits, pdq needs 64",
        "list:[3].hashValue: is 12, not text",
        "list:[4].CSPFeedbacks[1].feedbackValue: is '?', not one of Blocked, NotBlocked, "
        "PendingReview, QualityUnknown, Unknown, None, Withdrawn, Deleted",
        "list:[5].CSPFeedbacks[0].feedbackValue: is null, not one of Blocked, NotBlocked, "
        "PendingReview, QualityUnknown, Unknown, None, Withdrawn, Deleted",
        "list:[6]: is not an object",
    ]


# Tech Against Terrorism.


def test_tat() -> None:
    parts, faults = read("tat-json", SAMPLES["tat-json"](2))
    assert faults == []
    items = state(parts)["items"]
    assert items[None, "2822"] == {
        "kind": "image",
        "labels": ["islamist"],
        "signals": {
            "pdq": [
                (
                    digest("pdq", 1),
                    None,
                    None,
                    {
                        "algorithm": "PDQ",
                        "file_type": "gif",
                        "updated_on": "1724856487.709035",
                        "created_on": "2024-08-28T14:48:07.709035Z",
                    },
                )
            ]
        },
    }
    assert items[None, "2821"]["kind"] == "video"
    assert _removed(parts) == [(None, "1")]


def test_tat_faults() -> None:
    one = {"id": 1, "hash_digest": digest("md5", 1), "algorithm": "MD5", "file_type": "pdf"}
    assert _items("tat-json", [one])[None, "1"]["kind"] == "file"
    assert _faults(
        "tat-json",
        [
            one | {"algorithm": "TMK"},
            one | {"algorithm": None},
            one | {"deleted": "no"},
            {key: value for key, value in one.items() if key != "id"},
            one | {"id": True},
            one | {"hash_digest": digest("md5", 1) + "0"},
            one | {"ideology": {}},
        ],
    ) == [
        "list:[0].algorithm: is 'TMK', which cannot be matched",
        "list:[1].algorithm: is null, which cannot be matched",
        "list:[2].deleted: is 'no', not true or false",
        "list:[3]: has no 'id'",
        "list:[4].id: is true, not text",
        "list:[5].hash_digest: hash has 33 hex digits, md5 needs 32",
        "list:[6].ideology: is an object, not a list of texts",
    ]


# ThreatExchange.


def test_threatexchange() -> None:
    parts, faults = read("threatexchange-json", SAMPLES["threatexchange-json"](2))
    assert faults == []
    all_of_it = state(parts)
    assert all_of_it["items"][None, "1"] == {
        "kind": "image",
        "labels": ["tag é"],
        "signals": {
            "pdq": [
                (
                    digest("pdq", 1),
                    None,
                    None,
                    {"type": "HASH_PDQ", "last_updated": "1600000001"},
                )
            ]
        },
    }
    assert all_of_it["items"][None, "0"]["kind"] == "video"
    assert all_of_it["opinions"]["1"] == {
        "3": ("positive", ("tag é",)),
        "4": ("positive", ()),
        "5": ("positive", ()),
    }
    assert _removed(parts) == [(None, "900"), (None, "901")]


def test_threatexchange_opinions_and_faults() -> None:
    def record(*descriptors: Any, **others: Any) -> dict[str, Any]:
        usual = {"id": "1", "indicator": digest("md5", 1), "type": "HASH_MD5"}
        return usual | {"descriptors": {"data": list(descriptors)}} | others

    def descriptor(owner: str, status: str, **others: Any) -> dict[str, Any]:
        return {"id": "2", "owner": {"id": owner}, "status": status, **others}

    unhelpful = {"key": "DISAGREE_WITH_TAGS", "value": "8,9,3"}
    helpful = {"key": "HELPFUL", "value": "9"}
    parts, _ = read(
        "threatexchange-json",
        json.dumps(
            [
                record(
                    descriptor("3", "NON_MALICIOUS", tags=["media_type_video", "t"]),
                    descriptor("4", "SUSPICIOUS", tags=None, reactions=[unhelpful, helpful]),
                )
            ]
        ).encode(),
    )
    all_of_it = state(parts)
    assert all_of_it["opinions"]["1"] == {
        "3": ("negative", ("media_type_video", "t")),
        "4": ("investigate", ()),
        "8": ("negative", ()),
        "9": ("positive", ()),
    }
    assert all_of_it["items"][None, "1"]["kind"] == "video"
    seen = descriptor("3", "MALICIOUS")
    assert _items("threatexchange-json", [record(seen)])[None, "1"]["kind"] == "file"
    # Nobody who may be seen holds anything against it.
    assert _items("threatexchange-json", [record(seen), record({"id": "2"})]) == {}
    assert _items("threatexchange-json", [record(seen), record(seen, should_delete=True)]) == {}
    assert _faults(
        "threatexchange-json",
        [
            record(seen, type="HASH_TMK"),
            record(seen, indicator="12"),
            record(3),
            record({"owner": {}}),
            record(descriptor("3", "X", tags=[1])),
            record(descriptor("3", "X", reactions=[1])),
            record(seen, should_delete=1),
            record(seen, descriptors=4),
        ],
    ) == [
        "list:[0].type: is 'HASH_TMK', which cannot be matched",
        "list:[1].indicator: hash has 2 hex digits, md5 needs 32",
        "list:[2].descriptors.data[0]: is 3, not an object",
        "list:[3]: has no 'id'",
        "list:[4].descriptors.data[0].tags: is a list, not a list of texts",
        "list:[5].descriptors.data[0].reactions[0]: has no 'key' that is text",
        "list:[6].should_delete: is 1, not true or false",
        "list:[7].descriptors: is 4, not a list",
    ]


# Project VIC.


def test_project_vic() -> None:
    parts, faults = read("project-vic-json", SAMPLES["project-vic-json"](2))
    assert faults == []
    columns = {"MediaSize": "2835", "MimeType": "video/mp4", "PhotoDNA": "AAECAw=="}
    assert state(parts)["items"][None, "2"] == {
        "kind": "video",
        "labels": ["category 1"],
        "signals": {name: [(digest(name, 1), None, None, columns)] for name in ("md5", "sha1")},
    }


def test_project_vic_cases_and_faults() -> None:
    one = {"MediaID": 1, "MD5": digest("md5", 1).upper(), "SHA1": "12", "Category": 2}
    case = {"value": [{"CaseID": "c", "Media": [one, {"MediaID": 2, "PhotoDNA": "x"}, {}]}]}
    parts, faults = read("project-vic-json", json.dumps(case).encode(), skip=True)
    assert faults == [
        "list:value[0].Media[0].SHA1: hash has 2 hex digits, sha1 needs 40",
        "list:value[0].Media[1]: has no MD5, SHA1 or SHA256 that can be matched: "
        "it has PhotoDNA alone",
        "list:value[0].Media[2]: has no 'MediaID'",
    ]
    item = state(parts)["items"][None, "1"]
    assert (item["kind"], list(item["signals"])) == ("file", ["md5"])
    only = {"MediaID": 1, "SHA256": digest("sha256", 1)}
    options = Options(kind="video")
    assert _items("project-vic-json", [only], options=options)[None, "1"]["kind"] == "video"


# vPDQ.


def test_vpdq_one_list_is_one_video() -> None:
    content = json.dumps(vpdq_frames(3)).encode()
    parts, faults = read("vpdq-json", content, source_name="/a/b/clip 1.json.gz")
    assert faults == []
    (block,) = _blocks(parts)
    assert (block.refs, block.kind, block.hash_type) == (["clip 1"] * 3, "video", "pdq")
    # "1.02e+03" has lost its last digit where it was written.
    assert (block.time_ms, block.quality) == ([0, 1_020_000, 500], [0, 1, 2])
    assert [code.tobytes().hex() for code in block.codes] == [digest("pdq", n) for n in range(3)]


def test_vpdq_of_several_videos() -> None:
    frames = {"a": vpdq_frames(2), "b": vpdq_frames(3, 10)}
    lists = json.dumps({"a": frames["a"], "7": frames["b"]}).encode()
    as_objects: list[dict[str, Any]] = [
        {"name": "a", "vpdq": frames["a"]},
        {"id": 7, "vpdq": json.dumps(frames["b"])},
    ]
    objects = json.dumps(as_objects).encode()
    lines = b"\n".join(json.dumps(line).encode() for line in as_objects)
    for content in (lists, objects, lines):
        assert BY_NAME["vpdq-json"].recognises(content)
        items = state(read("vpdq-json", content)[0])["items"]
        assert [(ref, len(items[None, ref]["signals"]["pdq"])) for ref in "a7"] == [
            ("a", 2),
            ("7", 3),
        ]


def test_vpdq_faults() -> None:
    sound = digest("pdq", 1)
    frames = [
        f"{sound},100,1.5",
        f"{sound},101,1",
        f"{sound},1_0,1",
        f"{sound},100,-1",
        f"{sound},100,nan",
        f"{sound},100,1e300",
        f"{sound},100",
        f"{sound[1:]},100,1",
        7,
    ]
    parts, faults = read("vpdq-json", json.dumps(frames).encode(), skip=True)
    assert state(parts)["items"][None, "list"]["signals"]["pdq"] == [(sound, 100, 1_500, {})]
    assert faults == [
        "list:[1]: quality is '101', not a number in 0..100",
        "list:[2]: quality is '1_0', not a number in 0..100",
        "list:[3]: timestamp is '-1', not seconds in 0..4,294,967",
        "list:[4]: timestamp is 'nan', not seconds in 0..4,294,967",
        "list:[5]: timestamp is '1e300', not seconds in 0..4,294,967",
        "list:[6]: has 2 parts, where a frame is hash,quality,seconds",
        "list:[7]: hash has 63 hex digits, pdq needs 64",
        "list:[8]: is 7, not a frame as text",
    ]
    two = json.dumps(frames[:1]).encode() * 2
    with pytest.raises(ListError, match="has more than one list"):
        read("vpdq-json", two)
    line = {"ref": "a", "vpdq": [frames[0], "x"]}
    assert _faults("vpdq-json", [line, {"vpdq": []}, line | {"vpdq": 3}]) == [
        "list:[0].vpdq[1]: has 1 parts, where a frame is hash,quality,seconds",
        "list:[1]: has none of ref, id, name",
        "list:[2].vpdq: is 3, not a list of frames",
    ]


def test_vpdq_text() -> None:
    content = f"0,100,{digest('pdq', 1)},0.000\r\n\n2,50,{digest('pdq', 2)},1.500".encode()
    parts, faults = read("vpdq-text", content, source_name="dir/clip.txt")
    (block,) = _blocks(parts)
    assert (block.refs, block.kind, block.time_ms) == (["clip", "clip"], "video", [0, 1_500])
    assert faults == []
    bad = content + b"\nx,1,2\nx,1,2,3\n1,100,12,1\n1,100,\xff,1\n"
    parts, faults = read("vpdq-text", bad, skip=True)
    assert faults == [
        "list:4: has 3 parts, not 4: frame,quality,hash,seconds",
        "list:5: frame is 'x', not a number",
        "list:6: hash has 2 hex digits, pdq needs 64",
        "list:7: hash has '\ufffd' as character 1, which is not a hex digit",
    ]
    with pytest.raises(ListError, match="list:1: is a line of more than"):
        read("vpdq-text", b"1" * 9_000, skip=True)
