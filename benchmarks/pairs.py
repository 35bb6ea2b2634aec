"""Pairs of items that change together, so that an answer which mixes two generations shows it."""

from __future__ import annotations

import json
from bisect import bisect_right

from database_jobs import SET
from datasets import Codes
from sidecar import Sidecar

PAIRS = 500
#: Pairs that one change moves: two rows each.
MOVED = 50


def moved(change: int) -> range:
    """The pairs that a change moves: each is moved by one in ten."""
    begin = change * MOVED % PAIRS
    return range(begin, begin + MOVED)


def moving(server: Sidecar, first: Codes, second: Codes, pairs: range, label: str) -> bytes:
    """The request that gives both items of those pairs a label."""
    adds = [
        {"ref": f"{side} {pair}", "type": "pdq", "hash": code.tobytes().hex(), "labels": [label]}
        for pair in pairs
        for side, code in (("first", first[pair]), ("second", second[pair]))
    ]
    body = json.dumps({"adds": adds}).encode()
    return server.request("POST", f"/v1/sets/{SET}/changes", body, caller="writer")


def count_mixed(
    begin: int, changed: list[tuple[int, bytes]], answered: list[tuple[int, bytes]]
) -> int:
    """How many answers, each with the pair that was looked up, are not wholly of the generation
    that they name. `begin` is the generation that the pairs came with, and `changed` has the number
    of each change and what answered it.
    """
    made = sorted((json.loads(body)["generation"], number) for number, body in changed)
    generations = [begin, *(generation for generation, _ in made)]
    labels = [["begin"] * (PAIRS // MOVED)]
    for _, number in made:
        labels.append(list(labels[-1]))
        labels[-1][number % len(labels[-1])] = f"change {number}"
    mixed = 0
    for pair, body in answered:
        answer = json.loads(body)
        state = bisect_right(generations, answer["generation"]) - 1
        wanted = labels[state][pair // MOVED]
        found = {row["ref"]: row["labels"] for row in answer["matches"]}
        mixed += found != {f"first {pair}": [wanted], f"second {pair}": [wanted]}
    return mixed
