"""The whole engine, through the Python API, against brute force."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import hashmatch
from hashmatch import Index
from oracle import distances, flipped, random_codes

WIDTHS = [64, 128, 160, 256]

#: How the codes of a set are related.
SHAPES = ["uniform", "duplicates", "clusters", "one value", "all equal"]

everywhere = settings(max_examples=60, derandomize=True, deadline=None)


def make_codes(shape: str, rows: int, bits: int, seed: int) -> NDArray[np.uint8]:
    codes = random_codes(rows, bits, seed)
    chance = np.random.default_rng(seed)
    if shape == "duplicates":
        codes[::2] = codes[chance.integers(0, max(rows, 1), (rows + 1) // 2)]
    elif shape == "clusters":
        for row in range(1, rows):
            codes[row] = flipped(codes[row % min(rows, 4)], row % 5, row)
    elif shape == "one value":
        codes[:, :3] = 0xA5
    elif shape == "all equal":
        codes[:] = codes[:1]
    return codes


def make_ids(rows: int, seed: int) -> NDArray[np.uint64]:
    """Different ids from all of 64 bits, small ones among them, in no order."""
    chance = np.random.default_rng(seed)
    ids = chance.integers(0, 2**64 - 1, 2 * rows + 1, np.uint64) >> np.uint64(seed % 40)
    unique = np.unique(ids)
    while len(unique) < rows:
        unique = np.unique(np.append(unique, chance.integers(0, 2**63, rows).astype(np.uint64)))
    return chance.permutation(unique)[:rows]


def make_queries(codes: NDArray[np.uint8], bits: int, r: int, seed: int) -> NDArray[np.uint8]:
    """Codes at exactly r and r + 1 of known ones, and some of no relation."""
    chance = np.random.default_rng(seed)
    rows = chance.integers(0, len(codes), 12).tolist() if len(codes) else []
    near = [flipped(codes[row], min(r + k, bits), row) for row in rows for k in (0, 1)]
    return np.array([*near, *random_codes(4, bits, seed + 1)], np.uint8)


def expected(
    queries: NDArray[np.uint8],
    codes: NDArray[np.uint8],
    ids: NDArray[np.uint64],
    max_distance: int,
    limit: int | None,
) -> list[tuple[int, int, int]]:
    found = []
    for query, row in enumerate(distances(queries, codes)):
        near = np.flatnonzero(row <= max_distance)
        order = near[np.lexsort((ids[near], row[near]))][:limit]
        found += [(query, int(ids[k]), int(row[k])) for k in order]
    return found


@st.composite
def distance_of(draw: st.DrawFn, bits: int) -> int:
    return draw(st.sampled_from([0, 1, 2, 3, 8, 10, 16, 31, 64, bits]) | st.integers(0, bits))


@everywhere
@given(data=st.data())
def test_search_and_nearest(data: st.DataObject) -> None:
    bits = data.draw(st.sampled_from(WIDTHS), "bits")
    shape = data.draw(st.sampled_from(SHAPES), "shape")
    sizes = st.sampled_from([0, 1, 2, 3, 63, 65, 2047, 2048, 2049, 6001])
    rows = data.draw(sizes | st.integers(0, 3000), "rows")
    made_for = data.draw(st.none() | st.sampled_from([0, 3, 8, 31]), "index distance")
    max_distance = data.draw(distance_of(bits), "distance")
    limit = data.draw(st.none() | st.integers(1, 20), "limit")
    threads = data.draw(st.sampled_from([0, 1, 2, 3]), "threads")
    batches = data.draw(st.sampled_from([1, 2, 5]), "batches")
    seed = data.draw(st.integers(0, 10_000), "seed")

    codes, ids = make_codes(shape, rows, bits, seed), make_ids(rows, seed)
    index = Index(bits=bits, max_distance=made_for)
    for part in np.array_split(np.arange(rows), batches):
        np.testing.assert_array_equal(index.add(codes[part], ids[part]), ids[part])
    if data.draw(st.booleans(), "compact"):
        index.compact(threads=threads)
    assert len(index) == rows

    queries = make_queries(codes, bits, max_distance, seed)
    wanted = expected(queries, codes, ids, max_distance, limit)
    found = index.search(queries, max_distance, limit=limit, threads=threads)
    assert found.to_list() == wanted
    if len(queries):
        one = index.search(queries[0], max_distance, limit=limit)
        assert one.to_list() == [match for match in wanted if match[0] == 0]
    k = limit or 10
    nearest = index.nearest(queries, k, max_distance, threads=threads)
    assert nearest.to_list() == expected(queries, codes, ids, max_distance, k)


@pytest.mark.parametrize("bits", WIDTHS)
@pytest.mark.parametrize("shape", SHAPES)
def test_many_queries(bits: int, shape: str) -> None:
    codes, ids = make_codes(shape, 4000, bits, bits), make_ids(4000, bits)
    r = bits // 10
    index = Index(bits=bits, max_distance=r)
    index.add(codes, ids)
    index.compact()
    queries = np.concatenate([make_queries(codes, bits, r, seed) for seed in range(12)])
    queries = np.concatenate([queries] * 8)
    wanted = expected(queries[:336], codes, ids, r, None)
    for threads in (1, 2):
        found = index.search(queries, r, threads=threads)
        first = slice(0, found.offsets[336])
        columns = (found.query[first], found.id[first], found.distance[first])
        assert list(zip(*(column.tolist() for column in columns), strict=True)) == wanted
        counts = np.diff(found.offsets).reshape(8, -1)
        assert (counts == counts[0]).all()


def test_rows_added_one_at_a_time() -> None:
    codes = make_codes("clusters", 1500, 256, 1)
    index = Index("pdq")
    for number, code in enumerate(codes):
        assert index.add(code).tolist() == [number]
        if number % 100 == 0:
            assert (0, number, 0) in index.search(code, 0).to_list()
    queries = make_queries(codes, 256, 31, 1)
    ids = np.arange(1500, dtype=np.uint64)
    assert index.search(queries).to_list() == expected(queries, codes, ids, 31, None)


KERNELS = ["avx512", "avx2", "neon", "portable"]


def run_with_kernel(name: str, program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "HASHMATCH_KERNEL": name},
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize("kernel", KERNELS)
def test_every_kernel(kernel: str) -> None:
    if kernel not in hashmatch.kernels():
        pytest.skip(f"this machine has no {kernel}")
    program = f"""
import hashmatch, test_engine
assert hashmatch.Index("pdq").kernel == {kernel!r}
for bits in test_engine.WIDTHS:
    for shape in ("uniform", "clusters"):
        test_engine.test_many_queries(bits, shape)
test_engine.test_rows_added_one_at_a_time()
"""
    done = run_with_kernel(kernel, program)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("kernel", ["abacus", "AVX2", "portable ", "avx2,portable", "\u00e9"])
def test_a_kernel_that_is_not_there(kernel: str) -> None:
    # Whatever is called first is refused, and so is what is called next.
    program = """
import hashmatch
index = hashmatch.Index("phash")
index.add(list(range(100)))
for call in (lambda: index.kernel, lambda: index.search(5), lambda: index.search([5] * 99),
             lambda: index.nearest(5), lambda: index.kernel):
    try:
        call()
    except ValueError as error:
        print(error)
print(hashmatch.kernels(), len(index))
"""
    done = run_with_kernel(kernel, program)
    assert done.returncode == 0, done.stderr
    *errors, names = done.stdout.splitlines()
    assert len(errors) == 5
    for error in errors:
        assert f"HASHMATCH_KERNEL={kernel} is not a kernel this machine can run" in error
        assert error.endswith(": " + ", ".join(hashmatch.kernels()))
    assert names == f"{hashmatch.kernels()} 100"


def test_an_empty_name_leaves_the_choice() -> None:
    done = run_with_kernel("", "import hashmatch; print(hashmatch.Index('pdq').kernel)")
    assert done.stdout.strip() == hashmatch.kernels()[0]
