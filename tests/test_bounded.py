"""Searches of bounded memory answer what others answer, or say that it is too much."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hashmatch
from hashmatch import Database
from hashmatch.database import TooManyMatches
from oracle import flipped, random_codes

_CENTRES = random_codes(6, 64, 2)
#: How many known codes lie about each centre, at distances 0 to 3.
_SIZES = (1, 2, 5, 20, 60, 0)


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Database:
    database = hashmatch.open(tmp_path_factory.mktemp("db"), "c")
    database.create("shared", max_distance={"phash": 4})
    codes = [
        flipped(centre, place % 4, place)
        for centre, size in zip(_CENTRES, _SIZES, strict=True)
        for place in range(size)
    ]
    with database.change("shared") as change:
        change.add("phash", np.stack(codes), refs=[str(row) for row in range(len(codes))])
    return database


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.integers(0, len(_CENTRES) - 1), max_size=40),
    st.one_of(st.none(), st.integers(1, 70)),
    st.integers(1, 1_500),
)
def test_a_bound_changes_nothing_but_what_is_too_much(
    database: Database, chosen: list[int], limit: int | None, most: int
) -> None:
    codes = _CENTRES[chosen]
    plain = database.match("phash", codes, limit=limit)
    if len(plain) > most:
        with pytest.raises(TooManyMatches, match=f"more than {most:,} matches"):
            database.match("phash", codes, limit=limit, most_matches=most)
        return
    bounded = database.match("phash", codes, limit=limit, most_matches=most)
    for name in ("query", "signal", "distance", "offsets"):
        column, wanted = getattr(bounded, name), getattr(plain, name)
        assert column.dtype == wanted.dtype and not column.flags.writeable
        assert column.tolist() == wanted.tolist()
    assert bounded.to_list() == plain.to_list()


def test_at_the_bound(database: Database) -> None:
    total = len(database.match("phash", _CENTRES))
    assert total == sum(_SIZES)
    assert len(database.match("phash", _CENTRES, most_matches=total)) == total
    with pytest.raises(TooManyMatches):
        database.match("phash", _CENTRES, most_matches=total - 1)
    for bad in (0, -1):
        with pytest.raises(ValueError, match="most_matches"):
            database.match("phash", _CENTRES, most_matches=bad)
