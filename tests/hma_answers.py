"""What HMA's own service answered, and what it was asked.

Recorded from the service itself (Flask on Postgres, of the repository's commit baefb4e) with these
banks: BANK_A has the first four PDQ codes, each as a content of its own, numbered 1 to 4; BANK_B
has content 5, with the first code and the first MD5; BANK_C has content 6, with the second MD5. The
order of matches is that of its index, which means nothing.
"""

from __future__ import annotations

from typing import Any

PDQ = [
    "f8f8f0cee0f4a84f06370a22038f63f0b36e2ed596621e1d33e6b39c4e9c9b22",
    "f8f8f0cee0f4a84f06370a2a038f63f0b36e26d596621e1d33e6b39c4e9c9b22",
    "f8f8f0cee0f4a84f0637022a038f67f0b36e26d596621e1d33e6b39c4e9c9b22",
    "f8f8f0cee0f4a84f06370a2a068f67f0b36e26d596621e1d33e6339c4e9c9b22",
]
MD5 = ["cab08b36195edb1a1231d2d09fa450e0", "d41d8cd98f00b204e9800998ecf8427e"]
H = PDQ[0]

NEAR = [(1, "0"), (2, "2"), (3, "4"), (4, "6"), (5, "0")]


def rows(*ids: int, distance: str | None = None) -> list[dict[str, Any]]:
    return [{"bank_content_id": id, "distance": distance or dict(NEAR)[id]} for id in ids]


_ALL = [1, 2, 3, 4, 5]
_RAW = f"/m/raw_lookup?signal={H}&signal_type=pdq"
_LOOKUP = f"/m/lookup?signal={H}&signal_type=pdq"
_BY_BANK = {"BANK_A": rows(1, 2, 3, 4), "BANK_B": rows(5)}

#: Path with parameters, and the answer of status 200.
ANSWERED: list[tuple[str, Any]] = [
    (_RAW, {"matches": _ALL}),
    (f"{_RAW}&include_distance=true", {"matches": rows(*_ALL)}),
    (f"{_RAW}&include_distance=1", {"matches": rows(*_ALL)}),
    (f"{_RAW}&include_distance=yes", {"matches": rows(*_ALL)}),
    (f"{_RAW}&include_distance=false", {"matches": _ALL}),
    (f"{_RAW}&banks=BANK_B", {"matches": [5]}),
    (f"{_RAW}&banks=BANK_B,NO", {"matches": [5]}),
    (f"{_RAW}&banks=BANK_A,BANK_B", {"matches": _ALL}),
    (f"{_RAW}&banks=BANK_A,%20BANK_B", {"matches": [1, 2, 3, 4]}),
    (f"{_RAW}&banks=", {"matches": _ALL}),
    (f"{_RAW}&banks=NO", {"matches": []}),
    (f"{_RAW}&extra=1", {"matches": _ALL}),
    (f"/m/raw_lookup?signal={'5' * 64}&signal_type=pdq", {"matches": []}),
    (f"/m/raw_lookup?signal={MD5[0]}&signal_type=video_md5", {"matches": [5]}),
    (
        f"/m/raw_lookup?signal={MD5[0].upper()}&signal_type=video_md5&include_distance=true",
        {"matches": rows(5, distance="-")},
    ),
    (_LOOKUP, _BY_BANK),
    (f"{_LOOKUP}&banks=BANK_A", {"BANK_A": rows(1, 2, 3, 4)}),
    (f"{_LOOKUP}&banks=NO", {}),
    (f"{_LOOKUP}&seed=4&bypass_coinflip=true", _BY_BANK),
    (f"/m/lookup?signal={'5' * 64}&signal_type=pdq", {}),
    (
        f"/m/lookup?signal={MD5[0]}&signal_type=video_md5",
        {"BANK_B": rows(5, distance="-")},
    ),
]

#: Path with parameters, and the status of the refusal.
REFUSED: list[tuple[str, int]] = [
    (f"{_RAW}&include_distance=maybe", 422),
    (f"/m/raw_lookup?signal=%20{H}&signal_type=pdq", 400),
    (f"/m/raw_lookup?signal={H[:-1]}&signal_type=pdq", 400),
    ("/m/raw_lookup?signal=&signal_type=pdq", 400),
    ("/m/raw_lookup?signal_type=pdq", 422),
    (f"/m/raw_lookup?signal={H}", 422),
    (f"/m/raw_lookup?signal={H}&signal_type=", 400),
    (f"/m/raw_lookup?signal={H}&signal_type=nope", 400),
    ("/m/raw_lookup?signal=x&signal_type=video_md5", 400),
    (f"/m/lookup?signal={H}", 400),
    ("/m/lookup?signal_type=pdq", 400),
    ("/m/lookup", 400),
    ("/m/lookup?signal=x&signal_type=pdq", 400),
    (f"{_LOOKUP}&bypass_coinflip=zz", 422),
    # As it answers where it is not configured to hash.
    ("/m/lookup?url=http://127.0.0.1:1/x.jpg", 403),
    ("/m/index/status?signal_type=nope", 400),
    ("/m/index/status?signal_type=", 400),
]

#: The body of POST /m/compare, and the status and answer.
COMPARED: list[tuple[Any, int, Any]] = [
    ({"pdq": [H, PDQ[1]]}, 200, {"pdq": [True, {"distance": 2}]}),
    ({"pdq": [H, "5" * 64]}, 200, {"pdq": [False, {"distance": 142}]}),
    ({}, 200, {}),
    (["banana"], 400, None),
    ({"pdq": "banana"}, 400, None),
    ({"pdq": []}, 400, None),
    ({"pdq": ["banana", "banana"]}, 400, None),
    ({"pdq": [H, H, H]}, 400, None),
    ({"pdq": [1, 2]}, 400, None),
    ({"nope": [H, H]}, 400, None),
    ("x", 400, None),
]
