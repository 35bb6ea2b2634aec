"""Named, seeded data sets and the uploads to match against them.

`make(name, rows)` gives the same codes whenever and wherever it is called. `uniform` is what
published figures are measured on; the others are what real hash lists do to an index: runs of video
frames, the same picture from many members, flat frames that share bits.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.random import SFC64, Generator
from numpy.typing import NDArray

Codes = NDArray[np.uint8]
#: Draws so many codes of a distribution.
Draw = Callable[[Generator, int], Codes]

#: The sets meant to be hard, all of 256 bits.
ADVERSARIAL = ("zipf_clusters", "duplicates", "poisoned_band", "low_entropy", "one_centre")

_BLOCK_ROWS = 1 << 20
_POISONED_BITS = slice(80, 96)
_ONE_CENTRE_COPIES = 100_000


@dataclass(frozen=True)
class DataSet:
    """Codes, and where their uploads come from."""

    name: str
    codes: Codes
    #: Rows of the hostile part. None: no row is more hostile than another.
    hostile: NDArray[np.int64] | None
    #: A fresh code, unrelated to any that is held.
    unrelated: Draw

    @property
    def bits(self) -> int:
        return 8 * int(self.codes.shape[1])

    def uploads(self, count: int, max_distance: int, seed: int = 1) -> Codes:
        """Half unrelated codes, half at a distance of 0 to `max_distance` from a member drawn at
        random, in random order.
        """
        random = _generator(f"{self.name}/uploads", seed)
        members = random.integers(0, len(self.codes), count // 2)
        planted = perturbed(self.codes[members], 0, max_distance, random)
        uploads = np.concatenate([planted, self.unrelated(random, count - len(planted))])
        return np.ascontiguousarray(uploads[random.permutation(count)])

    def hostile_uploads(self, count: int, max_distance: int, seed: int = 1) -> Codes:
        """All at a distance of 0 to `max_distance` from a member of the hostile part."""
        random = _generator(f"{self.name}/hostile", seed)
        if self.hostile is None:
            members = random.integers(0, len(self.codes), count)
        else:
            members = random.choice(self.hostile, count)
        return perturbed(self.codes[members], 0, max_distance, random)


def make(name: str, rows: int, bits: int = 256, seed: int = 1) -> DataSet:
    """The data set of that name. The adversarial ones need 256 bits and 2,000 rows."""
    random = _generator(name, seed)
    if name == "uniform":
        return DataSet(name, uniform(random, rows, bits), None, _uniform_draw(bits))
    if name not in ADVERSARIAL:
        raise ValueError(f"no data set {name!r}: uniform, {', '.join(ADVERSARIAL)}")
    if bits != 256 or rows < 2_000:
        raise ValueError(f"{name} has 256 bits and 2,000 rows or more, not {bits} and {rows:,}")
    makers = {
        "zipf_clusters": _zipf_clusters,
        "duplicates": _duplicates,
        "poisoned_band": _poisoned_band,
        "low_entropy": _low_entropy,
        "one_centre": _one_centre,
    }
    return makers[name](random, rows)


def uniform(random: Generator, rows: int, bits: int) -> Codes:
    """Random codes, drawn in blocks so that hundreds of millions take no memory but their own."""
    words = np.empty((rows, bits // 64), np.uint64)
    for block in _blocks(words):
        block[:] = _random_words(random, block.shape)
    return words.view(np.uint8)


def perturbed(codes: Codes, least: int, most: int, random: Generator) -> Codes:
    """Each code with `least` to `most` of its bits flipped: so many bits exactly, all different."""
    bits = 8 * codes.shape[1]
    flips = random.integers(least, most + 1, len(codes))
    flipped = np.zeros_like(codes)
    # Floyd's way to draw k of b different numbers, for all rows at once: at step j a number of 0..j
    # is drawn, and j itself stands for one that was drawn before.
    for step in range(most):
        rows = np.flatnonzero(flips > step)
        last = bits - flips[rows] + step
        place = random.integers(0, last + 1)
        taken = (flipped[rows, place >> 3] >> (place & 7)) & 1
        place = np.where(taken == 1, last, place)
        flipped[rows, place >> 3] |= np.left_shift(1, place & 7).astype(np.uint8)
    return codes ^ flipped


def _zipf_clusters(random: Generator, rows: int) -> DataSet:
    """30 % lie 0 to 8 bits from the centres of clusters whose sizes follow Zipf's law."""
    codes = uniform(random, rows, 256)
    hostile = _scattered(random, rows, 3 * rows // 10)
    centres = uniform(random, max(1, rows // 1_000), 256)
    codes[hostile] = perturbed(centres[_zipf(random, len(centres), len(hostile))], 0, 8, random)
    return DataSet("zipf_clusters", codes, hostile, _uniform_draw(256))


def _duplicates(random: Generator, rows: int) -> DataSet:
    """50 % are exact copies of few codes, each copied as often as Zipf's law says."""
    codes = uniform(random, rows, 256)
    hostile = _scattered(random, rows, rows // 2)
    originals = uniform(random, max(1, rows // 1_000), 256)
    codes[hostile] = originals[_zipf(random, len(originals), len(hostile))]
    return DataSet("duplicates", codes, hostile, _uniform_draw(256))


def _poisoned_band(random: Generator, rows: int) -> DataSet:
    """50 % share the value of 16 neighbouring bits; so do 50 % of the unrelated uploads."""
    poison = slice(_POISONED_BITS.start // 8, _POISONED_BITS.stop // 8)
    value = random.integers(0, 256, 2, dtype=np.uint8)

    def draw(random: Generator, count: int) -> Codes:
        drawn = uniform(random, count, 256)
        drawn[random.random(count) < 0.5, poison] = value
        return drawn

    codes = uniform(random, rows, 256)
    hostile = _scattered(random, rows, rows // 2)
    codes[hostile, poison] = value
    return DataSet("poisoned_band", codes, hostile, draw)


def _low_entropy(random: Generator, rows: int) -> DataSet:
    """64 of the 256 bits, spread at random, are set with a chance of 1 / 32; all rows alike."""
    mask = np.zeros(256, np.uint8)
    mask[random.choice(256, 64, replace=False)] = 1
    low = np.packbits(mask).view(np.uint64)

    def draw(random: Generator, count: int) -> Codes:
        words = np.empty((count, 4), np.uint64)
        for block in _blocks(words):
            block[:] = _random_words(random, block.shape)
            for _ in range(4):
                block &= ~low | _random_words(random, block.shape)
        return words.view(np.uint8)

    return DataSet("low_entropy", draw(random, rows), None, draw)


def _one_centre(random: Generator, rows: int) -> DataSet:
    """10^5 lie 0 to 31 bits from one centre."""
    codes = uniform(random, rows, 256)
    hostile = _scattered(random, rows, min(_ONE_CENTRE_COPIES, rows // 10))
    centre = uniform(random, 1, 256)
    codes[hostile] = perturbed(centre.repeat(len(hostile), axis=0), 0, 31, random)
    return DataSet("one_centre", codes, hostile, _uniform_draw(256))


def _uniform_draw(bits: int) -> Draw:
    return lambda random, count: uniform(random, count, bits)


def _generator(name: str, seed: int) -> Generator:
    return Generator(SFC64([seed, zlib.crc32(name.encode())]))


def _random_words(random: Generator, shape: tuple[int, ...]) -> NDArray[np.uint64]:
    return random.integers(0, 2**64, shape, dtype=np.uint64)


def _blocks(words: NDArray[np.uint64]) -> list[NDArray[np.uint64]]:
    return [words[at : at + _BLOCK_ROWS] for at in range(0, len(words), _BLOCK_ROWS)]


def _scattered(random: Generator, rows: int, count: int) -> NDArray[np.int64]:
    """`count` different row numbers in random order: ids then tell nothing of who belongs with
    whom.
    """
    return random.permutation(rows)[:count]


def _zipf(random: Generator, kinds: int, count: int) -> NDArray[np.int64]:
    """`count` of the numbers 0 to kinds - 1, number k being drawn 1 / (k + 1) as often as 0."""
    chances = np.cumsum(1 / np.arange(1, kinds + 1))
    numbers: NDArray[np.int64] = np.searchsorted(chances, random.random(count) * chances[-1])
    return numbers
