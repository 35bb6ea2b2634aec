"""A scan's report as CSV, one row a match, or as JSON lines, one object a file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

from hashmatch.scanning.findings import Finding, Match
from hashmatch.texts import json_text

#: The columns of the CSV. A file without a match has one row.
COLUMNS = (
    *("file", "kind", "status", "reason", "type", "hash", "quality", "match_hash", "distance"),
    *("ref", "set", "contributor", "labels", "verdicts", "query_percent", "video_percent"),
    "frames",
)

Cell = str | int | float | None


def shown_name(text: str) -> str:
    """A file's name, or any other text from outside, for people: on one line, and as what it is.

    What is not printable is written as an escape, and so are the bytes of a name that are not
    UTF-8, and characters that turn the direction of writing.
    """
    return "".join(c if c.isprintable() else _escape(c) for c in text)


def storable_name(text: str) -> str:
    """A file's name as UTF-8 can hold it: bytes that are not UTF-8 are written as escapes."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return "".join(_escape(c) if "\ud800" <= c <= "\udfff" else c for c in text)
    return text


def _escape(character: str) -> str:
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # What Python makes of a byte that is not UTF-8.
        return f"\\x{code - 0xDC00:02x}"
    return character.encode("unicode_escape").decode()


def hex_hashes(finding: Finding) -> dict[str, str]:
    """A file's hashes by type, as hex; but not a video's frames."""
    hashes = {name: digest.hex() for name, digest in finding.hashes.digests.items()}
    picture = finding.hashes.picture
    return hashes if picture is None else {"pdq": picture.code.tobytes().hex()} | hashes


def csv_rows(finding: Finding) -> Iterator[tuple[Cell, ...]]:
    """The rows of one file."""
    hashes = hex_hashes(finding)
    picture = finding.hashes.picture
    quality = None if picture is None else picture.quality
    about = (storable_name(finding.file), finding.hashes.kind, finding.status, finding.reason)
    for match in finding.matches:
        yield (
            *about, match.hash_type, hashes.get(match.hash_type),
            quality if match.hash_type == "pdq" else None, match.hash, match.distance, match.ref,
            match.set, match.contributor, json_text(match.labels), ";".join(match.verdicts),
            _rounded(match.query_percent), _rounded(match.video_percent), _frames(match),
        )  # fmt: skip
    if not finding.matches:
        name, digits = next(iter(hashes.items()), (None, None))
        yield (*about, name, digits, quality, *[None] * (len(COLUMNS) - 7))


def _frames(match: Match) -> str | None:
    pairs = [[pair.time_ms, pair.signal_ms, pair.distance] for pair in match.frames]
    return json_text(pairs) if pairs else None


def _rounded(percent: float | None) -> float | None:
    return None if percent is None else round(percent, 2)


def json_record(finding: Finding) -> dict[str, Any]:
    """The object of one file. Bytes of its name that are not UTF-8 are lone surrogates, as
    `os.fsencode` takes them.
    """
    picture = finding.hashes.picture
    return {
        "file": finding.file,
        "kind": finding.hashes.kind,
        "status": finding.status,
        "reason": finding.reason,
        "hashes": hex_hashes(finding),
        "quality": None if picture is None else picture.quality,
        "matches": [_json_match(match) for match in finding.matches],
    }


def _json_match(match: Match) -> dict[str, Any]:
    record: dict[str, Any] = {
        "type": match.hash_type,
        "hash": match.hash or None,
        "distance": match.distance,
        "ref": match.ref,
        "set": match.set,
        "contributor": match.contributor,
        "labels": list(match.labels),
        "verdicts": list(match.verdicts),
    }
    if match.frames:
        record |= {
            "query_percent": _rounded(match.query_percent),
            "video_percent": _rounded(match.video_percent),
            "frames": [
                {"time_ms": pair.time_ms, "known_ms": pair.signal_ms, "distance": pair.distance}
                for pair in match.frames
            ],
        }
    return record


def table_rows(findings: Sequence[Finding], folder: str) -> list[tuple[str | int, ...]]:
    """What people see of the files that matched: each with its nearest match, and how many it has.

    Columns: file (in the folder), type, distance, ref, set, contributor, labels, matches.
    """
    rows: list[tuple[str | int, ...]] = []
    for finding in findings:
        nearest = min(finding.matches, key=lambda match: match.distance)
        rows.append(
            (
                shown_name(os.path.relpath(finding.file, folder)), nearest.hash_type,
                nearest.distance, nearest.ref, nearest.set, nearest.contributor,
                ", ".join(nearest.labels), len(finding.matches),
            )
        )  # fmt: skip
    return rows
