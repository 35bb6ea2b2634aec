"""How much callers may use: requests a second, requests at a time, bytes at a time, and turns."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest

import hashmatch
from hashmatch.server import Settings, app, limits
from hashmatch.server.http import Reply, Request
from hashmatch.server.limits import Rates, Room
from hashmatch.server.problems import Refused
from hashmatch.server.service import Service
from hashmatch.server.tokens import add_token
from hashmatch.server.turns import Turns
from serving import application, problem, with_application

CODE = "f8f8f0cee0f4a84f06370a22038f63f0b36e2ed596621e1d33e6b39c4e9c9b22"
LOOKUP = {"type": "pdq", "hashes": [CODE]}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with hashmatch.open(tmp_path / "bank", "c") as database:
        database.create("shared", contributor="forum")
        with database.change("shared") as change:
            change.add("pdq", [CODE], refs=["picture-17"])
    return tmp_path / "bank"


class Clock:
    """The time that the rates go by."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1e6
        monkeypatch.setattr(time, "monotonic", lambda: self.now)


@pytest.mark.parametrize("rate", [0.2, 1, 3, 7.5, 1000])
def test_a_rate_is_kept_over_any_time_and_retry_after_is_enough(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, rate: float
) -> None:
    """Two processes, at random times: never more than the rate and one second's burst."""
    clock, chance = Clock(monkeypatch), random.Random(5)
    processes = [Rates(rate, tmp_path), Rates(rate, tmp_path)]
    let_in: list[float] = []
    for _ in range(4000):
        clock.now += chance.expovariate(3 * rate) if chance.random() < 0.9 else 2 / rate
        try:
            chance.choice(processes).take("caller")
            let_in.append(clock.now)
        except Refused as refused:
            assert refused.status == 429 and refused.retry_after is not None
            before, clock.now = clock.now, clock.now + refused.retry_after
            if chance.random() < 0.01:
                chance.choice(processes).take("caller")
                let_in.append(clock.now)
            else:
                clock.now = before
    burst = max(1.0, rate)
    for begin in range(0, len(let_in), 50):
        for end in range(begin, len(let_in), 97):
            assert end - begin + 1 <= (let_in[end] - let_in[begin]) * rate + burst + 1e-3
    # Who asks for three times the rate, and rests now and then, gets most of it.
    assert len(let_in) >= 0.5 * rate * (let_in[-1] - let_in[0])


def test_callers_have_rates_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, rates = Clock(monkeypatch), Rates(2, None)
    for name in ("a", "b"):
        rates.take(name)
        rates.take(name)
        with pytest.raises(Refused) as refused:
            rates.take(name)
        assert refused.value.retry_after == 1
    clock.now += 0.5
    rates.take("a")


def test_what_is_taken_is_given_back(path: Path, tmp_path: Path) -> None:
    """Against a model: no caller has more than three parts of four, and nothing is left over."""
    (tmp_path / "tokens").touch()
    settings = Settings(path=path, max_requests=8, max_body_bytes=100, tokens=tmp_path / "tokens")
    room, chance = Room(settings), random.Random(3)
    held: dict[int, tuple[str, limits.Place, list[int]]] = {}
    refused: Counter[str] = Counter()

    async def run() -> None:
        for number in range(6000):
            name = chance.choice("abc")
            if len(held) < 16:
                held[number] = name, room.place(name), [0, 0]
            which = chance.choice(list(held))
            name, place, use = held[which]
            of_caller = [sum(u[i] for n, _, u in held.values() if n == name) for i in (0, 1)]
            of_all = [sum(u[i] for _, _, u in held.values()) for i in (0, 1)]
            size = chance.randint(1, 30)
            kinds = ("hold",) * 3 + (("work",) * 2 if not use[0] else ()) + ("leave",)
            kind = chance.choice(kinds)
            try:
                if kind == "work":
                    await place.work()
                    use[0] = 1
                    assert of_caller[0] < 6 and of_all[0] < 8
                elif kind == "hold":
                    place.hold(size)
                    use[1] += size
                    assert of_caller[1] + size <= 300 and of_all[1] + size <= 400
                else:
                    place.leave()
                    place.leave()
                    del held[which]
            except Refused as error:
                assert error.status == 503 and error.retry_after == 1
                refused[error.reason] += 1
                if kind == "work":
                    assert of_caller[0] == 6 or of_all[0] == 8
                else:
                    assert of_caller[1] + size > 300 or of_all[1] + size > 400
        for _, place, _ in held.values():
            place.leave()

    asyncio.run(run())
    assert (room.used.requests, room.used.body_bytes) == (0, 0)
    assert refused["requests"] > 20 and refused["memory"] > 20


def test_callers_take_turns_however_many_requests_one_has() -> None:
    began: list[str] = []

    async def one(turns: Turns, name: str) -> None:
        turn = turns.take(name)
        if turn is not None:
            await turn
        began.append(name)

    async def run() -> None:
        turns = Turns(1000)
        await one(turns, "few")
        await one(turns, "many")
        many = [asyncio.create_task(one(turns, "many")) for _ in range(500)]
        await asyncio.sleep(0)
        for _ in range(20):
            await one(turns, "few")
        other = asyncio.create_task(one(turns, "other"))
        cut = asyncio.create_task(one(turns, "other"))
        await asyncio.sleep(0)
        cut.cancel()
        await asyncio.gather(*many, other)
        # And when all are done, nobody waits.
        await asyncio.sleep(0.01)
        assert turns.take("few") is None

    asyncio.run(run())
    assert Counter(began) == {"many": 501, "few": 21, "other": 1}
    places = [place for place, name in enumerate(began) if name == "few"]
    assert all(after - before <= 3 for before, after in pairwise(places[1:]))


def test_too_many_that_wait_are_refused() -> None:
    async def run() -> None:
        turns = Turns(10)
        turns.take("a")
        turns.take("b")
        taken = [turns.take("a") for _ in range(10)]
        assert None not in taken
        with pytest.raises(Refused, match="a has 10 requests waiting") as refused:
            turns.take("a")
        assert (refused.value.status, refused.value.retry_after) == (503, 1)
        assert turns.take("b") is not None
        await asyncio.wait_for(taken[-1] or asyncio.sleep(0), 5)

    asyncio.run(run())


def test_more_than_may_be_worked_on_are_refused_and_asked_again_later(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gates: list[asyncio.Event] = []

    async def slow(request: Request, service: Service) -> Reply:
        await request.body()
        gates.append(asyncio.Event())
        await gates[-1].wait()
        return Reply(b"{}")

    async def use(client: httpx.AsyncClient) -> None:
        working = [asyncio.create_task(client.post("/slow", content=b"x")) for _ in range(3)]
        while len(gates) < 3:
            await asyncio.sleep(0.01)
        refused = await client.post("/v1/match", json=LOOKUP)
        problem(refused, 503, retry_after=1)
        assert refused.headers["retry-after"] == "1"
        assert (await client.get("/readyz")).status_code == 200
        text = (await client.get("/metrics")).text
        assert 'hashmatch_refused_total{reason="requests"} 1.0' in text
        gates[0].set()
        assert (await working[0]).status_code == 200
        assert (await client.post("/v1/match", json=LOOKUP)).status_code == 200
        for gate in gates:
            gate.set()
        await asyncio.gather(*working)

    monkeypatch.setitem(app.ROUTES, ("POST", "/slow"), slow)
    with_application(path, use, max_requests=3)


def test_a_caller_cannot_take_all_the_room(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = asyncio.Event()
    greedy, other = (
        {"authorization": f"Bearer {add_token(tmp_path / 'tokens', name, ['read'])}"}
        for name in ("greedy", "other")
    )

    async def slow(request: Request, service: Service) -> Reply:
        await gate.wait()
        return Reply(b"{}")

    async def use(client: httpx.AsyncClient) -> None:
        asked = [
            asyncio.create_task(client.get("/slow", headers=greedy, timeout=30)) for _ in range(12)
        ]
        await asyncio.sleep(0.6)
        for _ in range(5):
            assert (await client.post("/v1/match", json=LOOKUP, headers=other)).status_code == 200
        gate.set()
        statuses = Counter(reply.status_code for reply in await asyncio.gather(*asked))
        assert statuses == {200: 6, 503: 6}

    monkeypatch.setitem(app.ROUTES, ("GET", "/slow"), slow)
    with_application(path, use, max_requests=8, tokens=tmp_path / "tokens")


def test_a_rate_is_answered_with_when_to_ask_again(path: Path) -> None:
    async def use(client: httpx.AsyncClient) -> list[httpx.Response]:
        asked = (client.post("/v1/match", json=LOOKUP) for _ in range(12))
        replies = list(await asyncio.gather(*asked))
        # Who watches over it is not counted.
        replies.append(await client.get("/livez"))
        return replies

    *replies, alive = with_application(path, use, rate=5)
    assert alive.status_code == 200
    statuses = Counter(reply.status_code for reply in replies)
    assert statuses == {200: 5, 429: 7}
    for reply in replies:
        if reply.status_code == 429:
            assert 1 <= problem(reply, 429)["retry_after"] <= 2


def test_a_fault_gives_back_its_place_and_is_counted(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(request: Request, service: Service) -> Reply:
        raise RuntimeError("a fault")

    async def run() -> Any:
        async with application(path, max_requests=2) as client:
            for _ in range(5):
                with pytest.raises(RuntimeError):
                    await client.get("/broken")
            return (await client.get("/metrics")).text

    monkeypatch.setitem(app.ROUTES, ("GET", "/broken"), broken)
    text = asyncio.run(run())
    assert 'hashmatch_failures_total{what="request"} 5.0' in text
    assert 'hashmatch_requests_total{method="GET",route="/broken",status="500"} 5.0' in text
    assert "hashmatch_requests_in_work 0.0" in text
