"""The formats: what each says, how one is told from another, compressed and damaged files."""

from __future__ import annotations

import gzip
import io
import os
import sys
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import zstandard
from threatexchange.cli.dataset.simple_serialization import (
    CliIndicatorSerialization,
    HMASerialization,
)
from threatexchange.exchanges.clients.fb_threatexchange.descriptor import SimpleDescriptorRollup

from hashmatch.codes import encode_hex
from hashmatch.formats import (
    FORMATS,
    Block,
    ListError,
    Options,
    csv_list,
    lines,
    npy,
    open_list,
)
from hashmatch.formats.registry import detected, format_named, writer_named
from listing import memory_within, parts_of, plain
from oracle import random_codes

CODES = random_codes(5, 256, seed=6)
HEX = encode_hex(CODES)
MD5 = encode_hex(random_codes(5, 128, seed=6))
SHA1 = encode_hex(random_codes(5, 160, seed=6))
LIST = "".join(f"{text}\n" for text in HEX).encode()


def rows(content: str | bytes, options: Options | None = None, **more: bool) -> list[list[object]]:
    """Type, row, hash, ref, labels, kind and columns of each signal."""
    raw = content if isinstance(content, bytes) else content.encode()
    found = plain(parts_of(raw, options=options, **more)[0])  # type: ignore[arg-type]
    return [[*row[:5], row[6], row[9]] for row in found]


# Interpol and its kin

INTERPOL = (
    "MD5;SHA1;ZZ40;PhotoDNA;Lace;Image ID;Is distributed;Category;Media Type;Baseline\r\n"
    f"{MD5[0].upper()};{SHA1[0].upper()};zz;pd;;17;1;2;image;yes\r\n"
    f";{SHA1[1]};;;;18;0;1;image;\r\n"
    "\r\n"
    f'{MD5[2]};;;"a;b";;19;;;;\r\n'
)


def test_interpol() -> None:
    beside = {"ZZ40": "", "PhotoDNA": "", "Lace": "", "Image ID": "18", "Is distributed": "0"}
    beside |= {"Category": "1", "Media Type": "image", "Baseline": ""}
    got = sorted(rows(INTERPOL), key=lambda row: repr(row[:2]))
    assert [row[:4] for row in got] == [
        ["md5", 0, MD5[0], "17"],
        ["md5", 2, MD5[2], "19"],
        ["sha1", 0, SHA1[0], "17"],
        ["sha1", 1, SHA1[1], "18"],
    ]
    assert got[3][6] == beside
    assert got[1][6]["PhotoDNA"] == "a;b"  # type: ignore[index]
    options = Options(ref="PhotoDNA", labels="Category", kind="file")
    assert rows(INTERPOL, options)[0][3:6] == ["pd", ("2",), "file"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (f"{MD5[0]};{SHA1[0][1:]};;;;1;;;;", "SHA1: hash has 39 hex digits, sha1 needs 40"),
        (";;x;y;z;1;;;;", "has neither MD5 nor SHA1"),
        (f"{MD5[0]};{SHA1[0]}", "number of fields is 2, the header's is 10"),
        (f"{MD5[0]};{SHA1[0]};;;;;;;;", "ref is empty"),
    ],
)
def test_bad_records_of_interpol(row: str, reason: str) -> None:
    content = f"{INTERPOL}{row}\r\n".encode()
    with pytest.raises(ListError) as caught:
        parts_of(content, for_database=True)
    assert str(caught.value) == f"list:6: {reason} (--on-error skip leaves bad rows out)"
    parts, faults = parts_of(content, skip=True, for_database=True)
    assert len(plain(parts)) == 4 and faults == [f"list:6: {reason}"]


def test_hash_types_as_columns() -> None:
    """Whatever the delimiter and the case; the hashes are the ref where there is no other."""
    content = f"pdq,Sha-1,MD5\n{HEX[0]},,{MD5[0]}\n,{SHA1[1].upper()},\n"
    assert [row[:4] for row in rows(content)] == [
        ["pdq", 0, HEX[0], f"{HEX[0]}-{MD5[0]}"],
        ["sha1", 1, SHA1[1], SHA1[1]],
        ["md5", 0, MD5[0], f"{HEX[0]}-{MD5[0]}"],
    ]
    twice = (content + content.split("\n", 1)[1]).encode()
    assert [len(plain(parts_of(twice, for_database=once)[0])) for once in (True, False)] == [3, 6]
    with pytest.raises(ListError, match=r"list:1: two columns are of one hash type, of 'MD5', 'm"):
        parts_of(f"MD5;md-5\n{MD5[0]};\n".encode())
    with pytest.raises(ListError, match=r"list:1: no column of 'a', 'b' is named after a hash"):
        parts_of(b"a;b\n1;2\n", format_named("typed-csv"), Options(delimiter=";"))


# CSV


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
def test_delimiters(delimiter: str) -> None:
    content = f'id,hash,n\na,{HEX[0]},1\nb,{HEX[1]},"x{delimiter}y"\n'.replace(",", delimiter)
    options = Options(delimiter=delimiter if delimiter == "|" else None)
    got = rows(content, options)
    assert [(row[2], row[6]) for row in got] == [
        (HEX[0], {"id": "a", "n": "1"}),
        (HEX[1], {"id": "b", "n": f"x{delimiter}y"}),
    ]


def test_a_header_is_split_where_the_column_is() -> None:
    content = f"a,b;pdq;c,d,e\nx;{HEX[0]};y\n"
    (row,) = rows(content, Options(column="pdq"))
    assert row[6] == {"a,b": "x", "c,d,e": "y"}


def test_refs_and_labels_of_csv() -> None:
    content = f'ref,hash,labels,tag\na,{HEX[0]},"[""x"",""y""]",t\n,{HEX[1]},z,\n'
    assert [row[3:5] for row in rows(content)] == [["a", ("x", "y")], ["", ("z",)]]
    assert [row[3:5] for row in rows(content, Options(ref="tag", labels="ref"))] == [
        ["t", ("a",)],
        ["", ()],
    ]
    with pytest.raises(ListError, match="list:3: ref is empty"):
        parts_of(content.encode(), for_database=True)
    with pytest.raises(ListError, match=r"no column 'x' beside that of the hash; there are: 'ref'"):
        parts_of(content.encode(), options=Options(ref="x"))


@pytest.mark.parametrize("size", [70, 150, 400])
def test_items_are_whole(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "BLOCK_BYTES", size)
    refs = "aabbbbbbbcdddde"
    content = "ref,hash\n" + "".join(f"{ref},{HEX[at % 5]}\n" for at, ref in enumerate(refs))
    parts, _ = parts_of(content.encode(), for_database=True)
    held = [list(part.refs or ()) for part in parts]
    assert [ref for of_one in held for ref in of_one] == list(refs)
    assert all(set(one).isdisjoint(other) for at, one in enumerate(held) for other in held[:at])
    assert [row for part in parts for row in part.rows.tolist()] == list(range(len(refs)))
    content += f"b,{HEX[0]}\n"
    with pytest.raises(ListError, match="the ref of row 15 is that of row 2 too"):
        parts_of(content.encode(), for_database=True)
    assert len(plain(parts_of(content.encode())[0])) == 16  # Where nothing is lost by it.


# threatexchange's files


def test_threatexchange_cache(tmp_path: Path) -> None:
    """As threatexchange itself writes it."""
    rollups = [
        SimpleDescriptorRollup(1000 + row, f"2020-07-31T18:09:4{row}+0000", {f"tag{row}"})
        for row in range(5)
    ]
    pairs = list(zip(HEX, rollups, strict=True))
    CliIndicatorSerialization.store(
        tmp_path, [CliIndicatorSerialization("HASH_PDQ", *pair) for pair in pairs]
    )
    content = (tmp_path / "simple.HASH_PDQ.te").read_bytes()
    assert detected(content, Options(), "x").name == "threatexchange-cache"
    got = rows(content)
    assert [row[:6] for row in got] == [
        ["pdq", row, HEX[row], str(1000 + row), (f"tag{row}",), "image"] for row in range(5)
    ]
    assert got[2][6] == {"descriptor_id": "1002", "added_on": "2020-07-31T18:09:42+0000"}
    HMASerialization.store(
        tmp_path,
        [
            HMASerialization(text, "HASH_PDQ", str(7000 + row), rollup)
            for row, (text, rollup) in enumerate(pairs)
        ],
    )
    got = rows((tmp_path / "simple.HASH_PDQ.te").read_bytes())
    assert got[2][:5] == ["pdq", 2, HEX[2], "7002", ("tag2",)]
    assert got[2][6] == {
        "indicator_id": "7002",
        "descriptor_id": "1002",
        "added_on": "2020-07-31T18:09:42+0000",
    }


def test_bad_records_of_a_cache() -> None:
    good = f"{HEX[0]},1,2020,a  b a\n"
    content = f"{good}{HEX[1]},x,2020,\nzz,1,2020,\n{HEX[1]},1,2,2020,\n{HEX[2].upper()},2,,\n"
    parts, faults = parts_of(content.encode(), skip=True)
    assert [row[3:5] for row in plain(parts)] == [("1", ("a", "b")), ("2", ())]
    assert faults == [
        "list:2: id is 'x', not a whole number",
        "list:3: hash has 'z' as character 1, which is not a hex digit",
        "list:4: number of fields is 5, not 4",
    ]
    with pytest.raises(ListError, match="for md5 give --type"):
        parts_of(f"{MD5[0]},1,2020,\n".encode())
    assert rows(f"{MD5[0]},1,2020,\n", Options("md5"))[0][:3] == ["md5", 0, MD5[0]]


def test_threatexchange_local_file() -> None:
    content = f"pdq {HEX[0]}\r\n\nvideo_md5 {MD5[0]}\npdq {HEX[1].upper()}\nsha1  {SHA1[0]} \n"
    assert [[*row[:4], row[5]] for row in rows(content)] == [
        ["pdq", 0, HEX[0], None, "image"],
        ["pdq", 2, HEX[1], None, "image"],
        ["md5", 1, MD5[0], None, "video"],
        ["sha1", 3, SHA1[0], None, "image"],
    ]
    content += f"raw_text some words\npdq {HEX[0][1:]}\n{HEX[0]}\n"
    faults = parts_of(content.encode(), skip=True)[1]
    assert [fault[:40] for fault in faults] == [
        "list:6: type 'raw_text' is none that is ",
        "list:7: hash has 63 hex digits, pdq need",
        "list:8: has no type before the hash, suc",
    ]


# Telling formats apart


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (LIST, "hex"),
        (b"", "hex"),
        (b"\x89PNG\r\n", "hex"),
        (b"hash\n", "csv"),
        (b'\n "hash"\n', "csv"),
        (b"id;hash\n", "csv"),
        (b"ref,kind,type,hash,quality,time_ms,labels,opinions\n", "csv"),
        (b"md5,pdq\n", "typed-csv"),
        (b"md5,pdq,hash\n", "csv"),
        (INTERPOL.encode(), "typed-csv"),
        (f"{HEX[0]},1,2,3\n".encode(), "threatexchange-cache"),
        (f"{HEX[0]},1\n".encode(), "csv"),
        (f"pdq {HEX[0]}\n".encode(), "threatexchange-local"),
        (b"\x93NUMPY\x01\x00", "npy"),
    ],
)
def test_detection(head: bytes, name: str) -> None:
    assert detected(head, Options(), "list.csv.txt").name == name


def test_a_format_may_be_forced(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_bytes(f"hash,id\n{HEX[0]},1\n".encode())
    with pytest.raises(ListError, match=r"list.csv:1: hash has 'h' as character 1"):
        list(open_list(str(path), format="hex"))
    with pytest.raises(ValueError, match="unknown format 'xml': give one of npy, "):
        list(open_list(str(path), format="xml"))
    with pytest.raises(ValueError, match="'hex' is no format that is written: give one of csv"):
        writer_named("hex")
    assert len({format.name for format in FORMATS}) == len(FORMATS)


def test_of_several_types_one_is_read(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_text(INTERPOL)
    parts = list(open_list(str(path), options=Options("sha1")))
    assert [row[2] for row in plain(parts)] == [SHA1[0], SHA1[1]]
    with pytest.raises(ListError, match="list: holds no pdq hashes, but md5, sha1: give --type"):
        list(open_list(str(path), options=Options("pdq")))


# Compressed files


def _zstd(content: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(content)


Compress = Callable[[bytes], bytes]
compressions = pytest.mark.parametrize("compress", [gzip.compress, _zstd], ids=["gzip", "zstd"])


def read(path: Path, content: bytes) -> list[str]:
    path.write_bytes(content)
    parts = list(open_list(str(path)))
    blocks = [part for part in parts if isinstance(part, Block)]
    return [digits for block in blocks for digits in encode_hex(block.codes)]


@compressions
def test_compressed_lists(compress: Compress, tmp_path: Path) -> None:
    path = tmp_path / "list"
    assert read(path, compress(LIST)) == HEX
    assert read(path, compress(b"\xef\xbb\xbf" + LIST)) == HEX
    assert read(path, compress(LIST) + compress(LIST)) == HEX + HEX  # Two files, one after another.
    assert read(path, compress(b"")) == []
    large = LIST * 20_000
    assert read(path, compress(large)) == HEX * 20_000
    file = io.BytesIO()
    np.save(file, CODES)
    assert read(path, compress(file.getvalue())) == HEX
    np.save(fortran := io.BytesIO(), np.asfortranarray(CODES))
    with pytest.raises(ListError, match="Fortran order"):
        read(path, compress(fortran.getvalue()))
    with pytest.raises(ListError, match="is a built index"):
        read(path, compress(b"HASHMTCH" + bytes(100)))


@compressions
def test_damaged_compressed_lists(compress: Compress, tmp_path: Path) -> None:
    """Each is an error, wherever the damage is; never a list that ends early."""
    path, packed = tmp_path / "list", compress(LIST * 40_000)
    for end in (5, 20, len(packed) // 2, len(packed) - 5, len(packed) - 1):
        with pytest.raises(ListError, match=rf"^{path}: is a damaged (gzip|zstd) file: "):
            read(path, packed[:end])
    for at in (len(packed) // 2, len(packed) - 3):
        damaged = bytearray(packed)
        damaged[at] ^= 0x55
        with pytest.raises(ListError, match=rf"^{path}: is a damaged (gzip|zstd) file: "):
            read(path, bytes(damaged))


@compressions
@pytest.mark.parametrize("line", [b"", b"0" * 63 + b"\n"], ids=["zeros", "lines"])
def test_bombs(compress: Compress, line: bytes, tmp_path: Path) -> None:
    """200 MB in some kilobytes take no more memory than any list."""
    unit = line or bytes(64)
    path = tmp_path / "list"
    path.write_bytes(compress(unit * (200_000_000 // len(unit))))
    assert path.stat().st_size < 1 << 20
    tracemalloc.start()
    try:
        with pytest.raises(ListError, match="so is no list" if not line else "63 hex digits"):
            list(open_list(str(path)))
        assert tracemalloc.get_traced_memory()[1] < 48 << 20
    finally:
        tracemalloc.stop()


#: What is repeated how often after what begins the list, and its format.
HOSTILE = {
    "blank lines": (b"", b"\n", 3_000_000, "csv"),
    "a quote": (b'hash,n\n"', b"\n", 3_000_000, "csv"),
    "quoted line feeds": (b"hash\n", b'"\n",', 8_000_000, "csv"),
    "the same by type": (b"md5;sha1\n", b'"\n";', 8_000_000, "typed-csv"),
    "the same of a cache": (b"", b'"\n",', 8_000_000, "threatexchange-cache"),
    "a header": (b"", b"a,", 10_000_000, "csv"),
    "a line": (b"", b"x", 30_000_000, "threatexchange-local"),
    "few lines": (b"", b"x" * 3_000_000 + b"\n", 40, "threatexchange-cache"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_records_without_end(name: str, tmp_path: Path) -> None:
    """What a list makes its reader hold at once is bounded."""
    begin, repeated, times, format = HOSTILE[name]
    path = tmp_path / "list"
    with path.open("wb") as file:
        file.write(begin)
        for _ in range(10):
            file.write(repeated * (times // 10))
    with memory_within(256 << 20):
        try:
            list(open_list(str(path), format=format, skip_faults=True))
        except ListError as error:
            assert len(str(error)) < 2_000


def test_a_list_of_nothing_but_faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hashmatch.formats.model._MOST_FAULTS", 1_000)
    (tmp_path / "list").write_bytes(b"x\n" * 1_001)
    hash_list = open_list(str(tmp_path / "list"), skip_faults=True)
    with pytest.raises(ListError, match=r"list:1001: hash has 'x' .*; 1,000 bad rows came before"):
        list(hash_list)
    assert len(hash_list.faults) == 1_000
    _, faults = parts_of(b"pdq " + HEX[0].encode() + b"\n" + b"y" * 9_000 + b" x\n", skip=True)
    assert len(faults[0]) < 600 and faults[0].endswith("...")


def test_a_window_that_is_too_large(tmp_path: Path) -> None:
    """A zstd file may ask its reader for gigabytes."""
    parameters = zstandard.ZstdCompressionParameters(window_log=27, enable_ldm=True)
    packer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    with pytest.raises(ListError, match=r"is a damaged zstd file: .*memory"):
        read(tmp_path / "list", packer.compress(LIST) + packer.flush())


def test_zstd_needs_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(ImportError, match=r"pip install 'hashmatch\[zstd\]'"):
        read(tmp_path / "list", _zstd(LIST))


def test_progress_counts_what_is_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "list"
    path.write_bytes(gzip.compress(LIST * 1_000))
    calls: list[tuple[int, int]] = []
    list(open_list(str(path), on_read=lambda done, total: calls.append((done, total))))
    size = path.stat().st_size
    assert calls[-1] == (size, size) and calls == sorted(calls)


def test_what_the_disk_says_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error of the file itself is no fault of its compression."""
    path = tmp_path / "list"
    path.write_bytes(gzip.compress(os.urandom(1 << 20)))

    def broken(*_: object) -> int:
        raise OSError(5, "Input/output error", str(path))

    opened = open_list(str(path))
    monkeypatch.setattr("hashmatch.formats.opening.GzipFile.readinto", broken)
    with pytest.raises(OSError, match="Input/output error") as caught:
        list(opened)
    assert not isinstance(caught.value, ListError)


def test_arrays_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(npy, "BLOCK_ROWS", 2)
    file = io.BytesIO()
    np.save(file, CODES)
    for content in (file.getvalue(), gzip.compress(file.getvalue())):
        assert read(tmp_path / "list", content) == HEX
    with pytest.raises(ListError, match="the file ends too early"):
        read(tmp_path / "list", gzip.compress(file.getvalue()[:-1]))


def test_fields_are_read_when_asked_for() -> None:
    content = "".join(f"{text},é{row}\n" for row, text in enumerate(["hash,n", *HEX][1:]))
    (block,), _ = parts_of(f"hash,n\n{content}".encode(), csv_list)
    texts = block.columns["n"]  # type: ignore[union-attr]
    assert len(texts) == 5 and texts[3] == "é3" and texts[-1] == "é4"
    assert list(texts[1:3]) == ["é1", "é2"] and list(texts) == [f"é{row}" for row in range(5)]
