"""Damaged files end in a clear error or in the answers of before; nothing crashes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import corruption
from hashmatch import FormatError, Index

PROCESSES = 4


@pytest.mark.parametrize("part", range(PROCESSES))
def test_damaged_files(tmp_path: Path, part: int) -> None:
    share = corruption.CASES // PROCESSES
    numbers = [str(part * share), str((part + 1) * share)]
    done = subprocess.run(
        [sys.executable, corruption.__file__, str(tmp_path), *numbers],
        capture_output=True,
        text=True,
        timeout=600 + share,
    )
    last = done.stdout.split()[-1:]
    assert done.returncode == 0, f"case {last}, exit {done.returncode}: {done.stderr[-2000:]}"
    assert len(done.stdout.split()) == share


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing"):
        Index.open(tmp_path / "nothing.hm")
    with pytest.raises(IsADirectoryError):
        Index.open(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    for path in ("/dev/null", "/dev/zero", tmp_path / "pipe"):
        with pytest.raises((OSError, FormatError)):
            Index.open(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read anything")
def test_no_permission(tmp_path: Path) -> None:
    Index("pdq").save(tmp_path / "index.hm")
    (tmp_path / "index.hm").chmod(0)
    with pytest.raises(PermissionError):
        Index.open(tmp_path / "index.hm")


def test_a_failed_save_keeps_the_old_file(tmp_path: Path) -> None:
    index = Index("phash")
    index.add([1, 2, 3])
    index.save(tmp_path / "index.hm")
    old = (tmp_path / "index.hm").read_bytes()
    (tmp_path / "folder.hm").mkdir()
    for path in (tmp_path / "missing" / "index.hm", tmp_path / "folder.hm", Path("/proc/index.hm")):
        with pytest.raises(OSError) as caught:
            index.save(path)
        assert caught.value.filename == str(path)
    assert (tmp_path / "index.hm").read_bytes() == old
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder.hm", "index.hm"]
