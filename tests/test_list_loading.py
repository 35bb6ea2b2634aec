"""Lists of any format in a database: loaded, exported, converted, matched."""

from __future__ import annotations

import gzip
import io
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hashmatch
from command import Run, parsed
from hashmatch.codes import encode_hex
from hashmatch.database import Batch, BatchList, Database, Item, Opinion, Removal, export_parts
from hashmatch.formats import Block, ListError, Part, Source, csv_list, exported, hex_lines
from hashmatch.formats import Removal as Withdrawal
from listing import parts_of, plain
from oracle import random_codes

CODES = random_codes(12, 256, seed=21)
HEX = encode_hex(CODES)
MD5 = encode_hex(random_codes(12, 128, seed=21))
SHA1 = encode_hex(random_codes(12, 160, seed=21))


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run(capfd, monkeypatch)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with hashmatch.open(tmp_path / "known", "c") as database:
        database.create("a", contributor="owner")
        yield database


def contents(database: Database, name: str = "a") -> list[Any]:
    return sorted(map(_plain, database.contents(name)), key=repr)


def _plain(each: Item | Opinion) -> tuple[Any, ...]:
    if isinstance(each, Opinion):
        return each.ref, each.contributor, each.verdict, tuple(each.labels)
    said = sorted(map(_plain, each.opinions))
    signals = [(one.hash_type, one.code.hex(), one.quality, one.time_ms) for one in each.signals]
    return each.ref, each.contributor, each.kind, each.labels, signals, said


# Removals within a load

REFS = [f"r{number}" for number in range(6)]
steps = st.lists(
    st.tuples(
        st.sampled_from(["add", "add", "remove"]),
        st.sampled_from(["pdq", "md5"]),
        st.lists(st.sampled_from(REFS), min_size=1, max_size=5, unique=True),
        st.sampled_from([None, "other"]),
        st.integers(0, 11),
    ),
    max_size=8,
)


@pytest.fixture(scope="module")
def scratch(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    with hashmatch.open(tmp_path_factory.mktemp("scratch") / "known", "c") as database:
        yield database


@settings(max_examples=50, deadline=None)
@given(steps, steps)
def test_loads_are_those_of_a_dict(scratch: Database, first: Any, second: Any) -> None:
    """In their order, into a set that never held anything and into one that did."""
    name = f"set {len(scratch.sets())}"
    scratch.create(name, contributor="owner")
    known: dict[tuple[str, str], dict[str, str]] = {}
    for load in (first, second):
        batches: list[Batch | Removal] = []
        missing = 0
        for action, type, refs, contributor, at in load:
            who = contributor or "owner"
            if action == "remove":
                batches.append(Removal(refs, contributor))
                missing += sum(known.pop((who, ref), None) is None for ref in refs)
                continue
            width = {"pdq": 32, "md5": 16}[type]
            codes = np.roll(CODES, at, axis=0)[: len(refs), :width]
            batches.append(Batch(type, codes, refs, contributor=contributor))
            for ref, digits in zip(refs, encode_hex(codes), strict=True):
                known.setdefault((who, ref), {})[type] = digits
        counts = scratch.load(name, batches)
        assert len(counts.rejected) == missing
        assert all("to remove" in reason for _, reason in counts.rejected)
        held = {
            (item.contributor, item.ref): {one.hash_type: one.code.hex() for one in item.signals}
            for item in scratch.contents(name)
            if isinstance(item, Item)
        }
        assert held == known
    assert scratch.check() == []


def test_rejected_removals_are_numbered_through_the_load(database: Database) -> None:
    batches: list[Batch | Removal] = [
        Batch("pdq", CODES[:3], REFS[:3]),
        Removal([REFS[0], "nowhere"]),
        Removal(["\0"]),
    ]
    counts = database.load("a", batches)
    assert counts.rejected == [
        (4, "no item 'nowhere' to remove"),
        (5, "ref has a NUL character"),
    ]
    assert (counts.added, counts.removed) == (3, 1)
    assert [item[0] for item in contents(database)] == REFS[1:3]
    assert len(database.match("pdq", CODES[:3], max_distance=0)) == 2


# Lists into a database


def test_all_types_of_a_record_are_one_item(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text(
        "MD5;SHA1;PDQ;Image ID;Category\n"
        f"{MD5[0].upper()};{SHA1[0]};{HEX[0]};17;1\n{MD5[1]};;{HEX[1]};18;2\n"
    )
    counts = database.load("a", BatchList(str(path), labels="Category"))
    types = {"pdq": HEX, "md5": MD5, "sha1": SHA1}
    assert contents(database) == [
        (
            *("17", "owner", "image", ["1"]),
            [(type, texts[0], None, None) for type, texts in types.items()],
            [],
        ),
        (
            *("18", "owner", "image", ["2"]),
            [("pdq", HEX[1], None, None), ("md5", MD5[1], None, None)],
            [],
        ),
    ]
    assert counts.rejected == [] and database.check() == []
    database.create("b")
    database.load("b", BatchList(str(path), "sha1"))
    assert [item[4] for item in contents(database, "b")] == [[("sha1", SHA1[0], None, None)]]


def test_a_list_that_names_contributors_takes_none(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    parts = [_block(CODES[:2], ["x", "y"], contributor="member")]
    with path.open("w") as file:
        assert csv_list.write(parts, file) == 2
    database.load("a", BatchList(str(path)))
    assert [item[:2] for item in contents(database)] == [("x", "member"), ("y", "member")]
    with pytest.raises(ListError, match="says all of itself: leave --contributor out"):
        database.load("a", BatchList(str(path), contributor="B"))


def test_load_from_the_command(run: Run, tmp_path: Path) -> None:
    run("db", "create", tmp_path / "known", "a")
    cache = "".join(f"{text},{row},2020,tag{row % 2}\n" for row, text in enumerate(HEX))
    (tmp_path / "simple.te").write_bytes(gzip.compress(cache.encode()))
    code, _, err = run("db", "load", tmp_path / "known", "a", tmp_path / "simple.te")
    assert (code, err) == (0, f"loaded {tmp_path}/simple.te into 'a': 12 added\n")
    code, out, _ = run("match", tmp_path / "known", tmp_path / "simple.te")
    assert code == 0
    assert [(row["ref"], row["upload_ref"], row["upload_labels"]) for row in parsed(out)] == [
        (f"{row}", f"{row}", f'["tag{row % 2}"]') for row in range(12)
    ]
    (tmp_path / "delta.csv").write_text(
        "ref,contributor,kind,type,hash,quality,time_ms,labels,opinions\n"
        f"1,,removed,,,,,[],[]\n9999,,removed,,,,,[],[]\n2,,image,pdq,{HEX[11]},,,[],[]\n"
    )
    code, _, err = run("db", "load", tmp_path / "known", "a", tmp_path / "delta.csv")
    assert code == 0
    told = err.splitlines()
    assert told[-3].endswith("1 updated, 1 removed, 1 rejected")
    assert told[-2] == "rejected 1 row:" and re.fullmatch(
        r"  row \d+: no item .* to remove", told[-1]
    )
    code, _, err = run(
        "db", "load", tmp_path / "known", "a", tmp_path / "simple.te", "--format", "csv"
    )
    assert code == 2 and "no column 'hash' in the header" in err
    code, _, err = run("db", "load", tmp_path / "known", "a", tmp_path / "no", "--format", "x")
    assert code == 2 and "unknown format 'x': give one of " in err


# What is written reads back


def _block(codes: np.ndarray, refs: list[str] | None, **more: Any) -> Block:
    return Block("pdq", codes, np.arange(len(codes)), refs, **more)


texts = st.text(alphabet='ab,";\n\r é漢[]', max_size=5)


@st.composite
def blocks(draw: st.DrawFn, refs: list[str], contributor: bool) -> Block:
    type = draw(st.sampled_from(["pdq", "md5", "sha1"]))
    width = {"pdq": 32, "md5": 16, "sha1": 20}[type]
    counts = [draw(st.integers(1, 3)) for _ in refs]
    rows = [ref for ref, count in zip(refs, counts, strict=True) for _ in range(count)]
    labels = [draw(st.lists(texts, max_size=2)) for _ in refs]
    labelled = draw(st.booleans())
    optional = st.one_of(st.none(), st.integers(0, 100))
    return Block(
        type,
        CODES[: len(rows), :width]
        if len(rows) <= len(CODES)
        else np.resize(CODES, (len(rows), width)),
        np.arange(len(rows)),
        rows,
        [of_ref for of_ref, count in zip(labels, counts, strict=True) for _ in range(count)]
        if labelled
        else None,
        draw(st.sampled_from(["", "A", "é, \n"])) if contributor else None,
        draw(st.sampled_from(["image", "video", "file"])),
        [draw(optional) for _ in rows],
        [draw(optional) for _ in rows],
        [
            Opinion(ref, draw(texts), draw(st.sampled_from(["positive", "negative"])), ["x"])
            for ref in draw(st.lists(st.sampled_from([*refs, "nobody"]), max_size=3))
        ],
    )


@st.composite
def lists(draw: st.DrawFn) -> list[Part]:
    contributor = draw(st.booleans())
    parts: list[Part] = []
    for number in range(draw(st.integers(0, 4))):
        refs = [
            f"{number}{text}" for text in draw(st.lists(texts, min_size=1, max_size=4, unique=True))
        ]
        if draw(st.integers(0, 3)):
            parts.append(draw(blocks(refs, contributor)))
        else:
            who = draw(st.sampled_from(["", "A"])) if contributor else None
            parts.append(Withdrawal(refs, np.arange(len(refs)), who))
    return parts


def _state(parts: list[Part]) -> tuple[list[Any], set[Any]]:
    """What loading them comes to, in order; and the opinions."""
    said: set[Any] = set()
    for part in parts:
        if isinstance(part, Block):
            said |= {(o.ref, o.contributor, o.verdict, tuple(o.labels)) for o in part.opinions}
    return [(*row[:1], *row[2:9]) for row in plain(parts)], said


@settings(max_examples=150, deadline=None)
@given(lists())
def test_what_is_written_reads_back(parts: list[Part]) -> None:
    file = io.StringIO(newline="")
    written = csv_list.write(parts, file)
    content = file.getvalue().encode()
    assert exported.is_header(content.decode().split("\n")[0].split(","))
    read, faults = parts_of(content, csv_list, for_database=True)
    assert (not faults and written == content.decode().count("\n") - 1) or b'"' in content
    ours, theirs = _state(parts), _state(read)
    assert theirs[1] == ours[1]
    # A reader may put types and contributors into blocks of their own.
    assert sorted(theirs[0], key=repr) == sorted(ours[0], key=repr)


def test_a_list_without_refs_or_contributors_stays_without(tmp_path: Path) -> None:
    file = io.StringIO()
    csv_list.write([_block(CODES[:3], None)], file)
    assert file.getvalue().startswith("kind,type,hash,quality,time_ms,labels,opinions\n")
    (block,), _ = parts_of(file.getvalue().encode(), for_database=True)
    assert isinstance(block, Block) and (block.refs, block.labels) == (None, None)
    with pytest.raises(ValueError, match="some have none, which CSV cannot say: write JSON Lines"):
        csv_list.write([_block(CODES[:1], ["a"]), _block(CODES[:1], None)], file)
    with pytest.raises(ValueError, match="some records have a contributor"):
        csv_list.write([_block(CODES[:1], ["a"]), Withdrawal(["a"], np.arange(1), "A")], file)


def test_export_is_what_it_was(database: Database, tmp_path: Path) -> None:
    """A set with all there is, through a file, into another database."""
    with database.change("a") as change:
        change.add("pdq", CODES[:6], refs=["v"] * 4 + ["w", "x"], kind="video", quality=[50] * 6)
        change.add("md5", CODES[:2, :16], refs=["v", "w"], kind="video", labels=["l"])
        change.add("pdq", CODES[6:9], refs=["v", "y", "z"], contributor="", time_ms=[1, 2, 3])
        change.opinion("v", contributor="B", verdict="negative", labels=["no"])
        change.opinion("later", contributor="B", verdict="positive")
    path = tmp_path / "a.csv"
    with path.open("w") as file:
        csv_list.write(export_parts(database.contents("a")), file)
    with hashmatch.open(tmp_path / "copy", "c") as copy:
        copy.create("a", contributor="somebody else")
        copy.load("a", BatchList(str(path)))
        assert contents(copy) == contents(database)
        assert copy.check() == []


# Commands


def test_formats(run: Run) -> None:
    code, out, err = run("formats")
    lines = {line.split()[0]: line for line in out.splitlines()}
    assert (code, err) == (0, "")
    assert {"hex", "csv", "typed-csv", "npy", "threatexchange-cache"} <= lines.keys()
    assert "read, written" in lines["csv"] and "written" not in lines["hex"].replace("hex", "")


def test_convert(run: Run, tmp_path: Path) -> None:
    source, target = tmp_path / "list", tmp_path / "list.csv"
    source.write_text(f"pdq {HEX[0]}\nvideo_md5 {MD5[0]}\nbad\n")
    code, out, err = run("convert", source, target, "--on-error", "skip")
    assert (code, out) == (0, "")
    assert err.splitlines()[:2] == [f"wrote {target}: 2 records", "skipped 1 bad row:"]
    assert target.read_text() == (
        "kind,type,hash,quality,time_ms,labels,opinions\n"
        f"image,pdq,{HEX[0]},,,,[]\nvideo,md5,{MD5[0]},,,,[]\n"
    )
    code, out, _ = run("convert", target, "-", "--to", "csv", "--type", "md5")
    assert code == 0 and out.count("\n") == 2 and MD5[0] in out
    code, out, _ = run("match", target, source, "--type", "md5", "--uploads-format", "hex")
    assert code == 2
    code, out, _ = run("match", target, target, "--type", "md5")
    assert code == 0 and [row["match_hash"] for row in parsed(out)] == [MD5[0]]


def test_convert_keeps_refs_and_labels(run: Run, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(f"name;hash;tag\np1;{HEX[0]};x\np2;{HEX[1]};\n")
    options = ("--ref", "name", "--labels", "tag")
    code, out, _ = run("convert", tmp_path / "in.csv", "-", "--to", "csv", *options)
    assert code == 0
    assert [(row["ref"], row["hash"], json.loads(row["labels"])) for row in parsed(out)] == [
        ("p1", HEX[0], ["x"]),
        ("p2", HEX[1], []),
    ]


def test_convert_says_each_thing_once(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writers that keep columns are not given those that became refs and labels."""
    given: list[Block] = []

    class Writer:
        name = "csv"

        def write(self, parts: Iterable[Part], file: TextIO) -> int:
            given.extend(part for part in parts if isinstance(part, Block))
            return 0

    monkeypatch.setattr("hashmatch.formats.registry.WRITERS", (Writer(),))
    (tmp_path / "in.csv").write_text(f"name,hash,labels,ref\np1,{HEX[0]},x,r\n")
    assert run("convert", tmp_path / "in.csv", "-", "--to", "csv")[0] == 0
    assert run("convert", tmp_path / "in.csv", "-", "--to", "csv", "--ref", "name")[0] == 0
    assert [list(block.columns) for block in given] == [["name"], ["ref"]]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("convert", "{list}", "out.xyz"), "out.xyz: does not end as a format does: give --to"),
        (("convert", "{list}", "out.csv", "--to", "hex"), "'hex' is no format that is written"),
        (("convert", "{list}", "out.csv", "--from", "npy"), "list: is no NumPy array"),
        (("convert", "{list}", "out.csv", "--type", "md5"), "md5 needs 32; for pdq or sha256"),
        (("convert", "nowhere", "out.csv"), "nowhere: No such file"),
        (("match", "{list}", "{list}", "--hashes-format", "x"), "unknown format 'x'"),
        (("match", "{list}", "{list}", "--uploads-format", "x"), "unknown format 'x'"),
        (("build", "{list}", "-o", "x.hm", "--format", "x"), "unknown format 'x'"),
        (("build", "{typed}", "-o", "x.hm"), "typed: holds no pdq hashes, but md5, sha1: give"),
        (("match", "{typed}", "{list}"), "typed: holds no pdq hashes, but md5, sha1: give --type"),
    ],
)
def test_errors(
    run: Run,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    reason: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "list").write_text("\n".join(HEX))
    (tmp_path / "typed").write_text(f"MD5;SHA1\n{MD5[0]};{SHA1[0]}\n")
    filled = [argument.format(list="list", typed="typed") for argument in arguments]
    code, out, err = run(*filled)
    assert (code, out) == (2, "")
    assert reason in err
    assert {path.name for path in tmp_path.iterdir()} == {"list", "typed"}


def test_what_a_list_withdraws_is_not_matched(run: Run, tmp_path: Path) -> None:
    """Nor what it adds before; what it adds again afterwards is."""
    path = tmp_path / "list.csv"
    path.write_text(
        "ref,kind,type,hash,quality,time_ms,labels,opinions\n"
        f"a,image,pdq,{HEX[0]},,,[],[]\nb,image,pdq,{HEX[1]},,,[],[]\n"
        "a,removed,,,,,,\nb,removed,,,,,,\n"
        f"b,image,pdq,{HEX[2]},,,[],[]\n"
    )
    (tmp_path / "uploads").write_text("\n".join(HEX[:3]))
    code, out, _ = run("match", path, tmp_path / "uploads")
    assert code == 0
    assert [(row["upload_row"], row["ref"], row["match_id"]) for row in parsed(out)] == [
        ("2", "b", "4")
    ]
    code, out, _ = run("match", tmp_path / "uploads", path)
    assert [row["match_id"] for row in parsed(out)] == ["0", "1", "2"]


def test_several_hashes_of_a_row(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Such as frames of a video: then the ids are the hashes' numbers."""

    def frames(source: Source) -> Iterator[Block]:
        yield replace(_block(CODES[:3], ["v", "v", "w"]), rows=np.array([0, 0, 1]))

    monkeypatch.setattr(hex_lines, "read", frames)
    (tmp_path / "list").write_text("\n")
    code, out, _ = run("match", tmp_path / "list", tmp_path / "list")
    assert code == 0
    assert [(row["upload_row"], row["match_id"], row["ref"]) for row in parsed(out)] == [
        ("0", "0", "v"),
        ("0", "1", "v"),
        ("1", "2", "w"),
    ]
