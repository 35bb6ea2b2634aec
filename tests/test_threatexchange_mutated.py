"""Stored indices with anything changed: an error or an index, never more."""

from __future__ import annotations

import enum
import io
import json
import os
import random
from dataclasses import is_dataclass
from typing import Any

from threatexchange.exchanges.fetch_state import SignalOpinion, SignalOpinionCategory
from threatexchange.exchanges.impl.ncmec_api import NCMECSignalMetadata

from hashmatch.threatexchange import blob
from threatexchange_blobs import envelope, payload, stored
from threatexchange_originals import CENTRES, ours, video

CASES = int(os.environ.get("HASHMATCH_CASES", "20000"))
HASH = CENTRES[0]


def samples() -> list[bytes]:
    record = [
        ("A", NCMECSignalMetadata({42: {"A1"}})),
        ("B", SignalOpinion(False, SignalOpinionCategory.INVESTIGATION_SEED, {"t"})),
    ]
    frames = [(HASH, 100), (CENTRES[1], 60), (CENTRES[2], 90)]
    return [
        stored(ours.PDQIndex.build([(HASH, 1), (CENTRES[1], "two"), (HASH, {"three": [3.5]})])),
        stored(ours.PDQIndex.build([(HASH, record)])),
        stored(
            ours.VPDQIndex.build(
                [(video(frames), 1), (video(frames[:2]), (2, {3})), (video(frames[1:]), None)]
            )
        ),
    ]


SPLICES = [b"[", b"]", b"{", b"}", b'"', b"!", b"-", b"1e999", b"null", b"\n", b"[]\n", b"\xff"]
SPLICES += [b'{"!":["enum",["os:path","x"]]}', b'{"!":["object",["subprocess:Popen",{}]]}']
SPLICES += [b'{"!":["set",[[]]]}', b'{"!":[[],1]}', b'{"!":["bytes","0"]}', b'"sections": [0]']
SPLICES += [b'{"!":["object",["hashmatch.threatexchange:TX_MANIFEST",{}]]}', b"[" * 5000, b"31.5"]


def mutated(contents: bytes, chance: random.Random) -> bytes:
    changed = bytearray(contents)
    for _ in range(chance.choice([1, 1, 2, 4])):
        at = chance.randrange(len(changed) + 1)
        length = chance.choice([0, 1, 1, 2, 8])
        kind = chance.randrange(4)
        if kind == 0 and at < len(changed):
            changed[at] ^= chance.randint(1, 255)
        elif kind == 1:
            changed[at : at + length] = chance.randbytes(chance.choice([0, 1, length]))
        elif kind == 2:
            changed[at : at + length] = chance.choice(SPLICES)
        else:
            end = min(len(changed), at + chance.choice([1, 4, 40]))
            changed[at:end] = changed[chance.randrange(at + 1) :][: end - at]
    if chance.random() < 0.05:
        del changed[chance.randrange(len(changed) + 1) :]
    return bytes(changed)


def resealed(contents: bytes, chance: random.Random) -> bytes:
    """One changed in its header or sections, and then given the sizes and the checksum that fit."""
    inside = contents[len(blob.PREFIX) + 8 : -len(blob.SUFFIX)]
    end = 16 + int.from_bytes(inside[12:16], "little")
    header, sections = inside[16:end], inside[end:-4]
    if chance.random() < 0.3:
        return envelope(payload(mutated(header, chance), sections))
    fields = json.loads(header)
    parts = []
    for size in fields["sections"]:
        parts.append(sections[:size])
        sections = sections[size:]
    row = chance.randrange(len(parts))
    parts[row] = mutated(parts[row], chance)
    fields["sections"] = [len(part) for part in parts]
    return envelope(payload(json.dumps(fields).encode(), b"".join(parts)))


def harmless(entry: Any) -> bool:
    """Whether it is made of nothing but what entries may be made of."""
    if isinstance(entry, dict):
        return all(harmless(part) for pair in entry.items() for part in pair)
    if isinstance(entry, list | tuple | set | frozenset):
        return all(map(harmless, entry))
    if is_dataclass(entry):
        return type(entry).__module__.startswith("threatexchange.exchanges.") and all(
            map(harmless, vars(entry).values())
        )
    return entry is None or isinstance(entry, bool | int | float | str | bytes | enum.Enum)


def test_mutated_indices() -> None:
    whole = samples()
    refused = 0
    for case in range(CASES):
        chance = random.Random(case)
        sample = chance.choice(whole)
        sealed = case % 2 == 1
        contents = (resealed if sealed else mutated)(sample, chance)
        kind = ours.VPDQIndex if sample is whole[2] else ours.PDQIndex
        try:
            index: Any = kind.deserialize(io.BytesIO(contents))
        except ValueError:
            refused += 1
            continue
        assert sealed or contents.startswith(sample), "a change was overlooked"
        query = HASH if kind is ours.PDQIndex else video([(HASH, 100)])
        if kind is ours.VPDQIndex:  # Numbers that say that nothing matches are sound.
            index.quality_threshold = index.query_match_threshold_pct = 50
            index.index_match_threshold_pct = 0
        assert all(harmless(match.metadata) for match in index.query(query))
        index.add(query, "more")
        assert "more" in [match.metadata for match in index.query(query)]
    assert CASES * 0.5 < refused < CASES * 0.98
