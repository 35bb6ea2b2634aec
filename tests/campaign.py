"""The tests that CI runs a share of, in full, for a release: python tests/campaign.py [NAME ...]

What came of each is put into campaigns.json. The sanitizers' builds are those of `.ci/run`.
"""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

TESTS = Path(__file__).parent
RECORD = TESTS / "campaigns.json"
SANITIZED_MINUTES = 30


@dataclass
class Result:
    what: str
    #: What the tests themselves say.
    said: str
    passed: bool
    seconds: int
    date: str
    commit: str
    machine: str


def pytest(*tests: str, **environment: int) -> tuple[str, bool]:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rN", "--no-header", *tests],
        cwd=TESTS,
        env=os.environ | {name: str(value) for name, value in environment.items()},
        stdout=subprocess.PIPE,
        text=True,
    )
    if done.returncode:
        print(done.stdout)
    return done.stdout.strip().splitlines()[-1], done.returncode == 0


def sanitized() -> tuple[str, bool]:
    """The core's tests under each sanitizer, again and again for half an hour."""
    root = TESTS.parent
    subprocess.run(["bash", ".ci/run", "thread", "address"], cwd=root, check=True)
    runs = {"thread": 0, "address": 0}
    end = time.monotonic() + SANITIZED_MINUTES * 60
    while time.monotonic() < end:
        name = min(runs, key=lambda name: runs[name])
        folder = root / "build" / "ci" / name
        if subprocess.run(["ctest", "--test-dir", folder, "--output-on-failure"]).returncode:
            return f"failed under the {name} sanitizer", False
        runs[name] += 1
    return f"{runs['thread']} runs under TSan, {runs['address']} under ASan and UBSan", True


CAMPAIGNS: dict[str, tuple[str, Callable[[], tuple[str, bool]]]] = {
    "kill": (
        "5,000 times kill -9 of the writer: at named points, at any call, at random moments",
        partial(pytest, "test_database_crash.py", HASHMATCH_ROUNDS=5_000),
    ),
    "feeds": (
        "1,000 times kill -9 of a process that follows a feed: at named points, at random moments",
        partial(pytest, "test_feeds_killed.py", HASHMATCH_ROUNDS=1_000),
    ),
    "damage": (
        "100,000 damaged index files, opened and searched",
        partial(pytest, "test_corruption.py", HASHMATCH_CASES=100_000),
    ),
    "faults": (
        "every call failing in turn; full disks; limits of memory, files; damaged databases",
        partial(
            pytest,
            "test_database_faults.py",
            "test_database_damage.py",
            HASHMATCH_ROUNDS=5_000,
        ),
    ),
    "sequences": (
        "200,000 steps of changes, loads, folds and reopenings against dicts",
        partial(pytest, "test_database_stateful.py::test_any_sequence", HASHMATCH_ROUNDS=24_000),
    ),
    "wire": (
        "200,000 changes over HTTP, replayed, reordered, gapped and doubled, against dicts",
        partial(pytest, "test_server_changes_model.py", HASHMATCH_CHANGE_STEPS=200_000),
    ),
    "sanitizers": ("the core's tests under sanitizers for 30 minutes", sanitized),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(CAMPAIGNS))
    names = parser.parse_args().names or list(CAMPAIGNS)
    if unknown := {*names} - {*CAMPAIGNS}:
        parser.error(f"no campaign {', '.join(sorted(unknown))}: there are {', '.join(CAMPAIGNS)}")
    commit = subprocess.check_output(["git", "rev-parse", "--short", "HEAD"], cwd=TESTS, text=True)
    failed = 0
    for name in names:
        what, run = CAMPAIGNS[name]
        begin = time.monotonic()
        said, passed = run()
        seconds = round(time.monotonic() - begin)
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        machine = f"{os.cpu_count()} x {platform.machine()}"
        result = Result(what, said, passed, seconds, today, commit.strip(), machine)
        print(f"{name}: {said}, {seconds} s", flush=True)
        results = json.loads(RECORD.read_text()) if RECORD.exists() else {}
        RECORD.write_text(json.dumps(results | {name: asdict(result)}, indent=2) + "\n")
        failed += not passed
    return failed


if __name__ == "__main__":
    sys.exit(main())
