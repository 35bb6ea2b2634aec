"""Exact matching of perceptual hashes by Hamming distance.

index = hashmatch.Index("pdq")
index.add(known)
for match in index.search(uploads):
    print(match.query, match.id, match.distance)
"""

from hashmatch._core import FormatError, kernels
from hashmatch.index import Index
from hashmatch.matches import Match, Matches

__all__ = ["FormatError", "Index", "Match", "Matches", "__version__", "kernels"]

__version__: str


def __getattr__(name: str) -> str:
    # Looking the version up takes longer than importing all the rest, and few ask for it.
    if name == "__version__":
        from importlib.metadata import version

        return version("hashmatch")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
