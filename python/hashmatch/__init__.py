"""Exact matching of perceptual hashes by Hamming distance.

index = hashmatch.Index("pdq")
index.add(known)
for match in index.search(uploads):
    print(match.query, match.id, match.distance)
"""

from importlib.metadata import version

from hashmatch._core import FormatError, kernels
from hashmatch.index import Index
from hashmatch.matches import Match, Matches

__all__ = ["FormatError", "Index", "Match", "Matches", "__version__", "kernels"]

__version__ = version("hashmatch")
