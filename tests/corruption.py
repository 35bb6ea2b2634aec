"""Damaged index files, and what must become of them. `test_corruption` runs this in processes of
its own, so that a crash is seen: python corruption.py FOLDER FIRST LAST runs the cases so numbered.
"""

from __future__ import annotations

import os
import random
import struct
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

import hashmatch
from hashmatch import FormatError, Index, _core
from oracle import flipped, random_codes
from segment_file import SegmentFile, resealed

CASES = int(os.environ.get("HASHMATCH_CASES", "2000"))

#: Index type, rows, and the distance to search at.
SHAPES = [("phash", 300, 8), ("simhash", 3000, 3), ("pdq", 2500, 31), ("md5", 2500, 0)]

#: Counts and sizes in the header: offset and struct code.
COUNTS = [(16, "Q"), (24, "Q"), (32, "I"), (36, "I"), (56, "Q"), (64, "Q"), (72, "Q"), (84, "I")]
COUNTS += [(88, "I"), (92, "I"), (96, "Q"), (104, "H"), (106, "H"), (110, "H"), (240, "Q")]
COUNTS += [(232, "I"), (236, "I"), (248, "Q"), (264, "I"), (272, "Q"), (280, "Q")]


class Sample:
    """A sound file, and what it answers."""

    def __init__(self, folder: Path, kind: str, rows: int, max_distance: int) -> None:
        index = Index(kind)
        codes = random_codes(rows, index.bits, rows)
        codes[-rows // 10 :] = codes[: rows // 10]
        index.add(codes, np.arange(rows, dtype=np.uint64) * 3 + 7)
        path = folder / f"{kind}.hm"
        index.save(path)
        self.contents = path.read_bytes()
        self.file = SegmentFile(self.contents)
        self.queries = np.array([flipped(code, max_distance) for code in codes[:70]], np.uint8)
        self.max_distance = max_distance
        self.answers = self.ask(Index.open(path))

    def ask(self, index: Index) -> list[object]:
        many = index.search(self.queries, self.max_distance)
        one = index.search(self.queries[:1], self.max_distance)
        nearest = index.nearest(self.queries[:5], 3, self.max_distance)
        return [many.to_list(), one.to_list(), nearest.to_list(), len(index)]


class Damage:
    """One damaged file. `harmless`: searches may not notice, as it is in no byte they read."""

    def __init__(self, contents: bytes, harmless: bool = False, sealed: bool = False) -> None:
        self.contents = contents
        self.harmless = harmless
        #: The header's checksum is right: this may be a sound file of other contents.
        self.sealed = sealed


def changed(sample: Sample, at: int, new: bytes) -> bytes:
    return sample.contents[:at] + new + sample.contents[at + len(new) :]


def header_byte(sample: Sample, chance: random.Random) -> Damage:
    # The fields more often than the many section entries and zeros after them.
    at = chance.choice([chance.randrange(240), chance.randrange(4096)])
    old = sample.contents[at]
    new = chance.choice([value for value in (0, 0xFF, old ^ 0xFF) if value != old])
    contents = changed(sample, at, bytes([new]))
    sealed = chance.random() < 0.6
    return Damage(resealed(contents) if sealed else contents, sealed=sealed)


def truncation(sample: Sample, chance: random.Random) -> Damage:
    section = chance.choice(sample.file.sections)
    edge = chance.choice([0, 4096, section.offset - 64, section.offset])
    edge = chance.choice([edge, section.offset + section.size, len(sample.contents)])
    length = max(0, edge + chance.choice([-1, 0, 1]))
    contents = (sample.contents + bytes(8))[:length]
    if chance.random() < 0.5 and length >= 4096:
        contents = resealed(contents[:16] + length.to_bytes(8, "little") + contents[24:])
    return Damage(contents, sealed=length == len(sample.contents))


def huge_count(sample: Sample, chance: random.Random) -> Damage:
    at, code = chance.choice(COUNTS)
    largest = 2 ** (8 * struct.calcsize(code)) - 1
    number = chance.choice([0, 1, largest, largest - 1, largest // 2, 2**31, 2**32, 2**40, 2**62])
    return Damage(
        resealed(changed(sample, at, struct.pack("<" + code, min(number, largest)))), sealed=True
    )


def swapped_sections(sample: Sample, chance: random.Random) -> Damage:
    numbers = chance.sample(range(len(sample.file.sections)), 2)
    first, second = (sample.file.sections[number] for number in numbers)
    size = min(first.size, second.size)
    prologue = chance.choice([0, 64])  # With their prologues, or behind each other's.
    contents = bytearray(sample.contents)
    at, to = first.offset - prologue, second.offset - prologue
    contents[at : first.offset + size] = sample.contents[to : second.offset + size]
    contents[to : second.offset + size] = sample.contents[at : first.offset + size]
    if chance.random() < 0.3:
        entries = [232 + 32 * number for number in numbers]
        for entry, other in (entries, reversed(entries)):
            contents[entry : entry + 32] = sample.contents[other : other + 32]
        return Damage(resealed(bytes(contents)), sealed=True)
    return Damage(bytes(contents))


def flips_anywhere(sample: Sample, chance: random.Random) -> Damage:
    contents = bytearray(sample.contents)
    harmless = True
    for _ in range(chance.randint(1, 5)):
        at = chance.randrange(len(contents))
        contents[at] ^= chance.randint(1, 255)
        inside = any(s.offset - 64 <= at < s.offset + s.size for s in sample.file.sections)
        harmless = harmless and at >= 4096 and not inside
    return Damage(bytes(contents), harmless)


def numbers_of_a_section(sample: Sample, chance: random.Random) -> Damage:
    section = chance.choice([section for section in sample.file.sections if section.size])
    begin = section.offset + chance.randrange(section.size)
    length = min(chance.choice([1, 8, 100]), section.offset + section.size - begin)
    new = chance.choice([bytes(length), b"\xff" * length, chance.randbytes(length)])
    return Damage(changed(sample, begin, new))


def foreign(sample: Sample, chance: random.Random) -> Damage:
    return Damage(
        chance.choice(
            [
                b"",
                b"HASHMTCH",
                b"\x89PNG\r\n\x1a\n" + chance.randbytes(9000),
                b"hash\n" + b"f0" * 5000,
                bytes(8192),
                chance.randbytes(5000),
                b"HASHMTCH" + chance.randbytes(20_000),
                resealed(b"HASHMTCH\1\0\0\0" + chance.randbytes(20_000)),
            ]
        )
    )


Maker = Callable[[Sample, random.Random], Damage]
KINDS: list[tuple[Maker, int]] = [
    (header_byte, 6),
    (truncation, 3),
    (huge_count, 4),
    (swapped_sections, 2),
    (flips_anywhere, 3),
    (numbers_of_a_section, 5),
    (foreign, 1),
]


def refused(call: Callable[[], object]) -> bool:
    try:
        call()
    except (FormatError, OSError):
        return True
    return False


def run(sample: Sample, damage: Damage, path: Path) -> None:
    path.write_bytes(damage.contents)
    if damage.contents == sample.contents:
        assert sample.ask(Index.open(path)) == sample.answers
        return
    found = refused(lambda: _core.Segment.open(str(path), False).check())
    copied = refused(lambda: use(sample, path, memory=True))
    assert found >= copied, "an open into memory refuses what check accepts"
    if not damage.sealed:
        assert found, "check overlooks a changed byte"
        assert copied, "an open into memory overlooks a changed byte"
    if damage.harmless:
        assert sample.ask(Index.open(path)) == sample.answers
    refused(lambda: use(sample, path, memory=False))


def use(sample: Sample, path: Path, *, memory: bool) -> None:
    index = Index.open(path, memory=memory)
    if index.bits == sample.file.bits:
        sample.ask(index)
    index.nearest(bytes(index.bits // 8), 3, 10)
    try:
        for id in range(7, 60, 3):
            if id in index:
                index.codes(id)
        index.add(random_codes(3, index.bits))
        index.remove([7])
        index.compact()
        index.save(path.with_suffix(".saved"))
    except (KeyError, ValueError):
        pass  # Ids are not what they were.


def cases(samples: list[Sample], first: int, last: int) -> Iterator[tuple[int, Sample, Damage]]:
    makers = [maker for maker, share in KINDS for _ in range(share)]
    for number in range(first, last):
        chance = random.Random(number)
        sample = samples[number % len(samples)]
        yield number, sample, makers[number // len(samples) % len(makers)](sample, chance)


def main(folder: Path, first: int, last: int) -> None:
    samples = [Sample(folder, *shape) for shape in SHAPES]
    for number, sample, damage in cases(samples, first, last):
        print(number, flush=True)
        run(sample, damage, folder / f"damaged-{first}.hm")


if __name__ == "__main__":
    assert hashmatch.kernels()
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
