"""The command as tests run it: in this process, or in one of its own on a terminal."""

from __future__ import annotations

import csv
import io
import os
import pty
import signal
import subprocess
import sys

import pytest

from hashmatch import cli

COMMAND = (sys.executable, "-m", "hashmatch")


def heed_interrupts() -> None:
    """Before a new process begins: one that a shell started in the background ignores SIGINT, and
    so do its children.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Run:
    """One run of the command in this process."""

    def __init__(self, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capfd, self._monkeypatch = capfd, monkeypatch

    def __call__(self, *arguments: object) -> tuple[int, str, str]:
        """Exit code, standard output and standard error."""
        self._monkeypatch.setattr(sys, "argv", ["hashmatch", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = self._capfd.readouterr()
        assert "Traceback" not in err
        assert isinstance(ended.value.code, int)
        return ended.value.code, out, err


def parsed(out: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(out, newline=""), strict=True))


def on_terminal(*arguments: object, columns: int = 100) -> tuple[int, str]:
    """Exit code, and what a terminal shows of both outputs."""
    ours, theirs = pty.openpty()
    run = subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdout=theirs,
        stderr=theirs,
        env=os.environ | {"COLUMNS": str(columns), "TERM": "xterm"},
    )
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 65_536):
            shown += part
    except OSError:
        pass  # The way in which Linux says that a terminal has been closed.
    os.close(ours)
    return run.wait(), shown.decode()
