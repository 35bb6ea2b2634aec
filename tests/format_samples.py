"""A small file of each of the industry's formats, made as the format's description says."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Iterable
from typing import Any

from hashmatch.formats import (
    arrow_list,
    jsonl,
    ncmec_xml,
    project_vic_json,
    stopncii_json,
    tat_json,
    threatexchange_json,
    vpdq,
    vpdq_text,
)
from hashmatch.formats.model import Format, Options, Part, Removal, Source

#: As they stand in the order of the formats.
FORMATS: tuple[Format, ...] = (
    arrow_list.PARQUET,
    arrow_list.IPC,
    ncmec_xml.FORMAT,
    stopncii_json.FORMAT,
    tat_json.FORMAT,
    threatexchange_json.FORMAT,
    project_vic_json.FORMAT,
    vpdq.FORMAT,
    vpdq_text.FORMAT,
    jsonl.FORMAT,
)
BY_NAME = {format.name: format for format in FORMATS}
DIGITS = {"pdq": 64, "md5": 32, "sha1": 40, "sha256": 64}


def digest(type: str, number: int) -> str:
    """A hash that differs for each number."""
    return f"{random.Random(number).getrandbits(4 * DIGITS[type]):0{DIGITS[type]}x}"


def read(
    name: str,
    content: bytes,
    *,
    skip: bool = False,
    options: Options | None = None,
    source_name: str = "list",
) -> tuple[list[Part], list[str]]:
    """The parts of a list and the faults of what was left out."""
    source = Source(source_name, io.BytesIO(content), options or Options(), skip_faults=skip)
    return list(BY_NAME[name].read(source)), source.faults


def state(parts: Iterable[Part]) -> dict[Any, Any]:
    """What parts come to, one after another: for each contributor and ref its kind, labels, and by
    type its signals with what stands beside them; and for each ref the opinions.
    """
    items: dict[Any, Any] = {}
    opinions: dict[Any, Any] = {}
    for part in parts:
        if isinstance(part, Removal):
            for ref in part.refs:
                items.pop((part.contributor, ref), None)
            continue
        assert len(part.codes) == len(part.rows)
        fresh = set()
        for number, (row, code) in enumerate(zip(part.rows.tolist(), part.codes, strict=True)):
            ref = part.refs[number] if part.refs is not None else f"row {row}"
            item = items.setdefault((part.contributor, ref), {"labels": [], "signals": {}})
            item["kind"] = part.kind
            if part.labels is not None:
                before = item["labels"] if ref in fresh else []
                item["labels"] = list(dict.fromkeys([*before, *part.labels[number]]))
            if ref not in fresh:
                item["signals"][part.hash_type] = []
            fresh.add(ref)
            columns = {name: texts[number] for name, texts in sorted(part.columns.items())}
            item["signals"][part.hash_type].append(
                (
                    code.tobytes().hex(),
                    part.quality[number] if part.quality is not None else None,
                    part.time_ms[number] if part.time_ms is not None else None,
                    {name: text for name, text in columns.items() if text},
                )
            )
        for opinion in part.opinions:
            said = opinions.setdefault(opinion.ref, {})
            said[opinion.contributor] = (opinion.verdict, tuple(opinion.labels))
    return {"items": items, "opinions": opinions}


# One file of each format, with removals where it has such.


def ncmec(items: int = 4) -> bytes:
    def item(number: int, kind: str) -> str:
        member = f'<member id="{40 + number % 2}">Member &amp; Söhne {number % 2}</member>'
        hashes = f"<md5>{digest('md5', number).upper()}</md5><sha1>{digest('sha1', number)}</sha1>"
        if kind == "image":
            hashes += f"<pdq>{digest('pdq', number)}</pdq><pdna>1,2,{number}</pdna>"
        return (
            f"<{kind}>{member}<timestamp>2017-10-24T15:0{number % 10}:00Z</timestamp>"
            f"<id>{kind}{number}</id><classification>A{number % 3}</classification>"
            f"<fingerprints>{hashes}</fingerprints></{kind}>\n"
        )

    images = "".join(item(number, "image") for number in range(items))
    videos = "".join(item(number, "video") for number in range(items))
    deleted = '<deleted{0}><member id="43">Gone</member><id>{1}</id></deleted{0}>\n'
    return (
        '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n'
        '<queryResult xmlns="https://hashsharing.ncmec.org/hashsharing/v2">\n'
        f'<images count="{items + 1}" maxTimestamp="2017-10-24T15:10:00Z">\n{images}'
        f"{deleted.format('Image', 'image9')}</images>\n"
        f'<videos count="{items + 1}" maxTimestamp="2017-10-24T15:20:00Z">\n{videos}'
        f"{deleted.format('Video', 'video9')}</videos>\n"
        "<paging><next>/v2/entries?from=2017&amp;start=2&amp;size=1000</next></paging>\n"
        "</queryResult>\n"
    ).encode()


def stopncii(items: int = 4) -> bytes:
    records: list[dict[str, Any]] = [
        {
            "lastModtimestamp": 1_625_167_804 + number,
            "hashValue": digest("pdq", number),
            "hashStatus": "Active" if number % 2 else "Received",
            "caseNumbers": {f"27664732-{number}": "Received"} if number else [],
            "signalType": "ImagePDQ",
            "CSPFeedbacks": [
                {"source": "Söhne", "feedbackValue": "Blocked", "tags": ["a", "b"]},
                {"source": "Other", "feedbackValue": "NotBlocked", "tags": []},
            ][: number % 3],
        }
        for number in range(items)
    ]
    records.append(records[0] | {"hashValue": digest("pdq", 900), "hashStatus": "Withdrawn"})
    records.append(records[0] | {"hashValue": digest("md5", 901), "signalType": "VideoMD5"})
    page = {"count": len(records), "hasMoreRecords": False, "hashRecords": records}
    return json.dumps(page | {"nextPageToken": "", "nextSetTimestamp": 1}).encode()


def tat(items: int = 4) -> bytes:
    records = [
        {
            "hash_digest": digest("pdq" if number % 2 else "md5", number),
            "algorithm": "PDQ" if number % 2 else "MD5",
            "ideology": "islamist" if number % 2 else "far-right",
            "file_type": "gif" if number % 2 else "mp4",
            "deleted": False,
            "updated_on": 1_724_856_487.709035,
            "created_on": "2024-08-28T14:48:07.709035Z",
            "id": 2_821 + number,
        }
        for number in range(items)
    ]
    records.append(records[0] | {"id": 1, "deleted": True})
    page = {"count": 5, "next": None, "previous": None, "checkpoint": "1724856487.709035,10594"}
    return json.dumps(page | {"results": records}, indent=1).encode()


def threatexchange(items: int = 4) -> bytes:
    records: list[dict[str, Any]] = [
        {
            "id": str(number),
            "indicator": digest("pdq" if number % 2 else "md5", number),
            "type": "HASH_PDQ" if number % 2 else "HASH_VIDEO_MD5",
            "last_updated": 1_600_000_000 + number,
            "should_delete": False,
            "descriptors": {
                "data": [
                    {
                        "id": "77",
                        "owner": {"id": "3", "name": "x"},
                        "status": "MALICIOUS",
                        "tags": {"data": [{"id": "5", "text": "tag é"}]},
                        "reactions": [{"key": "HELPFUL", "value": "4,5"}],
                    },
                    {"id": "78", "status": "UNKNOWN"},
                ]
            },
        }
        for number in range(items)
    ]
    gone = {"id": "900", "indicator": "x", "type": "HASH_PDQ", "last_updated": 1}
    records.append(gone | {"should_delete": True})
    records.append(gone | {"id": "901", "should_delete": False})
    return json.dumps({"data": records, "paging": {"cursors": {"after": "x"}}}).encode()


def project_vic(items: int = 4) -> bytes:
    records: list[dict[str, Any]] = [
        {
            "MediaID": 1 + number,
            "Category": number % 3,
            "MD5": digest("md5", number).upper(),
            "SHA1": digest("sha1", number).upper(),
            "MediaSize": 2_835,
            "MimeType": "video/mp4" if number % 2 else "image/jpeg",
            "PhotoDNA": "AAECAw==",
            "IsPrecategorized": "True",
            "Exifs": [{"PropertyName": "Make", "PropertyValue": "é"}],
        }
        for number in range(items)
    ]
    return json.dumps({"@odata.context": "http://x/$metadata#Media", "value": records}).encode()


def vpdq_frames(frames: int, first: int = 0) -> list[str]:
    return [
        f"{digest('pdq', first + frame)},{frame % 101},{1020.5 if frame == 1 else frame / 4:.3}"
        for frame in range(frames)
    ]


def vpdq_json(items: int = 4) -> bytes:
    lines = [
        {"ref": f"clip {number} é", "labels": ["x"], "vpdq": vpdq_frames(3, number)}
        for number in range(items)
    ]
    return "".join(f"{json.dumps(line)}\n" for line in lines).encode()


def vpdq_lines(items: int = 4) -> bytes:
    return "".join(
        f"{frame},{frame % 101},{digest('pdq', frame)},{frame / 4:.3f}\n" for frame in range(items)
    ).encode()


def json_lines(items: int = 4) -> bytes:
    lines: list[dict[str, Any]] = [
        {
            "ref": f"ref é {number}",
            "contributor": f"member {number % 2}",
            "kind": "image",
            "type": "md5" if number % 3 == 2 else "pdq",
            "hash": digest("md5" if number % 3 == 2 else "pdq", number),
            "quality": number % 101,
            "time_ms": 1_000 * number,
            "labels": ["a", "é"][: number % 3],
            "opinions": [{"contributor": "z", "verdict": "positive", "labels": ["b"]}],
            "note": "carried along",
        }
        for number in range(items)
    ]
    lines.append({"ref": "gone", "contributor": "member 0", "removed": True})
    lines.append({"ref": "said", "opinions": lines[0]["opinions"]})
    return "".join(f"{json.dumps(line)}\n" for line in lines).encode()


def table(items: int = 4) -> Any:
    import pyarrow as pa

    numbers = range(items)
    return pa.table(
        {
            "hash": pa.array([bytes.fromhex(digest("pdq", n)) for n in numbers], pa.binary(32)),
            "ref": [f"ref é {n // 2}" for n in numbers],
            "type": ["pdq"] * items,
            "kind": ["video"] * items,
            "quality": pa.array([None if n % 3 == 1 else n % 101 for n in numbers], pa.int16()),
            "time_ms": [1_000 * n for n in numbers],
            "labels": [["a", "é"]] * items,
            "opinions": ["[]"] * items,
            "note": [f"carried {n}" for n in numbers],
        }
    )


def parquet(items: int = 4) -> bytes:
    import pyarrow.parquet as pq

    file = io.BytesIO()
    pq.write_table(table(items), file)
    return file.getvalue()


def arrow(items: int = 4, stream: bool = False) -> bytes:
    import pyarrow as pa

    file = io.BytesIO()
    rows = table(items)
    make = pa.ipc.new_stream if stream else pa.ipc.new_file
    with make(file, rows.schema) as writer:
        writer.write_table(rows)
    return file.getvalue()


SAMPLES = {
    "parquet": parquet,
    "arrow": arrow,
    "ncmec-xml": ncmec,
    "stopncii-json": stopncii,
    "tat-json": tat,
    "threatexchange-json": threatexchange,
    "project-vic-json": project_vic,
    "vpdq-json": vpdq_json,
    "vpdq-text": vpdq_lines,
    "jsonl": json_lines,
}
