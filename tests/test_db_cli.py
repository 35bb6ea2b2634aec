"""The commands for databases as a user meets them, on the example lists."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hashmatch
from command import COMMAND, Run, on_terminal, parsed
from hashmatch.codes import encode_hex
from hashmatch.database import Batch, BatchList, Database, Item, Opinion
from hashmatch.formats import csv_list, lines
from oracle import flipped, random_codes

EXAMPLES = Path(__file__).parent.parent / "examples"
SHARED, UPLOADS = EXAMPLES / "shared.csv", EXAMPLES / "uploads.csv"
CODES = random_codes(20, 256, seed=3)
HEX = encode_hex(CODES)
NEVER = datetime.fromtimestamp(0, UTC)


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run(capfd, monkeypatch)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("made") / "known"
    with hashmatch.open(path, "c") as database:
        database.create("a", contributor="A")
        database.create("b", max_distance={"pdq": 3, "md5": 0})
        database.load("a", BatchList(str(SHARED), ref="id", labels="label"), who="feed")
    return path


@pytest.fixture
def known(made: Path, tmp_path: Path) -> Path:
    """A database with the shared list in set a, and an empty set b."""
    return Path(shutil.copytree(made, tmp_path / "known"))


def contents(path: Path, name: str) -> list[Any]:
    """What is in a set, in an order of its own."""
    with hashmatch.open(path) as database:
        return sorted(map(_plain, database.contents(name)), key=repr)


def _plain(each: Item | Opinion) -> tuple[Any, ...]:
    if isinstance(each, Opinion):
        return each.ref, each.contributor, each.verdict, tuple(each.labels)
    opinions = sorted(map(_plain, each.opinions))
    return (each.ref, each.contributor, each.kind, each.labels, each.signals, opinions)


def table(out: str) -> list[list[str]]:
    """The cells of a table in a pipe: two blanks or more are between them."""
    return [
        [cell.strip() for cell in line.split("  ") if cell.strip()] for line in out.splitlines()
    ]


def test_create_and_load(run: Run, known: Path, tmp_path: Path) -> None:
    """The database that the other tests look at, made by the commands."""
    path = tmp_path / "new" / "folder"
    code, out, err = run("db", "create", path, "a", "--contributor", "A")
    assert (code, out, err) == (0, "", f"created set 'a' in {path}\n")
    code, _, _ = run(
        "db", "create", path, "b", "--max-distance", "pdq=3", "--max-distance", "md5=0"
    )
    assert code == 0
    options = ("--ref", "id", "--labels", "label", "--who", "feed")
    code, out, err = run("db", "load", path, "a", SHARED, *options)
    assert (code, out, err) == (0, "", f"loaded {SHARED} into 'a': 20 added\n")
    with hashmatch.open(path) as ours, hashmatch.open(known) as theirs:
        assert [replace(record, created=NEVER, changed=NEVER) for record in ours.sets()] == [
            replace(record, created=NEVER, changed=NEVER) for record in theirs.sets()
        ]
    assert contents(path, "a") == contents(known, "a")


# Looking


def test_sets(run: Run, known: Path) -> None:
    code, out, err = run("db", "sets", known)
    head, a, b = table(out)
    assert (code, err) == (0, "")
    assert head == [
        "set",
        "contributor",
        "items",
        "signals",
        "within",
        "changed (UTC)",
        "checkpoint",
    ]
    assert a[:-1] == ["a", "A", "20", "20", "pdq 31"]
    assert b[:-1] == ["b", "0", "0", "pdq 3"]


def test_status(run: Run, known: Path) -> None:
    code, out, _ = run("db", "status", known)
    assert code == 0
    lines = table(out)
    assert [*lines[0], *lines[1], *lines[2], *lines[3]] == [
        *("path", str(known), "generation", "1", "sets", "2", "items", "20"),
    ]
    assert lines[4:6] == [["writer", "none"], ["trouble", "none"]]
    assert lines[7] == ["type", "signals", "segments", "unfolded", "size"]
    assert lines[8][:4] == ["pdq", "20", "1", "0"]
    with hashmatch.open(known, "r+"):
        assert f"process {os.getpid()} on " in run("db", "status", known)[1]


def test_history(run: Run, known: Path) -> None:
    with hashmatch.open(known, "r+") as database, database.change("a", who="moderator") as change:
        change.opinion("ski-0001", contributor="B", verdict="negative", labels=["no", "not"])
        change.remove(refs=["ski-0002"])
    code, out, err = run("db", "history", known)
    assert (code, err) == (0, "")
    assert [(row[0], *row[2:]) for row in table(out)[1:]] == [
        ("2", "a", "moderator", "1 removed, 1 opinions"),
        ("1", "a", "feed", "20 added"),
    ]
    assert table(run("db", "history", known, "a", "--limit", 1)[1])[1:] == table(out)[1:2]
    assert table(run("db", "history", known, "b")[1])[1:] == []
    rows = table(run("db", "history", known, "--ref", "ski-0001")[1])[1:]
    assert [row[-1] for row in rows] == ["negative by B (no, not)", "added by A (portrait)"]


def test_tables_fit_a_terminal(run: Run, known: Path) -> None:
    name = "a set with a name that is long and has many words in it"
    run("db", "create", known, name, "--contributor", "Somebody Whose Name Is Long Too")
    run("db", "load", known, name, SHARED, "--ref", "id", "--who", "somebody, with a reason for it")
    for command in ("sets", "history"):
        code, shown = on_terminal("db", command, known, columns=80)
        lines = re.sub(r"\x1b\[[\d;]*m", "", shown).splitlines()
        assert code == 0 and len(lines) == {"sets": 4, "history": 3}[command]
        assert all(len(line) <= 80 for line in lines)
        assert any("a set with" in line and "20" in line for line in lines)
    code, shown = on_terminal("match", known, SHARED, columns=80)
    rows = [line for line in shown.splitlines() if "│" in line]
    assert code == 0 and len(rows) == 44 and all(row.count("-0") == 2 for row in rows)


def test_help(run: Run) -> None:
    code, out, _ = run("db", "--help")
    assert code == 0
    for name in (
        *("create", "load", "remove", "sets", "status"),
        *("check", "repair", "compact", "export", "history"),
    ):
        assert name in out
        assert run("db", name, "--help")[0] == 0


# Matching


def test_match_is_that_of_the_list(run: Run, known: Path) -> None:
    code, out, err = run("match", known, UPLOADS)
    rows = parsed(out)
    assert code == 0 and " matched 20 of 20 hashes within 31, " in err
    assert list(rows[0]) == [
        *("upload_row", "upload_hash", "upload_file", "upload_edit"),
        *("match_id", "match_hash", "distance", "ref", "set", "contributor", "labels", "verdicts"),
    ]
    assert {(row["set"], row["contributor"], row["verdicts"]) for row in rows} == {("a", "A", "")}
    compared = ("upload_row", "upload_file", "match_hash", "distance")
    listed = parsed(run("match", SHARED, UPLOADS)[1])
    assert len(rows) == 433
    assert [(*(row[name] for name in compared), row["ref"], row["labels"]) for row in rows] == [
        (*(row[name] for name in compared), row["id"], json.dumps([row["label"]])) for row in listed
    ]


def test_match_options(run: Run, known: Path, tmp_path: Path) -> None:
    with hashmatch.open(known, "r+") as database, database.change("a") as change:
        change.opinion("ski-0001", contributor="B", verdict="negative")
        change.opinion("ski-0001", contributor="C", verdict="positive")
    run("db", "load", known, "b", SHARED)

    def refs(*options: object) -> list[tuple[str, str]]:
        out = run("match", known, SHARED, *options)[1]
        return [(row["set"], row["ref"]) for row in parsed(out)]

    both = refs("--max-distance", 0)
    assert refs("--set", "a", "--set", "b", "--max-distance", 0) == both
    assert {name for name, _ in both} == {"a", "b"}
    assert {name for name, _ in refs("--set", "b")} == {"b"}
    assert set(refs("--verdict", "positive", "--verdict", "investigate")) == {("a", "ski-0001")}
    assert ("a", "ski-0001") not in refs("--verdict", "none")
    assert len(refs("--nearest", 1)) == 20
    _, out, err = run("match", known, SHARED, "--format", "jsonl", "--set", "a")
    assert json.loads(out.splitlines()[0])["labels"] == ["portrait"]
    assert json.loads(out.splitlines()[0])["verdicts"] == "positive;negative"
    assert "within 31, " in err
    assert "within 3 to 31, " in run("match", known, SHARED)[2]
    (tmp_path / "new.txt").write_text(HEX[0])
    code, out, _ = run("match", known, tmp_path / "new.txt")
    assert code == 1 and len(out.splitlines()) == 1


def test_the_type_is_the_only_one(run: Run, known: Path, tmp_path: Path) -> None:
    digests = tmp_path / "digests.txt"
    digests.write_text("\n".join(encode_hex(random_codes(3, 128))))
    run("db", "create", tmp_path / "other", "c")
    run("db", "load", tmp_path / "other", "c", digests, "--type", "md5")
    code, out, _ = run("match", tmp_path / "other", digests)
    assert code == 0 and len(parsed(out)) == 3
    run("db", "load", known, "b", digests, "--type", "md5", "--kind", "file")
    assert run("match", known, SHARED)[0] == 0
    assert run("match", known, digests, "--type", "md5")[0] == 0


# Loading and removing


def test_loading_again_changes_what_changed(run: Run, known: Path, tmp_path: Path) -> None:
    (tmp_path / "new.csv").write_text(f"id,hash\nski-0001,{HEX[0]}\nnew,{HEX[1]}\n")
    assert run("db", "load", known, "a", SHARED, "--ref", "id")[2].endswith("20 unchanged\n")
    code, _, err = run("db", "load", known, "a", tmp_path / "new.csv", "--ref", "id")
    assert code == 0 and err.endswith("1 added, 1 updated\n")
    items = {item[0]: item for item in contents(known, "a")}
    assert len(items) == 21
    assert items["ski-0001"][3] == ["portrait"]  # No labels were given.
    assert [signal.code for signal in items["ski-0001"][4]] == [CODES[0].tobytes()]


def test_load_other_lists(run: Run, known: Path, tmp_path: Path) -> None:
    """Without refs the hash is the ref, and one that is there twice is one item."""
    np.save(tmp_path / "list.npy", CODES[:4])
    assert run("db", "load", known, "b", tmp_path / "list.npy")[2].endswith("4 added\n")
    (tmp_path / "list.txt").write_text("\n".join([*HEX[2:6], HEX[5], ""]))
    code, _, err = run("db", "load", known, "b", tmp_path / "list.txt", "--contributor", "B")
    assert code == 0 and err.endswith("4 added\n")
    (tmp_path / "list.csv").write_text(
        f'pdq,labels\n{HEX[5]},"[""x"", ""y""]"\n{HEX[5]},[z]\n{HEX[6]},\n'
    )
    code, _, err = run("db", "load", known, "b", tmp_path / "list.csv", "--column", "pdq")
    assert code == 0 and err.endswith("2 added\n")
    items = contents(known, "b")
    assert all(ref == signal.code.hex() for ref, _, _, _, (signal,), _ in items)
    assert sorted((HEX.index(ref), name, labels) for ref, name, _, labels, *_ in items) == [
        *((0, "", []), (1, "", []), (2, "", []), (2, "B", []), (3, "", []), (3, "B", [])),
        *((4, "B", []), (5, "", ["x", "y", "[z]"]), (5, "B", []), (6, "", [])),
    ]


@pytest.mark.parametrize("rows", [1, 2, 3, 5, 100])
def test_an_item_over_several_blocks(
    run: Run, known: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows: int
) -> None:
    monkeypatch.setattr(lines, "BLOCK_BYTES", 67 * rows)
    monkeypatch.setattr(csv_list, "_BATCH_RECORDS", rows)
    monkeypatch.setattr("hashmatch.formats.exported._BATCH_RECORDS", rows)
    refs = ["v"] * 5 + ["w"] + ["x"] * 3 + ["y"] * 2
    rows_of_csv = [f"{ref},{text}" for ref, text in zip(refs, HEX, strict=False)]
    (tmp_path / "frames.csv").write_text("\n".join(["ref,hash", *rows_of_csv]))
    code, _, err = run("db", "load", known, "b", tmp_path / "frames.csv", "--kind", "video")
    assert code == 0 and err.endswith("4 added\n")
    assert [(item[0], len(item[4])) for item in contents(known, "b")] == [
        *(("v", 5), ("w", 1), ("x", 3), ("y", 2)),
    ]
    monkeypatch.setattr(lines, "BLOCK_BYTES", 200)  # At least a line.
    run("db", "export", known, "b", "-o", tmp_path / "out.csv")
    run("db", "create", known, "c")
    assert run("db", "load", known, "c", tmp_path / "out.csv")[0] == 0
    assert contents(known, "c") == contents(known, "b")

    (tmp_path / "apart.csv").write_text("\n".join(["ref,hash", *rows_of_csv, f"w,{HEX[19]}"]))
    code, _, err = run("db", "load", known, "b", tmp_path / "apart.csv")
    assert code == 2 and "the ref of row 11 is that of row 5 too" in err
    assert len(contents(known, "b")) == 4


def test_remove(run: Run, known: Path, tmp_path: Path) -> None:
    (tmp_path / "refs.txt").write_text("ski-0001\r\n\nski-0002\nnowhere\nski-0001\n")
    code, out, err = run("db", "remove", known, "a", tmp_path / "refs.txt")
    assert (code, out) == (0, "")
    assert err == "removed 2 items from 'a'\n1 ref not there:\n  no item 'nowhere' to remove\n"
    (tmp_path / "refs.csv").write_text('n,ref\n1,ski-0003\n2,"ski-0004"\n')
    code, _, err = run("db", "remove", known, "a", tmp_path / "refs.csv", "--who", "me")
    assert (code, err) == (0, "removed 2 items from 'a'\n")
    assert len(contents(known, "a")) == 16
    _, _, err = run("db", "remove", known, "a", tmp_path / "refs.txt", "--contributor", "B")
    assert err.startswith("removed 0 items from 'a'\n3 refs not there:\n")
    done = subprocess.run(
        [*COMMAND, "db", "remove", known, "a", "-"], input=b"ski-0005\n", capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, b"removed 1 item from 'a'\n")


def test_many_small_changes_are_folded(run: Run, known: Path, tmp_path: Path) -> None:
    """Though each of the processes that make them ends at once."""
    for text in HEX[:9]:
        (tmp_path / "one.txt").write_text(f"{text}\n")
        assert run("db", "load", known, "b", tmp_path / "one.txt")[0] == 0
    assert len(list((known / "segments").iterdir())) <= 5
    (tmp_path / "all.txt").write_text("\n".join(HEX[:9]))
    assert run("db", "remove", known, "b", tmp_path / "all.txt")[0] == 0
    assert contents(known, "b") == [] and run("db", "check", known)[0] == 0


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "bad.csv"
    path.write_text(
        f"ref,hash\na,{HEX[0]}\n,{HEX[1]}\nb,{HEX[2][:-1]}\nc\n{'d' * 1025},{HEX[3]}\ne,{HEX[4]}\n"
    )
    return path


def test_bad_rows_stop(run: Run, known: Path, bad: Path) -> None:
    code, out, err = run("db", "load", known, "b", bad)
    assert (code, out) == (2, "")
    assert err == f"hashmatch: {bad}:3: ref is empty (--on-error skip leaves bad rows out)\n"
    assert contents(known, "b") == []
    assert table(run("db", "history", known, "b")[1])[1:] == []


def test_bad_rows_are_skipped(run: Run, known: Path, bad: Path) -> None:
    code, _, err = run("db", "load", known, "b", bad, "--on-error", "skip")
    assert code == 0
    assert err.splitlines() == [
        f"loaded {bad} into 'b': 2 added",
        "skipped 4 bad rows:",
        f"  {bad}:3: ref is empty",
        f"  {bad}:4: hash has 63 hex digits, pdq needs 64",
        f"  {bad}:5: number of fields is 1, the header's is 2",
        f"  {bad}:6: ref takes 1,025 bytes, at most 1,024 are allowed",
    ]
    assert [item[0] for item in contents(known, "b")] == ["a", "e"]


def test_only_bad_rows(run: Run, known: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_text("zz\n")
    code, _, err = run("db", "load", known, "b", tmp_path / "bad.txt", "--on-error", "skip")
    assert code == 2 and "skipped 1 bad row:\n" in err
    assert err.endswith(f"hashmatch: {tmp_path}/bad.txt: holds no hashes\n")


# Export


REFS = (
    "漢字 é",
    'quote " and, comma',
    "two\nlines",
    "bare\rreturn",
    "crlf\r\n",
    " blanks ",
    "=1+1",
)


def fill(database: Database) -> None:
    """Videos of several signals of two types, contributors, qualities, times, labels, opinions."""
    refs = [REFS[place % len(REFS)] for place in range(14)]
    with database.change("a") as change:
        change.add(
            "pdq",
            CODES[:14],
            refs=refs,
            kind="video",
            quality=[None if place % 5 == 0 else place for place in range(14)],
            time_ms=[None if place % 3 == 0 else place * 4_000_000 for place in range(14)],
            labels=[["ü", "a,b", 'c"d'] if place % 2 else [] for place in range(14)],
        )
        change.add("md5", CODES[:7, :16], refs=refs[:7], kind="video", contributor="Other, Inc.")
        change.add("sha256", CODES[7:9], refs=[REFS[0], REFS[0]], kind="video")
        change.add(
            "pdq", CODES[14:16], refs=["f", "g"], kind="file", labels=["one\nline", "\ud800"]
        )
        change.opinion(REFS[0], contributor="B", verdict="negative", labels=["ü", "\n"])
        change.opinion(REFS[0], contributor="C", verdict="positive")
        change.opinion(REFS[3], contributor="Other, Inc.", verdict="investigate")
        change.opinion("to come", contributor="B", verdict="positive", labels=["x"])
    with database.change("a") as change:
        change.remove(refs=["ski-0001", "g"])
        change.opinion("g", contributor="B", verdict="negative")
        change.opinion(REFS[0], contributor="B", verdict="investigate")


def test_export_and_load_is_the_same_state(run: Run, known: Path, tmp_path: Path) -> None:
    with hashmatch.open(known, "r+") as database:
        fill(database)
    target = tmp_path / "a.csv"
    assert run("db", "export", known, "a", "-o", target) == (0, "", "exported 'a': 45 rows\n")
    code, out, _ = run("db", "export", known, "a")
    assert code == 0 and out.encode() == target.read_bytes()
    rows = parsed(out)
    assert {row["ref"] for row in rows} >= set(REFS)
    assert [(row["ref"], row["hash"], row["opinions"]) for row in rows[-2:]] == [
        ("g", "", '[{"contributor": "B", "verdict": "negative", "labels": []}]'),
        ("to come", "", '[{"contributor": "B", "verdict": "positive", "labels": ["x"]}]'),
    ]
    run("db", "create", tmp_path / "copy", "a", "--contributor", "somebody else")
    code, _, err = run("db", "load", tmp_path / "copy", "a", target)
    assert code == 0 and "5 opinions" in err
    expected = contents(known, "a")
    assert contents(tmp_path / "copy", "a") == expected and len(expected) > 30
    assert run("db", "load", known, "a", target)[0] == 0  # Into the set itself: nothing changes.
    assert contents(known, "a") == expected
    assert "updated" not in run("db", "history", known, "--limit", 1)[1]
    run("db", "load", known, "b", SHARED)  # No longer new.
    code, _, _ = run("db", "load", known, "b", target)
    assert code == 0 and run("db", "check", tmp_path / "copy")[0] == 0
    copied = [each for each in contents(known, "b") if each[1] != ""]
    assert copied == expected


def test_an_empty_set_is_exported(run: Run, known: Path, tmp_path: Path) -> None:
    code, out, err = run("db", "export", known, "b", "-o", tmp_path / "b.csv")
    assert (code, out, err) == (0, "", "exported 'b': 0 rows\n")
    assert run("db", "load", known, "b", tmp_path / "b.csv")[0] == 0


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (f"r,A,image,pdq,{HEX[0][:-1]},,,[],[]", "hash has 63 hex digits, pdq needs 64"),
        (f"r,A,picture,pdq,{HEX[0]},,,[],[]", "kind must be one of image, video, file"),
        (f"r,A,image,PDQ,{HEX[0]},,,[],[]", "unknown hash type 'PDQ'"),
        (f"r,A,image,pdq,{HEX[0]},101,,[],[]", "quality is '101', not a whole number in 0..100"),
        (f"r,A,image,pdq,{HEX[0]},,-1,[],[]", "time_ms is '-1'"),
        (f"r,A,image,pdq,{HEX[0]},,,x,[]", "labels must be a JSON list of texts"),
        (f'r,A,image,pdq,{HEX[0]},,,"{{}}",[]', "labels must be a JSON list of texts"),
        (f"r,A,image,pdq,{HEX[0]},,,[],[1]", "opinions must be a JSON list of objects"),
        (f"r,A,image,pdq,{HEX[0]},,,[],{{", "opinions must be a JSON list of objects"),
        (
            f'r,A,image,pdq,{HEX[0]},,,[],"[{{""contributor"":""B"",""verdict"":""no"",""labels"":[]}}]"',
            "verdict must be one of positive, negative, investigate, not 'no'",
        ),
        (f",A,image,pdq,{HEX[0]},,,[],[]", "ref is empty"),
        (f"r,A,image,pdq,{HEX[0]}", "number of fields is 5, the header's is 9"),
    ],
)
def test_bad_rows_of_an_export(
    run: Run, known: Path, tmp_path: Path, row: str, reason: str
) -> None:
    header = "ref,contributor,kind,type,hash,quality,time_ms,labels,opinions"
    path = tmp_path / "a.csv"
    path.write_text(f"{header}\ngood,A,image,pdq,{HEX[1]},,,[],[]\n{row}\n")
    code, _, err = run("db", "load", known, "b", path)
    assert code == 2 and err.startswith(f"hashmatch: {path}:3: {reason}") and err.count("\n") == 1
    code, _, err = run("db", "load", known, "b", path, "--on-error", "skip")
    assert code == 0 and f"  {path}:3: {reason}" in err
    assert [item[0] for item in contents(known, "b")] == ["good"]


# Check, repair, compact


def test_check_repair_compact(run: Run, known: Path) -> None:
    assert run("db", "check", known) == (0, "", f"{known}: nothing wrong\n")
    before = contents(known, "a")
    for damage in (lambda file: file.unlink(), flip_last, lambda file: os.truncate(file, 100)):
        (segment,) = (known / "segments").iterdir()
        damage(segment)
        code, out, err = run("db", "check", known)
        assert (code, out) == (1, "")
        assert err.startswith(f"{known}: 1 fault:\n  ") and str(segment) in err
        assert "`hashmatch db repair`" in err
        code, out, err = run("db", "repair", known)
        assert (code, out, err) == (0, "", f"{known}: all segments were built anew\n")
        assert run("db", "check", known)[0] == 0 and contents(known, "a") == before
        assert run("match", known, UPLOADS)[0] == 0
    run("db", "load", known, "b", SHARED)
    assert run("db", "compact", known) == (0, "", f"{known}: 1 segment\n")


def flip_last(file: Path) -> None:
    damaged = bytearray(file.read_bytes())
    damaged[-3] ^= 1
    file.write_bytes(damaged)


# Errors


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("db", "sets", "nowhere"), "nowhere: holds no database; "),
        (("db", "check", "nowhere"), "nowhere: holds no database; "),
        (("db", "repair", "nowhere"), "nowhere: holds no database; "),
        (("match", ".", "{shared}"), ".: holds no database; "),
        (("db", "create", "{known}", "a"), "has a hash set 'a' already"),
        (("db", "create", "{known}", "c", "--max-distance", "pdq"), "TYPE=BITS"),
        (("db", "create", "{known}", "c", "--max-distance", "pdq=257"), "at most 256"),
        (("db", "create", "{known}", "c", "--max-distance", "pqd=1"), "unknown hash type 'pqd'"),
        (("db", "load", "{known}", "c", "{shared}"), "has no hash set 'c'"),
        (("db", "load", "{known}", "c", "{shared}"), "there are: 'a', 'b'"),
        (("db", "load", "{known}", "b", "nowhere.csv"), "nowhere.csv: No such file"),
        (("db", "load", "{known}", "b", "{shared}", "--ref", "nix"), "no column 'nix'"),
        (("db", "load", "{known}", "b", "{shared}", "--kind", "text"), "--kind"),
        (("db", "load", "{known}", "b", "{shared}", "--type", "phash"), "for pdq or sha256"),
        (("db", "remove", "{known}", "c", "{refs}"), "there are: 'a', 'b'"),
        (("db", "remove", "{known}", "a", "nowhere.txt"), "nowhere.txt: No such file"),
        (("db", "export", "{known}", "c"), "there are: 'a', 'b'"),
        (("db", "export", "{known}", "a", "-o", "nowhere/a.csv"), "nowhere/a.csv"),
        (("db", "history", "{known}", "c"), "there are: 'a', 'b'"),
        (("match", "{known}", "{shared}", "--set", "c"), "there are: 'a', 'b'"),
        (("match", "{known}", "{shared}", "--verdict", "c"), "unknown verdict 'c'"),
        (("match", "{known}", "{shared}", "--max-distance", "257"), "at most 256"),
        (("match", "{shared}", "{shared}", "--set", "a"), "shared.csv is no database"),
        (("match", "{shared}", "{shared}", "--verdict", "none"), "shared.csv is no database"),
    ],
)
def test_errors(
    run: Run,
    known: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    reason: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    refs = tmp_path / "refs.txt"
    refs.write_text("ski-0001\n")
    filled = [argument.format(known=known, shared=SHARED, refs=refs) for argument in arguments]
    code, out, err = run(*filled)
    assert (code, out) == (2, "")
    assert reason in " ".join(err.split())
    assert {path.name for path in tmp_path.iterdir()} == {"known", "refs.txt"}


def test_an_export_takes_no_options(run: Run, known: Path, tmp_path: Path) -> None:
    run("db", "export", known, "a", "-o", tmp_path / "a.csv")
    for option, value in (("--type", "pdq"), ("--ref", "ref"), ("--contributor", "B")):
        code, _, err = run("db", "load", known, "b", tmp_path / "a.csv", option, value)
        assert code == 2 and err.endswith(f"leave {option} out\n")


def test_bad_refs_to_remove(run: Run, known: Path, tmp_path: Path) -> None:
    for content, reason in (
        (b"ref\nski-0001\na,b\n", "3: number of fields is 2, the header's is 1"),
        (b"a,ref\nski-0001,\n", "2: ref is empty"),
        (b"ski-0001\n\xff\n", "2: byte 1 of the line is not UTF-8"),
        (b"x" * 1025, "1: ref takes 1,025 bytes, at most 1,024 are allowed"),
    ):
        (tmp_path / "refs").write_bytes(content)
        code, _, err = run("db", "remove", known, "a", tmp_path / "refs")
        assert (code, err) == (2, f"hashmatch: {tmp_path}/refs:{reason}\n")
    code, _, err = run("db", "remove", known, "a", SHARED)
    assert code == 2 and "no column 'ref' in the header 'hash', 'id'" in err
    assert len(contents(known, "a")) == 20


def test_a_second_writer_is_refused(run: Run, known: Path, tmp_path: Path) -> None:
    (tmp_path / "refs.txt").write_text("ski-0001\n")
    with hashmatch.open(known, "r+") as database:
        for command in (
            ("load", known, "b", SHARED),
            ("remove", known, "a", tmp_path / "refs.txt"),
            ("create", known, "c"),
            ("compact", known),
            ("repair", known),
        ):
            code, out, err = run("db", *command)
            assert (code, out) == (2, "")
            assert err.startswith(
                f"hashmatch: {known}: the database is open for writing by process"
            )
            assert f" {os.getpid()} on " in err and err.count("\n") == 1
        assert run("match", known, UPLOADS)[0] == 0
        assert run("db", "check", known)[0] == 0
        database.load("b", [Batch("pdq", [flipped(CODES[0], 2)], ["x"])])
        assert table(run("db", "sets", known)[1])[2][1:3] == ["1", "1"]
