"""Damaged lists of every format: what is sound is read, and nothing but ListError comes out."""

from __future__ import annotations

import gzip
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zstandard

from hashmatch.codes import encode_hex
from hashmatch.formats import (
    Format,
    ListError,
    Options,
    csv_list,
    hex_lines,
    npy,
    open_list,
    threatexchange_cache,
    threatexchange_local,
    typed_csv,
)
from listing import memory_within, parts_of, plain
from mutation import mutants
from oracle import random_codes

MUTANTS = 20_000
#: More than what the allocator keeps; far less than what a mutant may claim to hold.
MOST_BYTES = 64 << 20

HEX = encode_hex(random_codes(6, 256, seed=4))
MD5 = encode_hex(random_codes(6, 128, seed=4))
SHA1 = encode_hex(random_codes(6, 160, seed=4))


def text(*lines: str) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def saved(array: np.ndarray) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


EXPORTED = text(
    "ref,contributor,kind,type,hash,quality,time_ms,labels,opinions",
    f'a,A,image,pdq,{HEX[0]},100,,"[""x""]",[]',
    f"v,A,video,pdq,{HEX[1]},,0,[],[]",
    f"v,A,video,pdq,{HEX[2]},50,1000,[],[]",
    f'b,,file,md5,{MD5[0]},,,,"[{{""contributor"":""B"",""verdict"":""positive"",""labels"":[]}}]"',
    "c,A,removed,,,,,[],[]",
    'd,,,,,,,,"[{""contributor"":""B"",""verdict"":""negative"",""labels"":[""no""]}]"',
)
SAMPLES: dict[str, tuple[Format, bytes]] = {
    "hex": (hex_lines, text(*HEX)),
    "csv": (
        csv_list,
        text("ref,hash,labels", *(f'r{row},{h},"[""x""]"' for row, h in enumerate(HEX))),
    ),
    "plain csv": (csv_list, text("ref;hash;n", *(f"r{row};{h};é" for row, h in enumerate(HEX)))),
    "exported": (csv_list, EXPORTED),
    "typed csv": (
        typed_csv,
        text(
            "MD5;SHA1;PhotoDNA;Image ID",
            *(f"{m.upper()};{s};x;{row}" for row, (m, s) in enumerate(zip(MD5, SHA1, strict=True))),
        ),
    ),
    "cache": (
        threatexchange_cache,
        text(*(f"{h},{row}1,2020-07-31T18:09:43+0000,a b" for row, h in enumerate(HEX))),
    ),
    "local": (threatexchange_local, text(*(f"pdq {h}" for h in HEX), f"video_md5 {MD5[0]}")),
    "npy": (npy, saved(random_codes(6, 256))),
}


@pytest.mark.parametrize("name", SAMPLES)
def test_mutants(name: str) -> None:
    format, sample = SAMPLES[name]
    read, faults = parts_of(sample, for_database=True)  # It is also what it looks like.
    assert len(plain(read)) > 4 and not faults
    sound = failed = 0
    with memory_within(MOST_BYTES):
        for number, mutant in enumerate(mutants(sample, MUTANTS, seed=11)):
            try:
                parts, faults = parts_of(mutant, format, skip=True, for_database=bool(number % 2))
                sound += len(plain(parts))
                assert all(fault.startswith("list:") for fault in faults)
            except ListError as error:
                assert str(error).startswith("list:")
                failed += 1
    assert sound > MUTANTS and failed < MUTANTS


def _zstd(content: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(content)


@pytest.mark.parametrize("compress", [gzip.compress, _zstd], ids=["gzip", "zstd"])
def test_mutants_of_compressed_lists(compress: Callable[[bytes], bytes], tmp_path: Path) -> None:
    """Nothing else is ever read than what the list begins with."""
    sample, path = text(*HEX), tmp_path / "list"
    whole = [*plain(parts_of(sample)[0])]
    packed = compress(sample)
    with memory_within(MOST_BYTES):
        for mutant in mutants(packed, MUTANTS // 10, seed=12):
            path.write_bytes(mutant)
            try:
                # Damaged at its beginning it is no compressed file: each line is a bad hash.
                rows = plain(list(open_list(str(path), skip_faults=True)))
            except ListError:
                continue
            assert rows in (whole, [], whole[:-1]) or rows[: len(whole)] == whole


def test_mutants_of_a_mapped_array(tmp_path: Path) -> None:
    path = tmp_path / "list.npy"
    for mutant in mutants(saved(random_codes(6, 256)), 2_000, seed=13):
        path.write_bytes(mutant)
        try:
            for part in open_list(str(path), format="npy", skip_faults=True):
                assert part.rows.dtype == np.int64
        except ListError as error:
            assert str(path) in str(error)


def test_any_options_are_an_error_at_most() -> None:
    for _, sample in SAMPLES.values():
        for column in ("hash", "ref", "", "é", "MD5"):
            for delimiter in (",", ";", "é", "", '"', "ab", "\n"):
                try:
                    parts_of(
                        sample, options=Options("md5", column, column, column, delimiter), skip=True
                    )
                except ListError:
                    continue
