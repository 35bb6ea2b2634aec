"""Changes that are asked for under a key, so that who did not hear the answer can ask again."""

from __future__ import annotations

from dataclasses import dataclass

from hashmatch.database.connections import Connection
from hashmatch.database.model import now_ms
from hashmatch.vocabulary import require_text

#: How long an answer is kept.
KEPT_DAYS = 7
#: Old answers that a change clears away at most, so that none of them takes long.
_CLEARED_AT_ONCE = 1_000

_FIND = "SELECT asked, answer FROM answered WHERE who = ? AND key = ? AND time > ?"
_KEEP = "INSERT OR REPLACE INTO answered VALUES (?, ?, ?, ?, ?)"
_CLEAR = """
    DELETE FROM answered WHERE rowid IN (
        SELECT rowid FROM answered WHERE time <= ? ORDER BY time LIMIT ?
    )"""


class KeyTaken(ValueError):
    """A key under which something else was asked for."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What one who asks for a change gives, so that it is made once: a key of their own choice, and
    a digest of all that they ask.
    """

    who: str
    key: str
    digest: bytes

    def __post_init__(self) -> None:
        require_text(self.who, "who", empty=True)
        require_text(self.key, "key")


def find_answer(connection: Connection, asked: Asked) -> str | None:
    """What was answered when the same was asked for under that key, None if nothing was. KeyTaken
    if it was something else.
    """
    found = connection.rows(_FIND, (asked.who, asked.key, _oldest_ms()))
    if not found:
        return None
    ((digest, answer),) = found
    if digest != asked.digest:
        raise KeyTaken(
            f"the key {asked.key!r} was used for another change: take a new key for each, and the "
            "same one only to send the very same again"
        )
    return str(answer)


def keep_answer(connection: Connection, asked: Asked, answer: str) -> None:
    """Keep an answer, in the transaction of the change, and clear old ones away."""
    connection.run(_KEEP, (asked.who, asked.key, asked.digest, answer, now_ms()))
    connection.run(_CLEAR, (_oldest_ms(), _CLEARED_AT_ONCE))


def _oldest_ms() -> int:
    return now_ms() - KEPT_DAYS * 86_400_000
