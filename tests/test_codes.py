"""Every form of code means the same bytes, and what is not exactly a code is refused."""

from __future__ import annotations

import array
import re
from collections import UserList, deque
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hashmatch.codes import as_codes, encode_hex, hex_fault
from hashmatch.hash_types import HASH_TYPES, WIDTHS, HashType
from oracle import random_codes

PDQ = HASH_TYPES["pdq"]
PHASH = HASH_TYPES["phash"]
KINDS = [HashType("", bits, None) for bits in WIDTHS]
GOOD = "f0" * 32


def bits_of(codes: np.ndarray) -> np.ndarray:
    return np.unpackbits(codes, axis=1)


FORMS: dict[str, Callable[[np.ndarray], Any]] = {
    "hex list": lambda codes: [row.tobytes().hex() for row in codes],
    "upper-case hex tuple": lambda codes: tuple(row.tobytes().hex().upper() for row in codes),
    "numpy str list": lambda codes: [np.str_(row.tobytes().hex()) for row in codes],
    "other sequence": lambda codes: UserList(row.tobytes().hex() for row in codes),
    "bytes": lambda codes: [row.tobytes() for row in codes],
    "bytearrays": lambda codes: [bytearray(row.tobytes()) for row in codes],
    "memoryviews": lambda codes: [memoryview(row.tobytes()) for row in codes],
    "strided memoryviews": lambda codes: [np.repeat(row, 2).data[::2] for row in codes],
    "mixed bytes": lambda codes: [(bytes, bytearray)[i % 2](row) for i, row in enumerate(codes)],
    "array": lambda codes: codes,
    "fortran array": np.asfortranarray,
    "strided array": lambda codes: np.repeat(np.repeat(codes, 2, axis=0), 3, axis=1)[::2, ::3],
    "reversed array": lambda codes: codes[::-1].copy()[::-1],
    "read-only array": lambda codes: np.frombuffer(codes.tobytes(), np.uint8).reshape(codes.shape),
    "list of arrays": list,
}


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.bits))
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("rows", [1, 2, 17])
def test_every_form_means_the_same_bytes(form: str, kind: HashType, rows: int) -> None:
    codes = random_codes(rows, kind.bits)
    got = as_codes(FORMS[form](codes), kind)
    np.testing.assert_array_equal(got, codes)
    assert got.dtype == np.uint8 and got.flags.c_contiguous and got.shape == codes.shape


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.bits))
def test_one_code_in_every_form(kind: HashType) -> None:
    code = random_codes(1, kind.bits, seed=3)
    raw = code.tobytes()
    forms: list[Any] = [raw.hex(), raw.hex().upper(), np.str_(raw.hex()), raw, bytearray(raw)]
    forms += [memoryview(raw), code, code[0], np.repeat(code[0], 2)[::2]]
    for form in forms:
        np.testing.assert_array_equal(as_codes(form, kind), code, err_msg=repr(form))


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int8, np.int64, np.uint64, ">i4"])
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: str(kind.bits))
def test_bits(kind: HashType, dtype: str) -> None:
    codes = random_codes(5, kind.bits)
    bits = bits_of(codes).astype(dtype)
    for form in (bits, bits.tolist(), list(bits), np.asfortranarray(bits)):
        np.testing.assert_array_equal(as_codes(form, kind, bits=True), codes)
    np.testing.assert_array_equal(as_codes(bits[0], kind, bits=True), codes[:1])


def test_the_first_bit_is_the_highest() -> None:
    """As in PDQ's own tools, which write the vector's bits out as one binary number in hex."""
    vector = np.random.default_rng(5).integers(0, 2, 256)
    written = f"{int(''.join(map(str, vector)), 2):064x}"
    assert encode_hex(as_codes(vector, PDQ, bits=True)) == [written]


def test_pdqhash_vectors_are_accepted() -> None:
    pdqhash = pytest.importorskip("pdqhash")
    picture = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    vector, _ = pdqhash.compute(picture)
    assert encode_hex(as_codes(vector, PDQ, bits=True)) == [
        f"{int(''.join(map(str, vector)), 2):064x}"
    ]


@given(st.lists(st.integers(0, 2**64 - 1), max_size=20))
@example([0, 255, 2**63, 2**64 - 1])
def test_ints_are_big_endian(numbers: list[int]) -> None:
    expected = [f"{number:016x}" for number in numbers]
    assert encode_hex(as_codes(numbers, PHASH)) == expected
    assert encode_hex(as_codes([np.uint64(number) for number in numbers], PHASH)) == expected
    assert encode_hex(as_codes(np.array(numbers, dtype=np.uint64), PHASH)) == expected
    for number in numbers[:1]:
        assert encode_hex(as_codes(number, PHASH)) == expected[:1]
        assert encode_hex(as_codes(np.uint64(number), PHASH)) == expected[:1]


def test_a_contiguous_array_is_not_copied() -> None:
    codes = random_codes(3, 256)
    assert as_codes(codes, PDQ) is codes


@pytest.mark.parametrize(
    "empty", [[], (), np.empty((0, 8), np.uint8), np.empty(0, np.uint64), UserList()], ids=repr
)
def test_no_codes(empty: Any) -> None:
    assert as_codes(empty, PHASH).shape == (0, 8)


def test_no_bits() -> None:
    assert as_codes([], PHASH, bits=True).shape == (0, 8)
    assert as_codes(np.empty((0, 64), np.bool_), PHASH, bits=True).shape == (0, 8)


BAD_HEX = {
    "": "empty",
    "f0" * 31 + "f": "63 hex digits, pdq needs 64",
    "f0" * 32 + "f": "65 hex digits",
    "f0" * 33: "66 hex digits",
    "0x" + "f0" * 31: "begins with 0x",
    "0x" + "f0" * 32: "begins with 0x",
    "0X" + "f0" * 32: "begins with 0x",
    "+" + "f0" * 31 + "f": r"'\+' as character 1",
    "-" + "f0" * 31 + "f": "'-' as character 1",
    " " + "f0" * 31 + "f": "' ' as character 1",
    GOOD + " ": "' ' as character 65",
    GOOD + "\n": r"'\\n' as character 65",
    "f0" * 31 + "f\n": r"'\\n' as character 64",
    "f0 " * 21 + "f": "' ' as character 3",
    "f0" * 31 + "f_": "'_' as character 64",
    "f0" * 31 + "fg": "'g' as character 64",
    "f0" * 31 + "f\0": r"'\\x00' as character 64",
    GOOD + "\0": r"'\\x00' as character 65",
    "\u0661" * 64: "'\u0661' as character 1",
    "\uff10" * 64: "'\uff10' as character 1",
    "f0" * 31 + "f\u0660": "'\u0660' as character 64",
    "\ud800" * 64: "as character 1",
    "\ufeff" + GOOD: "as character 1",
}


@pytest.mark.parametrize("text", BAD_HEX, ids=ascii)
def test_bad_hex(text: str) -> None:
    reason = BAD_HEX[text]
    with pytest.raises(ValueError, match=f"^hash .*{reason}"):
        as_codes(text, PDQ)
    with pytest.raises(ValueError, match=f"^row 2: hash .*{reason}"):
        as_codes([GOOD, GOOD, text, GOOD], PDQ)


@given(st.text(st.sampled_from("0123456789abcdefABCDEF xX+-_g\0\u0661"), max_size=40))
def test_hex_is_taken_exactly_or_refused(text: str) -> None:
    if re.fullmatch("[0-9a-fA-F]{16}", text):
        assert as_codes(text, PHASH).tobytes() == int(text, 16).to_bytes(8, "big")
        assert as_codes([text], PHASH).tobytes() == int(text, 16).to_bytes(8, "big")
        assert hex_fault(text, PHASH) is None
    else:
        assert hex_fault(text, PHASH)
        for form in (text, [text]):
            with pytest.raises(ValueError, match="hash "):
                as_codes(form, PHASH)


BYTES = bytes(range(32))
REFUSED: dict[str, tuple[Any, type[Exception], str]] = {
    "short bytes": (BYTES[:31], ValueError, "^hash has 31 bytes, pdq needs 32"),
    "long bytes": (BYTES + b"\0", ValueError, "^hash has 33 bytes, pdq needs 32"),
    "no bytes": (b"", ValueError, "^hash has 0 bytes"),
    "hex in bytes": (GOOD.encode(), ValueError, r"give \.decode"),
    "short bytes in a list": ([BYTES, BYTES[:31]], ValueError, "^row 1: hash has 31 bytes"),
    "short bytearray": (bytearray(31), ValueError, "^hash has 31 bytes"),
    "wide memoryview": (memoryview(array.array("Q", [0] * 4)), ValueError, r"cast\('B'\)"),
    "int for 256 bits": (5, TypeError, "^a hash cannot be an int"),
    "ints for 256 bits": ([5], TypeError, "^row 0: a hash cannot be an int"),
    "None": (None, TypeError, "None"),
    "None in a list": ([GOOD, None], TypeError, "^row 1: .*NoneType among rows of str"),
    "float": (1.5, TypeError, "float"),
    "NaN": (float("nan"), TypeError, "float"),
    "NaNs": ([float("nan")], TypeError, "^row 0: .*float"),
    "bool": (True, TypeError, "bool"),
    "two forms": ([GOOD, BYTES], TypeError, "^row 1: a bytes among rows of str"),
    "two forms of bytes": ([BYTES, GOOD], TypeError, "^row 1: a str among rows of bytes"),
    "generator": ((code for code in [GOOD]), TypeError, "generator"),
    "set": ({GOOD}, TypeError, "set"),
    "dict": ({0: GOOD}, TypeError, "dict"),
    "float array": (np.zeros((1, 32)), TypeError, "float64"),
    "NaN array": (np.full((1, 32), np.nan), TypeError, "float64"),
    "int8 array": (np.zeros((1, 32), np.int8), TypeError, "int8"),
    "int64 array": (np.zeros((1, 32), np.int64), TypeError, "int64"),
    "bool array": (np.zeros((1, 256), np.bool_), TypeError, "bits=True"),
    "0/1 ints": (np.zeros(256, np.int64), TypeError, "bits=True"),
    "0/1 bytes": (np.zeros((2, 256), np.uint8), ValueError, "bits=True"),
    "0/1 rows": ([np.zeros(256, np.uint8)], ValueError, "^row 0: .*bits=True"),
    "object array": (np.array([GOOD], dtype=object), TypeError, "tolist"),
    "str array": (np.array([GOOD]), TypeError, "tolist"),
    "bytes array": (np.array([BYTES]), TypeError, "zero bytes"),
    "narrow": (
        np.zeros((3, 31), np.uint8),
        ValueError,
        r"uint8\[3, 31\], pdq needs uint8\[n, 32\]",
    ),
    "wide": (np.zeros((3, 33), np.uint8), ValueError, "33"),
    "0 dimensions": (np.array(5, np.uint8), ValueError, "pdq needs"),
    "1 dimension": (np.zeros(64, np.uint8), ValueError, "64"),
    "3 dimensions": (np.zeros((1, 1, 32), np.uint8), ValueError, "1, 1, 32"),
    "uint64 for 256 bits": (np.zeros((1, 4), np.uint64), TypeError, "uint64"),
    "masked": (np.ma.array(np.zeros((1, 32), np.uint8), mask=True), TypeError, "masked"),
    "uneven rows": ([np.zeros(32, np.uint8), np.zeros(31, np.uint8)], ValueError, "^row 1: "),
    "float rows": ([np.zeros(32)], ValueError, "^row 0: code is float64"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str) -> None:
    codes, error, reason = REFUSED[name]
    with pytest.raises(error, match=reason):
        as_codes(codes, PDQ)


REFUSED_64: dict[str, tuple[Any, type[Exception], str]] = {
    "negative": (-1, ValueError, "^hash is -1"),
    "too large": (2**64, ValueError, "^hash is 18446744073709551616"),
    "negative in a list": ([1, -1], ValueError, "^row 1: hash is -1"),
    "too large in a list": ([1, 2, 2**64], ValueError, "^row 2: "),
    "bool": (True, TypeError, "bool"),
    "bool in a list": ([1, True], TypeError, "^row 1: a bool"),
    "numpy bool": (np.True_, TypeError, "bool"),
    "numpy int64": (np.int64(5), TypeError, "int64"),
    "bytes of a code, one by one": (
        list(np.arange(8, dtype=np.uint8)),
        TypeError,
        "^row 0: .*uint8",
    ),
    "float in a list": ([1, 1.0], TypeError, "^row 1: a float"),
    "int64": (np.zeros(3, np.int64), TypeError, r"view\(np.uint64\)"),
    "other byte order": (np.zeros(3, np.dtype(np.uint64).newbyteorder()), TypeError, "byte order"),
    "uint32": (np.zeros(3, np.uint32), TypeError, "uint32"),
    "uint64 in 2 dimensions": (np.zeros((3, 1), np.uint64), ValueError, r"uint64\[3, 1\]"),
    "uint64 in 0 dimensions": (np.array(3, np.uint64), ValueError, "uint64"),
    "datetimes": (np.zeros(3, "datetime64[s]"), TypeError, "datetime64"),
}


@pytest.mark.parametrize("name", REFUSED_64)
def test_refused_for_64_bits(name: str) -> None:
    codes, error, reason = REFUSED_64[name]
    with pytest.raises(error, match=reason):
        as_codes(codes, PHASH)


REFUSED_BITS: dict[str, tuple[Any, type[Exception], str]] = {
    "value 2": (np.array([[0] * 64, [0] * 63 + [2]]), ValueError, "^row 1: .* value 63 is 2"),
    "value -1": (np.array([-1] + [0] * 63), ValueError, "^row 0: .* value 0 is -1"),
    "value 256": (np.array([256] + [0] * 63), ValueError, "is 256"),
    "floats": (np.zeros(64), TypeError, "float64"),
    "NaN": (np.full(64, np.nan), TypeError, "float64"),
    "texts": (["0"] * 64, TypeError, "U1"),
    "hex": ("f0" * 8, TypeError, "a str"),
    "None": (None, TypeError, "None"),
    "bytes": (bytes(8), TypeError, "a bytes"),
    "short": (np.zeros((2, 63), bool), ValueError, r"not shape \[2, 63\]$"),
    "a square": (np.zeros((8, 8), bool), ValueError, r"reshape\(-1, 64\)"),
    "3 dimensions": (np.zeros((1, 1, 64), bool), ValueError, "shape"),
    "0 dimensions": (np.array(True), ValueError, "shape"),
    "uneven": ([[0] * 64, [0] * 63], ValueError, "several lengths"),
    "masked": (np.ma.array(np.zeros(64, bool), mask=True), TypeError, "MaskedArray"),
    "deque": (deque([0] * 64), TypeError, "deque"),
}


@pytest.mark.parametrize("name", REFUSED_BITS)
def test_refused_as_bits(name: str) -> None:
    codes, error, reason = REFUSED_BITS[name]
    with pytest.raises(error, match=reason):
        as_codes(codes, PHASH, bits=True)


@pytest.mark.parametrize("bits", [64, 1, 0, None, "yes", np.True_])
def test_bits_is_true_or_false(bits: Any) -> None:
    with pytest.raises(TypeError, match="bits must be True"):
        as_codes(np.zeros((1, 8), np.uint8), PHASH, bits=bits)


def test_untyped_codes_are_named_by_their_width() -> None:
    with pytest.raises(ValueError, match="a 128-bit code needs 32"):
        as_codes("f0", HashType("", 128, None))
