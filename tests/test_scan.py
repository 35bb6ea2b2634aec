"""`hashmatch hash` and `hashmatch scan` as a user meets them."""

from __future__ import annotations

import csv
import io
import json
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hashmatch
from command import COMMAND, Run, heed_interrupts, on_terminal
from hashmatch.hashing import digest_file, hash_image
from hashmatch.scanning.report import COLUMNS, shown_name, storable_name
from hashmatch.scanning.scan import hash_paths
from media import encoded, picture, pixels, write_video
from scan_folder import SCRIPT, make_folder


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run(capfd, monkeypatch)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    top = tmp_path_factory.mktemp("made")
    make_folder(top)
    return top


def scanned(run: Run, made: Path, report: Path, *options: object) -> tuple[int, str, str]:
    return run("scan", made / "files", "--db", made / "known", "-o", report, "--workers", 1,
               *options)  # fmt: skip


def by_name(made: Path, records: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        name = os.path.relpath(record["file"], made / "files")
        found.setdefault(name, []).append(record)
    return found


def test_json_lines(made: Path, tmp_path: Path, run: Run) -> None:
    report = tmp_path / "report.jsonl"
    code, out, err = scanned(run, made, report)
    assert code == 0
    assert "5 of 14 files matched: 5 pictures, 3 videos, 5 unreadable" in err
    found = by_name(made, [json.loads(line) for line in report.read_text().splitlines()])
    assert list(found) == sorted(found)
    one = {name: records[0] for name, records in found.items()}
    assert {name: (record["kind"], record["status"]) for name, record in one.items()} == {
        f"{SCRIPT}\n.jpg": ("image", "matched"),
        "cut.jpg": ("image", "unreadable"),
        "deep/er/copy.txt": ("image", "matched"),
        "empty.gif": ("file", "unreadable"),
        "link": ("file", "unreadable"),
        "notes.txt": ("file", "unmatched"),
        "other.png": ("image", "unmatched"),
        "pipe": ("file", "unreadable"),
        "plain.png": ("image", "unmatched"),
        "text.jpg": ("file", "unreadable"),
        "unknown.mkv": ("video", "unmatched"),
        "video.mkv": ("video", "matched"),
        "with the picture.mkv": ("video", "matched"),
        "\udcff.txt": ("file", "matched"),
    }
    reasons = {name: record["reason"] for name, record in one.items() if record["reason"]}
    assert reasons == {
        "cut.jpg": reasons["cut.jpg"],
        "empty.gif": "is empty",
        "link": "is a symbolic link, which is not followed",
        "pipe": "is a named pipe",
        "plain.png": "quality 0 is below 50: not matched by PDQ",
        "text.jpg": "is named .jpg, but neither a picture nor a video",
    }
    assert reasons["cut.jpg"].startswith("is damaged: image file is truncated")
    for name, record in one.items():
        path = made / "files" / name
        if path.is_file() and not path.is_symlink() and name != "empty.gif":
            assert record["hashes"]["md5"] == digest_file(path, ["md5"])["md5"].hex()
    copy = one["deep/er/copy.txt"]
    content = (made / "files/deep/er/copy.txt").read_bytes()
    assert copy["hashes"]["pdq"] == hash_image(content).code.tobytes().hex()
    assert copy["quality"] == 100
    (match,) = copy["matches"]
    assert match["distance"] <= 31
    assert match == {
        "type": "pdq",
        "hash": match["hash"],
        "distance": match["distance"],
        "ref": f"=1+1,{SCRIPT}",
        "set": "pictures",
        "contributor": "acme",
        "labels": ["<b>bold</b>", "\u202etxt"],
        "verdicts": ["positive"],
    }
    assert one["\udcff.txt"]["matches"][0]["ref"] == "text"
    film = one["video.mkv"]["matches"]
    assert [(each["ref"], each["query_percent"], each["video_percent"]) for each in film] == [
        ("film", 100.0, 100.0)
    ]
    pairs = [(pair["time_ms"], pair["known_ms"], pair["distance"]) for pair in film[0]["frames"]]
    assert pairs == [(second * 1000, second * 1000, 0) for second in range(12)]
    partly = {each["ref"]: each for each in one["with the picture.mkv"]["matches"]}
    assert partly["film"]["query_percent"] == pytest.approx(100 * 6 / 7, abs=0.01)
    assert partly["film"]["video_percent"] == 50
    assert [pair["time_ms"] for pair in partly["inside"]["frames"]] == [6000]
    # The table has a line for each file, with its nearest match.
    lines = out.splitlines()
    assert len(lines) == 6
    assert lines[0].split() == [
        "file", "type", "distance", "ref", "set", "contributor", "labels", "matches"
    ]  # fmt: skip
    assert f"{SCRIPT}\\n.jpg" in out
    assert "\\xff.txt" in out
    assert "\u202e" not in out


def test_csv(made: Path, tmp_path: Path, run: Run) -> None:
    report = tmp_path / "report.csv"
    assert scanned(run, made, report)[0] == 0
    text = report.read_bytes().decode()
    rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    assert tuple(rows[0]) == COLUMNS
    found = by_name(made, rows)
    assert len(found) == 14
    assert len(rows) == 15  # One video has two matches.
    row = found[f"{SCRIPT}\n.jpg"][0]
    assert (row["type"], row["ref"], row["set"]) == ("pdq", f"=1+1,{SCRIPT}", "pictures")
    assert json.loads(row["labels"]) == ["<b>bold</b>", "\u202etxt"]
    assert row["verdicts"] == "positive"
    assert int(row["distance"]) <= 31
    assert found["\\xff.txt"][0]["match_hash"] == found["\\xff.txt"][0]["hash"]
    film = found["video.mkv"][0]
    assert (film["query_percent"], film["video_percent"]) == ("100.0", "100.0")
    assert json.loads(film["frames"])[1] == [1000, 1000, 0]
    assert found["empty.gif"][0]["reason"] == "is empty"
    # What was hashed and matched nothing can be matched again from the report.
    other = found["other.png"][0]
    assert (other["type"], other["status"], other["quality"]) == ("pdq", "unmatched", "100")
    assert other["hash"] == hash_image(made / "files/other.png").code.tobytes().hex()


class Page(HTMLParser):
    """What a browser would see."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "img", "input", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style" and data.strip():
            self.texts.append(data.strip())

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_page(made: Path, tmp_path: Path, run: Run) -> None:
    report = tmp_path / "report.html"
    assert scanned(run, made, report)[0] == 0
    text = report.read_text("utf-8")
    page = Page(text)
    assert page.open == []
    assert "script" not in {tag for tag, _ in page.tags}
    assert "b" not in {tag for tag, _ in page.tags}
    for tag, attributes in page.tags:
        assert not any(name.startswith("on") for name in attributes), tag
        for name in ("src", "href", "srcset", "action", "data"):
            assert (attributes.get(name) or "data:").startswith("data:")
    assert "url(" not in text
    assert "@import" not in text
    policy = page.named("meta")[1]
    assert policy["http-equiv"] == "Content-Security-Policy"
    assert policy["content"] == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    # Names and labels are there as texts.
    top = made / "files"
    assert f"{top}/{SCRIPT}\\n.jpg" in page.texts
    assert f"=1+1,{SCRIPT}" in page.texts
    assert "<b>bold</b>" in page.texts
    assert "\\u202etxt" in page.texts
    # A blurred picture for each file that has one; each can be shown, by mouse or keyboard.
    images, boxes, labels = page.named("img"), page.named("input"), page.named("label")
    assert len(images) == len(boxes) == len(labels) == 4
    assert {box["type"] for box in boxes} == {"checkbox"}
    assert [label["for"] for label in labels] == [box["id"] for box in boxes]
    assert all("checked" not in box for box in boxes)
    assert f"Thumbnail of {top}/{SCRIPT}\\n.jpg" in [image["alt"] for image in images]
    assert all(box["aria-label"] for box in boxes)
    assert "filter: blur(" in text
    assert len({attributes["id"] for _, attributes in page.tags if "id" in attributes}) == len(
        [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    )
    # What could not be read, and why.
    for reason in ("is empty", "is a named pipe", "quality 0 is below 50: not matched by PDQ"):
        assert reason in page.texts
    assert "86 % of this, 50 % of the known one, 0:00 to 0:05" in page.texts
    assert "14 % of this, 0:06" in page.texts
    counts = dict(reversed(list(zip(page.texts, page.texts[1:], strict=False))))
    assert [counts[name] for name in ("matched", "files", "pictures", "videos", "unreadable")] == [
        "5", "14", "5", "3", "5"
    ]  # fmt: skip


def test_many_matches_on_a_page(tmp_path: Path, run: Run) -> None:
    (tmp_path / "files").mkdir()
    content = encoded(picture(1), "PNG")
    (tmp_path / "files" / "a.png").write_bytes(content)
    with hashmatch.open(tmp_path / "known", "c") as database:
        database.create("a")
        with database.change("a") as change:
            code = hash_image(content).code
            change.add("pdq", np.stack([code] * 250), refs=[f"ref {n}" for n in range(250)])
    report = tmp_path / "report.html"
    code_of_exit, out, _ = run(
        "scan", tmp_path / "files", "--db", tmp_path / "known", "-o", report, "--workers", 1
    )
    assert code_of_exit == 0
    assert out.splitlines()[1].split()[-1] == "250"
    page = Page(report.read_text())
    assert "247 more" in page.texts
    assert "and 50 that are not shown" in page.texts
    assert sum(text.startswith("ref ") for text in page.texts) == 200


def test_options(made: Path, run: Run) -> None:
    """Sets, verdicts, distance and quality are those asked for; nothing matched is exit code 1."""
    base = ("scan", made / "files", "--db", made / "known", "--workers", 1)
    code, out, err = run(*base, "--set", "texts")
    assert code == 0
    assert [line.split()[-2] for line in out.splitlines()[1:]] == ["1"] or "\\xff.txt" in out
    assert "1 of 14 files matched" in err
    code, out, err = run(*base, "--verdict", "positive")
    assert (code, out.count("acme")) == (0, 2)
    code, out, err = run(*base, "--set", "pictures", "--verdict", "negative")
    assert (code, out) == (1, "")
    assert "0 of 14 files matched" in err
    code, out, err = run(*base, "--set", "pictures", "--max-distance", 0, "--min-quality", 100)
    assert "inside" in out
    code, out, err = run(*base, "--set", "unheard of")
    assert code == 2
    assert "unheard of" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["{files}", "--db", "{files}"], "files: holds no database"),
        (["{top}/missing", "--db", "{known}"], "missing: No such file or directory"),
        (["{files}/notes.txt", "--db", "{known}"], "notes.txt: Not a directory"),
        (
            ["{files}", "--db", "{known}", "-o", "r.txt"],
            "a report is named .csv or .jsonl or .html",
        ),
        (["{files}", "--db", "{known}", "-o", "/missing/r.csv"], "No such file or directory"),
        (
            ["{files}", "--db", "{top}/empty"],
            "holds no hashes, where files are matched by pdq, md5",
        ),
        (["{files}"], "--db"),
    ],
)
def test_errors(arguments: list[str], message: str, made: Path, run: Run) -> None:
    with hashmatch.open(made / "empty", "c"):
        pass
    places = {"top": made, "files": made / "files", "known": made / "known"}
    code, out, err = run("scan", *(each.format(**places) for each in arguments), "--workers", 1)
    assert (code, out) == (2, "")
    assert message in err
    assert not list(made.rglob("*.tmp"))


def test_the_database_itself_is_left_out(tmp_path: Path, run: Run) -> None:
    picture(1).save(tmp_path / "a.png")
    with hashmatch.open(tmp_path / "known", "c") as database:
        database.create("a")
        with database.change("a") as change:
            change.add("pdq", [hash_image(tmp_path / "a.png").code], refs=["x"])
    code, _, err = run("scan", tmp_path, "--db", tmp_path / "known", "--workers", 1)
    assert code == 0
    assert "1 of 1 file matched" in err


def test_what_the_database_holds_is_what_is_hashed(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = tmp_path / "files"
    files.mkdir()
    picture(1).save(files / "a.png")
    (files / "b.txt").write_bytes(b"text")
    code = hash_image(files / "a.png").code
    digest = digest_file(files / "a.png", ["sha256"])["sha256"]
    known: bytes
    for name, type, known in (("pictures", "pdq", code.tobytes()), ("digests", "sha256", digest)):
        with hashmatch.open(tmp_path / name, "c") as database:
            database.create("a")
            with database.change("a") as change:
                change.add(type, [known], refs=["x"])
    report = tmp_path / "report.jsonl"
    command = ("scan", files, "-o", report, "--workers", 1, "--db")
    assert run(*command, tmp_path / "pictures")[0] == 0
    records = [json.loads(line) for line in report.read_text().splitlines()]
    assert [(each["kind"], each["status"], list(each["hashes"])) for each in records] == [
        ("image", "matched", ["pdq"]),
        ("file", "other", []),
    ]
    # Digests take no library, and nothing is looked into.
    monkeypatch.setitem(sys.modules, "pdqhash", None)
    assert run(*command, tmp_path / "digests")[0] == 0
    records = [json.loads(line) for line in report.read_text().splitlines()]
    assert [(each["kind"], each["status"], list(each["hashes"])) for each in records] == [
        ("file", "matched", ["sha256"]),
        ("file", "unmatched", ["sha256"]),
    ]


def test_a_killed_process_is_one_row(tmp_path: Path) -> None:
    long, short = tmp_path / "long.mkv", tmp_path / "short.png"
    write_video(long, [pixels(1, 1280, 720)] * 60, 1, codec="mpeg4", format="yuv420p")
    picture(1).save(short)

    def kill() -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            for child in multiprocessing.active_children():
                for link in Path(f"/proc/{child.pid}/fd").iterdir():
                    with suppress(OSError):
                        if os.readlink(link) == str(long):
                            child.kill()
                            return
            time.sleep(0.01)

    killer = threading.Thread(target=kill)
    killer.start()
    first, second = hash_paths([str(long), str(short)], ("pdq", "vpdq"), 1, 60.0)
    killer.join()
    assert first.reason == "ended the process that hashed it: killed"
    assert second.picture is not None


def test_a_report_is_whole_or_not_there(
    made: Path, tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    report = tmp_path / "report.csv"
    report.write_text("that of yesterday")
    from hashmatch.scanning import matching

    def fail(*arguments: object) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr(matching.Matcher, "match", fail)
    assert scanned(run, made, report)[0] == 2
    assert report.read_text() == "that of yesterday"
    assert os.listdir(tmp_path) == ["report.csv"]


def test_terminal(made: Path) -> None:
    code, shown = on_terminal(
        "scan", made / "files", "--db", made / "known", "--workers", 1, columns=120
    )
    assert code == 0
    assert "scanning" in shown
    assert "5 of 14 files matched" in shown
    assert "\u202e" not in shown


@pytest.mark.parametrize("format", ["jsonl", "html"])
def test_interrupted(format: str, made: Path, tmp_path: Path) -> None:
    """No report, no trace of processes, and no exit code that says how matching went."""
    (tmp_path / "files").mkdir()
    # One file that takes a while: large frames, and many.
    write_video(
        tmp_path / "files" / "long.mkv", [pixels(1, 1280, 720)] * 60, 1, codec="mpeg4",
        format="yuv420p",
    )  # fmt: skip
    for number in range(30):
        os.link(tmp_path / "files" / "long.mkv", tmp_path / "files" / f"{number}.mkv")
    command = [
        *COMMAND, "scan", tmp_path / "files", "--db", made / "known", "--workers", "2",
        "-o", tmp_path / f"report.{format}",
    ]  # fmt: skip
    run = subprocess.Popen(
        list(map(str, command)), stderr=subprocess.PIPE, stdout=subprocess.PIPE,
        start_new_session=True, preexec_fn=heed_interrupts,
    )  # fmt: skip
    deadline = time.monotonic() + 30
    while len(_children(run.pid)) < 3 and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.5)
    os.killpg(run.pid, signal.SIGINT)  # As a terminal does: to all of them.
    try:
        out, err = run.communicate(timeout=20)
    finally:
        run.kill()
        run.communicate()
    assert run.returncode == 130
    assert (out, err) == (b"", b"")
    assert sorted(os.listdir(tmp_path)) == ["files"]
    deadline = time.monotonic() + 10
    while _alive(run.pid) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _alive(run.pid)


def _alive(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _children(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return []


@pytest.mark.parametrize(
    ("text", "shown", "stored"),
    [
        ("plain \N{LATIN SMALL LETTER E WITH ACUTE}.jpg",) * 3,
        ("a\nb\x1b[2J", "a\\nb\\x1b[2J", "a\nb\x1b[2J"),
        ("\udcff\udc80", "\\xff\\x80", "\\xff\\x80"),
        ("\u202egpj.exe", "\\u202egpj.exe", "\u202egpj.exe"),
        ("\ud800", "\\ud800", "\\ud800"),
    ],
)
def test_names(text: str, shown: str, stored: str) -> None:
    assert shown_name(text) == shown
    assert storable_name(text) == stored
    assert stored.encode()
