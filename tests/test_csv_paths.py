"""CSV is read in two ways, one of which is fast. Both say the same of every file."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashmatch.codes import encode_hex
from hashmatch.formats import Options, csv_list, lines
from hashmatch.hash_types import HASH_TYPES
from listing import outcome, parts_of, plain
from mutation import mutants
from oracle import random_codes

PHASH = Options("phash")
HEX = encode_hex(random_codes(8, 64, seed=2))
HEADERS = ("hash", "hash,id", "id,hash,label", "ref,hash,labels", "a;hash;b", "a\thash")

hashes = st.sampled_from([*HEX, HEX[0].upper(), HEX[1][:-1], HEX[2] + "0", "", "g" * 16, "é" * 16])
cells = st.one_of(
    st.sampled_from(["", " ", "x", "é", "漢字", "a b", '"q"', '"a\nb"', "\r", "\0", '"', "[1]"]),
    st.text(alphabet='ab,;\t"\n\r é', max_size=4),
)
endings = st.sampled_from(["\n", "\n", "\n", "\r\n", "\n\n", "\r\r\n", "\n \n"])


@st.composite
def files(draw: st.DrawFn) -> bytes:
    header = draw(st.sampled_from(HEADERS))
    delimiter = next((each for each in ",;\t" if each in header), ",")
    names = header.split(delimiter)
    text = header + draw(endings)
    # Most lists are in order, and their refs differ.
    orderly = draw(st.booleans())
    for row in range(draw(st.integers(0, 12))):
        fields = [
            (HEX[row % 8] if orderly else draw(hashes))
            if name == "hash"
            else (f"{name}{row}" if orderly or draw(st.booleans()) else draw(cells))
            for name in names
        ]
        text += delimiter.join(fields) + draw(endings if not orderly else st.just("\n"))
    raw = text.encode()
    if draw(st.booleans()):
        raw = b"\n".join(_quoted(line, delimiter.encode()) for line in raw.split(b"\n"))
    return raw[: -draw(st.integers(0, 2)) or None]


def _quoted(line: bytes, delimiter: bytes) -> bytes:
    """Every other field in quotes."""
    fields = line.split(delimiter)
    return delimiter.join(
        b'"%s"' % field if place % 2 == len(fields) % 2 else field
        for place, field in enumerate(fields)
    )


def slowly(content: bytes, skip: bool) -> object:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_list, "plain_fields", lambda *_: None)
        return outcome(content, csv_list, PHASH, skip)


@settings(max_examples=600, deadline=None)
@given(files(), st.sampled_from([100, 300, 4 << 20]), st.booleans())
def test_both_ways_say_the_same(content: bytes, size: int, skip: bool) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lines, "BLOCK_BYTES", size)  # At least a line.
        found = outcome(content, csv_list, PHASH, skip)
    assert found == slowly(content, skip)


SAMPLE = b"ref,hash,label\n" + b"".join(
    b"r%d,%s,l%d\n" % (row, text.encode(), row % 3) for row, text in enumerate(HEX)
)


@pytest.mark.parametrize("ending", [b"\n", b"\r\n"])
@pytest.mark.parametrize("quote", [b"", b'"'])
def test_both_ways_say_the_same_of_mutants(ending: bytes, quote: bytes) -> None:
    sample = SAMPLE.replace(b",", quote + b"," + quote).replace(b"\n", ending)
    sample = sample.replace(ending, quote + ending + quote) if quote else sample
    sample = quote + sample.removesuffix(quote)
    for mutant in mutants(sample, 2_000, seed=5):
        assert outcome(mutant, csv_list, PHASH, True) == slowly(mutant, True), mutant


def test_the_fast_way_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the delimiter, line ending and letters; and where quotes are around fields only."""
    monkeypatch.setattr(csv_list.Table, "_careful", None)
    crlf = SAMPLE.replace(b"\n", b"\r\n")
    for content in (SAMPLE, crlf, SAMPLE.replace(b",", b";"), SAMPLE.replace(b"l1", "é".encode())):
        (*_, last), faults = parts_of(content, options=PHASH)
        assert last.refs is not None and last.refs[-1] == "r7" and not faults
    quoted = SAMPLE.replace(b",", b'","').replace(b"\n", b'"\n"')[:-1]
    parts, faults = parts_of(b'"' + quoted.replace(b"l1", b"l,1"), options=PHASH)
    assert [row[9]["label"] for row in plain(parts)][:3] == ["l0", "l,1", "l2"] and not faults
    for odd in (b'"l""1"', b'l"1', b'"l\n1"'):
        with pytest.raises(TypeError):
            parts_of(SAMPLE.replace(b"l1", odd), options=PHASH)


def test_only_blocks_with_something_odd_are_read_slowly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "BLOCK_BYTES", 64)
    careful = csv_list.Table._careful
    rows: list[int] = []

    def noted(table: csv_list.Table, *arguments: object) -> object:
        block, row = careful(table, *arguments)  # type: ignore[arg-type]
        rows.extend(block.rows.tolist())
        return block, row

    monkeypatch.setattr(csv_list.Table, "_careful", noted)
    content = SAMPLE.replace(b"l1\n", b'"l\n1"\n', 1)
    parts, _ = parts_of(content, options=PHASH)
    assert [row for part in parts for row in part.rows.tolist()] == list(range(8))
    assert 1 in rows and len(rows) < 8


def test_all_widths() -> None:
    for kind in HASH_TYPES.values():
        digits = encode_hex(random_codes(5, kind.bits))
        content = "".join(f"{text}\n" for text in ["hash", *digits]).encode()
        (block,), faults = parts_of(content, options=Options(kind.name))
        assert encode_hex(block.codes) == digits and not faults  # type: ignore[union-attr]
