"""Changes asked for under a key: made once, however often they are asked for."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import hashmatch
from hashmatch import Database
from hashmatch.database import Asked, Change, KeyTaken, NoSuchSet, answered

CODE = "0" * 64
DAY_MS = 86_400_000


@pytest.fixture
def database(tmp_path: Path) -> Database:
    database = hashmatch.open(tmp_path, "c")
    database.create("a")
    return database


def adding(ref: str) -> Callable[[Change], str]:
    def make(change: Change) -> str:
        change.add("pdq", [CODE], refs=[ref])
        return f"é {change.generation}"

    return make


def never(change: Change) -> str:
    raise AssertionError


def asked(key: str, digest: bytes = b"one", who: str = "me") -> Asked:
    return Asked(who, key, digest)


def keys(database: Database) -> list[str]:
    with database._upkeep.catalog.reading() as connection:
        return [key for (key,) in connection.rows("SELECT key FROM answered ORDER BY key")]


def test_asked_again_it_is_not_made_again(database: Database) -> None:
    with database:
        assert database.change_once("a", asked("k"), adding("x")) == "é 1"
        assert [match.ref for match in database.match("pdq", CODE)] == ["x"]
        for _ in range(3):
            assert database.change_once("a", asked("k"), never) == "é 1"
        assert database.generation == 1
    with hashmatch.open(database.path, "r+") as database:
        assert database.change_once("a", asked("k"), never) == "é 1"
        assert database.change_once("a", asked("l"), adding("y")) == "é 2"
        # Another caller's keys are their own.
        assert database.change_once("a", asked("k", who=""), adding("z")) == "é 3"
        assert [row.who for row in database.history()] == ["", "me", "me"]
        assert database.check() == []


def test_a_key_stands_for_one_change(database: Database) -> None:
    with database:
        database.change_once("a", asked("k"), adding("x"))
        with pytest.raises(KeyTaken, match="the key 'k' was used for another change"):
            database.change_once("a", asked("k", b"other"), never)
        assert issubclass(KeyTaken, ValueError)
        assert database.generation == 1


def test_what_was_not_made_may_be_asked_for_again(database: Database) -> None:
    def fail(change: Change) -> str:
        change.add("pdq", [CODE], refs=["x"])
        raise KeyError

    with database:
        with pytest.raises(KeyError):
            database.change_once("a", asked("k"), fail)
        with pytest.raises(NoSuchSet):
            database.change_once("b", asked("k"), adding("x"))
        assert keys(database) == [] and database.generation == 0
        assert database.change_once("a", asked("k", b"other"), adding("x")) == "é 1"


@pytest.mark.parametrize(
    ("who", "key"), [("me", ""), ("me", "\0"), ("me", "k" * 1025), ("\0", "k")]
)
def test_keys_that_are_none(who: str, key: str) -> None:
    with pytest.raises(ValueError, match=r"key|who"):
        Asked(who, key, b"")


def test_answers_are_kept_for_seven_days(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = 1_800_000_000_000
    monkeypatch.setattr(answered, "now_ms", lambda: now)
    monkeypatch.setattr(answered, "_CLEARED_AT_ONCE", 2)
    with database:
        for number in range(5):
            database.change_once("a", asked(f"k{number}"), adding("x"))
        now += 7 * DAY_MS - 1
        assert database.change_once("a", asked("k0"), never) == "é 1"
        now += 1
        # Cleared away or not, it is over.
        assert database.change_once("a", asked("k4", b"other"), adding("y")) == "é 6"
        assert keys(database) == ["k2", "k3", "k4"]
        database.change_once("a", asked("m"), adding("z"))
        assert keys(database) == ["k4", "m"]
        assert database.change_once("a", asked("k4", b"other"), never) == "é 6"
