"""Who looked up how much: noted beside the lookups, whatever becomes of the file, and shown."""

from __future__ import annotations

import asyncio
import re
import sqlite3
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

import hashmatch
from command import Run
from hashmatch import FormatError
from hashmatch.database.lookups import LookupLog, Noted, read_lookups
from hashmatch.server import audit as audits
from hashmatch.server.audit import Audit
from hashmatch.server.callers import Caller
from hashmatch.server.http import Lookup
from serving import application

READER = Caller("uploads", frozenset({"read"}))
OTHER = Caller("nightly", frozenset({"read"}))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    with hashmatch.open(tmp_path / "bank", "c") as database:
        for name in ("a", "b"):
            database.create(name)
        with database.change("a", who="moderator") as change:
            change.add("pdq", ["0" * 64], refs=["x"])
    return tmp_path / "bank"


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_lookups_are_counted_by_caller_and_second(folder: Path) -> None:
    audit = Audit(folder, 90)
    audit.start()
    for _ in range(300):
        audit.note(READER, Lookup("pdq", 2, {"a": 1, "b": 2}))
    audit.note(READER, Lookup("md5", 5, {}))
    audit.note(OTHER, Lookup("pdq", 100_000, {"b": 7}))
    assert audit.state().waiting in (3, 4, 5, 6)
    audit.stop()
    assert audit.state() == audits.AuditState(0, 0, None)
    with sqlite3.connect(folder / "audit.db") as file:
        (rows,) = file.execute("SELECT count(*) FROM lookup").fetchone()
    file.close()
    assert 3 <= rows <= 6
    found: dict[tuple[str, str], list[int]] = {}
    for row in read_lookups(folder):
        assert datetime.now(UTC) - row.time < timedelta(minutes=2)
        sums = found.setdefault((row.who, row.hash_type), [0] * 4)
        for place, number in enumerate(
            (row.requests, row.hashes, row.matches.get("a", 0), row.matches.get("b", 0))
        ):
            sums[place] += number
    assert found == {
        ("uploads", "pdq"): [300, 600, 300, 600],
        ("uploads", "md5"): [1, 5, 0, 0],
        ("nightly", "pdq"): [1, 100_000, 0, 7],
    }
    assert {row.who for row in read_lookups(folder, "a")} == {"uploads"}


def log_of(folder: Path, *rows: Noted) -> None:
    log = LookupLog(folder)
    log.append(rows)
    log.close()


NOON = int(datetime(2026, 3, 4, 12, 0, tzinfo=UTC).timestamp() * 1000)


def test_rows_of_a_minute_are_one(folder: Path) -> None:
    log_of(
        folder,
        *(
            (NOON + second * 1000, who, "pdq", 1, 10, {"a": second % 2})
            for second in range(120)
            for who in ("p", "q")
        ),
    )
    rows = read_lookups(folder)
    assert [(row.time.minute, row.who) for row in rows] == [
        *((1, "q"), (1, "p"), (0, "q"), (0, "p")),
    ]  # fmt: skip
    assert {(row.requests, row.hashes, row.matches["a"]) for row in rows} == {(60, 600, 30)}
    # A minute is whole.
    assert [(row.time.minute, row.requests) for row in read_lookups(folder, limit=1)] == [
        (1, 60), (1, 60),
    ]  # fmt: skip


def test_old_rows_are_cleared_away(folder: Path) -> None:
    now = time.time_ns() // 1_000_000
    day = 86_400_000
    log_of(folder, *((now - days * day, "p", "pdq", 1, days, {}) for days in (1, 6, 8, 400)))
    audit = Audit(folder, 7)
    audit.start()
    audit.note(READER, Lookup("pdq", 2, {}))
    wait_until(lambda: len(read_lookups(folder)) == 3)
    audit.stop()
    assert sorted(row.hashes for row in read_lookups(folder)) == [1, 2, 6]


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audits, "_EVERY_S", 0.01)
    monkeypatch.setattr("hashmatch.database.lookups._PATIENCE_MS", 10)


def test_a_locked_file_is_waited_for(folder: Path, quick: None) -> None:
    log_of(folder)
    locked = sqlite3.connect(folder / "audit.db", isolation_level=None)
    locked.execute("BEGIN IMMEDIATE")
    audit = Audit(folder, 90)
    audit.start()
    audit.note(READER, Lookup("pdq", 2, {"a": 1}))
    wait_until(lambda: "locked" in (audit.state().trouble or ""))
    audit.note(READER, Lookup("pdq", 3, {}))
    assert audit.state().lost == 0 and audit.state().waiting > 0
    locked.execute("ROLLBACK")
    locked.close()
    wait_until(lambda: audit.state() == audits.AuditState(0, 0, None))
    audit.stop()
    assert sum(row.hashes for row in read_lookups(folder)) == 5


def test_what_can_never_be_written_is_counted(
    folder: Path, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audits, "_MOST_ROWS", 3)
    (folder / "audit.db").write_bytes(b"no database" * 1000)
    audit = Audit(folder, 90)
    audit.start()
    for number in range(8):
        audit.note(Caller(f"caller {number}", frozenset()), Lookup("pdq", 2, {"a": 1}))
    wait_until(lambda: audit.state().lost == 5 and audit.state().trouble is not None)
    assert "audit.db" in (audit.state().trouble or "")
    audit.stop()
    assert audit.state().waiting == 3
    assert (folder / "audit.db").read_bytes() == b"no database" * 1000
    with pytest.raises(FormatError, match=r"audit\.db"):
        read_lookups(folder)


def test_another_programs_file_is_left_alone(folder: Path) -> None:
    with sqlite3.connect(folder / "audit.db") as other:
        other.execute("CREATE TABLE theirs (a)")
    other.close()
    with pytest.raises(FormatError, match="is no log of lookups"):
        LookupLog(folder)
    with pytest.raises(FormatError, match="is no log of lookups"):
        read_lookups(folder)


def test_a_sidecar_notes_who_looked_up_how_much(folder: Path) -> None:
    async def use() -> None:
        async with application(folder) as client:
            hashes = {"type": "pdq", "hashes": ["0" * 64, "f" * 64]}
            for _ in range(3):
                assert len((await client.post("/v1/match", json=hashes)).json()["matches"]) == 1
            await client.post("/v1/match", json={"type": "pdq", "hashes": ["no hash"]})
            await client.get("/v1/sets")

    asyncio.run(use())
    sums = [0, 0, 0]
    for row in read_lookups(folder):
        assert (row.who, row.hash_type, set(row.matches)) == ("socket", "pdq", {"a"})
        for place, number in enumerate((row.requests, row.hashes, row.matches["a"])):
            sums[place] += number
    assert sums == [3, 6, 3]
    assert b"0000000000000000" not in (folder / "audit.db").read_bytes()


def test_a_sidecar_shows_what_is_wrong_with_its_log(folder: Path) -> None:
    (folder / "audit.db").mkdir()

    async def use() -> httpx.Response:
        async with application(folder) as client:
            service = client._transport.app.service  # type: ignore[attr-defined]
            service.audit.note(READER, Lookup("pdq", 2, {"a": 1}))
            while True:
                status = await client.get("/v1/status")
                if status.json()["audit"]["trouble"]:
                    return status
                await asyncio.sleep(0.05)

    audit = asyncio.run(use()).json()["audit"]
    assert audit["waiting"] == 1 and "audit.db" in audit["trouble"] and audit["lost"] == 0


# hashmatch db history.


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run(capfd, monkeypatch)


def lines(out: str) -> list[str]:
    """The rows of a table, without their times."""
    return [re.sub(r"2\d{3}-\S+ \d\d:\d\d ", "", " ".join(x.split())) for x in out.splitlines()][1:]


def test_history_shows_lookups_beside_changes(run: Run, folder: Path) -> None:
    now = time.time_ns() // 1_000_000
    log_of(
        folder,
        (now + 60_000, "uploads", "pdq", 3, 1_200, {"b": 1, "a": 3}),
        (now - 600_000, "old\x1b[2J", "md5", 1, 1, {}),
    )
    code, out, err = run("db", "history", folder)
    assert (code, err) == (0, "")
    expected = [
        "a (3), b (1) uploads looked up 1,200 pdq hashes in 3 requests, 4 signals matched",
        "1 a moderator 1 added",
        "old\ufffd[2J looked up 1 md5 hash in 1 request, 0 signals matched",
    ]
    assert lines(out) == expected
    assert lines(run("db", "history", folder, "--changes")[1]) == expected[1:2]
    assert lines(run("db", "history", folder, "--lookups")[1]) == [expected[0], expected[2]]
    assert lines(run("db", "history", folder, "b", "--lookups")[1]) == expected[:1]
    assert lines(run("db", "history", folder, "--limit", 2)[1]) == expected[:2]
    assert lines(run("db", "history", folder, "--ref", "x")[1]) == ["1 a moderator added"]
    for words in (["--ref", "x"], ["--changes"]):
        code, _, err = run("db", "history", folder, "--lookups", *words)
        assert code == 2 and "--lookups goes with neither" in err
    code, _, err = run("db", "history", folder, "none", "--lookups")
    assert code == 2 and "has no hash set 'none'" in err
