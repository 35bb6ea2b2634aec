"""Lists from files: every kind, every way in which a row can be bad, and where it is."""

from __future__ import annotations

import gzip
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hashmatch.codes import encode_hex
from hashmatch.formats import Block, ListError, Options, csv_list, lines, open_list
from hashmatch.formats import npy as npy_list
from oracle import random_codes

CODES = random_codes(7, 256)
HEX = encode_hex(CODES)


def read(
    path: Path, content: str | bytes, skip: bool = False, column: str = "hash"
) -> tuple[np.ndarray, list[int], dict[str, list[str]], list[str]]:
    """Codes, row numbers, columns and faults of a list with this content."""
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    hash_list = open_list(str(path), options=Options("pdq", column), skip_faults=skip)
    blocks = [part for part in hash_list if isinstance(part, Block)]
    names = tuple(blocks[0].columns) if blocks else ()
    codes = np.concatenate([np.empty((0, 32), np.uint8), *(block.codes for block in blocks)])
    rows = [row for block in blocks for row in block.rows.tolist()]
    columns = {name: [text for block in blocks for text in block.columns[name]] for name in names}
    assert all(tuple(block.columns) == names for block in blocks)
    return codes, rows, columns, hash_list.faults


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "known.txt"


@pytest.fixture(params=[None, 70, 1])
def block_size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Blocks so small that every edge is met, as well as the usual ones."""
    if request.param:
        monkeypatch.setattr(lines, "BLOCK_BYTES", max(request.param, 200))
        monkeypatch.setattr(npy_list, "BLOCK_ROWS", request.param)
        monkeypatch.setattr(csv_list, "_BATCH_RECORDS", 1 + request.param // 2)


@pytest.mark.usefixtures("block_size")
@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("last", [True, False])
@pytest.mark.parametrize("blanks", ["", "\n", "\r\n\n", "  \t\n"])
@pytest.mark.parametrize("upper", [False, True])
def test_hex(path: Path, bom: str, ending: str, last: bool, blanks: str, upper: bool) -> None:
    texts = [text.upper() if upper else text for text in HEX]
    content = bom + blanks + (ending + blanks).join(texts) + ending * last
    codes, rows, columns, faults = read(path, content)
    np.testing.assert_array_equal(codes, CODES)
    assert (rows, columns, faults) == (list(range(7)), {}, [])


@pytest.mark.usefixtures("block_size")
@pytest.mark.parametrize("bom", ["", "\ufeff"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\n \n\n"])
@pytest.mark.parametrize("name", ["known.csv", "known"])
def test_csv(tmp_path: Path, bom: str, ending: str, name: str) -> None:
    lines = ["id,hash,label"] + [f'{row},"{text}",caf\u00e9 {row}' for row, text in enumerate(HEX)]
    codes, rows, columns, faults = read(tmp_path / name, bom + ending + ending.join(lines))
    np.testing.assert_array_equal(codes, CODES)
    assert rows == list(range(7)) and faults == []
    assert columns == {"id": list("0123456"), "label": [f"caf\u00e9 {row}" for row in range(7)]}


def test_csv_fields_may_hold_anything(path: Path) -> None:
    content = f'label,hash\n"a, ""b""\nc",{HEX[0]}\n\n"",{HEX[1]}\n d ,{HEX[2]}\n'
    codes, rows, columns, _ = read(path, content)
    np.testing.assert_array_equal(codes, CODES[:3])
    assert columns == {"label": ['a, "b"\nc', "", " d "]}
    assert rows == [0, 1, 2]


@pytest.mark.parametrize("name", ["known.csv", "known.txt"])
def test_a_lone_column(tmp_path: Path, name: str) -> None:
    for header in ("hash", '"hash"'):
        codes, _, columns, _ = read(tmp_path / name, f"{header}\n{HEX[0]}\n")
        np.testing.assert_array_equal(codes, CODES[:1])
        assert columns == {}


def test_bare_hex_may_be_called_csv(tmp_path: Path) -> None:
    np.testing.assert_array_equal(read(tmp_path / "known.csv", "\n".join(HEX))[0], CODES)


def test_another_column(path: Path) -> None:
    codes, _, columns, _ = read(path, f"hash,pdq\nx,{HEX[0]}\n", column="pdq")
    np.testing.assert_array_equal(codes, CODES[:1])
    assert columns == {"hash": ["x"]}


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ("id,pdq", r"1: no column 'hash' in the header 'id', 'pdq'; give --column"),
        ("Hash", "1: no column 'hash' in the header 'Hash'"),
        ("id,hash,hash", "1: a column name is there twice"),
        ("id,hash,id", "1: a column name is there twice"),
        ("\n\nid, hash", "3: no column 'hash' in the header 'id', ' hash'"),
        ('id,"hash', "1: not valid CSV"),
    ],
)
def test_bad_headers(tmp_path: Path, header: str, reason: str) -> None:
    with pytest.raises(ListError, match=f"known.csv:{reason}"):
        read(tmp_path / "known.csv", f"{header}\n{HEX[0]}\n")


def test_a_header_that_is_not_utf8(tmp_path: Path) -> None:
    with pytest.raises(ListError, match=r"known.csv:1: byte 6 of the line is not UTF-8"):
        read(tmp_path / "known.csv", b"hash,\xe9\n")


BAD_HASHES = {
    "f0" * 31 + "f": "hash has 63 hex digits, pdq needs 64",
    "f0" * 32 + "f": "hash has 65 hex digits, pdq needs 64",
    "0x" + "f0" * 31: "hash begins with 0x: write the hex digits alone",
    "+" + "f0" * 31 + "f": "hash has '+' as character 1, which is not a hex digit",
    " " + "f0" * 32: "hash has ' ' as character 1, which is not a hex digit",
    "f0" * 32 + " ": "hash has ' ' as character 65, which is not a hex digit",
    "f0" * 31 + "f\0": "hash has '\\x00' as character 64, which is not a hex digit",
    "f0" * 31 + "f\v": "hash has '\\x0b' as character 64, which is not a hex digit",
    "\u0661" * 64: "hash has '\u0661' as character 1, which is not a hex digit",
    "f0" * 8: "hash has 16 hex digits, pdq needs 64; "
    "for phash or dhash or ahash or whash or simhash give --type",
    "f0" * 16: "hash has 32 hex digits, pdq needs 64; for md5 give --type",
}


@pytest.mark.parametrize("bad", BAD_HASHES, ids=ascii)
@pytest.mark.parametrize("csv", [False, True])
def test_bad_rows_are_named_or_left_out(tmp_path: Path, bad: str, csv: bool) -> None:
    path = tmp_path / "known.list"
    lines = [*HEX[:2], "", bad, *HEX[2:4], bad, HEX[4]]
    if csv:
        lines = ["hash,n", *(line and f"{line},x" for line in lines)]
    content = "\n".join(lines) + "\n"
    first = 5 if csv else 4
    fault = f"{path}:{first}: {BAD_HASHES[bad]}"
    with pytest.raises(ListError) as caught:
        read(path, content)
    assert str(caught.value) == f"{fault} (--on-error skip leaves bad rows out)"
    codes, rows, _, faults = read(path, content, skip=True)
    np.testing.assert_array_equal(codes, CODES[:5])
    assert rows == [0, 1, 3, 4, 6]
    assert faults == [fault, f"{path}:{first + 3}: {BAD_HASHES[bad]}"]


def test_an_empty_hash_in_csv(path: Path) -> None:
    with pytest.raises(ListError, match=":2: hash is empty, pdq needs 64 hex digits"):
        read(path, "hash,n\n,5\n")


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (HEX[0], "number of fields is 1, the header's is 2"),
        (f"{HEX[0]},a,b", "number of fields is 3, the header's is 2"),
        (f'{HEX[0]},"a"b', "not valid CSV"),
        (f"{HEX[0]},a\rb", "not valid CSV"),
        (f"{HEX[0]},{'a' * 140_000}", "not valid CSV: field larger"),
        (b"hash,\xff", "byte 6 of the line is not UTF-8"),
        (f"{HEX[0]},\u00e9".encode("utf-16"), "not UTF-8"),
    ],
)
def test_bad_csv_rows(path: Path, line: str | bytes, reason: str) -> None:
    raw = line if isinstance(line, bytes) else line.encode()
    content = b"\n".join([b"hash,n", f"{HEX[1]},x".encode(), raw, f"{HEX[2]},y".encode(), b""])
    with pytest.raises(ListError, match=f":3: .*{reason}"):
        read(path, content)
    codes, rows, columns, faults = read(path, content, skip=True)
    np.testing.assert_array_equal(codes, CODES[1:3])
    assert columns == {"n": ["x", "y"]}
    assert faults[0].startswith(f"{path}:3: ") and rows == [0, 1 + len(faults)]


def test_lines_are_counted_past_one_that_is_not_utf8(path: Path) -> None:
    content = b"hash,n\n\xff\n\xff\n" + f"{HEX[0]},x\nbad,y\n".encode()
    _, rows, _, faults = read(path, content, skip=True)
    assert [fault.split(":")[1] for fault in faults] == ["2", "3", "5"]
    assert rows == [2]


def test_lines_are_counted_past_sound_blocks(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "BLOCK_BYTES", 65 * 2)
    content = "\n".join([*HEX[:4], "bad", HEX[4], "worse"])
    _, rows, _, faults = read(path, content, skip=True)
    assert [fault.split(":")[1] for fault in faults] == ["5", "7"]
    assert rows == [0, 1, 2, 3, 5]


def test_a_quote_that_is_never_closed(path: Path) -> None:
    content = f'hash,n\n{HEX[0]},x\n{HEX[1]},"y\n{HEX[2]},z\n'
    with pytest.raises(ListError, match=":3: not valid CSV"):
        read(path, content)
    codes, _, _, faults = read(path, content, skip=True)
    assert len(codes) == 1 and len(faults) == 1 and ":3: " in faults[0]


def test_lines_are_counted_past_quoted_line_feeds(path: Path) -> None:
    content = f'hash,n\n{HEX[0]},"a\nb\nc"\nbad,x\n{HEX[1]},y\nworse,z\n'
    _, rows, _, faults = read(path, content, skip=True)
    assert [fault.split(":")[1] for fault in faults] == ["5", "7"]
    assert rows == [0, 2]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(
    st.lists(st.sampled_from(["good", "bad", "blank"]), max_size=30),
    st.integers(65, 400),
    st.booleans(),
)
def test_numbers_hold_across_blocks(path: Path, drawn: list[str], size: int, csv: bool) -> None:
    written = {"good": HEX[0], "bad": "f0" * 31 + "zz", "blank": ""}
    content = "".join(f"{written[line]}\n" for line in drawn)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "BLOCK_BYTES", size)
        patch.setattr(csv_list, "_BATCH_RECORDS", size % 7 + 1)
        _, rows, _, faults = read(path, "hash\n" * csv + content, skip=True)
    present = [line for line in drawn if line != "blank"]
    assert rows == [row for row, line in enumerate(present) if line == "good"]
    assert [int(fault.split(":")[1]) for fault in faults] == [
        number for number, line in enumerate(drawn, 1 + csv) if line == "bad"
    ]


@pytest.mark.parametrize(
    "content",
    [gzip.compress(b"x" * 100), "hash".encode("utf-16"), b"\x89PNG\r\n\x1a\n", b"\0" * 100],
    ids=["gzip", "utf-16", "png", "zeros"],
)
def test_foreign_files(path: Path, content: bytes) -> None:
    with pytest.raises(ListError, match=r"known.txt:1: hash has "):
        read(path, content)


def test_a_file_without_lines(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "BLOCK_BYTES", 1_000)
    with pytest.raises(ListError, match=r"known.txt: has a line of [0-9,]+ bytes, so is no list"):
        read(path, "f" * 5_000)


@pytest.mark.parametrize("content", ["", "\n\n", "\ufeff", "\r\n", "hash,label\n", "hash\n"])
@pytest.mark.parametrize("name", ["known.csv", "known.txt"])
def test_nothing_in_it(tmp_path: Path, content: str, name: str) -> None:
    assert read(tmp_path / name, content)[1] == []


def test_a_built_index_is_no_list(path: Path) -> None:
    with pytest.raises(ListError, match=r"known.txt: is a built index"):
        read(path, b"HASHMTCH" + bytes(100))


def npy(array: np.ndarray, **options: bool) -> bytes:
    file = io.BytesIO()
    np.save(file, array, **options)
    return file.getvalue()


@pytest.mark.usefixtures("block_size")
@pytest.mark.parametrize("name", ["known.npy", "known"])
def test_npy(tmp_path: Path, name: str) -> None:
    for array in (CODES, np.asfortranarray(CODES)):
        codes, rows, columns, _ = read(tmp_path / name, npy(array))
        np.testing.assert_array_equal(codes, CODES)
        assert (rows, columns) == (list(range(7)), {})


def test_npy_of_uint64(path: Path) -> None:
    path.write_bytes(npy(np.array([255, 2**64 - 1], np.uint64)))
    (block,) = open_list(str(path), options=Options("phash"))
    assert isinstance(block, Block)
    assert encode_hex(block.codes) == ["00000000000000ff", "f" * 16]


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (npy(np.zeros((3, 8), np.uint8)), r"uint8\[3, 8\], pdq needs uint8\[n, 32\]"),
        (npy(np.zeros((3, 256), np.uint8)), r"uint8\[3, 256\]"),
        (npy(np.zeros((3, 32))), "float64"),
        (npy(np.zeros((3, 4), np.uint64)), "uint64"),
        (npy(np.zeros((3, 32), np.uint8))[:-1], ""),
        (npy(np.zeros((3, 32), np.uint8))[:20], ""),
        (b"\x93NUMPY", ""),
        (b"\x93NUMPY\x09\x00" + bytes(100), ""),
        (npy(np.array([{}], object), allow_pickle=True), "allow_pickle|pickle|object"),
        (npy(np.array(5, np.uint8)), ""),
    ],
)
def test_bad_npy(path: Path, content: bytes, reason: str) -> None:
    with pytest.raises(ListError, match=f"known.txt: .*(?:{reason})"):
        read(path, content)


def test_progress(path: Path) -> None:
    path.write_text("\n".join(HEX))
    calls: list[tuple[int, int]] = []
    list(open_list(str(path), on_read=lambda done, total: calls.append((done, total))))
    size = path.stat().st_size
    assert calls[-1] == (size, size)
    assert calls == sorted(calls)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        list(open_list(str(tmp_path / "nothing")))
    with pytest.raises(IsADirectoryError):
        list(open_list(str(tmp_path)))
