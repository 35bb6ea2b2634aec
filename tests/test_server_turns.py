"""Turns of callers: everybody gets theirs, in order, and no caller waits for all of another's."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from hashmatch.server.turns import Turns

_CALLERS = "abc"


def turns_of(arrivals: list[str], cancelled: frozenset[int] = frozenset()) -> list[int]:
    """In which order requests get their turns that have all arrived at a time, by number."""

    async def run() -> list[int]:
        turns, order = Turns(), list[int]()

        async def ask(number: int) -> None:
            await turns.take(arrivals[number])
            order.append(number)

        tasks = [asyncio.create_task(ask(number)) for number in range(len(arrivals))]
        await asyncio.sleep(0)
        for number in cancelled:
            tasks[number].cancel()
        for task in tasks:
            with suppress(asyncio.CancelledError):
                await asyncio.wait_for(task, 10)
        # And it goes on afterwards.
        await asyncio.wait_for(turns.take("later"), 10)
        return order

    return asyncio.run(run())


def test_one_request_does_not_wait_for_a_hundred_of_another_caller() -> None:
    order = turns_of(["many"] * 100 + ["few"] * 3)
    assert max(order.index(number) for number in (100, 101, 102)) <= 6
    assert [number for number in order if number < 100] == list(range(100))


@given(st.text(_CALLERS, max_size=60).map(list))
def test_callers_alternate_and_each_is_served_in_order(arrivals: list[str]) -> None:
    order = turns_of(arrivals)
    assert sorted(order) == list(range(len(arrivals)))
    served = {caller: 0 for caller in _CALLERS}
    for number in order:
        caller = arrivals[number]
        # Of each caller's requests the first comes first.
        assert number == [n for n, name in enumerate(arrivals) if name == caller][served[caller]]
        served[caller] += 1
        for other in _CALLERS:
            # Who still waits has had as many turns, but for the first one and one in this round.
            if served[other] < arrivals.count(other):
                assert served[caller] <= served[other] + 2


@given(st.text(_CALLERS, min_size=1, max_size=40).map(list), st.data())
def test_requests_that_are_given_up_keep_nobody_waiting(
    arrivals: list[str], data: st.DataObject
) -> None:
    cancelled = data.draw(st.frozensets(st.integers(0, len(arrivals) - 1)))
    order = turns_of(arrivals, cancelled)
    assert set(range(len(arrivals))) - cancelled <= set(order)
    assert len(order) == len(set(order))


def test_requests_one_after_another_do_not_wait() -> None:
    async def run() -> None:
        turns = Turns()
        for _ in range(5):
            await turns.take("a")
            # What comes in the next round of the loop finds it free.
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            assert not turns._waiting and not turns._taken

    asyncio.run(run())
