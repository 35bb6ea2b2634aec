"""How fast a folder is scanned, by one process and by more, and what the time goes into.

    python benchmarks/scanning.py [--pictures 500] [--workers 2]

The pictures are JPEGs of 1600 x 1200 with edges and noise, as photographs have; the database holds
100,000 random codes and, of every tenth picture, its own.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

import hashmatch
from hashmatch.hashing import DIGESTS, digest_file, hash_image
from hashmatch.hashing.images import hash_pixels
from hashmatch.scanning.findings import Status
from hashmatch.scanning.matching import Asked, Matcher
from hashmatch.scanning.scan import scan

_SIZE = 1600, 1200
_SAMPLE = 30
_KNOWN = 100_000


def make_pictures(folder: Path, count: int) -> list[Path]:
    random = np.random.default_rng(1)
    paths = []
    for number in range(count):
        coarse = Image.fromarray(random.integers(0, 256, (12, 16, 3), np.uint8))
        pixels = np.asarray(coarse.resize(_SIZE, Image.Resampling.BICUBIC), np.int16)
        noise = random.integers(-8, 9, pixels.shape, np.int16)
        path = folder / f"{number:05}.jpg"
        Image.fromarray(np.clip(pixels + noise, 0, 255).astype(np.uint8)).save(path, quality=85)
        paths.append(path)
    return paths


def make_database(path: Path, pictures: list[Path]) -> int:
    """How many of the pictures are known."""
    known = pictures[::10]
    codes = np.random.default_rng(2).integers(0, 256, (_KNOWN, 32), np.uint8)
    codes[: len(known)] = [hash_image(picture).code for picture in known]
    with hashmatch.open(path, "c") as database:
        database.create("known")
        with database.change("known") as change:
            change.add("pdq", codes, refs=list(map(str, range(_KNOWN))))
            change.add("md5", [bytes(16)], refs=["no picture"], kind="file")
        database.fold()
    return len(known)


def scanned(folder: Path, matcher: Matcher, workers: int, expected: int) -> tuple[float, float]:
    """Seconds, and those of all processes' own time."""
    begin, begin_cpu = time.perf_counter(), _cpu_s()
    matched = sum(each.status == Status.MATCHED for each in scan(str(folder), matcher, workers))
    took, took_cpu = time.perf_counter() - begin, _cpu_s() - begin_cpu
    assert matched == expected, f"{matched} matched, not {expected}"
    return took, took_cpu


def _cpu_s() -> float:
    return sum(os.times()[:4])


def median_ms(job: Callable[[Path], object], paths: list[Path]) -> float:
    times = []
    for path in paths:
        begin = time.perf_counter()
        job(path)
        times.append(time.perf_counter() - begin)
    return statistics.median(times) * 1000


def parts(paths: list[Path], matcher: Matcher) -> dict[str, float]:
    """Milliseconds a picture, one process, median."""
    decoded = {path: np.asarray(Image.open(path)) for path in paths}
    code = hash_image(paths[0]).code
    return {
        "JPEG decoded (Pillow)": median_ms(lambda path: np.asarray(Image.open(path)), paths),
        "PDQ of the pixels (pdqhash)": median_ms(lambda path: hash_pixels(decoded[path]), paths),
        "MD5": median_ms(lambda path: digest_file(path, DIGESTS[:1]), paths),
        "matched": median_ms(lambda path: matcher.database.match("pdq", code, threads=1), paths),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pictures", type=int, default=500)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as top:
        folder = Path(top) / "pictures"
        folder.mkdir()
        paths = make_pictures(folder, options.pictures)
        expected = make_database(Path(top) / "known", paths)
        size = sum(path.stat().st_size for path in paths) / len(paths)
        print(f"{len(paths):,} JPEGs of {_SIZE[0]} x {_SIZE[1]}, {size / 1000:,.0f} kB each")
        with hashmatch.open(Path(top) / "known") as database:
            matcher = Matcher(database, Asked())
            for name, took_ms in parts(paths[:_SAMPLE], matcher).items():
                print(f"{name:30} {took_ms:8.2f} ms")
            for workers in sorted({1, options.workers}):
                took, cpu = scanned(folder, matcher, workers, expected)
                print(
                    f"scanned by {workers} {'process' if workers == 1 else 'processes'}: "
                    f"{len(paths) / took:,.1f} pictures a second, "
                    f"{cpu / len(paths) * 1000:,.1f} ms of processors a picture"
                )


if __name__ == "__main__":
    main()
