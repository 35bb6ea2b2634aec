"""Files as damage, accidents and enemies leave them: many small changes of a sound one."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator

#: What parsers trip over: quotes, brackets, numbers at an edge, half a character, control bytes.
_TOKENS = (
    *(b'"', b'""', b"'", b",", b";", b":", b"\n", b"\r", b"\r\n", b"\t", b"\0", b"\\", b"\\u"),
    *(b"{", b"}", b"[", b"]", b"<", b">", b"</", b"<!", b"&", b"&#0;", b"<![CDATA[", b"-->"),
    *(b"null", b"true", b"NaN", b"1e999", b"-1", b"0", b"18446744073709551616", b"9" * 400),
    *(b"\xff", b"\x80", b"\xc3", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\x1f\x8b", b"\x7f"),
    *(b"[" * 300, b"<a>" * 300, b"{" * 300, b"f" * 64, b"0x", b" ", b"\xe2\x80\xa8"),
)


def mutants(sample: bytes, count: int, seed: int) -> Iterator[bytes]:
    """`count` changed copies of `sample`, each with one to four changes; the same for a seed."""
    chance = random.Random(seed)
    for _ in range(count):
        mutant = sample
        for _ in range(chance.choice((1, 1, 1, 2, 4))):
            mutant = chance.choice(_CHANGES)(mutant, chance)
        yield mutant


def _span(text: bytes, chance: random.Random) -> tuple[int, int]:
    begin = chance.randrange(len(text) + 1)
    return begin, min(len(text), begin + chance.choice((1, 2, 8, 64, 500)))


def _flip(text: bytes, chance: random.Random) -> bytes:
    if not text:
        return text
    at = chance.randrange(len(text))
    return text[:at] + bytes([text[at] ^ 1 << chance.randrange(8)]) + text[at + 1 :]


def _insert(text: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(text) + 1)
    return text[:at] + chance.choice(_TOKENS) + text[at:]


def _replace(text: bytes, chance: random.Random) -> bytes:
    begin, end = _span(text, chance)
    return text[:begin] + chance.choice(_TOKENS) + text[end:]


def _delete(text: bytes, chance: random.Random) -> bytes:
    begin, end = _span(text, chance)
    return text[:begin] + text[end:]


def _repeat(text: bytes, chance: random.Random) -> bytes:
    begin, end = _span(text, chance)
    return text[:end] + text[begin:end] * chance.choice((1, 2, 20)) + text[end:]


def _move(text: bytes, chance: random.Random) -> bytes:
    begin, end = _span(text, chance)
    rest = text[:begin] + text[end:]
    at = chance.randrange(len(rest) + 1)
    return rest[:at] + text[begin:end] + rest[at:]


def _cut(text: bytes, chance: random.Random) -> bytes:
    return text[: chance.randrange(len(text) + 1)]


_CHANGES: tuple[Callable[[bytes, random.Random], bytes], ...] = (
    *(_flip, _flip, _insert, _insert, _replace, _replace),
    *(_delete, _repeat, _move, _cut),
)
