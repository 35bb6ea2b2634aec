"""`hashmatch hash` as a user meets it: what it writes is matched and loaded."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

import hashmatch
from command import Run, parsed
from hashmatch.hashing import DIGESTS, digest_file, hash_image, video_frames
from hashmatch.scanning.report import storable_name
from scan_folder import SCRIPT, make_folder


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run(capfd, monkeypatch)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("made")
    make_folder(top)
    return top


def test_list_of_pictures(made: Path, tmp_path: Path, run: Run) -> None:
    """What it writes is matched and loaded."""
    files = [made / "files" / name for name in (f"{SCRIPT}\n.jpg", "other.png", "plain.png")]
    listed = tmp_path / "list.csv"
    code, out, err = run("hash", *files, "-o", listed, "--workers", 1)
    assert (code, out) == (0, "")
    assert err.startswith("hashed 3 files, ")
    rows = parsed(listed.read_text())
    assert [row["name"] for row in rows] == list(map(str, files))
    for row, path in zip(rows, files, strict=True):
        expected = hash_image(path)
        assert row["hash"] == expected.code.tobytes().hex()
        assert int(row["quality"]) == expected.quality
    code, out, err = run("match", made / "known", listed, "--type", "pdq", "--format", "csv")
    assert [match["upload_name"] for match in parsed(out)] == [str(files[0])]
    with hashmatch.open(tmp_path / "new", "c") as database:
        database.create("a")
    assert run("db", "load", tmp_path / "new", "a", listed, "--ref", "name")[0] == 0
    with hashmatch.open(tmp_path / "new") as database:
        found = database.match("pdq", rows[1]["hash"])
        assert found.ref == [str(files[1])]
    code, out, _ = run("hash", *files, "--format", "jsonl", "--workers", 1)
    assert [json.loads(line) for line in out.splitlines()] == [
        row | {"quality": int(row["quality"])} for row in rows
    ]


@pytest.mark.parametrize("type", DIGESTS)
def test_list_of_digests(type: str, made: Path, run: Run) -> None:
    files = sorted(path for path in (made / "files").iterdir() if path.suffix in (".txt", ".mkv"))
    code, out, _ = run("hash", *files, "--type", type, "--workers", 1)
    assert code == 0
    assert parsed(out) == [
        {"hash": digest_file(path, [type])[type].hex(), "name": storable_name(str(path))}
        for path in files
    ]


def test_list_of_videos(made: Path, tmp_path: Path, run: Run) -> None:
    path = made / "files" / "video.mkv"
    code, out, _ = run("hash", path, "--type", "vpdq", "--workers", 1)
    assert code == 0
    record = json.loads(out)
    assert record["ref"] == str(path)
    frames = hashmatch.Frames.parse(record["vpdq"])
    expected = list(video_frames(path))
    codes = np.stack([frame.code for frame in expected])
    assert np.array_equal(np.asarray(frames.codes), codes)
    assert list(frames.time_ms or ()) == [frame.time_ms for frame in expected]
    uploads = tmp_path / "uploads.jsonl"
    uploads.write_text(out)
    code, out, _ = run("match", made / "known", uploads, "--type", "vpdq", "--format", "csv")
    assert code == 0
    assert [match["ref"] for match in parsed(out)] == ["film"]
    listed = tmp_path / "list.csv"
    assert run("hash", path, "--type", "vpdq", "--format", "csv", "-o", listed)[0] == 0
    with hashmatch.open(tmp_path / "new", "c") as database:
        database.create("a")
    assert run("db", "load", tmp_path / "new", "a", listed)[0] == 0
    with hashmatch.open(tmp_path / "new") as database:
        (match,) = database.match_videos(frames)
        assert (match.ref, match.kind, match.query_percent) == (str(path), "video", 100)
        assert [pair.signal_ms for pair in match.frames] == [frame.time_ms for frame in expected]


@pytest.mark.parametrize(
    ("name", "type", "message"),
    [
        ("video.mkv", "pdq", "video.mkv: is a video: give --type vpdq"),
        ("other.png", "vpdq", "other.png: is a picture: give --type pdq"),
        ("notes.txt", "pdq", "notes.txt: is no picture"),
        ("notes.txt", "vpdq", "notes.txt: is no video"),
        ("cut.jpg", "pdq", "cut.jpg: is damaged: image file is truncated"),
        ("empty.gif", "md5", "empty.gif: is empty"),
        ("missing", "md5", "missing: no such file or directory"),
        ("deep", "sha1", "deep: is a folder"),
    ],
)
def test_files_without_that_hash(
    name: str, type: str, message: str, made: Path, tmp_path: Path, run: Run
) -> None:
    listed = tmp_path / "list.csv"
    good = made / "files" / ("video.mkv" if type == "vpdq" else "other.png")
    command = ("hash", good, made / "files" / name, "--type", type, "--workers", 1, "-o", listed)
    code, out, err = run(*command)
    assert (code, out) == (2, "")
    assert f"{message}" in err
    assert "(--on-error skip leaves bad files out)" in err
    assert not listed.exists()
    code, out, err = run(*command, "--on-error", "skip", "--format", "csv")
    assert code == 0
    assert "hashed 1 file," in err
    assert "skipped 1 bad file:" in err
    assert message in err
    assert {row.get("name") or row["ref"] for row in parsed(listed.read_text())} == {str(good)}


def test_missing_extra(made: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, arguments, extra in (
        ("pdqhash", ("hash", made / "files/other.png"), "images"),
        ("av", ("hash", made / "files/video.mkv", "--type", "vpdq"), "video"),
        ("av", ("scan", made / "files", "--db", made / "known"), "video"),
    ):
        with monkeypatch.context() as patched:
            patched.setitem(sys.modules, module, None)
            code, out, err = run(*arguments)
        assert (code, out) == (2, "")
        assert f"pip install 'hashmatch[{extra}]'" in err
    # Digests need neither.
    monkeypatch.setitem(sys.modules, "pdqhash", None)
    assert run("hash", made / "files/other.png", "--type", "md5", "--workers", 1)[0] == 0
