"""The kinds of hash: how wide each one is, and the distance at which its field calls it a match."""

from __future__ import annotations

from dataclasses import dataclass

#: Widths, in bits, that the engine is compiled for.
WIDTHS = (64, 128, 160, 256)


@dataclass(frozen=True, slots=True)
class HashType:
    """A kind of hash. `name` is "" for plain codes of `bits` bits without a type."""

    name: str
    bits: int
    max_distance: int | None

    @property
    def width(self) -> int:
        """Bytes in a code."""
        return self.bits // 8

    @property
    def digits(self) -> int:
        """Hex digits in a code."""
        return self.bits // 4

    @property
    def label(self) -> str:
        """The subject of "... needs 64 hex digits"."""
        return self.name or f"a {self.bits}-bit code"


#: The distances are those that the hashes' authors or their usual tools recommend; a digest only
#: ever matches itself.
HASH_TYPES = {
    kind.name: kind
    for kind in (
        HashType("pdq", 256, 31),
        HashType("phash", 64, 8),
        HashType("dhash", 64, 8),
        HashType("ahash", 64, 8),
        HashType("whash", 64, 8),
        HashType("simhash", 64, 3),
        HashType("md5", 128, 0),
        HashType("sha1", 160, 0),
        HashType("sha256", 256, 0),
    )
}


def hash_type(name: str) -> HashType:
    """The type of that name. ValueError lists the names there are."""
    if not isinstance(name, str):
        raise TypeError(
            f"hash_type must be a name such as 'pdq', not {type(name).__name__}; "
            "for a width give bits=..."
        )
    try:
        return HASH_TYPES[name]
    except KeyError:
        raise ValueError(
            f"unknown hash type {name!r}: give one of {', '.join(HASH_TYPES)}"
        ) from None
