"""`hashmatch match --server`: what is printed is what is printed of the database itself."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import hashmatch
from command import Run, parsed
from databases import wait_until
from hashmatch import Frames
from hashmatch.vpdq import format_frames
from oracle import flipped, random_codes
from serving import Server

FILM = random_codes(20, 256)
PICTURES = random_codes(30, 256, 3)


@pytest.fixture(scope="module")
def bank(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("served") / "bank"
    with hashmatch.open(path, "c") as database:
        database.create("films", contributor="studio")
        database.create("pictures", max_distance={"pdq": 12})
        with database.change("films") as change:
            change.add("pdq", FILM, refs=["film"] * 20, kind="video", labels=["a", "b"],
                       time_ms=np.arange(20) * 1000)  # fmt: skip
            change.opinion("film", contributor="analyst", verdict="positive")
        with database.change("pictures") as change:
            change.add("pdq", PICTURES, refs=[f"picture-{n}" for n in range(30)], labels=["\x1b"])
            change.add("md5", random_codes(5, 128), refs=[f"digest-{n}" for n in range(5)])
    return path


@pytest.fixture(scope="module")
def server(bank: Path) -> Iterator[Server]:
    with Server(bank) as server:
        yield server


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run(capfd, monkeypatch)


@pytest.fixture
def uploads(tmp_path: Path) -> Path:
    rows = [*FILM[:3], *(flipped(code, bits) for bits, code in enumerate(PICTURES)),
            *random_codes(50, 256, 9)]  # fmt: skip
    lines = [f"{code.tobytes().hex()},upload-{n}" for n, code in enumerate(rows)]
    path = tmp_path / "uploads.csv"
    path.write_text("hash,name\n" + "\n".join(lines) + "\n")
    return path


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.json"
    path.write_text(format_frames(Frames(FILM[2:], time_ms=np.arange(18) * 1000)))
    return path


def without_time(err: str) -> str:
    return re.sub(r"[\d.]+ m?s$", "", err, flags=re.MULTILINE)


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--format", "jsonl"],
        ["--format", "table"],
        ["--nearest", "1"],
        ["--max-distance", "3"],
        ["--set", "films", "--set", "pictures"],
        ["--set", "films", "--verdict", "positive"],
        ["--verdict", "negative"],
    ],
)
def test_it_prints_what_is_printed_of_the_database(
    run: Run, bank: Path, server: Server, uploads: Path, options: list[str]
) -> None:
    code, out, err = run("match", bank, uploads, *options)
    again = run("match", "--server", server.url, uploads, *options)
    assert (again[0], again[1], without_time(again[2])) == (code, out, without_time(err))
    assert ("negative" in options) == (code == 1)
    assert "of 50 hashes within" in err


@pytest.mark.parametrize("options", [[], ["--format", "jsonl"], ["--video-percent", "95"]])
def test_videos(run: Run, bank: Path, server: Server, clip: Path, options: list[str]) -> None:
    code, out, err = run("match", "--type", "vpdq", bank, clip, *options)
    again = run("match", "--type", "vpdq", "--server", server.url, clip, *options)
    assert (again[0], again[1], without_time(again[2])) == (code, out, without_time(err))
    assert code == (1 if "--video-percent" in options else 0)


def test_distances_that_are_hidden(run: Run, bank: Path, uploads: Path, clip: Path) -> None:
    with Server(bank, hide_distances=True) as server:
        code, out, _ = run("match", "--server", server.url, uploads)
        assert code == 0
        rows = parsed(out)
        assert {row["distance"] for row in rows} == {row["match_hash"] for row in rows} == {""}
        assert {row["ref"] for row in rows} >= {"film", "picture-0", "picture-12"}
        for format in ("jsonl", "table"):
            assert run("match", "--server", server.url, uploads, "--format", format)[0] == 0
        code, out, _ = run("match", "--type", "vpdq", "--server", server.url, clip)
        assert [row["matched_frames"] for row in parsed(out)] == ["18"]


def test_a_token(
    run: Run, bank: Path, uploads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tokens = tmp_path / "tokens"
    code, token, err = run("token", "add", tokens, "nightly", "--scope", "read")
    assert code == 0, err
    secret = token.split()[-1]
    held = tmp_path / "token"
    held.write_text(f"{secret}\n")
    with Server(bank, listen="127.0.0.1:0", tokens=tokens) as server:
        assert run("match", "--server", server.url, uploads, "--token-file", held)[0] == 0
        monkeypatch.setenv("HASHMATCH_TOKEN", secret)
        assert run("match", "--server", server.url, uploads)[0] == 0
        only = ("--scope", "read", "--set", "films")
        _, token, _ = run("token", "add", tokens, "films", *only)
        monkeypatch.setenv("HASHMATCH_TOKEN", token.strip())
        wait_until(lambda: run("match", "--server", server.url, uploads)[0] == 0)
        _, out, err = run("match", "--server", server.url, uploads)
        assert {row["set"] for row in parsed(out)} == {"films"}
        assert "of 20 hashes within 31" in err
        monkeypatch.setenv("HASHMATCH_TOKEN", "x" * 30)
        code, out, err = run("match", "--server", server.url, uploads)
        assert (code, out) == (2, "")
        assert "HASHMATCH_TOKEN" in err and secret not in err and "xxx" not in err


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["HASHES", "UPLOADS", "--server", "unix:/s"], "leave HASHES (HASHES) out"),
        (["UPLOADS", "--server", "unix:/s", "--hashes-format", "csv"], "--hashes-format is for"),
        (["UPLOADS", "--server", "unix:/s", "--threads", "2"], "--threads is for"),
        (["UPLOADS", "--server", "ftp://s"], "is no address of a server"),
        (["UPLOADS", "--server", "unix:/s", "--token-file", "/nothing"], "/nothing: No such file"),
        (["HASHES", "UPLOADS", "--token-file", "t"], "--token-file is for --server"),
        (["HASHES"], "UPLOADS are missing"),
    ],
)
def test_what_does_not_go_together(run: Run, arguments: list[str], text: str) -> None:
    code, out, err = run("match", *arguments)
    assert (code, out) == (2, "")
    assert text in err


def test_json_lines_are_json(run: Run, server: Server, uploads: Path) -> None:
    _, out, _ = run("match", "--server", server.url, uploads, "--format", "jsonl")
    assert {json.loads(line)["set"] for line in out.splitlines()} == {"films", "pictures"}
