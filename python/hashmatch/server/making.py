"""Changes as the writer makes them: its database, opened when no other process writes to it."""

from __future__ import annotations

import hashlib
import sys
import threading
from pathlib import Path
from typing import Any

import orjson

import hashmatch
from hashmatch import FormatError
from hashmatch.database import Asked, Change, Database, KeyTaken, NoSuchSet, SetExists
from hashmatch.database.connections import SyncError
from hashmatch.database.locking import writer_of
from hashmatch.server.change_bodies import read_changes
from hashmatch.server.change_rows import make_changes
from hashmatch.server.problems import Problem
from hashmatch.server.set_models import SetShown, facts, read_new_set

#: How often it is tried to open a database that another process has open for writing.
_RETRY_S = 0.25
#: How soon a caller should try again.
_AGAIN_S = 2


def say(text: str) -> None:
    """Tell the log of the sidecar."""
    print(f"writer: {text}", file=sys.stderr, flush=True)


class Unsynced(Problem):
    """The disk would not confirm a change: what it holds is known when it is opened again."""


class Making:
    """Opens the database, and makes changes for any number of threads, one at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._database: Database | None = None
        #: What keeps changes from being made.
        self._trouble = "the database is being opened"
        self._tried = False
        self._ended = threading.Event()
        self._opening = threading.Thread(target=self._open, daemon=True)

    def start(self) -> None:
        """Open the database, and go on trying beside the callers, who are told why it waits."""
        self._opening.start()

    def close(self, patience_s: float) -> None:
        """Let go of it. What is being folded is waited for only so long."""
        self._ended.set()
        self._opening.join()
        if self._database is not None:
            closing = threading.Thread(target=self._database.close, daemon=True)
            closing.start()
            closing.join(patience_s)

    def answer(self, head: dict[str, Any], body: bytes) -> tuple[int, bytes]:
        """The answer to a question, and the generation that it is of. Problem if there is none."""
        match head:
            case {"ask": "state"}:
                return 0, orjson.dumps({"trouble": self._trouble, "tried": self._tried})
            case {"ask": "change", "set": str(name), "who": str(who), "key": str() | None as key}:
                return self._change(name, body, who, key)
            case {"ask": "create", "set": str(name)}:
                return self._create(name, body)
        raise Problem(400, "the writer is asked for what it does not know")

    def _change(self, name: str, body: bytes, who: str, key: str | None) -> tuple[int, bytes]:
        database = self._opened()
        bodies, several = read_changes(body)

        def make(change: Change) -> str:
            return make_changes(change, name, bodies, several)

        try:
            if key is None:
                with database.change(name, who=who) as change:
                    answer = make(change)
                return change.generation, answer.encode()
            digest = hashlib.sha256(b"%s\0%s" % (name.encode(), body)).digest()
            answer = database.change_once(name, Asked(who, key, digest), make)
            return orjson.loads(answer)["generation"], answer.encode()
        except NoSuchSet:
            detail = f"there is no set {name!r}: PUT /v1/sets/{name} makes it"
            raise Problem(404, detail, field="set") from None
        except KeyTaken as error:
            raise Problem(422, str(error), field="Idempotency-Key") from None
        except (ValueError, OSError, MemoryError) as error:
            raise _problem(error) from None

    def _create(self, name: str, body: bytes) -> tuple[int, bytes]:
        database = self._opened()
        new = read_new_set(body)
        try:
            database.create(name, contributor=new.contributor, max_distance=new.max_distance)
        except SetExists:
            detail = f"there is a set {name!r}: its content is changed with POST .../changes"
            raise Problem(409, detail, field="set") from None
        except (ValueError, OSError, MemoryError) as error:
            raise _problem(error) from None
        try:
            generation = database.refresh()
            (record,) = (each for each in database.sets() if each.name == name)
        except (ValueError, OSError, MemoryError) as error:
            detail = f"the set was made, but cannot be shown: {error}"
            raise Problem(503, detail, retry_after=_AGAIN_S) from None
        shown = SetShown(generation=generation, **facts(record))
        return generation, shown.model_dump_json().encode()

    def _opened(self) -> Database:
        if self._database is None:
            raise Problem(503, f"nothing was changed: {self._trouble}", retry_after=_AGAIN_S)
        return self._database

    def _open(self) -> None:
        told = ""
        while True:
            try:
                self._database = hashmatch.open(self._path, "r+")
                self._trouble = ""
                say("ready")
                return
            except BlockingIOError:
                other = writer_of(self._path) or "another process"
                self._trouble = f"the database is open for writing by {other}"
            except (OSError, ValueError, MemoryError) as error:
                self._trouble = f"the database cannot be opened: {error}"
            finally:
                self._tried = True
            if self._trouble != told:
                told = self._trouble
                say(f"waits: {told}")
            if self._ended.wait(_RETRY_S):
                return


def _problem(error: ValueError | OSError | MemoryError) -> Problem:
    """What a caller is told of what the database says."""
    if isinstance(error, SyncError):
        detail = f"{error.strerror}: ask again, under the same Idempotency-Key"
        return Unsynced(503, detail, retry_after=_AGAIN_S)
    if isinstance(error, ValueError) and not isinstance(error, FormatError):
        return Problem(400, str(error))
    detail = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return Problem(503, f"nothing was changed: {detail}", retry_after=_AGAIN_S)
