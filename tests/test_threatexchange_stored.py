"""Indices as they are stored: what comes back, and what is refused."""

from __future__ import annotations

import enum
import io
import json
import os
import pickle
import sys
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from threatexchange.exchanges.clients.ncmec.hash_api import NCMECEntryType
from threatexchange.exchanges.clients.stopncii import api as stopncii
from threatexchange.exchanges.fetch_state import (
    FetchedSignalMetadata,
    SignalOpinion,
    SignalOpinionCategory,
)
from threatexchange.exchanges.impl.fb_threatexchange_api import (
    FBThreatExchangeIndicatorRecord,
    FBThreatExchangeOpinion,
)
from threatexchange.exchanges.impl.ncmec_api import NCMECSignalMetadata
from threatexchange.exchanges.impl.stop_ncii_api import StopNCIISignalMetadata
from threatexchange.signal_type.index import SignalTypeIndex

from hashmatch.threatexchange import blob
from threatexchange_blobs import envelope, payload, stored
from threatexchange_originals import CENTRES, PDQIndex, VPDQIndex, ours, video

HASH = CENTRES[0]


class Colour(enum.Enum):
    RED = object()


@dataclass
class OfAnExtension(FetchedSignalMetadata):
    """As another exchange's extension would have one."""

    case: str
    more: dict[int, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        assert not self.case.startswith("never"), "reading called the class"


@dataclass(frozen=True)
class Own:
    number: int


@dataclass
class Unknown:
    number: int


class Loose:
    pass


def back(entry: Any) -> Any:
    """An entry that has been stored with an index."""
    read = ours.PDQIndex[Any].deserialize(io.BytesIO(stored(ours.PDQIndex.build([(HASH, entry)]))))
    (match,) = read.query(HASH)
    return match.metadata


def same(first: Any, second: Any) -> bool:
    """Equal, and of the same types throughout: 1 is not True, nor (1,) [1]."""
    return type(first) is type(second) and repr(first) == repr(second) and first == second


values = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False),
        st.text(),
        st.binary(),
        st.sampled_from(SignalOpinionCategory),
    ),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.one_of(st.text(), st.just("!"), st.integers()), inner, max_size=3),
        st.frozensets(st.integers(), max_size=1),
        st.sets(st.text(), max_size=1),
        st.builds(OfAnExtension, st.text(), st.dictionaries(st.integers(), inner, max_size=2)),
    ),
    max_leaves=8,
)


@given(st.lists(values, min_size=1, max_size=4))
@settings(max_examples=150, deadline=None)
def test_entries_come_back_as_they_were(entries: list[Any]) -> None:
    index = ours.PDQIndex.build([(HASH, entry) for entry in entries])
    read = ours.PDQIndex[Any].deserialize(io.BytesIO(stored(index)))
    for match, entry in zip(read.query(HASH), entries, strict=True):
        assert same(match.metadata, entry)


@pytest.mark.parametrize(
    "record",
    [
        FetchedSignalMetadata(),
        FBThreatExchangeIndicatorRecord(
            [FBThreatExchangeOpinion(True, SignalOpinionCategory.POSITIVE_CLASS, {"a"}, 12, None)]
        ),
        NCMECSignalMetadata({42: {"A1", "B2"}, 43: set()}),
        StopNCIISignalMetadata(
            [stopncii.StopNCIICSPFeedback(stopncii.StopNCIICSPFeedbackValue.Blocked, {"t"}, "S")]
        ),
        SignalOpinion(False, SignalOpinionCategory.INVESTIGATION_SEED, {"t"}),
        NCMECEntryType.video,
        OfAnExtension("case", {1: (2, [3])}),
    ],
)
def test_records_of_exchanges(record: Any) -> None:
    """As threatexchange's command has them: with the name of a collaboration each."""
    entry = [("A collaboration", record), ("Another", record)]
    assert back(entry) == entry
    assert type(back(entry)[0]) is tuple


def test_reading_calls_no_class() -> None:
    record = OfAnExtension("case")
    record.case = "never"
    assert back(record).case == "never"


def test_allowing_a_dataclass() -> None:
    with pytest.raises(TypeError, match=r"entry 0 cannot .*:Own, which is not allowed: call hash"):
        back(Own(1))
    assert ours.allow(Own) is Own
    assert back([Own(1)]) == [Own(1)]
    with pytest.raises(TypeError, match="no dataclass"):
        ours.allow(Loose)


def nested(depth: int) -> list[Any]:
    inside: list[Any] = []
    for _ in range(depth):
        inside = [inside]
    return inside


cyclic: list[Any] = []
cyclic.append(cyclic)
loaded = OfAnExtension("case")
loaded.extra = 1  # type: ignore[attr-defined]


@dataclass
class _Inner(FetchedSignalMetadata):
    pass


_Inner.__qualname__ = "Elsewhere"


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        (object(), "it has an instance of object: give an id"),
        (Loose(), "it has an instance of Loose: give an id"),
        (Unknown(1), "Unknown, which is not allowed: call hashmatch.threatexchange.allow"),
        (loaded, "it has 'extra', which is no field"),
        (cyclic, "nested too deeply"),
        (nested(100_000), "nested too deeply"),
        (_Inner(), "Elsewhere is no class at the top of a module"),
        ({"key": (1, {Loose})}, "it has an instance of type"),
        (print, "it has an instance of builtin_function_or_method"),
    ],
)
def test_entries_that_cannot_be_stored(entry: Any, reason: str) -> None:
    index = ours.PDQIndex.build([(HASH, 1), (HASH, entry)])
    file = io.BytesIO()
    with pytest.raises(TypeError, match=f"entry 1 cannot be stored, .*{reason}"):
        index.serialize(file)
    assert not file.getvalue(), "a part was written"
    assert len(index.query(HASH)) == 2


class Bomb:
    """Runs when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
        return os.mkdir, (str(self.path),)


def test_pickles_are_refused_and_not_run(tmp_path: Path) -> None:
    bombs = [pickle.dumps(Bomb(tmp_path / "gone"), protocol) for protocol in range(6)]
    bombs += [blob.PREFIX[:-2] + bomb for bomb in bombs] + [blob.PREFIX + bomb for bomb in bombs]
    bombs += [envelope(bomb) for bomb in bombs]
    for bomb in bombs:
        for kind in (ours.PDQIndex, ours.VPDQIndex):
            with pytest.raises(ValueError, match="build the index again"):
                kind.deserialize(io.BytesIO(bomb))
    assert not list(tmp_path.iterdir())
    for theirs in (PDQIndex.build([(HASH, 1)]), VPDQIndex.build([(video([(HASH, 100)]), 1)])):
        with pytest.raises(ValueError, match=r"this is a pickle.*dataset --rebuild-indices"):
            ours.PDQIndex.deserialize(io.BytesIO(stored(theirs)))


def test_what_reads_every_index_by_pickle() -> None:
    """HMA reads an index of whatever class by the base class, whose way is `pickle.load`."""
    for index in (
        ours.PDQIndex.build([(HASH, 1001)]),
        ours.VPDQIndex.build([(video([(HASH, 100)]), 1001)]),
    ):
        read: SignalTypeIndex[int] = SignalTypeIndex.deserialize(io.BytesIO(stored(index)))
        assert type(read) is type(index)
        query = HASH if index.kind == "pdq" else video([(HASH, 100)])
        assert [match.metadata for match in read.query(query)] == [1001]


def test_it_is_read_as_far_as_it_goes() -> None:
    first, second = (stored(ours.PDQIndex.build([(HASH, number)])) for number in range(2))
    file = io.BytesIO(first + second + b"rest")
    for number in range(2):
        assert ours.PDQIndex.deserialize(file).query(HASH)[0].metadata == number
    assert file.read() == b"rest"


def test_what_is_said_to_be_huge_takes_no_memory() -> None:
    sizes: list[Any] = [[2**60, 2], [2**63, 2], [10**30, 2], [1 << 40]]
    tracemalloc.start()
    for size in sizes:
        header = json.dumps({"kind": "pdq", "sections": size, "threshold": 31}).encode()
        head = blob.MAGIC + (1).to_bytes(4, "little") + len(header).to_bytes(4, "little") + header
        for total in (len(head) + sum(size) + 4, 2**64 - 1):
            begin = blob.PREFIX + min(total, 2**64 - 1).to_bytes(8, "little") + head
            with pytest.raises(ValueError, match="build the index again"):
                ours.PDQIndex.deserialize(io.BytesIO(begin + bytes(100)))
    shapes: list[list[list[Any]]] = [
        [[2**32 - 1] * 3, [0], [100], [0.0]],
        [[1], [2**32 - 1], [100], [0.0]],
        [[0, 1], [0], [100], [0.0]],
        [[2], [0, 0], [100, 100], [0.0, 1.0]],
        [[1], [0], [100], []],
    ]
    for columns in shapes:
        with pytest.raises(ValueError, match="do not fit"):
            ours.VPDQIndex.deserialize(io.BytesIO(vpdq_of(columns)))
    assert tracemalloc.get_traced_memory()[1] < 8 << 20
    tracemalloc.stop()


def test_other_kinds_and_versions() -> None:
    pdq = stored(ours.PDQIndex.build([(HASH, 1)]))
    with pytest.raises(ValueError, match="is one of pdq, not of vpdq"):
        ours.VPDQIndex.deserialize(io.BytesIO(pdq))
    with pytest.raises(ValueError, match="one of 'other', which is not known"):
        ours.loads(payload(b'{"kind": "other", "sections": []}', b""))
    with pytest.raises(ValueError, match="version 2 of the format, this hashmatch reads version 1"):
        ours.PDQIndex.deserialize(io.BytesIO(pdq.replace(b"HMTXINDX\1", b"HMTXINDX\2")))
    with pytest.raises(ValueError, match="no index that hashmatch stored"):
        ours.PDQIndex.deserialize(io.BytesIO(b"HASHMTCH" + bytes(5000)))
    with pytest.raises(ValueError, match="no index that hashmatch stored"):
        ours.PDQIndex.deserialize(io.BytesIO(b""))


STATE = "threatexchange.exchanges.fetch_state"


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ('{"!": 1}', "a mark that means nothing"),
        ('{"!": ["set", [1]], "more": 1}', "a mark that means nothing"),
        ('{"!": ["code", "x"]}', "marked 'code'"),
        ('{"!": ["tuple", "text"]}', "a list is a str"),
        ('{"!": ["set", [[1]]]}', "unhashable"),
        ('{"!": ["enum", ["os:environ", "x"]]}', "os:environ is no class"),
        ('{"!": ["enum", ["not_loaded:Colour", "x"]]}', "not loaded: import not_loaded first"),
        (f'{{"!": ["enum", ["{STATE}:SignalOpinionCategory", "OTHER"]]}}', "no member 'OTHER'"),
        (f'{{"!": ["enum", ["{STATE}:SignalOpinion", "x"]]}}', "no member"),
        (f'{{"!": ["object", ["{STATE}:SignalOpinionCategory", {{}}]]}}', "is no dataclass"),
        (f'{{"!": ["object", ["{STATE}:SignalOpinion", {{}}]]}}', "has not the fields"),
        (
            f'{{"!": ["object", ["{STATE}:FetchedSignalMetadata", {{"__class__": 1}}]]}}',
            "has not the fields",
        ),
        ('{"!": ["object", ["subprocess:Popen", {"args": "true"}]]}', "not allowed|no dataclass"),
        ('{"!": ["object", ["hashmatch.threatexchange:TX_MANIFEST", {}]]}', "is no class"),
        (f'{{"!": ["object", ["{STATE}:dataclass", {{}}]]}}', "is no class"),
        ("[" * 100_000, "recursion"),
        ("1, 2", "2 entries are stored for 1 signals"),
        ("", "0 entries are stored for 1 signals"),
    ],
)
def test_entries_that_are_not_read(entry: str, reason: str) -> None:
    with pytest.raises(ValueError, match=f"({reason}).*: build the index again"):
        ours.PDQIndex.deserialize(io.BytesIO(pdq_of(entry)))


def test_looking_for_a_class_runs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    module = ModuleType("lazy")
    module.__getattr__ = asked.append  # type: ignore[method-assign]
    monkeypatch.setitem(sys.modules, "lazy", module)
    with pytest.raises(ValueError, match="lazy:Record is no class"):
        ours.PDQIndex.deserialize(io.BytesIO(pdq_of('{"!": ["object", ["lazy:Record", {}]]}')))
    assert not asked


def pdq_of(entries: str) -> bytes:
    """An index of one hash, sealed, with these entries."""
    sections = [bytes.fromhex(HASH), f"[{entries}]\n".encode()]
    header = {"kind": "pdq", "sections": [len(part) for part in sections], "threshold": 31}
    return envelope(payload(json.dumps(header).encode(), b"".join(sections)))


def vpdq_of(columns: list[list[Any]]) -> bytes:
    """An index of one code, sealed, with these columns."""
    types = ("<u4", "<u4", "u1", "<f8")
    sections = [bytes.fromhex(HASH)]
    for column, kind in zip(columns, types, strict=True):
        sections.append(b"".join(np_bytes(value, kind) for value in column))
    sections.append(json.dumps([0] * len(columns[0])).encode() + b"\n")
    options = {
        "quality_threshold": 50,
        "query_match_threshold_pct": 80,
        "index_match_threshold_pct": 0,
        "threshold": 31,
    }
    header = {"kind": "vpdq", "sections": [len(section) for section in sections], **options}
    return envelope(payload(json.dumps(header).encode(), b"".join(sections)))


def np_bytes(value: Any, kind: str) -> bytes:
    return np.array(value, kind).tobytes()
