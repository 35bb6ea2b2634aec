"""The reader of JSON records against the standard library's, cut in every way."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hashmatch.formats import json_text
from hashmatch.formats.json_stream import json_records
from hashmatch.formats.model import ListError, Source

_KEYS = frozenset({"value", "Media"})


class _Trickle(io.BytesIO):
    """A file that gives a few bytes at a time."""

    def __init__(self, content: bytes, size: int) -> None:
        super().__init__(content)
        self._size = size

    def read(self, size: int | None = -1, /) -> bytes:
        return super().read(self._size)


def _read(
    text: str | bytes, keys: frozenset[str] = _KEYS, at_a_time: int = 1 << 20
) -> tuple[list[tuple[int | str, int, Any]], list[str]]:
    content = text.encode() if isinstance(text, str) else text
    source = Source("list", _Trickle(content, at_a_time), skip_faults=True)
    return [tuple(record) for record in json_records(source, keys)], source.faults


def _refused(text: str | bytes) -> str:
    with pytest.raises(ListError) as refused:
        _read(text)
    return str(refused.value)


def test_a_list() -> None:
    records, faults = _read('[{"a": 1}, 2, "x", null, []]')
    assert records == [
        ("[0]", 0, {"a": 1}),
        ("[1]", 1, 2),
        ("[2]", 2, "x"),
        ("[3]", 3, None),
        ("[4]", 4, []),
    ]
    assert faults == []


def test_an_object_with_a_list() -> None:
    text = '{"count": 2, "value": [{"a": 1}, {"b": {"value": [3]}}], "next": null}'
    assert _read(text)[0] == [("value[0]", 0, {"a": 1}), ("value[1]", 1, {"b": {"value": [3]}})]
    assert _read('{"value": []}') == ([], [])


def test_lists_within_lists() -> None:
    text = '{"value": [{"Case": 1, "Media": [{"a": 1}, {"a": 2}]}, {"Media": [{"a": 3}]}]}'
    assert [record[0] for record in _read(text)[0]] == [
        "value[0].Media[0]",
        "value[0].Media[1]",
        "value[1].Media[0]",
    ]


def test_json_lines_and_pages() -> None:
    records, _ = _read('{"a": 1}\n\n{"a": 2}\r\n{"value": [{"a": 3}]}\n[{"a": 4}]')
    assert [record[:2] for record in records] == [(1, 0), (3, 1), ("4:value[0]", 2), ("5:[0]", 3)]
    assert [record[2]["a"] for record in records] == [1, 2, 3, 4]
    assert [record[0] for record in _read('{\n"a": 1\n}\n{\n"a": 2\n}')[0]] == [1, 4]


def test_a_malformed_line_is_a_fault() -> None:
    text = '{"a": 1}\n{"a": }\n{"a": "x\n{"a": 3}\nrubbish\n{"a": 4}\n{"a": '
    records, faults = _read(text)
    assert [(place, row, value["a"]) for place, row, value in records] == [
        (1, 0, 1),
        (4, 3, 3),
        (6, 5, 4),
    ]
    assert faults == [
        "list:2: is not valid JSON: Expecting value",
        "list:3: is not valid JSON: Invalid control character at",
        "list:5: is not JSON's { or [",
        "list:7: is not valid JSON: Expecting value",
    ]


def test_what_is_not_json_or_has_no_one_meaning_is_a_fault() -> None:
    digits = "9" * 5_000
    text = f'[{{"a": NaN}}, {{"a": 1, "a": 2}}, {{"a": {digits}}}, {{"a": 7}}]'
    records, faults = _read(text)
    assert records == [("[3]", 3, {"a": 7})]
    assert faults == [
        "list:[0]: has NaN, which is not JSON",
        "list:[1]: has a key twice",
        "list:[2]: has a number of 5,000 digits",
    ]
    # Of a page, only the records that are so.
    assert _read(f'{{"value": {text}}}')[0] == [("value[3]", 3, {"a": 7})]


def test_bytes_that_are_not_utf_8_are_a_fault() -> None:
    records, faults = _read(b'{"a": "\xff"}\n{"a": "\xc3\xa9"}\n')
    assert records == [(2, 1, {"a": "é"})]
    assert faults == ["list:1: has a byte that is not UTF-8"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('[{"a": 1}, {"a": }]', "list:[1]: is not valid JSON: Expecting value"),
        ('{"value": [{"a": 1}, {"a" 1}]}', "list:value[1]: is not valid JSON: Expecting ':'"),
        ('[{"a": 1}', "list:1: ends where one of , ] is needed"),
        ('[{"a": 1},', "list:[1]: ends within a list"),
        ('[{"a": 1},]', "list:[1]: is not valid JSON: Expecting value"),
        ('{"value": [1', "list:1: ends where one of , ] is needed"),
        ('{\n"value" [1]}', "list:2: has '[' where one of : is needed"),
        ("[" * 100_000, "list:[0]: lists and objects are nested too deeply"),
        ("[" + '{"value":[' * 100_000, "nested too deeply"),
        ('["' + "x" * (9 << 20) + '"]', "has a record of more than 8,388,608 characters"),
        ('{"value": [1], "value": [2]}', "list:1: has a key twice"),
        ("{" + ",".join(f'"{n}{"k" * 999}":0' for n in range(9_000)) + "}", "a record of more"),
        ('{"a":"x"' + ',"b":"' + "x" * (5 << 20) + '","c":"' + "x" * (5 << 20) + '"}', "a record"),
    ],
)
def test_nothing_says_where_the_next_record_begins(text: str, reason: str) -> None:
    assert reason in _refused(text)


def test_errors_name_their_line() -> None:
    assert _refused('[\n{"a": 1},\n{\n"a": }]') == (
        "list:[1]: is not valid JSON: Expecting value on line 4"
    )


def test_a_large_record_is_read_member_by_member() -> None:
    text = json.dumps({"a": ["x" * 99] * 3_000, "b": {"c": 1}})
    assert _read(f"{text}\n{text}\n")[0] == [
        (1, 0, json.loads(text)),
        (2, 1, json.loads(text)),
    ]


_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=300, deadline=None)
@given(
    st.lists(_values, max_size=6),
    st.sampled_from([1, 2, 7, 64]),
    st.sampled_from([None, 1]),
    st.booleans(),
    st.sampled_from(["list", "page", "lines"]),
)
def test_any_values_cut_anywhere(
    values: list[Any], at_a_time: int, indent: int | None, ascii: bool, form: str
) -> None:
    keys = frozenset({"only key"})
    if form == "lines":
        values = [value for value in values if isinstance(value, dict)]
        text = "\n".join(json.dumps(value, ensure_ascii=ascii, indent=indent) for value in values)
    else:
        whole = values if form == "list" else {"x": 1, "only key": values, "y": [2]}
        text = json.dumps(whole, ensure_ascii=ascii, indent=indent)
    window, json_text._WINDOW = json_text._WINDOW, 8
    try:
        records, faults = _read(text.encode(errors="surrogatepass"), keys, at_a_time)
    finally:
        json_text._WINDOW = window
    if any("\ud800" <= character <= "\udfff" for character in text):
        return  # No text that JSON may have unescaped.
    assert faults == []
    assert [row for _, row, _ in records] == list(range(len(values)))
    assert [value for _, _, value in records] == values
