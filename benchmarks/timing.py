"""Clocks: every timing is of whole calls from Python, and what is compared takes turns."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

T = TypeVar("T")
Call = Callable[[], object]
Seconds = NDArray[np.float64]


def pin() -> None:
    """Keep this process on one core, the last, so that no timing is of a move between two."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})


def unpin() -> None:
    """Let this process have every core again."""
    os.sched_setaffinity(0, range(os.cpu_count() or 1))


def on_cores(cores: Iterable[int], call: Call) -> None:
    os.sched_setaffinity(0, cores)
    call()


def timed(call: Callable[[], T]) -> tuple[T, float]:
    """What a call returns, and the seconds it takes."""
    begin = time.perf_counter()
    result = call()
    return result, time.perf_counter() - begin


def seconds(call: Call) -> float:
    return timed(call)[1]


def in_turns(rounds: int, *sides: Sequence[Call]) -> list[Seconds]:
    """Time each call of each side, the sides taking turns: in each round a side makes its share of
    calls one after another. What slows the machine for a while then slows all sides.
    """
    taken: list[list[float]] = [[] for _ in sides]
    for turn in range(rounds):
        for calls, times in zip(sides, taken, strict=True):
            share = slice(len(calls) * turn // rounds, len(calls) * (turn + 1) // rounds)
            times += [seconds(call) for call in calls[share]]
    return [np.array(times) for times in taken]


def median(times: Seconds) -> float:
    return float(np.median(times))


def p99(times: Seconds) -> float:
    return float(np.percentile(times, 99))
