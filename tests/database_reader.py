"""A reader of databases in a process of its own, which is asked over pipes."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import hashmatch
from database_model import Answer, Rows, answers


class RemoteReader:
    """One process that holds one database open, and then another."""

    def __init__(self, path: Path | None = None) -> None:
        self._process = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        if path:
            self.open(path)

    def open(self, path: Path) -> None:
        """Let go of the one that was open, and open this one."""
        self._call("open", path)

    def close(self) -> None:
        """Let go of what is open; the process stays."""
        self._call("close")

    def refresh(self) -> int:
        return int(self._call("refresh"))

    def match(self, hash_type: str, queries: Rows, max_distance: int) -> tuple[int, list[Answer]]:
        """Generation and answers."""
        generation, found = self._call("match", hash_type, queries, max_distance)
        return generation, found

    def check(self) -> list[str]:
        return list(self._call("check"))

    def _call(self, *request: object) -> Any:
        assert self._process.stdin and self._process.stdout
        pickle.dump(request, self._process.stdin)
        self._process.stdin.flush()
        reply = pickle.load(self._process.stdout)
        if isinstance(reply, Exception):
            raise reply
        return reply

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.close()
        self._process.wait(20)
        self._process.stdout.close()


def main() -> None:
    database: hashmatch.Database | None = None
    while True:
        try:
            request, *arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        reply: object = None
        try:
            if request in ("open", "close") and database:
                database.close()
                database = None
            if request == "open":
                database = hashmatch.open(*arguments)
            elif database and request == "match":
                hash_type, queries, max_distance = arguments
                matches = database.match(hash_type, queries, max_distance=max_distance)
                reply = matches.generation, answers(matches)
            elif database:
                reply = getattr(database, request)(*arguments)
        except Exception as error:
            reply = error
        pickle.dump(reply, sys.stdout.buffer)
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
