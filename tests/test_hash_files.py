"""Files of every kind, broken, hostile and odd, and the processes that hash them."""

from __future__ import annotations

import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from hashmatch.hashing import DIGESTS, FileHashes, hash_file, hash_image
from hashmatch.hashing.contents import is_video
from hashmatch.hashing.walking import walk
from hashmatch.hashing.workers import Failure, Workers
from media import encoded, picture, pixels, png_claiming, write_video

ALL = ("pdq", "vpdq", *DIGESTS)


def digests(content: bytes) -> dict[str, bytes]:
    return {name: hashlib.new(name, content).digest() for name in DIGESTS}


def reason(path: Path, **options: float) -> tuple[str, str | None]:
    """The kind, and why something is missing; the digests are there all the same."""
    found = hash_file(str(path), ALL, **options)  # type: ignore[arg-type]
    assert found.picture is None
    if path.is_file() and path.stat().st_size:
        assert found.digests == digests(path.read_bytes())
    else:
        assert found.digests == {}
    return found.kind, found.reason


def test_picture_by_its_contents(tmp_path: Path) -> None:
    content = encoded(picture(1), "JPEG")
    for name in ("a.jpg", "a.txt", "a.mp4", "no ending", "new\nline.png", "\udcff\udcfe.jpg"):
        path = tmp_path / name
        path.write_bytes(content)
        found = hash_file(str(path), ALL)
        assert (found.kind, found.reason, found.frames) == ("image", None, [])
        assert found.digests == digests(content)
        assert found.picture is not None
        code, quality = hash_image(content)
        assert (found.picture.code == code).all()
        assert found.picture.quality == quality


def test_video_by_its_contents(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", [pixels(n) for n in range(5)], 1, codec="mpeg4",
                format="yuv420p")  # fmt: skip
    path = (tmp_path / "a.mp4").rename(tmp_path / "a.jpg")
    found = hash_file(str(path), ALL)
    assert (found.kind, found.reason, found.picture) == ("video", None, None)
    assert [frame.time_ms for frame in found.frames] == [0, 1000, 2000, 3000, 4000]
    assert found.digests == digests(path.read_bytes())


def test_only_what_is_asked_for(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(picture(1), "JPEG"))
    assert hash_file(str(path), ["md5"]) == FileHashes(
        digests={"md5": hashlib.md5(path.read_bytes()).digest()}
    )
    only_pdq = hash_file(str(path), ["pdq"])
    assert only_pdq.digests == {}
    assert only_pdq.picture is not None
    only_vpdq = hash_file(str(path), ["vpdq"])
    assert (only_vpdq.kind, only_vpdq.picture) == ("image", None)


def test_other_files(tmp_path: Path) -> None:
    for name, content in (
        ("notes.txt", b"text\n"),
        ("program", bytes(range(256)) * 100),
        ("zeros", bytes(10_000)),
        ("G", b"Good morning"),
        ("page.html", b"<!doctype html><title>x</title>"),
    ):
        path = tmp_path / name
        path.write_bytes(content)
        assert reason(path) == ("file", None)


@pytest.mark.parametrize("ending", [".jpg", ".PNG", ".mp4", ".webm"])
def test_names_that_promise_too_much(ending: str, tmp_path: Path) -> None:
    path = tmp_path / f"text{ending}"
    path.write_bytes(b"some text\n")
    named = f"is named {ending.lower()}, but neither a picture nor a video"
    assert reason(path) == ("file", named)


def test_empty(tmp_path: Path) -> None:
    path = tmp_path / "empty.jpg"
    path.touch()
    assert reason(path) == ("file", "is empty")


@pytest.mark.parametrize("format", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "AVIF"])
def test_truncated_pictures(format: str, tmp_path: Path) -> None:
    whole = encoded(picture(2), format)
    path = tmp_path / "cut"
    path.write_bytes(whole[: len(whole) * 6 // 10])
    kind, why = reason(path)
    assert kind == "image"
    assert why is not None
    assert why.startswith("is damaged: ") or why == "is a damaged picture"
    assert "\n" not in (why or "")


def test_damaged_pictures_never_raise(tmp_path: Path) -> None:
    path = tmp_path / "damaged"
    random = np.random.default_rng(3)
    wholes = [encoded(picture(3, width=40, height=40), name) for name in
              ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "ICO", "TGA", "PPM")]  # fmt: skip
    hashed = 0
    for _ in range(300):
        content = bytearray(wholes[random.integers(len(wholes))])
        for place in random.integers(len(content), size=random.integers(1, 30)):
            content[place] = random.integers(256)
        path.write_bytes(content)
        found = hash_file(str(path), ("pdq", "vpdq"))
        assert (found.picture is None) or found.reason is None
        hashed += found.picture is not None
    assert 20 < hashed < 280


def test_bombs(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png_claiming(50_000, 50_000))
    kind, why = reason(path)
    assert (kind, (why or "")[:12]) == ("image", "is too large")


def test_heif_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.heic"
    path.write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100))
    assert reason(path) == ("image", "is a HEIF picture, which Pillow does not read: convert it")


def test_damaged_video(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, [pixels(n) for n in range(40)], 1, codec="libx264", format="yuv420p",
                options={"g": "1"})  # fmt: skip
    whole = path.read_bytes()
    middle = len(whole) // 2
    path.write_bytes(whole[:middle] + bytes(40_000) + whole[middle + 40_000 :])
    found = hash_file(str(path), ALL)
    assert found.kind == "video"
    assert (found.reason or "").startswith("is damaged after ")
    assert 5 < len(found.frames) < 40
    path.write_bytes(whole[: len(whole) // 2])  # An MP4's table of contents is at its end.
    assert reason(path)[1] == (
        "is a damaged video: cannot be opened as a video: invalid data found when processing input"
    )
    assert reason(path)[0] == "video"


def test_time_limit_keeps_what_there_is(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    write_video(path, [pixels(n) for n in range(10)], 1)
    found = hash_file(str(path), ALL, time_limit_s=0.0)
    assert found.reason == "took too long: only the first 0 s were hashed"
    assert [frame.time_ms for frame in found.frames] == [0]
    assert hash_file(str(path), ALL, time_limit_s=60.0).reason is None


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "folder.jpg").mkdir()
    (tmp_path / "link.jpg").symlink_to("/etc/passwd")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(tmp_path / "socket.jpg"))
    listener.close()
    for name, what in (
        ("pipe", "is a named pipe"),
        ("folder", "is a folder"),
        ("link", "is a symbolic link, which is not followed"),
        ("socket", "is a socket"),
    ):
        found = hash_file(str(tmp_path / f"{name}.jpg"), ALL)
        assert found == FileHashes(reason=what)
    assert hash_file("/dev/zero", ALL) == FileHashes(reason="is a device")
    assert hash_file(str(tmp_path / "missing"), ALL).reason == "no such file or directory"
    assert hash_file(str(tmp_path / ("x" * 300)), ALL).reason == "file name too long"


@contextmanager
def without_rights() -> Iterator[Path]:
    """A folder that anybody may read, and not to be root, who may read everything."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    root = os.geteuid() == 0
    try:
        yield folder
    finally:
        if root:
            os.seteuid(0)
        (folder / "closed").chmod(0o700)
        shutil.rmtree(folder)


def give_rights_up(closed: Path) -> None:
    closed.chmod(0)
    if os.geteuid() == 0:
        os.seteuid(65_534)


def test_unreadable() -> None:
    with without_rights() as folder:
        (folder / "closed").write_bytes(b"x")
        give_rights_up(folder / "closed")
        found = hash_file(str(folder / "closed"), ALL)
    assert found == FileHashes(reason="permission denied")


def test_large_pictures_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import fcntl

    from hashmatch.hashing import contents

    monkeypatch.setattr(contents, "LARGE_PIXELS", 160 * 120 - 1)
    turns, path = tmp_path / "turns", tmp_path / "a.png"
    turns.touch()
    path.write_bytes(encoded(picture(1), "PNG"))
    done: list[float] = []

    def run() -> None:
        assert hash_file(str(path), ALL, turns=str(turns)).picture is not None
        done.append(time.monotonic())

    with turns.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        thread = threading.Thread(target=run)
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
        released = time.monotonic()
    thread.join(20)
    assert done
    assert done[0] >= released


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"\0\0\0\x20ftypisom", True),
        (b"\0\0\0\x20ftypavif", False),
        (b"\0\0\0\x20ftypheic", False),
        (b"RIFF\0\0\0\0AVI LIST", True),
        (b"RIFF\0\0\0\0WEBPVP8 ", False),
        (b"\x1a\x45\xdf\xa3", True),
        (b"GIF89a", False),
        (b"G" + bytes(187) + b"G", True),
        (b"Good", False),
        (b"", False),
    ],
)
def test_heads(head: bytes, expected: bool) -> None:
    assert is_video(head + bytes(512 - len(head))) is expected


def test_walk(tmp_path: Path) -> None:
    for name in ("b/2", "b/1", "a", "c/d/e", "left/out"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "c" / "loop").symlink_to(tmp_path)
    (tmp_path / "out").symlink_to("/etc")
    (tmp_path / "\udcff\n").touch()
    seen = list(walk(str(tmp_path), str(tmp_path / "left")))
    names = [os.path.relpath(each.path, tmp_path) for each in seen]
    assert names == ["a", "b/1", "b/2", "c/d/e", "c/loop", "out", "\udcff\n"]
    assert {each.reason for each in seen} == {None}
    with pytest.raises(FileNotFoundError):
        list(walk(str(tmp_path / "missing")))
    with pytest.raises(NotADirectoryError):
        list(walk(str(tmp_path / "a")))


def test_walk_past_a_closed_folder() -> None:
    with without_rights() as folder:
        (folder / "closed").mkdir()
        (folder / "z").touch()
        give_rights_up(folder / "closed")
        seen = [(Path(each.path).name, each.reason) for each in walk(str(folder))]
    assert seen == [("closed", "is a folder that cannot be read: permission denied"), ("z", None)]


# The processes.


def odd_job(job: str) -> str:
    if job == "crash":
        os.kill(os.getpid(), signal.SIGSEGV)
    if job == "exit":
        os._exit(3)
    if job == "hang":
        signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 32))
        time.sleep(60)
    if job == "memory":
        try:
            return str(len(bytearray(1 << 32)))
        except MemoryError:
            return "no memory"
    return f"{job} by {os.getpid()}"


def run_jobs(jobs: list[str], count: int, **options: float) -> dict[str, str]:
    outcomes = {}
    with Workers[str, str](odd_job, count, **options) as workers:  # type: ignore[arg-type]
        for number, result in workers.run(jobs):
            outcomes[jobs[number]] = (
                result.reason if isinstance(result, Failure) else result.partition(" by ")[0]
            )
    assert list(outcomes) == jobs or count > 1
    return outcomes


def test_a_process_that_dies_is_one_file(tmp_path: Path) -> None:
    jobs = ["a", "crash", "b", "exit", "c", "memory", "d"]
    expected = {job: job for job in jobs} | {
        "crash": "ended the process that hashed it: segmentation fault",
        "exit": "ended the process that hashed it: exit code 3",
        "memory": "no memory",
    }
    assert run_jobs(jobs, 1, memory_bytes=1 << 30) == expected


def test_a_process_that_hangs_is_killed() -> None:
    begin = time.monotonic()
    found = run_jobs(["a", "hang", "b", "c"], 2, time_limit_s=1.0)
    assert time.monotonic() - begin < 20
    assert found == {"a": "a", "hang": "took longer than 1 s", "b": "b", "c": "c"}


def test_no_more_processes_than_jobs() -> None:
    with Workers[str, str](odd_job, 64) as workers:
        outcomes = [result for _, result in workers.run(["a"])]
        assert len(outcomes) == 1
        assert len(workers._workers) == 1
        assert list(workers.run([])) == []


def test_processes_end_with_the_one_that_began_them(tmp_path: Path) -> None:
    """Killed, it cannot end them itself; and one of them hangs."""
    program = (
        "import test_hash_files as here\n"
        "with here.Workers(here.odd_job, 2) as workers:\n"
        "    for _, result in workers.run(['a', 'hang']): print(result, flush=True)\n"
    )
    here = Path(__file__).parent
    command = [sys.executable, "-c", program]
    with subprocess.Popen(command, cwd=here, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        first = run.stdout.readline()
        children = _children(run.pid)
        run.kill()
    assert first.startswith("a by ")
    assert len(children) >= 2
    deadline = time.monotonic() + 10
    while any(Path(f"/proc/{child}").exists() for child in children):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _children(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/task/{pid}/children").read_text().split()


def cannot_begin() -> None:
    raise AssertionError


class Unpicklable:
    """What cannot be made in another process."""

    def __reduce__(self) -> tuple[Callable[[], None], tuple[()]]:
        return cannot_begin, ()

    def __call__(self, job: str) -> str:
        return job


def test_a_process_that_cannot_begin_is_an_error(capfd: pytest.CaptureFixture[str]) -> None:
    with (
        Workers[str, str](Unpicklable(), 1) as workers,
        pytest.raises(ChildProcessError, match="a process did not begin: exit code 1"),
    ):
        list(workers.run(["a"]))
    assert "AssertionError" in capfd.readouterr().err
