"""The commands for feeds as a user meets them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import hashmatch
from command import COMMAND, Run, heed_interrupts, on_terminal
from exchange_servers import (
    SECRET,
    VARIABLE,
    ExchangeServer,
    Fault,
    held,
    serving,
    wait_until,
)


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    return Run(capfd, monkeypatch)


@pytest.fixture
def known(tmp_path: Path) -> Path:
    return tmp_path / "known"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[ExchangeServer]:
    with serving("fb_threatexchange") as server:
        server.patch(monkeypatch)
        monkeypatch.setenv(VARIABLE, server.credentials())
        yield server


def add(run: Run, known: Path, name: str = "fb") -> None:
    code, out, err = run(
        "feed", "add", known, name, "--set", f"{name}-set", "--exchange", "fb_threatexchange",
        "--option", "privacy_group=4711", "--credentials", f"env:{VARIABLE}",
    )  # fmt: skip
    assert (code, out) == (0, "")
    assert err == f"added feed '{name}', which fills the set '{name}-set'\n"


def facts(out: str) -> dict[str, str]:
    return {line[:12].strip(): line[14:] for line in out.splitlines() if line[:12].strip()}


def test_from_an_exchange_to_a_match(run: Run, known: Path, server: ExchangeServer) -> None:
    add(run, known)
    server.change(1, 30)
    server.spoil(0)
    code, out, err = run("feed", "run", known, "--once")
    assert (code, out) == (0, "")
    items = len(server.expected())
    assert err.startswith(f"fb: {items:,} added, ")
    assert err.splitlines()[0].endswith(" opinions, 1 skipped")
    assert "\n  HASH_PDQ bad0: hash has 4 hex digits, pdq needs 64\n" in err
    code, out, err = run("feed", "run", known, "fb", "--once")
    assert (code, err) == (0, "fb: nothing new\n")

    pdq = next(ref for ref in server.expected() if ref.startswith("HASH_PDQ")).split()[1]
    uploads = known.parent / "uploads.txt"
    uploads.write_text(pdq)
    code, out, _ = run("match", known, uploads, "--type", "pdq")
    assert code == 0
    assert f"HASH_PDQ {pdq}" in out

    code, out, _ = run("feed", "list", known)
    assert code == 0
    assert out.startswith("feed  set     exchange           options             credentials")
    assert f"privacy_group=4711  env:{VARIABLE}" in out
    assert out.rstrip().endswith("ok")

    code, out, _ = run("feed", "status", known)
    told = facts(out)
    assert code == 0
    assert told["feed"] == "fb"
    assert told["items"] == f"{items:,}"
    assert told["last success"].endswith("ago")
    assert told["followed to"].startswith("1970-01-01 00:")
    assert (told["stale"], told["failures"], told["last error"]) == ("no", "0", "none")
    assert told["skipped"] == "1, the last:"
    assert "HASH_PDQ bad0" in out
    assert run("feed", "status", known, "fb")[0] == 0
    assert run("db", "check", known)[0] == 0
    assert run("db", "sets", known)[0] == 0


def test_failures(run: Run, known: Path, server: ExchangeServer) -> None:
    add(run, known)
    assert run("feed", "add", known, "demo", "--set", "d", "--exchange", "sample")[0] == 0
    server.change(1, 30)
    server.faults = {2: Fault(429, {"Retry-After": "7200"})}
    code, out, err = run("feed", "run", known, "--once")
    assert (code, out) == (1, "")
    assert "demo: 20 added, as a new state\n" in err
    assert "fb: failed: 127.0.0.1 answered 429 Too Many Requests; tried again at 20" in err
    asked = len(server.requests)
    code, _, again = run("feed", "run", known, "--once")
    assert code == 1
    assert [line for line in again.splitlines() if "fb" in line] == [
        line for line in err.splitlines() if "fb" in line
    ]
    assert len(server.requests) == asked
    _, out, _ = run("feed", "list", known)
    assert "failed 1 time" in out
    _, out, _ = run("feed", "status", known, "fb")
    told = facts(out)
    assert told["last error"] == "127.0.0.1 answered 429 Too Many Requests"
    assert told["next try"].startswith("20")
    assert told["last success"] == "never"
    assert run("feed", "run", known, "fb", "--once", "--now")[0] == 0
    with hashmatch.open(known) as database:
        assert held(database, "fb-set") == server.expected()


def test_nothing_tells_the_secret(run: Run, known: Path, server: ExchangeServer) -> None:
    """Not on either output, nor in any file, whatever fails; nor the library's own log."""
    add(run, known)
    shown: list[object] = []
    for fault in (Fault(400), Fault(500), Fault(cut=True), Fault(body=b"x"), Fault(410)):
        server.faults = {0: fault}
        for command in (("run", "--once", "--now"), ("status",), ("list",)):
            shown += run("feed", command[0], known, *command[1:])[1:]
    program = (
        "import sys\n"
        "from threatexchange.exchanges.clients.fb_threatexchange.api import ThreatExchangeAPI\n"
        f"ThreatExchangeAPI._TE_BASE_URL = {server.base!r}\n"
        "from hashmatch.cli import main\n"
        "main()\n"
    )
    arguments = ["feed", "run", str(known), "--once", "--now"]
    for fault in (Fault(400), Fault(body=b'{"data": [{}]}')):
        server.faults = {0: fault}
        done = subprocess.run([sys.executable, "-c", program, *arguments], capture_output=True)
        assert done.returncode == (1 if fault.status == 400 else 0)
        assert b"Traceback" not in done.stderr
        shown += [done.stdout.decode(), done.stderr.decode()]
    text = "".join(map(str, shown)).encode()
    kept = [file.read_bytes() for file in known.rglob("*") if file.is_file()]
    for secret in (server.credentials(), server.credentials().partition("|")[2], "s3cret", SECRET):
        for content in (text, *kept):
            assert secret.encode() not in content


def test_credentials_given_themselves_are_not_repeated(run: Run, known: Path) -> None:
    code, out, err = run(
        "feed", "add", known, "n", "--set", "n", "--exchange", "ncmec",
        "--option", "environment=NGO", "--credentials", f"user:{SECRET}",
    )  # fmt: skip
    assert (code, out) == (2, "")
    assert err.startswith("hashmatch: credentials must be env:VARIABLE or file:PATH")
    assert SECRET not in err
    code, _, err = run(
        "feed", "add", known, "n", "--set", "n", "--exchange", "files", "--option", "x"
    )
    assert (code, err) == (
        2,
        "hashmatch: --option must be KEY=VALUE, such as environment=Industry\n",
    )


def test_remove(run: Run, known: Path) -> None:
    run("feed", "add", known, "demo", "--set", "d", "--exchange", "sample")
    run("feed", "run", known, "--once")
    code, out, err = run("feed", "remove", known, "demo")
    assert (code, out) == (0, "")
    assert err == "removed feed 'demo'; its set 'd' stays, with 20 items\n"
    code, _, err = run("feed", "remove", known, "demo")
    assert (code, err) == (2, f"hashmatch: {known}: has no feed 'demo'\n")
    assert run("feed", "run", known, "--once")[0] == 0
    assert run("feed", "status", known) == (0, "", "")
    with hashmatch.open(known) as database:
        assert len(held(database, "d")) == 20


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--once", "--every", "5"], "give --every or --once, not both"),
        (["--now"], "--now goes with --once"),
        (["other", "--once"], "has no feed 'other'; there are: 'demo'"),
    ],
)
def test_what_does_not_go_together(run: Run, known: Path, arguments: list[str], words: str) -> None:
    run("feed", "add", known, "demo", "--set", "d", "--exchange", "sample")
    code, _, err = run("feed", "run", known, *arguments)
    assert code == 2
    assert words in err


def test_it_runs_until_it_is_stopped(run: Run, known: Path, tmp_path: Path) -> None:
    lists = tmp_path / "list.txt"
    lists.write_text("ab" * 32)
    run("feed", "add", known, "f", "--set", "s", "--exchange", "files", "--option", f"path={lists}")
    process = subprocess.Popen(
        [*COMMAND, "feed", "run", str(known), "--every", "1"],
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ,
        preexec_fn=heed_interrupts,
    )
    try:
        with hashmatch.open(known) as reader:
            wait_until(lambda: bool(held(reader, "s")), 60)
            lists.write_text("cd" * 32)
            wait_until(lambda: held(reader, "s").keys() == {"cd" * 32}, 60)
        # Between two looks it lets others write.
        wait_until(lambda: run("db", "create", known, f"set{time.time()}")[0] == 0, 60)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == 0
    assert err.splitlines()[0] == "f: 1 added, as a new state"
    assert err.splitlines()[-1] == "stopped"
    assert "Traceback" not in err


def test_names_cannot_steer_the_terminal(run: Run, known: Path) -> None:
    run("feed", "add", known, "a\x1b[31mb", "--set", "d", "--exchange", "sample")
    code, shown = on_terminal("feed", "status", known)
    assert code == 0
    assert "\x1b[31mb" not in shown
    code, shown = on_terminal("feed", "run", known, "--once")
    assert code == 0
    assert "\x1b[31mb" not in shown
