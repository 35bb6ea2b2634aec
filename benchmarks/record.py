"""What was measured, and where: figures, and the file they are kept in."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import hashmatch


@dataclass(frozen=True)
class Figure:
    """One measured value, what it is compared with, and what it has to reach."""

    work: str
    value: float
    unit: str
    #: What it is compared with, in the same unit, and the ratio of the two.
    against: str = ""
    against_value: float | None = None
    ratio: float | None = None
    #: Bounds on the ratio or, without one, on the value.
    at_least: float | None = None
    at_most: float | None = None

    @property
    def passes(self) -> bool | None:
        """None: nothing is asked of it."""
        judged = self.value if self.ratio is None else self.ratio
        if self.at_least is not None:
            return judged >= self.at_least
        if self.at_most is not None:
            return judged <= self.at_most
        return None


def faster(
    work: str, us: float, against: str, against_us: float, at_least: float | None = None
) -> Figure:
    """How many times faster, both in microseconds."""
    return Figure(work, us, "us", against, against_us, against_us / us, at_least=at_least)


def machine() -> dict[str, Any]:
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in ("hashmatch", "numpy", "faiss-cpu")},
    }


def save(path: Path, job: str, figures: Iterable[Figure]) -> None:
    """Put a job's figures into the record at `path`, in place of those it held of that job."""
    record = load(path) if path.exists() else {"machine": machine(), "jobs": {}}
    if record["machine"]["processor"] != machine()["processor"]:
        raise SystemExit(f"{path} was measured on another processor: name another file")
    record["machine"] = machine()
    record["jobs"][job] = {
        "date": date.today().isoformat(),
        "kernel": hashmatch.kernels()[0],
        "figures": [
            {key: value for key, value in asdict(figure).items() if value not in (None, "")}
            | ({} if figure.passes is None else {"passes": figure.passes})
            for figure in figures
        ],
    }
    part = path.with_suffix(".part")
    part.write_text(json.dumps(record, indent=1) + "\n")
    part.replace(path)


def load(path: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(path.read_text())
    return record


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
