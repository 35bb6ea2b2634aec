"""The command as a user meets it: output, exit codes, errors, files, pipes, terminals."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from command import COMMAND, Run, on_terminal, parsed
from hashmatch import Index, __version__, cli
from hashmatch.codes import encode_hex
from hashmatch.formats import lines
from oracle import flipped, random_codes
from oracle import search as brute_force

KNOWN = random_codes(40, 256)
UPLOADS = np.stack(
    [
        flipped(KNOWN[7], 31),
        random_codes(1, 256, seed=8)[0],
        KNOWN[3],
        flipped(KNOWN[7], 32),
        flipped(KNOWN[3], 5),
    ]
)
MATCHES = [(0, 7, 31), (2, 3, 0), (4, 3, 5)]
KNOWN_HEX, UPLOADS_HEX = encode_hex(KNOWN), encode_hex(UPLOADS)


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run(capfd, monkeypatch)


@pytest.fixture
def known(tmp_path: Path) -> Path:
    path = tmp_path / "known.csv"
    rows = [f'k{row},{text},"label, {row}"' for row, text in enumerate(KNOWN_HEX)]
    path.write_text("\n".join(["id,hash,label", *rows]))
    return path


@pytest.fixture
def uploads(tmp_path: Path) -> Path:
    path = tmp_path / "uploads.csv"
    rows = [f"pic{row}.jpg,{text.upper()}" for row, text in enumerate(UPLOADS_HEX)]
    path.write_text("\n".join(["file,hash", *rows]))
    return path


@pytest.fixture
def bare(tmp_path: Path) -> Path:
    path = tmp_path / "uploads.txt"
    path.write_text("\n".join(UPLOADS_HEX))
    return path


EXPECTED = [
    {
        "upload_row": upload,
        "upload_hash": UPLOADS_HEX[upload],
        "upload_file": f"pic{upload}.jpg",
        "match_id": row,
        "match_hash": KNOWN_HEX[row],
        "distance": distance,
        "id": f"k{row}",
        "label": f"label, {row}",
    }
    for upload, row, distance in MATCHES
]


def as_text(rows: list[dict[str, object]]) -> list[dict[str, str]]:
    return [{name: str(value) for name, value in row.items()} for row in rows]


def test_the_expected_matches_are_those_of_brute_force() -> None:
    assert (
        brute_force(UPLOADS, {row: code.tobytes() for row, code in enumerate(KNOWN)}, 31) == MATCHES
    )


# match


def test_match_csv(run: Run, known: Path, uploads: Path) -> None:
    code, out, err = run("match", known, uploads)
    assert (code, parsed(out)) == (0, as_text(EXPECTED))
    assert list(parsed(out)[0]) == list(EXPECTED[0])
    assert err.startswith("3 of 5 uploads matched 2 of 40 hashes within 31, ") and "s\n" in err
    assert err.count("\n") == 1


def test_match_jsonl(run: Run, known: Path, uploads: Path) -> None:
    code, out, _ = run("match", known, uploads, "--format", "jsonl")
    assert (code, [json.loads(line) for line in out.splitlines()]) == (0, EXPECTED)


def test_match_in_blocks(
    run: Run, known: Path, uploads: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lines, "BLOCK_BYTES", 150)
    code, out, err = run("match", known, uploads)
    assert (code, parsed(out)) == (0, as_text(EXPECTED))
    assert err.startswith("3 of 5 uploads matched 2 of 40 hashes")


def test_match_bare_hex(run: Run, bare: Path) -> None:
    code, out, _ = run("match", bare, bare, "--max-distance", 0)
    assert code == 0
    assert parsed(out) == as_text(
        [
            {
                "upload_row": row,
                "upload_hash": text,
                "match_id": row,
                "match_hash": text,
                "distance": 0,
            }
            for row, text in enumerate(UPLOADS_HEX)
        ]
    )


def test_match_built_index(run: Run, tmp_path: Path, uploads: Path) -> None:
    index = Index("pdq", max_distance=5)
    index.add(KNOWN, range(2**63, 2**63 + 40))
    index.save(tmp_path / "known.hm")
    code, out, err = run("match", tmp_path / "known.hm", uploads)
    assert code == 0
    assert [(row["upload_row"], int(row["match_id"]) - 2**63) for row in parsed(out)] == [
        ("2", 3),
        ("4", 3),
    ]
    assert "within 5," in err
    assert run("match", tmp_path / "known.hm", uploads, "--type", "pdq")[0] == 0
    code, _, err = run("match", tmp_path / "known.hm", uploads, "--type", "sha256")
    assert code == 2 and "known.hm holds pdq hashes, not sha256: leave --type out" in err
    code, _, err = run("match", uploads, tmp_path / "known.hm")
    assert code == 2 and "known.hm: is a built index" in err


def test_match_plain_bits(run: Run, tmp_path: Path) -> None:
    index = Index(bits=64)
    index.add([5, 6])
    index.save(tmp_path / "known.hm")
    (tmp_path / "uploads.txt").write_text(f"{5:016x}\n")
    code, _, err = run("match", tmp_path / "known.hm", tmp_path / "uploads.txt")
    assert code == 2 and "give --max-distance" in err
    for more in ((), ("--type", "phash")):
        code, out, _ = run(
            "match", tmp_path / "known.hm", tmp_path / "uploads.txt", "--max-distance", 2, *more
        )
        assert code == 0 and [row["match_id"] for row in parsed(out)] == ["0", "1"]
    code, _, err = run("match", tmp_path / "known.hm", tmp_path / "uploads.txt", "--type", "pdq")
    assert code == 2 and "holds 64-bit hashes, not pdq" in err


@pytest.mark.parametrize("kind", ["phash", "md5", "sha1", "sha256"])
def test_match_types(run: Run, tmp_path: Path, kind: str) -> None:
    codes = random_codes(3, Index(kind).bits)
    (tmp_path / "list").write_text("\n".join(encode_hex(codes)))
    code, out, _ = run("match", tmp_path / "list", tmp_path / "list", "--type", kind)
    assert code == 0 and [row["match_id"] for row in parsed(out)] == ["0", "1", "2"]


def test_match_nearest(run: Run, known: Path, uploads: Path) -> None:
    arguments = ("match", known, uploads, "--nearest", 2, "--max-distance", 256)
    code, out, _ = run(*arguments)
    got = [
        tuple(int(row[name]) for name in ("upload_row", "match_id", "distance"))
        for row in parsed(out)
    ]
    assert code == 0
    assert got == brute_force(
        UPLOADS, {row: code.tobytes() for row, code in enumerate(KNOWN)}, 256, 2
    )


def test_nothing_matched(run: Run, known: Path, tmp_path: Path) -> None:
    (tmp_path / "new.txt").write_text(UPLOADS_HEX[1])
    code, out, err = run("match", known, tmp_path / "new.txt")
    assert code == 1
    assert out == "upload_row,upload_hash,match_id,match_hash,distance,id,label\n"
    assert err.startswith("0 of 1 upload matched 0 of 40 hashes")
    assert run("match", known, tmp_path / "new.txt", "--format", "jsonl")[:2] == (1, "")
    assert run("match", known, tmp_path / "new.txt", "--format", "table")[:2] == (1, "")


def test_no_uploads(run: Run, known: Path, tmp_path: Path) -> None:
    (tmp_path / "new.txt").write_text("")
    code, _, err = run("match", known, tmp_path / "new.txt")
    assert code == 1 and err.startswith("0 of 0 uploads")


@pytest.mark.parametrize("content", ["", "\n\n", "hash\n"])
def test_no_hashes_is_an_error(run: Run, uploads: Path, tmp_path: Path, content: str) -> None:
    (tmp_path / "empty.txt").write_text(content)
    code, _, err = run("match", tmp_path / "empty.txt", uploads)
    assert code == 2 and err == f"hashmatch: {tmp_path}/empty.txt: holds no hashes\n"


def test_columns_of_one_name(run: Run, tmp_path: Path) -> None:
    """Every column is there, whatever the lists call theirs."""
    (tmp_path / "known.csv").write_text(f"hash,distance,match_id,upload_x\n{KNOWN_HEX[0]},a,b,c\n")
    (tmp_path / "uploads.csv").write_text(f"x,row,pdq,hash\nd,e,{KNOWN_HEX[0]},f\n")
    code, out, _ = run("match", tmp_path / "known.csv", tmp_path / "known.csv")
    assert code == 0 and len(out.splitlines()[0].split(",")) == len(
        set(out.splitlines()[0].split(","))
    )
    (tmp_path / "known.csv").write_text(f"pdq,distance,match_id,upload_x\n{KNOWN_HEX[0]},a,b,c\n")
    code, out, _ = run("match", tmp_path / "known.csv", tmp_path / "uploads.csv", "--column", "pdq")
    names, values = (line.split(",") for line in out.splitlines())
    assert code == 0
    assert names == [
        *("upload_row", "upload_hash", "upload_x", "upload_row_", "upload_hash_"),
        *("match_id", "match_hash", "distance", "distance_", "match_id_", "upload_x_"),
    ]
    assert values == ["0", KNOWN_HEX[0], "d", "e", "f", "0", KNOWN_HEX[0], "0", "a", "b", "c"]


# Bad rows


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "bad.csv"
    path.write_text(
        f"file,hash\na,{'f0' * 31}f\nb,{KNOWN_HEX[7]}\nc\nd,0x{'f0' * 31}\n\ne,{KNOWN_HEX[9]}\n"
    )
    return path


def test_a_bad_row_stops(run: Run, known: Path, bad: Path) -> None:
    expected = f"hashmatch: {bad}:2: hash has 63 hex digits, pdq needs 64"
    for arguments in (("match", known, bad), ("match", bad, known), ("build", bad, "-o", "x.hm")):
        code, _, err = run(*arguments)
        assert code == 2 and err.startswith(expected)
    assert not os.path.exists("x.hm")


def test_bad_rows_are_skipped_and_listed(run: Run, known: Path, bad: Path) -> None:
    code, out, err = run("match", known, bad, "--on-error", "skip")
    assert code == 0
    assert [(row["upload_row"], row["upload_file"], row["id"]) for row in parsed(out)] == [
        ("1", "b", "k7"),
        ("4", "e", "k9"),
    ]
    assert err.splitlines()[1:] == [
        "skipped 3 bad rows:",
        f"  {bad}:2: hash has 63 hex digits, pdq needs 64",
        f"  {bad}:4: number of fields is 1, the header's is 2",
        f"  {bad}:5: hash begins with 0x: write the hex digits alone",
    ]


def test_bad_rows_of_the_hashes_are_skipped(run: Run, known: Path, bad: Path) -> None:
    code, out, err = run("match", bad, known, "--on-error", "skip")
    assert code == 0
    assert [(row["match_id"], row["file"], row["upload_id"]) for row in parsed(out)] == [
        ("1", "b", "k7"),
        ("4", "e", "k9"),
    ]
    assert "skipped 3 bad rows:" in err


def test_only_bad_rows(run: Run, known: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_text("nonsense\n")
    code, _, err = run("match", tmp_path / "bad.txt", known, "--on-error", "skip")
    assert code == 2
    assert "skipped 1 bad row:\n" in err and err.endswith("bad.txt: holds no hashes\n")
    assert run("match", known, tmp_path / "bad.txt", "--on-error", "skip")[0] == 1


def test_many_bad_rows_are_counted(run: Run, known: Path, tmp_path: Path) -> None:
    (tmp_path / "bad.txt").write_text("zz\n" * 1_234)
    _, _, err = run("match", known, tmp_path / "bad.txt", "--on-error", "skip")
    assert "skipped 1,234 bad rows:" in err and err.endswith("\n  and 234 more\n")
    assert err.count("bad.txt:") == 1_000


# Errors


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("match", "-", "-"), "cannot both be standard input"),
        (("match", "nowhere.csv", "{uploads}"), "nowhere.csv: No such file or directory"),
        (("match", "{known}", "nowhere.csv"), "nowhere.csv: No such file or directory"),
        (("match", "{known}", "."), "Is a directory"),
        (("match", "{known}", "{uploads}", "--max-distance", "257"), "at most 256, not 257"),
        (("match", "{known}", "{uploads}", "--max-distance", "-1"), "at least 0"),
        (("match", "{known}", "{uploads}", "--max-distance", "nan"), "--max-distance"),
        (("match", "{known}", "{uploads}", "--max-distance", "3.5"), "--max-distance"),
        (("match", "{known}", "{uploads}", "--nearest", "0"), "--nearest"),
        (("match", "{known}", "{uploads}", "--threads", "-1"), "--threads"),
        (("match", "{known}", "{uploads}", "--type", "PDQ"), "unknown hash type 'PDQ'"),
        (("match", "{known}", "{uploads}", "--type", "phash"), "phash needs 16; for pdq or sha256"),
        (("match", "{known}", "{uploads}", "--format", "xml"), "xml"),
        (("match", "{known}", "{uploads}", "--column", "pdq"), "no column 'pdq'"),
        (("match", "{known}", "{uploads}", "-o", "nowhere/out.csv"), "nowhere/out.csv"),
        (("match", "{known}"), "UPLOADS"),
        (("build", "{known}"), "--output"),
        (("build", "{known}", "-o", "nowhere/k.hm"), "nowhere"),
        (("build", "{known}", "-o", "k.hm", "--max-distance", "257"), "at most 256, not 257"),
        (("info", "{known}"), "known.csv"),
        (("check", "{known}"), "known.csv"),
        (("info", "nowhere.hm"), "nowhere.hm"),
        (("check", "nowhere.hm"), "nowhere.hm"),
        (("bench", "--rows", "0"), "--rows"),
        (("frobnicate",), "frobnicate"),
    ],
)
def test_errors(
    run: Run,
    known: Path,
    uploads: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    reason: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    before = set(tmp_path.iterdir())
    filled = [argument.format(known=known, uploads=uploads) for argument in arguments]
    code, out, err = run(*filled)
    assert (code, out) == (2, "")
    assert reason in " ".join(err.split())
    assert set(tmp_path.iterdir()) == before


def test_a_bug_is_no_answer(
    known: Path, uploads: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """An unexpected exception must not end with 1, which says that nothing matched."""

    def broken(*arguments: object) -> None:
        raise AssertionError("a bug")

    monkeypatch.setattr(cli, "report_rows", broken)
    monkeypatch.setattr(sys, "argv", ["hashmatch", "match", str(known), str(uploads)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert "AssertionError: a bug" in capfd.readouterr().err


# Output files


def test_output_file(run: Run, known: Path, uploads: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    target.write_text("old")
    code, out, _ = run("match", known, uploads, "-o", target)
    assert (code, out) == (0, "")
    assert parsed(target.read_text()) == as_text(EXPECTED)
    assert run("match", known, uploads, "-o", target, "--format", "table")[0] == 0
    assert "pic4.jpg" in target.read_text()


def test_a_failure_leaves_the_old_file(run: Run, known: Path, bad: Path, tmp_path: Path) -> None:
    target = tmp_path / "out.csv"
    target.write_text("old")
    before = set(tmp_path.iterdir())
    assert run("match", known, bad, "-o", target)[0] == 2
    assert target.read_text() == "old"
    assert set(tmp_path.iterdir()) == before


def test_output_through_a_link_and_to_a_device(
    run: Run, known: Path, uploads: Path, tmp_path: Path
) -> None:
    (tmp_path / "link.csv").symlink_to(tmp_path / "real.csv")
    assert run("match", known, uploads, "-o", tmp_path / "link.csv")[0] == 0
    assert (tmp_path / "link.csv").is_symlink()
    assert parsed((tmp_path / "real.csv").read_text()) == as_text(EXPECTED)
    assert run("match", known, uploads, "-o", "/dev/null")[0] == 0
    assert Path("/dev/null").is_char_device()


def test_the_output_may_be_the_input(run: Run, known: Path, uploads: Path) -> None:
    assert run("match", known, uploads, "-o", uploads)[0] == 0
    assert parsed(uploads.read_text()) == as_text(EXPECTED)


# build, info, check, bench


def test_build_info_check(run: Run, known: Path, uploads: Path, tmp_path: Path) -> None:
    target = tmp_path / "known.hm"
    code, out, err = run("build", known, "-o", target, "--max-distance", 20)
    assert (code, out) == (0, "")
    assert err.startswith(f"built {target}: pdq, 40 hashes, ") and err.endswith("B\n")
    index = Index.open(target)
    assert (index.hash_type, index.max_distance, len(index)) == ("pdq", 20, 40)
    np.testing.assert_array_equal(index.codes(range(40)), KNOWN)

    code, out, _ = run("info", target)
    stated = dict(line.split(maxsplit=1) for line in out.splitlines() if line[:7] != "section")
    assert code == 0
    assert stated["hash_type"] == "pdq" and stated["bits"] == "256"
    assert stated["rows"] == "40" and stated["max_distance"] == "20"
    assert "section " in out

    assert run("check", target) == (0, "", f"{target}: nothing wrong, 40 hashes\n")
    code, out, _ = run("match", target, uploads)
    assert [row["match_id"] for row in parsed(out)] == ["3", "3"]

    damaged = bytearray(target.read_bytes())
    damaged[-3] ^= 1
    target.write_bytes(damaged)
    code, _, err = run("check", target)
    assert code == 2 and str(target) in err


def test_ids_of_a_built_index_are_rows(run: Run, bad: Path, tmp_path: Path) -> None:
    code, _, err = run("build", bad, "-o", tmp_path / "known.hm", "--on-error", "skip")
    assert code == 0 and "skipped 3 bad rows:" in err
    index = Index.open(tmp_path / "known.hm")
    assert len(index) == 2 and 1 in index and 4 in index


def test_info_of_plain_bits(run: Run, tmp_path: Path) -> None:
    Index(bits=64).save(tmp_path / "plain.hm")
    code, out, _ = run("info", tmp_path / "plain.hm")
    assert code == 0
    assert (
        "max_distance  none\n" in out and "hash_type     -\n" in out and "rows          0\n" in out
    )


def test_bench(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hashmatch.bench._BULK", 200)
    monkeypatch.setattr("hashmatch.bench._ONE_BY_ONE", 20)
    code, out, _ = run("bench", "--rows", 300, "--type", "phash")
    assert code == 0
    for work in ("kernel", "300 of 64 bits (phash), within 8", "build", "bulk", "linear scan"):
        assert work in out


def test_version_and_help(run: Run) -> None:
    assert run("--version") == (0, f"hashmatch {__version__}\n", "")
    code, out, _ = run("--help")
    assert code == 0 and all(name in out for name in ("match", "build", "info", "check", "bench"))
    code, out, _ = run("match", "--help")
    assert code == 0 and "HASHES" in out and "--on-error" in out


# Pipes and terminals, in processes of their own.


def test_standard_input(known: Path, uploads: Path, tmp_path: Path) -> None:
    for arguments, source in (((known, "-"), uploads), (("-", uploads), known)):
        with source.open("rb") as file:
            done = subprocess.run(
                [*COMMAND, "match", *arguments], stdin=file, capture_output=True, text=True
            )
        assert (done.returncode, parsed(done.stdout)) == (0, as_text(EXPECTED))
    np.save(tmp_path / "uploads.npy", UPLOADS)
    for content, code, told in (
        ((tmp_path / "uploads.npy").read_bytes(), 0, b"3 of 5 uploads matched"),
        (b"f0\n", 2, b"hashmatch: <stdin>:1: hash has 2 hex digits"),
        (b"HASHMTCH" + bytes(50), 2, b"hashmatch: <stdin>: is a built index"),
    ):
        run = subprocess.run([*COMMAND, "match", known, "-"], input=content, capture_output=True)
        assert run.returncode == code and run.stderr.startswith(told)


@pytest.mark.parametrize("rows", [1, 300])
def test_a_closed_pipe_is_quiet(tmp_path: Path, rows: int) -> None:
    """Both when little is left to write at the end and when much is."""
    (tmp_path / "same.txt").write_text(f"{KNOWN_HEX[0]}\n" * rows)
    reads, writes = os.pipe()
    os.close(reads)
    run = subprocess.run(
        [*COMMAND, "match", tmp_path / "same.txt", tmp_path / "same.txt"],
        stdout=writes,
        stderr=subprocess.PIPE,
        # Only what is still buffered can fail a second time, as the interpreter exits.
        env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
    )
    os.close(writes)
    assert (run.returncode, run.stderr) == (141, b"")


def test_output_is_utf8_in_any_locale(known: Path, tmp_path: Path) -> None:
    (tmp_path / "up.csv").write_text(f"file,hash\n\u6f22\u00e9.jpg,{KNOWN_HEX[0]}\n", "utf-8")
    done = subprocess.run(
        [*COMMAND, "match", known, tmp_path / "up.csv"],
        capture_output=True,
        env=os.environ | {"PYTHONIOENCODING": "ascii"},
    )
    assert done.returncode == 0 and "\u6f22\u00e9.jpg" in done.stdout.decode()


def test_a_table_on_a_terminal(known: Path, uploads: Path) -> None:
    code, shown = on_terminal("match", known, uploads)
    assert code == 0
    for text in ("matched hash", "distance", "pic4.jpg", "label, 7", KNOWN_HEX[7][:10], "3 of 5"):
        assert text in shown
    assert "matching" in shown  # The progress bar.


def test_lists_do_not_steer_the_terminal(tmp_path: Path) -> None:
    (tmp_path / "evil.csv").write_text(f"hash,label\n{KNOWN_HEX[0]},\x1b]0;owned\x07[red]x[/red]\n")
    code, shown = on_terminal("match", tmp_path / "evil.csv", tmp_path / "evil.csv")
    assert code == 0
    assert "\x1b]0;" not in shown and "\x07" not in shown
    assert "[red]x[/red]" in shown
