"""Draw time per query of hashmatch and its peers from a record of side_by_side.py.

python benchmarks/plot.py benchmarks/records/DATE-CPU.json [-o benchmarks/figures.svg]
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import matplotlib

matplotlib.use("Agg")
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

import record

HERE = Path(__file__).parent
OURS, THEIRS, INK, MUTED = "#c2410c", "#52606d", "#1f2933", "#7b8794"

#: Title in records/peers.json, job, and how its figures begin.
PANELS = (
    ("256 bits, 10M codes, within 31", "pdq", "10M x 256, r = 31"),
    ("64 bits, 10M codes, within 8", "phash", "10M x 64, r = 8"),
)


@dataclass(frozen=True)
class Line:
    """One peer: microseconds a query, one at a time and in bulk."""

    name: str
    one_us: float
    bulk_us: float | None
    where: str


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw a record's time per query beside its peers.")
    parser.add_argument("record", type=Path)
    parser.add_argument("-o", "--output", type=Path, default=HERE / "figures.svg")
    chosen = parser.parse_args()
    measured, peers = record.load(chosen.record), record.load(HERE / "records" / "peers.json")
    draw([(title, lines(measured, peers, title, job, work)) for title, job, work in PANELS])
    place = measured["machine"]["processor"]
    day = max(measured["jobs"][job]["date"] for _, job, _ in PANELS)
    note = (
        f"One thread, exact answers, uniform codes. hashmatch and faiss flat: measured in one run "
        f"from Python on {place}, {day}.\nOther peers: measured once on the same kind of machine "
        f"with their own code, or by their authors where it says so."
    )
    pyplot.gcf().text(0.012, 0.02, note, fontsize=8, color=MUTED, va="bottom")
    pyplot.savefig(chosen.output, dpi=160, facecolor="white", metadata={"Date": None})
    print(chosen.output)


def lines(
    measured: dict[str, Any], peers: dict[str, Any], title: str, job: str, work: str
) -> list[Line]:
    """Fastest first."""
    one, bulk = [
        figure for figure in measured["jobs"][job]["figures"] if figure["work"].startswith(work)
    ]
    found = [
        Line("hashmatch", one["value"], bulk["value"], ""),
        Line("faiss flat (linear scan)", one["against_value"], bulk["against_value"], ""),
    ]
    for peer in peers[title]:
        found.append(
            Line(peer["name"], peer["one_us"], peer.get("bulk_us"), peer.get("source", ""))
        )
    return sorted(found, key=lambda line: line.one_us)


def draw(panels: list[tuple[str, list[Line]]]) -> None:
    pyplot.rcParams.update({"font.family": "DejaVu Sans", "svg.hashsalt": "hashmatch"})
    figure, areas = pyplot.subplots(
        len(panels),
        1,
        sharex=True,
        figsize=(9, 1.3 + 0.34 * sum(len(found) + 1 for _, found in panels)),
        gridspec_kw={"height_ratios": [len(found) for _, found in panels]},
    )
    for area, (title, found) in zip(areas, panels, strict=True):
        panel(area, title, found)
    areas[-1].set_xlabel("time per query (log scale)", color=INK, fontsize=9)
    ticks = [1, 10, 100, 1_000, 10_000, 100_000]
    areas[-1].set_xticks(ticks, [time(tick) for tick in ticks])
    marks = [
        Line2D([], [], marker=marker, color=INK, linestyle="", markersize=6, label=label)
        for marker, label in (("o", "one query a call"), ("D", "in bulk, per query"))
    ]
    figure.legend(handles=marks, loc="upper right", ncols=2, frameon=False, fontsize=9)
    figure.subplots_adjust(left=0.27, right=0.97, top=0.91, bottom=0.15, hspace=0.22)


def panel(area: Axes, title: str, found: list[Line]) -> None:
    area.set_title(title, loc="left", fontsize=10.5, color=INK, fontweight="bold")
    area.set_xscale("log")
    area.set_xlim(1, 400_000)
    area.minorticks_off()
    area.set_ylim(len(found) - 0.4, -0.6)
    names = [f"{line.name}\n({line.where})" if line.where else line.name for line in found]
    area.set_yticks(range(len(found)), names, fontsize=9, color=INK)
    for row, line in enumerate(found):
        ours = line.name == "hashmatch"
        colour = OURS if ours else THEIRS
        times = [line.one_us] if line.bulk_us is None else [line.bulk_us, line.one_us]
        area.plot(times, [row] * len(times), color=colour, linewidth=1.4, alpha=0.5, zorder=2)
        if line.bulk_us is not None:
            area.plot(line.bulk_us, row, "D", color=colour, markersize=5, zorder=3)
        area.plot(line.one_us, row, "o", color=colour, markersize=7, zorder=3)
        text = time(line.one_us) if len(times) == 1 else f"{time(line.one_us)}, {time(times[0])}"
        area.annotate(
            text,
            (max(times), row),
            xytext=(9, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
            color=colour,
            fontweight="bold" if ours else "normal",
        )
    area.grid(axis="x", color="#e4e7eb", linewidth=0.8, zorder=0)
    area.tick_params(length=0, labelcolor=INK)
    for side in ("top", "right", "left", "bottom"):
        area.spines[side].set_visible(False)


def time(us: float) -> str:
    return f"{us / 1_000:.3g} ms" if us >= 1_000 else f"{us:.3g} µs"


if __name__ == "__main__":
    main()
