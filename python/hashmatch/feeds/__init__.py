"""Feeds: exchanges that hash sets of a database follow.

with hashmatch.open("bank", mode="c") as database:
    add_feed(
        database, "ncmec", set="ncmec", exchange="ncmec",
        options={"environment": "Industry"}, credentials="env:NCMEC_CREDENTIALS",
    )
    for outcome in run_once(database):
        print(outcome.feed, outcome.error or outcome.followed)
"""

from hashmatch.database.feeds import FeedRecord
from hashmatch.feeds.definitions import Reached, add_feed, reached, remove_feed
from hashmatch.feeds.following import Followed
from hashmatch.feeds.registry import NAMES
from hashmatch.feeds.running import Outcome, run, run_once

__all__ = [
    "NAMES",
    "FeedRecord",
    "Followed",
    "Outcome",
    "Reached",
    "add_feed",
    "reached",
    "remove_feed",
    "run",
    "run_once",
]
