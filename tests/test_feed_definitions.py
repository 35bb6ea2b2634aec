"""How feeds are defined, and what of it is refused."""

from __future__ import annotations

import re
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import hashmatch
from exchange_servers import SECRET, held
from hashmatch import Database
from hashmatch.feeds import Outcome, add_feed, reached, remove_feed, run_once

PAGED = "test_feed_sources:Paged"


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with hashmatch.open(tmp_path / "known", "c") as database:
        yield database


def follow(database: Database) -> Outcome:
    (outcome,) = run_once(database, now=True)
    assert outcome.error is None
    return outcome


@pytest.mark.parametrize(
    ("exchange", "options", "credentials", "words"),
    [
        ("ncmek", {}, "", "there is no exchange 'ncmek': give one of fb_threatexchange, ncmec, "),
        ("ncmec", {}, "env:A", r"needs --option environment=\.\.\.; it takes: environment \("),
        ("ncmec", {"environment": "x"}, "env:A", "'environment': 'x' is none of Industry, "),
        ("ncmec", {"environment": "ngo"}, "", "needs credentials: .* such as env:TX_NCMEC_CRED"),
        ("ncmec", {"environment": "ngo", "only_esp_ids": "1,b"}, "env:A", "'b' is no int"),
        ("fb_threatexchange", {"privacy_group": "x"}, "env:A", "'x' is no int"),
        ("stop_ncii", {"a": "b"}, "env:A", "exchange 'stop_ncii' has no option 'a'; it takes none"),
        ("tat", {}, SECRET, "credentials must be env:VARIABLE or file:PATH"),
        ("tat", {}, f"env:{SECRET}", "after env: comes the name of an environment variable"),
        ("tat", {}, f"password:{SECRET}", "credentials must be env:VARIABLE or file:PATH"),
        ("sample", {}, "env:A", "exchange 'sample' takes no credentials"),
        ("files", {"path": "x"}, "env:A", "exchange 'files' takes no credentials"),
        ("files", {}, "", r"exchange 'files' needs --option path=\.\.\."),
        ("files", {"path": "x", "y": "z"}, "", "exchange 'files' has no option 'y'"),
        (
            "test_feed_sources:Config",
            {},
            "",
            "is no class derived from threatexchange's SignalExchangeAPI",
        ),
        (
            "test_feed_sources:Nothing",
            {},
            "",
            "is no class derived from threatexchange's SignalExchangeAPI",
        ),
        (PAGED, {"loud": "perhaps"}, "", "option 'loud': 'perhaps' is no bool"),
    ],
)
def test_what_cannot_be_followed(
    database: Database, exchange: str, options: dict[str, str], credentials: str, words: str
) -> None:
    with pytest.raises(ValueError, match=words) as raised:
        add_feed(
            database, "f", set="s", exchange=exchange, options=options, credentials=credentials
        )
    assert SECRET not in f"{raised.value}"
    assert database.feeds.list() == [] and database.sets() == []


def test_modules_that_are_not_there(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ImportError, match=r"the exchange's module no\.where cannot be imported"):
        add_feed(database, "f", set="s", exchange="no.where:Class")
    for name in list(sys.modules):
        if name.split(".")[0] == "threatexchange":
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "threatexchange", None)
    with pytest.raises(ImportError, match=r"pip install 'hashmatch\[exchange\]'"):
        add_feed(database, "f", set="s", exchange="sample")


def test_definitions(database: Database, tmp_path: Path) -> None:
    add_feed(database, "f", set="s", exchange="sample")
    with pytest.raises(ValueError, match="has a feed 'f' already"):
        add_feed(database, "f", set="t", exchange="sample")
    with pytest.raises(ValueError, match="the set 's' is filled by feed 'f': give each feed"):
        add_feed(database, "g", set="s", exchange="sample")
    database.create("other")
    with database.change("other") as change:
        change.checkpoint = "page 7"
    with pytest.raises(ValueError, match="the set 'other' has the checkpoint of something else"):
        add_feed(database, "g", set="other", exchange="sample")
    with pytest.raises(ValueError, match="feed name is empty"):
        add_feed(database, "", set="u", exchange="sample")
    with pytest.raises(ValueError, match="has no feed 'x'; there are: 'f'"):
        run_once(database, ["x"])
    with pytest.raises(ValueError, match="has no feed 'x'; there are: 'f'"):
        remove_feed(database, "x")
    follow(database)
    with hashmatch.open(database.path) as reader:
        (feed,) = reader.feeds.list()
        assert (feed.name, feed.set, feed.exchange, feed.credentials) == ("f", "s", "sample", "")
        with pytest.raises(PermissionError):
            add_feed(reader, "g", set="t", exchange="sample")
        with pytest.raises(PermissionError):
            remove_feed(reader, "f")
    items = held(database, "s")
    assert remove_feed(database, "f").items == len(items)
    assert database.feeds.list() == []
    assert held(database, "s") == items
    # Who comes back goes on.
    add_feed(database, "f", set="s", exchange="sample")
    followed = follow(database).followed
    assert followed and (followed.added, followed.updated, followed.removed) == (0, 0, 0)


@pytest.mark.parametrize(
    "checkpoint",
    ["x", "[]", "7", '{"position": {}}', '{"exchange": "files", "options": {}, "position": 1}'],
)
@pytest.mark.parametrize("exchange", ["sample", "files"])
def test_a_checkpoint_that_is_none(
    database: Database, tmp_path: Path, exchange: str, checkpoint: str
) -> None:
    """The feed starts over, and its state can be looked at before."""
    path = tmp_path / "list.txt"
    path.write_text("ab" * 32)
    options = {"path": str(path)} if exchange == "files" else {}
    add_feed(database, "f", set="s", exchange=exchange, options=options)
    follow(database)
    before = held(database, "s")
    for text in (
        checkpoint,
        database.feeds.get("f").checkpoint.replace('"position": {', '"position": {"x": 1, '),
    ):
        database.feeds.set_checkpoint("s", text)
        reached(database.feeds.get("f"))
        followed = follow(database).followed
        assert followed and followed.replaced
        assert held(database, "s") == before


@pytest.mark.parametrize(
    ("sql", "words"),
    [
        ("UPDATE feed SET options = 'x'", "the options or the faults of feed 'f' are no JSON"),
        ("UPDATE feed SET faults = '['", "the options or the faults of feed 'f' are no JSON"),
        ("UPDATE feed SET credentials = 'x'", "the credentials of feed 'f' are not the name"),
        ("UPDATE feed SET hash_set = 9", "row .* of feed refers to a hash_set that is not there"),
    ],
)
def test_check_knows_feeds(database: Database, sql: str, words: str) -> None:
    add_feed(database, "f", set="s", exchange="sample")
    assert database.check() == []
    database.close()
    with sqlite3.connect(database.path / "catalog.db") as raw:
        raw.execute(sql)
    raw.close()
    with hashmatch.open(database.path) as reader:
        (fault,) = reader.check()
        assert re.search(words, fault)
        if "options" in sql or "faults" in sql:
            with pytest.raises(hashmatch.FormatError, match="it is damaged"):
                reader.feeds.list()
