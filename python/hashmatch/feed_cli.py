"""The `hashmatch feed` commands: each parses, calls, and says what happened.

Exit codes: 0 done, 1 a feed could not be followed, 2 an error.
"""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

import hashmatch
from hashmatch.console import closed_pipe_is_quiet, count, print_table, printable, tell, tell_lines
from hashmatch.progress import progress_bar

if TYPE_CHECKING:
    from hashmatch.feeds import FeedRecord, Outcome

feed = typer.Typer(
    no_args_is_help=True,
    help="Exchanges that hash sets of a database follow: NCMEC, StopNCII, ThreatExchange, Tech "
    "Against Terrorism, and files.",
)

PathArgument = Annotated[str, typer.Argument(metavar="PATH", help="The database's folder.")]
NameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The name of a feed.")]
NamesArgument = Annotated[
    list[str] | None,
    typer.Argument(metavar="NAME", help="Only these feeds.", show_default="all"),
]

_EVERY_S = 300.0


@feed.command()
def add(
    path: Annotated[str, typer.Argument(metavar="PATH", help="The folder; made if missing.")],
    name: Annotated[str, typer.Argument(metavar="NAME", help="What to call the feed.")],
    set: Annotated[
        str,
        typer.Option(metavar="SET", help="The hash set that it fills, alone; made if missing."),
    ],
    exchange: Annotated[
        str,
        typer.Option(
            metavar="EXCHANGE",
            help="ncmec, stop_ncii, fb_threatexchange, tat, local_file, sample, files; or "
            "module:Class for a class derived from threatexchange's SignalExchangeAPI.",
        ),
    ],
    option: Annotated[
        list[str] | None,
        typer.Option(
            metavar="KEY=VALUE",
            help="What the exchange needs to know, such as environment=Industry for ncmec, "
            "privacy_group=ID for fb_threatexchange, path=PATH for files; repeatable. What is "
            "missing or unknown is told.",
        ),
    ] = None,
    credentials: Annotated[
        str,
        typer.Option(
            metavar="env:VARIABLE|file:PATH",
            help="Where the credentials are. They are read from there whenever the feed is "
            "followed, and kept nowhere. What is there: user:password for ncmec and tat; for "
            "stop_ncii the function key and the subscription key, a comma between; for "
            "fb_threatexchange the access token.",
        ),
    ] = "",
) -> None:
    """Define a feed: an exchange, or files, that a hash set follows.

    Nothing is fetched yet: `hashmatch feed run` does that.
    """
    from hashmatch.feeds import add_feed

    options = dict(_option(text) for text in option or [])
    with hashmatch.open(path, "c") as database:
        add_feed(
            database, name, set=set, exchange=exchange, options=options, credentials=credentials
        )
    tell(f"added feed {name!r}, which fills the set {set!r}")


def _option(text: str) -> tuple[str, str]:
    key, equals, value = text.partition("=")
    if not (key and equals):
        raise ValueError("--option must be KEY=VALUE, such as environment=Industry")
    return key, value


@feed.command("list")
def list_feeds(path: PathArgument) -> None:
    """List the feeds."""
    with hashmatch.open(path) as database:
        feeds = database.feeds.list()
    print_table(
        ("feed", "set", "exchange", "options", "credentials", "last success (UTC)", "state"),
        [
            (
                each.name,
                each.set,
                each.exchange,
                _options(each),
                each.credentials,
                each.succeeded or "never",
                _state(each),
            )
            for each in feeds
        ],
    )


def _options(each: FeedRecord) -> str:
    return " ".join(f"{key}={value}" for key, value in each.options.items())


def _state(each: FeedRecord) -> str:
    if each.error is not None:
        return f"failed {count(each.failures, 'time')}"
    return "never run" if each.tried is None else "ok"


@feed.command()
def run(
    path: PathArgument,
    names: NamesArgument = None,
    every: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            min=1,
            help="Follow each feed again after so long, until stopped.",
            show_default=f"{_EVERY_S:.0f}",
        ),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Follow each feed once, and end.")] = False,
    now: Annotated[
        bool,
        typer.Option(
            "--now", help="With --once: also feeds that failed and are not to be tried again yet."
        ),
    ] = False,
) -> None:
    """Follow the feeds: fetch what is new, and change their sets accordingly.

    What an exchange gives and how far that leads are kept in one step, so that this may be stopped
    or killed at any time and goes on from there. A feed that fails is tried again later and later,
    and does not hold up the others; `hashmatch feed status` says why it failed.

    Exit code, with --once: 0, 1 if a feed could not be followed, 2 after an error.
    """
    if once and every is not None:
        raise ValueError("give --every or --once, not both")
    if now and not once:
        raise ValueError("--now goes with --once")
    # The library logs what it cannot read, which is told here, and addresses that hold tokens.
    logging.getLogger().addHandler(logging.NullHandler())
    if once:
        _run_once(path, names or [], now)
    else:
        _run(path, names or [], _EVERY_S if every is None else every)


def _run_once(path: str, names: list[str], now: bool) -> None:
    from hashmatch.feeds import run_once

    with hashmatch.open(path, "r+") as database:
        with _progress() as count_records:
            outcomes = run_once(database, names, now=now, on_records=count_records)
        for outcome in outcomes:
            _tell_outcome(outcome)
        with progress_bar("folding"):
            database.fold()
    if any(outcome.error is not None for outcome in outcomes):
        raise typer.Exit(1)


def _run(path: str, names: list[str], every_s: float) -> None:
    from hashmatch.feeds import run as run_feeds

    stop = threading.Event()
    try:
        run_feeds(
            Path(path),
            names,
            every_s=every_s,
            stop=stop,
            on_outcome=_tell_outcome,
            on_trouble=lambda words: tell(f"waiting: {words}"),
        )
    except KeyboardInterrupt:
        stop.set()
        tell("stopped")


@contextmanager
def _progress() -> Iterator[Callable[[str, int], object]]:
    records: dict[str, int] = {}
    with progress_bar("fetching") as bar:

        def count_records(name: str, so_far: int) -> None:
            records[name] = so_far
            if bar:
                bar(sum(records.values()), 0)

        yield count_records


def _tell_outcome(outcome: Outcome) -> None:
    name = printable(outcome.feed)
    if outcome.followed is None:
        later = f"; tried again at {_time(outcome.next_try)}" if outcome.next_try else ""
        tell(f"{name}: failed: {printable(outcome.error or '')}{later}")
        return
    done = outcome.followed
    numbers = {
        "added": done.added,
        "updated": done.updated,
        "removed": done.removed,
        "opinions": done.opinions,
        "of other types": done.others,
        "skipped": len(done.faults),
    }
    changes = ", ".join(f"{number:,} {what}" for what, number in numbers.items() if number)
    replaced = ", as a new state" if done.replaced and changes else ""
    tell(f"{name}: {changes or 'nothing new'}{replaced}")
    tell_lines(done.faults)


def _time(time: datetime | None) -> str:
    return f"{time:%Y-%m-%d %H:%M:%S} UTC" if time else "never"


@feed.command()
def status(path: PathArgument, names: NamesArgument = None) -> None:
    """Say how following the feeds went: when, how far, and what went wrong."""
    with hashmatch.open(path) as database:
        table = database.feeds
        feeds = [table.get(name) for name in names] if names else table.list()
    with closed_pipe_is_quiet():
        for place, each in enumerate(feeds):
            if place:
                print()
            for name, value in _facts(each).items():
                print(f"{name:12}  {printable(value)}")
            for fault in each.faults:
                print(f"{'':12}  {printable(fault)}")
        sys.stdout.flush()


def _facts(each: FeedRecord) -> dict[str, str]:
    from hashmatch.feeds import reached

    far = reached(each)
    return {
        "feed": each.name,
        "set": each.set,
        "exchange": each.exchange,
        "options": _options(each),
        "credentials": each.credentials or "none",
        "items": f"{each.items:,}",
        "last success": _ago(each.succeeded),
        "last try": _ago(each.tried),
        "followed to": _ago(far.until if far else None, "unknown"),
        "stale": "yes: the next run starts over" if far and far.stale else "no",
        "failures": f"{each.failures:,}",
        "last error": each.error or "none",
        "next try": _time(each.next_try) if each.next_try else "when it is due",
        "skipped": f"{each.skipped:,}{', the last:' if each.faults else ''}",
    }


def _ago(time: datetime | None, never: str = "never") -> str:
    if time is None:
        return never
    seconds = max(0, int((datetime.now(UTC) - time).total_seconds()))
    for size_s, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= 2 * size_s:
            return f"{_time(time)}, {count(seconds // size_s, unit)} ago"
    return f"{_time(time)}, {count(seconds, 'second')} ago"


@feed.command()
def remove(path: PathArgument, name: NameArgument) -> None:
    """Forget a feed. The set that it filled stays, and goes on matching."""
    from hashmatch.feeds import remove_feed

    with hashmatch.open(path, "r+") as database:
        removed = remove_feed(database, name)
    tell(
        f"removed feed {name!r}; its set {removed.set!r} stays, with {count(removed.items, 'item')}"
    )
