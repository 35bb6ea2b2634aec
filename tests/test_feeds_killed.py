"""A process that follows a feed is killed, between any two steps and at any moment. The next one
goes on: in the end everything was done, and once.

HASHMATCH_ROUNDS kills in all.
"""

from __future__ import annotations

import json
import os
import random
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

import hashmatch
from exchange_servers import (
    KINDS,
    VARIABLE,
    ExchangeServer,
    Fault,
    Held,
    held,
    open_with_feed,
    serving,
)
from fresh_process import FreshProcesses
from hashmatch.database import changes, connections
from hashmatch.database.feeds import FeedTable
from hashmatch.feeds import (
    following,
    meta,
    ncmec,
    run_once,
    staging,
    stopncii,
    tat,
)

ROUNDS = int(os.environ.get("HASHMATCH_ROUNDS", "48"))
#: Imported before the processes are forked.
ADAPTERS = (meta, ncmec, stopncii, tat)
#: As many pages as make a run of some steps.
STEPS = 10

#: Functions, and words that their arguments must have to count.
POINTS: list[tuple[Any, str, str]] = [
    (following, "put_entries", ""),
    (following, "discard", ""),
    (following, "position_of", ""),
    (staging.Staging, "_open", ""),
    (staging.Staging, "clear", ""),
    (staging.Staging, "put", ""),
    (staging.Staging, "is_empty", ""),
    (FeedTable, "set_checkpoint", ""),
    (FeedTable, "note_skipped", ""),
    (FeedTable, "note_success", ""),
    (Path, "unlink", ""),
    (changes.Change, "replace", ""),
    (changes.Change, "settle", ""),
    (changes.Change, "finish", ""),
    (changes.Change, "say_only", ""),
    (connections.Connection, "run", "BEGIN"),
    (connections.Connection, "run", "COMMIT"),
    (connections.Connection, "run", "INSERT INTO generation"),
    (connections.Connection, "run", "UPDATE hash_set"),
    (connections.Connection, "run", "UPDATE feed"),
]


class Kill(NamedTuple):
    """Before or after the so-manieth call of a point."""

    point: int
    call: int
    before: bool


def lay(kill: Kill) -> None:
    """Have this process killed there."""
    owner, name, words = POINTS[kill.point]
    function: Callable[..., Any] = getattr(owner, name)
    calls = 0

    def counted(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        mine = words in "".join(part for part in arguments if isinstance(part, str))
        calls += mine
        if mine and calls == kill.call and kill.before:
            os.kill(os.getpid(), signal.SIGKILL)
        result = function(*arguments, **named)
        if mine and calls == kill.call:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, counted)


def follow(path: Path, kind: str, base: str, now: int, kill: Kill | None) -> str | None:
    """In a process of its own: follow the feed once."""
    made, options = KINDS[kind]
    server = made(options, base=base, now=now)
    server.patch(pytest.MonkeyPatch())
    os.environ[VARIABLE] = server.credentials()
    if kill:
        lay(kill)
    with hashmatch.open(path, "r+") as database:
        (outcome,) = run_once(database, now=True)
    return outcome.error


def look(path: Path) -> tuple[dict[str, Held], tuple[int, ...], int]:
    """What is held, how much was added, updated and removed in all, and in how many changes."""
    with hashmatch.open(path) as database:
        assert database.check() == []
        rows = database.history("s", limit=10_000)
        done = tuple(
            sum(getattr(r, name) for r in rows) for name in ("added", "updated", "removed")
        )
        return held(database, "s"), done, len(rows)


def make_stale(path: Path, server: ExchangeServer) -> None:
    """The exchange forgets what was deleted, and the feed has to be read from the start."""
    server.records = {key: each for key, each in server.records.items() if each.body}
    with hashmatch.open(path, "r+") as database:
        checkpoint = json.loads(database.feeds.get("f").checkpoint)
        checkpoint["options"]["another"] = "option"
        database.feeds.set_checkpoint("s", json.dumps(checkpoint))


@pytest.fixture(scope="module")
def processes() -> Iterator[FreshProcesses]:
    with FreshProcesses() as server:
        yield server


@pytest.mark.parametrize("kind", KINDS)
def test_killed(kind: str, processes: FreshProcesses, tmp_path: Path) -> None:
    chance = random.Random(kind)
    path = tmp_path / "known"
    killed = 0
    with serving(kind) as server:
        open_with_feed(path, server).close()
        points = list(range(len(POINTS))) * 2
        chance.shuffle(points)
        # The first run, which nobody kills.
        server.change(0, STEPS)
        assert processes.run(follow, path, kind, server.base, server.now, None).result is None
        for turn in range(1, ROUNDS // 4 + 1):
            before, done_before, generations = look(path)
            assert before == server.expected()
            server.change(turn, STEPS)
            server.spoil(turn)
            stale = turn % 2 == 0
            if stale:
                make_stale(path, server)
            expected = server.expected()
            kill, kill_after_s = None, None
            if turn % 4 == 3:
                kill_after_s = chance.random() * 0.15
            else:
                kill = Kill(points[turn % len(points)], chance.randint(1, 2), chance.random() < 0.5)
            asked = (path, kind, server.base, server.now)
            for _ in range(2):  # The one that goes on may be killed as well.
                outcome = processes.run(follow, *asked, kill, kill_after_s=kill_after_s)
                killed += outcome.killed
                found, _, made = look(path)
                if stale:
                    # All of the old state or all of the new one.
                    assert found in (before, expected)
                    assert made - generations == (found != before)
                else:
                    for ref in found.keys() | before.keys() | expected.keys():
                        assert found.get(ref) in (before.get(ref), expected.get(ref))
            assert processes.run(follow, *asked, None).result is None
            found, done, _ = look(path)
            assert found == expected
            # Each was added, updated or removed once, however often it was begun.
            known = before.keys() & expected.keys()
            assert [after - earlier for after, earlier in zip(done, done_before, strict=True)] == [
                len(expected.keys() - before.keys()),
                sum(before[ref][:3] != expected[ref][:3] for ref in known),
                len(before.keys() - expected.keys()),
            ]
            assert not list(path.glob("feed-*"))
    assert killed > ROUNDS // 4 * 0.5


def test_a_fetch_from_the_start_goes_on_where_it_was_killed(
    processes: FreshProcesses, tmp_path: Path
) -> None:
    path = tmp_path / "known"
    with serving("fb_threatexchange") as server:
        server.change(1, steps=60)
        open_with_feed(path, server).close()
        asked = (path, "fb_threatexchange", server.base, server.now)
        assert processes.run(follow, *asked, None).result is None
        pages = len(server.requests)
        make_stale(path, server)
        # Killed after every other page; each goes on from the page before.
        point, runs = POINTS.index((staging.Staging, "put", "")), 0
        for _ in range(50):
            runs += 1
            asked_before = len(server.requests)
            outcome = processes.run(follow, *asked, Kill(point, 2, False))
            assert len(server.requests) - asked_before <= 2
            if not outcome.killed:
                break
        assert 2 < runs < pages + 2
        assert look(path)[0] == server.expected()


def test_a_damaged_staging_is_begun_again(processes: FreshProcesses, tmp_path: Path) -> None:
    path = tmp_path / "known"
    with serving("tat") as server:
        server.change(1, steps=30)
        open_with_feed(path, server).close()
        asked = (path, "tat", server.base, server.now)
        assert processes.run(follow, *asked, None).result is None
        make_stale(path, server)
        server.faults = {len(server.requests) + 3: Fault(500)}
        assert (
            processes.run(follow, *asked, None).result
            == "127.0.0.1 answered 500 Internal Server Error"
        )
        (file,) = path.glob("feed-*.new")
        file.write_bytes(b"no database" * 100)
        assert processes.run(follow, *asked, None).result is None
        assert look(path)[0] == server.expected()
        assert not list(path.glob("feed-*"))
