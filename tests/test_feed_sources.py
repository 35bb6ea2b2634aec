"""Feeds of files, of the library's exchanges without a server, and of classes that others write."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import pytest
from threatexchange.exchanges.auth import CredentialHelper, SignalExchangeWithAuth
from threatexchange.exchanges.collab_config import CollaborationConfigWithDefaults
from threatexchange.exchanges.fetch_state import (
    FetchCheckpointBase,
    FetchDelta,
    FetchedSignalMetadata,
    NoCheckpointing,
    SignalOpinion,
    SignalOpinionCategory,
)
from threatexchange.exchanges.signal_exchange_api import SignalExchangeAPIWithSimpleUpdates
from threatexchange.signal_type.md5 import VideoMD5Signal
from threatexchange.signal_type.pdq.signal import PdqSignal

import hashmatch
from command import Run
from exchange_servers import SECRET, VARIABLE, held
from hashmatch import Database
from hashmatch.codes import encode_hex
from hashmatch.database import BatchList, Item
from hashmatch.feeds import Outcome, add_feed, reached, run_once
from oracle import random_codes

HEX = encode_hex(random_codes(8, 256, seed=9))
HERE = __name__


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with hashmatch.open(tmp_path / "known", "c") as database:
        yield database


def follow(database: Database, name: str = "f") -> Outcome:
    (outcome,) = run_once(database, [name], now=True)
    return outcome


def done(outcome: Outcome) -> tuple[int, int, int]:
    assert outcome.error is None and outcome.followed
    return outcome.followed.added, outcome.followed.updated, outcome.followed.removed


# Files.


def test_a_folder_of_lists(database: Database, tmp_path: Path) -> None:
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "a.txt").write_text("\n".join(HEX[:3]))
    (lists / "b.csv").write_text(f"hash,ref,labels\n{HEX[3]},x,flag\n{HEX[4]},y,\n")
    (lists / ".hidden").write_text("no list")
    add_feed(database, "f", set="s", exchange="files", options={"path": str(lists)})
    assert done(follow(database)) == (5, 0, 0)
    assert held(database, "s").keys() == {*HEX[:3], "x", "y"}
    assert held(database, "s")["x"][2] == {"flag"}
    # Nothing was written to: nothing is read, and no change is made.
    generation = database.generation
    assert done(follow(database)) == (0, 0, 0)
    os.utime(lists / "a.txt")
    assert done(follow(database)) == (0, 0, 0)
    assert database.generation == generation
    # A list that goes takes its items with it, and a hash that changes updates its item.
    (lists / "a.txt").unlink()
    (lists / "b.csv").write_text(f"hash,ref,labels\n{HEX[3]},x,flag\n{HEX[5]},y,\n")
    assert done(follow(database)) == (0, 1, 3)
    assert database.generation == generation + 1
    assert [match.ref for match in database.match("pdq", [HEX[5]])] == ["y"]
    far = reached(database.feeds.get("f"))
    assert far and far.until and not far.stale


def test_a_list_with_faults(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text(f"{HEX[0]}\nxyz\n{HEX[1]}\n")
    add_feed(database, "f", set="s", exchange="files", options={"path": str(path)})
    outcome = follow(database)
    assert done(outcome) == (2, 0, 0)
    assert outcome.followed
    (fault,) = outcome.followed.faults
    assert fault.startswith(f"{path}:2: hash has 'x' as character 1")
    before = held(database, "s")
    for content, words in (
        ("xyz\n", "holds no hashes"),
        ("", "holds no hashes"),
        (None, "No such file or directory"),
    ):
        path.unlink() if content is None else path.write_text(content)
        outcome = follow(database)
        assert outcome.error and words in outcome.error and str(path) in outcome.error
        assert held(database, "s") == before
    path.mkdir()
    outcome = follow(database)
    assert outcome.error == f"{path}: the folder holds no lists"
    assert held(database, "s") == before


def test_a_list_that_is_written_to_while_it_is_read(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hashmatch.feeds import files

    path = tmp_path / "list.txt"
    path.write_text(HEX[0])
    add_feed(database, "f", set="s", exchange="files", options={"path": str(path)})

    class Slow(BatchList):
        def __iter__(self) -> Iterator[Any]:
            yield from super().__iter__()
            path.write_text("\n".join(HEX[:2]))

    with monkeypatch.context() as patch:
        patch.setattr(files, "BatchList", Slow)
        assert follow(database).error == f"{path}: was written to while it was read"
    assert held(database, "s") == {}
    assert done(follow(database)) == (2, 0, 0)


def test_an_exported_set_comes_back_as_it_was(
    database: Database,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = Run(capfd, monkeypatch)
    database.create("source")
    frames = random_codes(3, 256, seed=1)
    with database.change("source") as change:
        change.add("pdq", frames, refs=["v"] * 3, kind="video", quality=[1, 2, 3], labels=["x"])
        change.add("md5", random_codes(1, 128, seed=1), refs=["v"])
        change.opinion("v", contributor="a", verdict="negative")
    path = tmp_path / "exported.csv"

    export = ("db", "export", database.path, "source", "-o", path)
    assert run(*export)[0] == 0
    add_feed(database, "f", set="s", exchange="files", options={"path": str(path)})
    follow(database)
    assert held(database, "s") == held(database, "source") != {}
    # What the item no longer has of another type goes too.
    with database.change("source") as change:
        change.remove(refs=["v"])
        change.add("pdq", frames[:1], refs=["v"], kind="video")
    assert run(*export)[0] == 0
    assert done(follow(database)) == (0, 1, 0)
    assert held(database, "s")["v"][:3] == held(database, "source")["v"][:3]


# The library's own.


def test_sample_and_local_file(database: Database, tmp_path: Path) -> None:
    add_feed(database, "f", set="s", exchange="sample")
    added, _, _ = done(follow(database))
    expected = {f"pdq {text}" for text in PdqSignal.get_examples()}
    expected |= {f"video_md5 {text}" for text in VideoMD5Signal.get_examples()}
    assert expected <= held(database, "s").keys()
    assert added == len(held(database, "s"))
    assert done(follow(database)) == (0, 0, 0)

    path = tmp_path / "local"
    path.write_text(f"pdq {HEX[0]}\nvideo_md5 {'ab' * 16}\npdq xyz\nurl http://a\nnonsense\n")
    add_feed(database, "g", set="t", exchange="local_file", options={"filename": str(path)})
    outcome = follow(database, "g")
    assert done(outcome) == (2, 0, 0)
    assert outcome.followed
    assert outcome.followed.faults == [
        "pdq xyz: hash has 'x' as character 1, which is not a hex digit"
    ]
    assert outcome.followed.others == 1
    # The library never removes what a file no longer has.
    path.write_text(f"pdq {HEX[1]}\n")
    assert done(follow(database, "g")) == (1, 0, 2)
    assert held(database, "t").keys() == {f"pdq {HEX[1]}"}


# Classes of others.


@dataclass
class Metadata(FetchedSignalMetadata):
    verdict: int = 0

    def get_as_opinions(self) -> list[SignalOpinion]:
        return [SignalOpinion(True, SignalOpinionCategory(self.verdict), {"b", "a"})]


@dataclass
class Place:
    page: int
    tags: set[str] = field(default_factory=set)


@dataclass
class Checkpoint(FetchCheckpointBase):
    place: Place | None = None
    note: str = ""


@dataclass
class Config(CollaborationConfigWithDefaults):
    limit: int = 3
    names: set[str] = field(default_factory=set)
    loud: bool = False


@dataclass
class Credentials(CredentialHelper):
    token: str = ""

    @classmethod
    def _from_str(cls, s: str) -> Credentials:
        return cls(s)


class Paged(SignalExchangeAPIWithSimpleUpdates[Any, Any, Any]):
    """Gives the pages that a test puts here."""

    pages: ClassVar[list[dict[Any, Any]]] = []
    asked: ClassVar[list[Any]] = []
    leaks: ClassVar[bool] = False

    def __init__(self, config: Any, credentials: Any = None) -> None:
        self.config = config
        self.credentials = credentials

    @classmethod
    def for_collab(cls, collab: Any, credentials: Any = None) -> Any:
        return cls(collab, credentials)

    @classmethod
    def get_name(cls) -> str:
        return "paged"

    @staticmethod
    def get_config_cls() -> Any:
        return Config

    @staticmethod
    def get_checkpoint_cls() -> Any:
        return Checkpoint

    @staticmethod
    def get_record_cls() -> Any:
        return Metadata

    def fetch_iter(self, supported: Any, checkpoint: Any) -> Iterator[Any]:
        self.asked.append(checkpoint)
        start = checkpoint.place.page if checkpoint else 0
        for number, page in enumerate(self.pages[start:], start + 1):
            note = self.credentials.token if self.leaks else ""
            yield FetchDelta(page, Checkpoint(Place(number, {"x"}), note))


class Closed(Paged, SignalExchangeWithAuth[Any, Any]):
    @staticmethod
    def get_credential_cls() -> Any:
        return Credentials


class Whole(Paged):
    @staticmethod
    def get_checkpoint_cls() -> Any:
        return NoCheckpointing

    def fetch_iter(self, supported: Any, checkpoint: Any) -> Iterator[Any]:
        for page in self.pages:
            yield FetchDelta(page, NoCheckpointing())


@pytest.fixture
def pages(monkeypatch: pytest.MonkeyPatch) -> list[dict[Any, Any]]:
    found: list[dict[Any, Any]] = []
    monkeypatch.setattr(Paged, "pages", found)
    monkeypatch.setattr(Paged, "asked", [])
    return found


def vpdq(*frames: str) -> str:
    return json.dumps(list(frames))


def test_a_class_by_its_module(database: Database, pages: list[dict[Any, Any]]) -> None:
    video = vpdq(f"{HEX[0]},100,0.0", f"{HEX[1]},7,1e+00", f"{HEX[1]},50,2.5")
    long_video = vpdq(*(f"{HEX[2]},100,{second}.0" for second in range(40)))
    options = {"limit": "7", "names": "a, b", "loud": "TRUE"}
    add_feed(database, "f", set="s", exchange=f"{HERE}:Paged", options=options)
    pages.append(
        {
            ("pdq", HEX[3]): Metadata(2),
            ("vpdq", video): Metadata(1),
            ("sha1", "ab" * 20): Metadata(0),
        }
    )
    photo = ("photo_md5", "AB" * 16)
    pages.append({("pdq", HEX[3]): None, ("vpdq", long_video): Metadata(1)})
    pages[1] |= {("tmk", "?"): Metadata(0), photo: FetchedSignalMetadata()}
    assert done(follow(database)) == (5, 0, 1)
    found = held(database, "s")
    assert len(found) == 4
    kind, hashes, labels, opinions = found[f"vpdq {video}"]
    assert kind == "video"
    assert hashes == {("pdq", HEX[0]), ("pdq", HEX[1])}
    assert labels == {"a", "b"}
    assert opinions == {(f"{HERE}:Paged:me", "investigate", ("a", "b"))}
    md5 = frozenset([("md5", "ab" * 16)])
    assert found[" ".join(photo)] == ("image", md5, frozenset(), frozenset())
    assert found["sha1 " + "ab" * 20][0] == "file"
    # A key that is too long for a ref stands for itself by its digest, also where it is removed.
    items = {each.ref: each for each in database.contents("s") if isinstance(each, Item)}
    (digest,) = (ref for ref in items if ref.startswith("sha256:"))
    assert len(items[digest].signals) == 40
    frames = [(each.quality, each.time_ms) for each in items[f"vpdq {video}"].signals]
    assert frames == [(100, 0), (7, 1000), (50, 2500)]
    pages.append({("vpdq", long_video): None})
    assert done(follow(database)) == (0, 0, 1)
    assert Paged.asked == [None, Checkpoint(Place(2, {"x"}))]
    assert follow(database).error is None
    assert Paged.asked[-1] == Checkpoint(Place(3, {"x"}))


def test_a_class_that_always_gives_all(database: Database, pages: list[dict[Any, Any]]) -> None:
    add_feed(database, "f", set="s", exchange=f"{HERE}:Whole")
    pages.append({("pdq", code): Metadata(2) for code in HEX[:3]})
    pages.append({("pdq", HEX[3]): Metadata(2)})
    assert done(follow(database)) == (4, 0, 0)
    del pages[0][("pdq", HEX[0])]
    assert done(follow(database)) == (0, 0, 1)
    assert held(database, "s").keys() == {f"pdq {code}" for code in HEX[1:4]}
    generation = database.generation
    assert done(follow(database)) == (0, 0, 0)
    assert database.generation == generation
    pages.clear()
    outcome = follow(database)
    assert outcome.error and "the exchange gave nothing" in outcome.error


def test_a_new_state_in_which_a_record_is_malformed(
    database: Database, pages: list[dict[Any, Any]]
) -> None:
    """What is known of it goes on matching."""
    add_feed(database, "f", set="s", exchange=f"{HERE}:Whole")
    pages.append({("pdq", code): Metadata(2) for code in HEX[:3]})
    assert done(follow(database)) == (3, 0, 0)
    before = held(database, "s")
    pages[:] = [{("pdq", HEX[0]): object(), ("pdq", HEX[1]): Metadata(2), ("pdq", HEX[4]): 7}]
    assert done(follow(database)) == (0, 0, 1)
    assert held(database, "s") == {ref: before[ref] for ref in before if HEX[2] not in ref}
    pages.append({("pdq", HEX[0]): None})
    assert done(follow(database)) == (0, 0, 1)


@pytest.mark.parametrize(
    "key",
    [
        ("pdq", "xyz"),
        ("pdq", ""),
        ("vpdq", "{"),
        ("vpdq", "[]"),
        ("vpdq", "[1]"),
        ("vpdq", vpdq("a,b")),
        ("vpdq", vpdq(f"{HEX[0]},101,0")),
        ("vpdq", vpdq(f"{HEX[0]},1,-1")),
        ("vpdq", vpdq(f"{HEX[0]},1,nan")),
        ("vpdq", vpdq(f"{HEX[0]},1,inf")),
        ("vpdq", vpdq(f"{HEX[0]},1,1e300")),
        ("vpdq", "[" * 100_000),
        ("md5", HEX[0]),
    ],
)
def test_malformed_signals(database: Database, pages: list[dict[Any, Any]], key: Any) -> None:
    add_feed(database, "f", set="s", exchange=f"{HERE}:Paged")
    pages.append({("pdq", HEX[0]): Metadata(2), key: Metadata(1), ("pdq", HEX[1]): Metadata(2)})
    outcome = follow(database)
    assert done(outcome) == (2, 0, 0)
    assert outcome.followed
    (fault,) = outcome.followed.faults
    assert len(fault) <= 300
    assert database.feeds.get("f").faults == [fault]


def test_a_record_of_any_kind_is_only_itself(
    database: Database, pages: list[dict[Any, Any]]
) -> None:
    add_feed(database, "f", set="s", exchange=f"{HERE}:Paged")
    odd: list[tuple[Any, Any]] = [
        (7, Metadata(2)), (("pdq", HEX[0], 1), Metadata(2)), (("pdq", HEX[1]), Metadata(99)),
        (("pdq", HEX[2]), object()), (("pdq\0", "x"), Metadata(1)), ("\ud800", None), ("", None),
    ]  # fmt: skip
    pages.append({**dict(odd), ("pdq", HEX[5]): Metadata(2)})
    assert done(follow(database)) == (1, 0, 0)
    assert held(database, "s").keys() == {f"pdq {HEX[5]}"}
    assert database.check() == []


def test_credentials_do_not_get_into_the_catalog(
    database: Database, pages: list[dict[Any, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, SECRET)
    monkeypatch.setattr(Closed, "leaks", True)
    pages.append({("pdq", HEX[0]): Metadata(2)})
    add_feed(database, "f", set="s", exchange=f"{HERE}:Closed", credentials=f"env:{VARIABLE}")
    outcome = follow(database)
    assert outcome.error == "the exchange's checkpoint holds the credentials: it is not kept"
    assert held(database, "s") == {}
    monkeypatch.setattr(Closed, "leaks", False)
    assert done(follow(database)) == (1, 0, 0)
