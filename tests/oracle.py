"""What every search must answer: the distance of every query to every code, and nothing clever."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def distances(queries: NDArray[np.uint8], codes: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Hamming distances, int64[queries, codes]."""
    differing = np.bitwise_count(queries[:, None] ^ codes[None])
    total: NDArray[np.int64] = differing.sum(axis=2, dtype=np.int64)
    return total


def search(
    queries: NDArray[np.uint8],
    codes: dict[int, bytes],
    max_distance: int,
    limit: int | None = None,
) -> list[tuple[int, int, int]]:
    """(query, id, distance) of every match, ordered by query, distance, id."""
    if not codes:
        return []
    ids = list(codes)
    rows = np.array([list(codes[id]) for id in ids], dtype=np.uint8)
    found = []
    for query, row in enumerate(distances(queries, rows).tolist()):
        near = sorted((far, id) for far, id in zip(row, ids, strict=True) if far <= max_distance)
        found += [(query, id, far) for far, id in near[:limit]]
    return found


def random_codes(rows: int, bits: int, seed: int = 0) -> NDArray[np.uint8]:
    """Uniform codes, uint8[rows, bits / 8]."""
    return np.random.default_rng(seed).integers(0, 256, (rows, bits // 8), dtype=np.uint8)


def flipped(code: NDArray[np.uint8], count: int, seed: int = 0) -> NDArray[np.uint8]:
    """A copy of one code, uint8[bits / 8], at exactly that distance."""
    bits = np.unpackbits(code)
    bits[np.random.default_rng(seed).permutation(len(bits))[:count]] ^= 1
    return np.packbits(bits)
