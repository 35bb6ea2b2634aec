"""Measure hashmatch against faiss-cpu, and against what is asked of it, on this machine.

    python benchmarks/side_by_side.py                   # every job at 10M codes, some 15 minutes
    python benchmarks/side_by_side.py --only pdq --rows 1000000
    python benchmarks/side_by_side.py --large           # 100M x 256 and 300M x 64: 24 GB

Answers are compared before anything is timed. README.md beside this file says what each figure is.
"""

from __future__ import annotations

import argparse
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

from rich.console import Console
from rich.table import Table

import hashmatch
import record
from database_jobs import DATABASE_JOBS
from dropin_jobs import DROPIN_JOBS
from jobs import JOBS as INDEX_JOBS
from jobs import LARGE, LARGE_JOBS
from list_jobs import LIST_JOBS
from record import Figure
from server_jobs import SERVER_JOBS
from timing import pin
from video_jobs import VIDEO_JOBS

JOBS = {**INDEX_JOBS, **DATABASE_JOBS, **LIST_JOBS, **VIDEO_JOBS, **DROPIN_JOBS, **SERVER_JOBS}


def main() -> int:
    chosen = arguments()
    pin()
    console = Console(width=None if sys.stdout.isatty() else 140)
    print(f"{record.machine()['processor']}, kernel {hashmatch.kernels()[0]}")
    failed = 0
    for name in chosen.only:
        with console.status(name):
            figures = run(name, chosen.rows)
        console.print(table(name, figures))
        failed += sum(figure.passes is False for figure in figures)
        if chosen.json:
            record.save(chosen.json, name, figures)
    if failed:
        print(f"{failed} below what is asked")
    return 1 if failed else 0


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rows", type=int, default=LARGE, help="only at %(default)s is it judged")
    names = [*JOBS, *LARGE_JOBS]
    parser.add_argument("--only", nargs="+", choices=names, metavar="JOB", help=", ".join(names))
    parser.add_argument("--large", action="store_true", help="the jobs that need 24 GB instead")
    parser.add_argument("--json", type=Path, help="put the figures into this record")
    chosen = parser.parse_args()
    chosen.only = chosen.only or list(LARGE_JOBS if chosen.large else JOBS)
    return chosen


def run(name: str, rows: int) -> list[Figure]:
    if name in JOBS:
        figures = list(JOBS[name](rows))
        if rows == LARGE:
            return figures
        return [replace(figure, at_least=None, at_most=None) for figure in figures]
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(run_large, name).result()


def run_large(name: str) -> list[Figure]:
    pin()
    return list(LARGE_JOBS[name]())


def table(name: str, figures: list[Figure]) -> Table:
    lines = Table(title=name, title_justify="left")
    lines.add_column("work", overflow="fold")
    lines.add_column("measured", justify="right")
    lines.add_column("against", overflow="fold")
    for heading in ("measured", "ratio", "asked"):
        lines.add_column(heading, justify="right")
    lines.add_column("")
    for figure in figures:
        lines.add_row(
            figure.work,
            f"{number(figure.value)} {figure.unit}",
            figure.against,
            "" if figure.against_value is None else f"{number(figure.against_value)} {figure.unit}",
            "" if figure.ratio is None else f"{number(figure.ratio)} x",
            asked(figure),
            {True: "[green]pass[/]", False: "[red]MISS[/]", None: ""}[figure.passes],
        )
    return lines


def asked(figure: Figure) -> str:
    if figure.at_least is not None:
        return f">= {figure.at_least:,g}"
    return "" if figure.at_most is None else f"<= {figure.at_most:,g}"


def number(value: float) -> str:
    """Three digits."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    raise SystemExit(main())
