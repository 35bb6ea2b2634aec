"""cpp/index/FORMAT.md is true: a file read by that page alone holds what was put in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import hashmatch
import oracle
from oracle import flipped, random_codes
from segment_file import SegmentFile, crc32c


def known_codes(bits: int, rows: int, dull: bool = False) -> NDArray[np.uint8]:
    """Uniform codes, of which every third bit may hardly vary, exact copies, near copies of one."""
    codes = random_codes(rows, bits, 5)
    if dull:
        codes[: 99 * rows // 100] &= np.resize(
            np.array([0b10110110, 0b01101101, 0b11011011], np.uint8), bits // 8
        )
    codes[rows // 2 : rows // 2 + rows // 10] = codes[: rows // 10]
    for row in range(2 * rows // 3, rows):
        codes[row] = flipped(codes[0], row % 7, row)
    return codes


# The index's distance, and how many rows there are, decide on the bands.
@pytest.mark.parametrize(
    ("bits", "rows", "max_distance", "dull"),
    [
        (64, 0, 8, False),
        (64, 900, 8, False),
        (64, 9000, 0, False),
        (64, 9000, 3, False),
        (64, 9000, 8, False),
        (128, 9000, 8, False),
        (160, 9000, 4, False),
        (160, 60000, 12, True),
        (256, 9000, 0, False),
        (256, 9000, 8, False),
        (256, 9000, 8, True),
        (256, 9000, 31, False),
    ],
)
def test_a_file_read_by_the_page(
    tmp_path: Path, bits: int, rows: int, max_distance: int, dull: bool
) -> None:
    codes = known_codes(bits, rows, dull)
    ids = np.random.default_rng(1).permutation(3 * rows)[:rows].astype(np.uint64) + 1000
    index = hashmatch.Index(bits=bits, max_distance=max_distance)
    index.add(codes, ids)
    index.save(tmp_path / "index.hm")
    contents = (tmp_path / "index.hm").read_bytes()
    file = SegmentFile(contents)

    check_header(file, bits, rows, max_distance)
    assert (file.order.tolist() != list(range(bits))) == dull
    check_sections(file)
    check_entries(file, dict(zip(ids.tolist(), codes, strict=True)))
    for band in range(file.band_count):
        check_band(file, band)
    check_clumps(file)

    queries = np.array([flipped(code, max_distance) for code in codes[:40]], np.uint8)
    given = file.given_codes()
    held = {id: given[row].tobytes() for row, id in file.ids()}
    if rows:
        assert index.search(queries).to_list() == oracle.search(queries, held, max_distance)


def test_the_files_above_have_every_section(tmp_path: Path) -> None:
    index = hashmatch.Index("pdq")
    index.add(known_codes(256, 12_000))
    index.save(tmp_path / "index.hm")
    file = SegmentFile((tmp_path / "index.hm").read_bytes())
    assert {section.kind for section in file.sections} == set(range(1, 10))
    assert file.hash_type == "pdq"


def check_header(file: SegmentFile, bits: int, rows: int, max_distance: int) -> None:
    contents = file.contents
    assert (file.magic, file.version) == (b"HASHMTCH", 1)
    assert file.header_crc == crc32c(contents[:12] + bytes(4) + contents[16:4096])
    assert file.file_bytes == len(contents)
    assert (file.bits, file.entries, file.max_distance) == (bits, rows, max_distance)
    assert file.hash_type == ""
    ends = [at + width for at, width in file.bands]
    assert [at for at, _ in file.bands] == [0, *ends][: len(ends)]
    assert not file.bands or ends[-1] <= bits
    assert sorted(file.order.tolist()) == list(range(bits))
    assert not any(contents[104 + 4 * file.band_count : 232])
    assert not any(contents[232 + 32 * file.section_count : 3560])
    assert not any(contents[3560 + bits : 4096])


def check_sections(file: SegmentFile) -> None:
    contents = file.contents
    at = 4096
    for section in file.sections:
        prologue = contents[at : at + 64]
        assert section.offset == at + 64
        assert prologue[:8] == b"HASHMTCH"
        assert int.from_bytes(prologue[8:16], "little") == file.file_id
        number = file.sections.index(section)
        assert prologue[16:48] == contents[232 + 32 * number : 264 + 32 * number]
        assert int.from_bytes(prologue[48:52], "little") == crc32c(prologue[:48])
        assert not any(prologue[52:])
        end = section.offset + section.size
        assert section.crc == crc32c(contents[section.offset : end])
        at = (end + 64 + 63) // 64 * 64
        assert not any(contents[end:at])
    assert at == len(contents)


def check_entries(file: SegmentFile, known: dict[int, NDArray[np.uint8]]) -> None:
    codes = file.given_codes()
    assert len({code.tobytes() for code in codes}) == file.distinct
    listed = list(file.ids())
    assert listed == sorted(listed)
    assert {id: codes[row].tobytes() for row, id in listed} == {
        id: code.tobytes() for id, code in known.items()
    }
    by_id = file.packed("by id", file.entry_bytes)
    assert by_id is not None
    assert [listed[entry][1] for entry in by_id.tolist()] == sorted(known)


def bits_of(codes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.unpackbits(codes, axis=1, bitorder="little")


def number_of(bits: NDArray[np.uint8]) -> NDArray[np.uint64]:
    powers = np.uint64(1) << np.arange(bits.shape[1], dtype=np.uint64)
    total: NDArray[np.uint64] = (bits * powers).sum(axis=1, dtype=np.uint64)
    return total


def check_band(file: SegmentFile, band: int) -> None:
    at, width = file.bands[band]
    bits = bits_of(file.codes())[: file.banded]
    buckets = file.packed("buckets", 4, band)
    assert buckets is not None and len(buckets) == 2**width + 1
    far_bits = 16 if file.sketch_bits == 32 else 0
    beside_bytes = (file.position_bytes if band else 0) + far_bits // 8
    beside = file.packed("postings", beside_bytes, band) if beside_bytes else None
    assert beside is not None or file.section("postings", band) is None
    positions = np.arange(file.banded, dtype=np.uint64)
    if band != 0:
        assert beside is not None
        positions = beside >> np.uint64(far_bits)
    assert sorted(positions.tolist()) == list(range(file.banded))
    values = number_of(bits[:, at : at + width])[positions]
    np.testing.assert_array_equal(np.searchsorted(values, np.arange(2**width + 1)), buckets)
    assert (np.diff(values.astype(np.int64)) >= 0).all()

    if file.sketch_bits == 0:
        assert file.section("sketches", band) is None
        return
    next_width, after_width = (file.bands[(band + step) % file.band_count][1] for step in (1, 2))
    covered = bits[:, : file.bands[-1][0] + file.bands[-1][1]]
    around = np.concatenate([covered, covered], axis=1)[:, at + width :]
    near = min(next_width, 16)
    wanted = number_of(around[:, :near])[positions]
    np.testing.assert_array_equal(file.packed("sketches", 2, band), wanted)
    if far_bits:
        assert beside is not None
        far = min(next_width - near + after_width, 16)
        wanted = number_of(around[:, near : near + far])[positions]
        np.testing.assert_array_equal(beside & np.uint64(0xFFFF), wanted)


def check_clumps(file: SegmentFile) -> None:
    if file.clump_count == 0:
        assert file.banded == file.distinct
        return
    contents = file.section("clumps")
    assert contents is not None
    clumps = np.frombuffer(contents, "<u4").reshape(-1, 4)
    row = file.banded
    for (first, rows, radius, reserved), centre in zip(
        clumps.tolist(), file.codes("centres"), strict=True
    ):
        assert (first, reserved) == (row, 0)
        members = file.codes()[first : first + rows]
        assert oracle.distances(centre[None], members).max() <= radius
        row += rows
    assert row == file.distinct
