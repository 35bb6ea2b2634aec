"""Videos on the command line: known ones in a database or a file, uploads in files and folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hashmatch
from command import Run, on_terminal, parsed
from hashmatch import Frames
from hashmatch.vpdq import format_frames
from oracle import random_codes

FILM = random_codes(20, 256)
PICTURE = random_codes(1, 256, seed=3)
#: 18 frames of the film, from its third second on, a known picture, and a frame of its own.
CLIP = np.concatenate([FILM[2:], PICTURE, random_codes(1, 256, seed=4)])
OTHER = random_codes(5, 256, seed=5)


def vpdq(codes: Any) -> str:
    return format_frames(Frames(codes, time_ms=np.arange(len(codes)) * 1000))


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run(capfd, monkeypatch)


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    path = tmp_path / "bank"
    with hashmatch.open(path, "c") as database:
        database.create("films", contributor="studio")
        with database.change("films") as change:
            change.add("pdq", FILM, refs=["film"] * 20, kind="video", labels=["a", "b"],
                       time_ms=np.arange(20) * 1000)  # fmt: skip
            change.add("pdq", PICTURE, refs=["picture"])
            change.opinion("film", contributor="analyst", verdict="positive")
    return path


@pytest.fixture
def uploads(tmp_path: Path) -> Path:
    path = tmp_path / "uploads"
    path.mkdir()
    (path / "clip.json").write_text(vpdq(CLIP))
    (path / "other.json").write_text(json.dumps(json.loads(vpdq(OTHER)), indent=1))
    return path


EXPECTED = [
    {
        "upload": "clip", "match_id": 0, "kind": "video", "query_percent": 90.0,
        "video_percent": 90.0, "matched_frames": 18, "upload_ms": 0, "match_ms": 2000,
        "ref": "film", "set": "films", "contributor": "studio", "labels": ["a", "b"],
        "verdicts": "positive",
    },
    {
        "upload": "clip", "match_id": 20, "kind": "image", "query_percent": 5.0,
        "video_percent": 100.0, "matched_frames": 1, "upload_ms": 18000, "match_ms": None,
        "ref": "picture", "set": "films", "contributor": "studio", "labels": [], "verdicts": "",
    },
]  # fmt: skip


def match(*arguments: object) -> tuple[object, ...]:
    return ("match", *arguments, "--type", "vpdq")


def test_jsonl(run: Run, bank: Path, uploads: Path) -> None:
    code, out, err = run(*match(bank, uploads, "--format", "jsonl"))
    assert [json.loads(line) for line in out.splitlines()] == EXPECTED
    assert code == 0
    assert err.startswith("1 of 2 uploads matched 2 of 2 items, ")


def test_csv(run: Run, bank: Path, uploads: Path, tmp_path: Path) -> None:
    output = tmp_path / "found.csv"
    assert run(*match(bank, uploads, "-o", output))[0] == 0
    wanted = [
        {name: "" if value is None else str(value) for name, value in row.items()}
        | {"labels": json.dumps(row["labels"])}
        for row in EXPECTED
    ]
    assert parsed(output.read_text()) == wanted


def test_table(bank: Path, uploads: Path) -> None:
    code, shown = on_terminal(*match(bank, uploads), columns=140)
    assert code == 0
    film = next(line for line in shown.splitlines() if "film" in line and "clip" in line)
    cells = [cell.strip() for cell in film.split("│")[1:-1]]
    assert cells == [
        "clip", "video", "90.0", "90.0", "18", "0", "2000", "film", "films", "studio", "a, b",
        "positive",
    ]  # fmt: skip


def test_nothing_matches(run: Run, bank: Path, uploads: Path) -> None:
    code, out, err = run(*match(bank, uploads / "other.json"))
    assert (code, parsed(out)) == (1, [])
    assert out.startswith("upload,match_id,kind,query_percent,")
    assert err.startswith("0 of 1 upload matched 0 of 2 items, ")


@pytest.mark.parametrize(
    ("options", "refs"),
    [
        ([], ["film", "picture"]),
        (["--no-pictures"], ["film"]),
        (["--query-percent", 91], ["picture"]),
        (["--video-percent", 95], ["picture"]),
        (["--video-percent", 90, "--max-distance", 0], ["film", "picture"]),
        (["--verdict", "positive"], ["film"]),
        (["--set", "films", "--quality", 100, "--steps", "filter"], ["film", "picture"]),
        (["--steps", "dedupe-filter", "--threads", 1], ["film", "picture"]),
    ],
)
def test_options(run: Run, bank: Path, uploads: Path, options: list[Any], refs: list[str]) -> None:
    code, out, _ = run(*match(bank, uploads, *options))
    assert ([row["ref"] for row in parsed(out)], code) == (refs, 0)


def test_known_videos_in_a_file(run: Run, uploads: Path, tmp_path: Path) -> None:
    known = tmp_path / "known.jsonl"
    rows: list[object] = [
        {"ref": "film", "vpdq": json.loads(vpdq(FILM))},
        {"ref": "other", "vpdq": vpdq(OTHER)},
        {"ref": "again", "vpdq": json.loads(vpdq(FILM))},
    ]
    known.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    code, out, err = run(*match(known, uploads, "--format", "csv"))
    found = [(row["upload"], row["ref"], row["set"]) for row in parsed(out)]
    assert found == [
        ("clip", "film", "known.jsonl"),
        ("clip", "again", "known.jsonl"),
        ("other", "other", "known.jsonl"),
    ]
    assert code == 0
    assert err.startswith("2 of 2 uploads matched 3 of 3 items, ")


def test_uploads_in_other_formats(run: Run, bank: Path, tmp_path: Path) -> None:
    """Any list that says which hashes are of one video."""
    listed = tmp_path / "uploads.csv"
    rows = [f"clip,{code.tobytes().hex()}" for code in CLIP]
    listed.write_text("\n".join(["ref,hash", *rows, f"other,{OTHER[0].tobytes().hex()}"]))
    code, out, err = run(*match(bank, listed, "--format", "csv"))
    found = [(row["upload"], row["ref"], row["query_percent"]) for row in parsed(out)]
    assert (code, found) == (0, [("clip", "film", "90.0"), ("clip", "picture", "5.0")])
    assert err.startswith("1 of 2 uploads matched ")
    asked = ("--format", "csv", "--uploads-format", "vpdq-json")
    assert f"{listed}:1: is not JSON" in run(*match(bank, listed, *asked))[2]
    listed.write_text(listed.read_text().replace("hash", "code"))
    assert run(*match(bank, listed))[0] == 2
    assert run(*match(bank, listed, "--column", "code"))[1] == out
    listed.write_text("\n".join(code.tobytes().hex() for code in CLIP))
    assert "does not say which hashes are frames of one video" in run(*match(bank, listed))[2]


def test_bad_uploads(run: Run, bank: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jsonl"
    clip = f'{{"ref": "clip", "vpdq": {vpdq(CLIP)}}}'
    bad.write_text(f'{clip}\n\n{{"ref": "a", "vpdq": ["ab,1,2"]}}\n{{"ref": [5], "vpdq": []}}\n7\n')
    code, out, err = run(*match(bank, bad))
    assert (code, err.count("\n")) == (2, 1)
    assert err.startswith(f"hashmatch: {bad}:3:vpdq[0]: ")
    code, out, err = run(*match(bank, bad, "--on-error", "skip"))
    assert (code, [row["upload"] for row in parsed(out)]) == (0, ["clip", "clip"])
    assert "skipped 3 bad rows:" in err
    assert f"{bad}:4: ref is a list" in err
    for content in (b"\xff\xfe", b"[" * 100_000):
        bad.write_bytes(content)
        assert run(*match(bank, bad))[0] == 2
    bad.write_text("")
    assert run(*match(bank, bad))[0] == 1


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--type", "pdq", "--steps", "filter"], "--steps is for videos: give --type vpdq"),
        (["--quality", 30], "--quality is for videos"),
        (["--type", "vpdq", "--nearest", 3], "--nearest is not for --type vpdq"),
        (["--type", "vpdq", "--set", "none"], "there is no set 'none'"),
    ],
)
def test_arguments(run: Run, bank: Path, uploads: Path, arguments: list[Any], reason: str) -> None:
    code, _, err = run("match", bank, uploads, *arguments)
    assert code == 2
    assert reason in err


def test_a_file_is_no_database(run: Run, uploads: Path) -> None:
    code, _, err = run(*match(uploads / "clip.json", uploads, "--set", "films"))
    assert code == 2
    assert "clip.json is no database: leave --set and --verdict out" in err
    assert run(*match(uploads / "missing.json", uploads))[0] == 2
