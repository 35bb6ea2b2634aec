"""HMA's matcher endpoints: answers as its own service gave them, and as brute force does."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hashmatch
from hashmatch.database.upkeep import Upkeep
from hashmatch.server import Settings, create_app, hma
from hashmatch.server.callers import Caller
from hashmatch.server.http import Message, Request
from hashmatch.server.tokens import add_token
from hma_answers import ANSWERED, COMPARED, MD5, PDQ, REFUSED, H
from serving import problem, with_application

#: How many signals each set of random ones has.
_RANDOM = 300


@pytest.fixture
def bank(tmp_path: Path) -> Path:
    """The banks that HMA's answers were recorded with. Refs are the numbers of contents there."""
    with hashmatch.open(tmp_path / "bank", "c") as database:
        for name in ("BANK_A", "BANK_B", "BANK_C"):
            database.create(name)
        with database.change("BANK_A") as change:
            change.add("pdq", PDQ, refs=["1", "2", "3", "4"])
        with database.change("BANK_B") as change:
            change.add("pdq", PDQ[:1], refs=["5"])
            change.add("md5", MD5[:1], refs=["5 too"])
        with database.change("BANK_C") as change:
            change.add("md5", MD5[1:], refs=["6"])
    return tmp_path / "bank"


def contents(path: Path) -> dict[int, int]:
    """HMA's number of a content, by the id of a signal here."""
    found = {}
    with hashmatch.open(path) as database:
        for kind, hashes in (("pdq", PDQ), ("md5", MD5)):
            for match in database.match(kind, hashes, max_distance=0):
                found[match.signal] = int(match.ref.split()[0])
    return found


def translated(answer: Any, ids: dict[int, int]) -> Any:
    """The answer with HMA's numbers, ordered by them."""
    if isinstance(answer, dict):
        return {
            name: ids[value] if name == "bank_content_id" else translated(value, ids)
            for name, value in answer.items()
        }
    if isinstance(answer, list):
        rows = [ids[each] if isinstance(each, int) else translated(each, ids) for each in answer]
        return sorted(rows, key=str)
    return answer


def all_of(
    path: Path, ask: Callable[[httpx.AsyncClient, Any], Awaitable[httpx.Response]], asked: Any,
    **settings: Any,
) -> list[httpx.Response]:  # fmt: skip
    async def use(client: httpx.AsyncClient) -> list[httpx.Response]:
        return [await ask(client, each) for each in asked]

    return with_application(path, use, **settings)


def get(path: Path, *urls: str, **settings: Any) -> list[httpx.Response]:
    return all_of(path, lambda client, url: client.get(url), urls, **settings)


def compared(path: Path, *bodies: Any, **settings: Any) -> list[httpx.Response]:
    return all_of(
        path, lambda client, body: client.post("/m/compare", json=body), bodies, **settings
    )


def test_lookups_are_answered_as_by_hma(bank: Path) -> None:
    ids = contents(bank)
    replies = get(bank, *(url for url, _ in ANSWERED))
    for (url, wanted), reply in zip(ANSWERED, replies, strict=True):
        assert reply.status_code == 200, url
        assert reply.headers["hashmatch-generation"] == "3"
        assert translated(reply.json(), ids) == wanted, url


def test_refusals_have_the_status_and_message_of_hma(bank: Path) -> None:
    replies = get(bank, *(url for url, _ in REFUSED))
    for (url, status), reply in zip(REFUSED, replies, strict=True):
        document = problem(reply, status)
        assert document["message"] == document["detail"], url
        assert document["field"] in url or document["field"] in ("signal", "signal_type"), url


def test_comparisons_are_answered_as_by_hma(bank: Path) -> None:
    replies = compared(bank, *(body for body, *_ in COMPARED))
    for (body, status, wanted), reply in zip(COMPARED, replies, strict=True):
        if status == 200:
            assert reply.status_code == 200 and reply.json() == wanted, body
        else:
            assert "message" in problem(reply, status), body


def test_digests_are_compared(bank: Path) -> None:
    same, other = compared(
        bank, {"video_md5": [MD5[0], MD5[0].upper()]}, {"video_md5": MD5, "pdq": [H, H]}
    )
    assert same.json() == {"video_md5": [True, {}]}
    assert other.json() == {"video_md5": [False, {}], "pdq": [True, {"distance": 0}]}


def test_a_bare_include_distance_is_true(bank: Path) -> None:
    (reply,) = get(bank, f"/m/raw_lookup?signal={PDQ[3]}&signal_type=pdq&include_distance")
    assert {row["distance"] for row in reply.json()["matches"]} == {"0", "4", "6"}


def test_a_parameter_given_twice_is_refused(bank: Path) -> None:
    url = f"/m/raw_lookup?signal={H}&signal_type=pdq"
    for extra in ("banks=BANK_A&banks=BANK_B", "include_distance=1&include_distance=0"):
        (reply,) = get(bank, f"{url}&{extra}")
        assert "twice" in problem(reply, 400, field=extra.split("=")[0])["message"]


def test_a_url_is_not_fetched_and_the_answer_says_why(bank: Path) -> None:
    (reply,) = get(bank, f"/m/lookup?url=http://127.0.0.1:1/x.jpg&signal={H}&signal_type=pdq")
    assert "inner network" in problem(reply, 403, field="url")["message"]


def test_bodies_that_are_no_comparison(bank: Path) -> None:
    async def use(client: httpx.AsyncClient) -> list[httpx.Response]:
        return [
            await client.post("/m/compare", content=b"{"),
            await client.post("/m/compare", content=b"{}", headers={"content-type": "text/plain"}),
            await client.post(
                "/m/compare", content=b"{", headers={"content-type": "application/json"}
            ),
            await client.post("/m/compare", json={"vpdq": ["[]", "[]"]}),
        ]

    for reply, status in zip(with_application(bank, use), (415, 415, 400, 400), strict=True):
        assert "message" in problem(reply, status)


def test_the_index_status_counts_signals(bank: Path) -> None:
    with hashmatch.open(bank) as database:
        changed = {record.name: int(record.changed.timestamp()) for record in database.sets()}
    pdq = {"present": True, "size": 5, "built_to": max(changed["BANK_A"], changed["BANK_B"])}
    md5 = {"present": True, "size": 2, "built_to": max(changed["BANK_B"], changed["BANK_C"])}
    every, one, other = get(
        bank, "/m/index/status", *(f"/m/index/status?signal_type={x}" for x in ("pdq", "sha1"))
    )
    assert every.json() == {"pdq": pdq, "video_md5": md5}
    assert one.json() == {"pdq": pdq}
    assert other.json() == {"sha1": {"present": False, "size": 0, "built_to": -1}}


def test_the_index_status_of_an_empty_database(tmp_path: Path) -> None:
    hashmatch.open(tmp_path / "bank", "c").close()
    status, lookup = get(
        tmp_path / "bank", "/m/index/status", f"/m/raw_lookup?signal={H}&signal_type=pdq"
    )
    absent = {"present": False, "size": 0, "built_to": -1}
    assert status.json() == {"pdq": absent, "video_md5": absent}
    assert lookup.json() == {"matches": []}


def test_status_is_alive(bank: Path) -> None:
    for path in ("/status", "/status/live"):
        (reply,) = get(bank, path)
        assert (reply.status_code, reply.text) == (200, "I-AM-ALIVE")


def test_status_takes_no_token_and_lookups_do(bank: Path, tmp_path: Path) -> None:
    token = add_token(tmp_path / "tokens", "reader", ["read"])
    url = f"/m/raw_lookup?signal={H}&signal_type=pdq"

    async def use(client: httpx.AsyncClient) -> list[httpx.Response]:
        return [
            await client.get("/status"),
            await client.get("/status/live"),
            await client.get(url),
            await client.get(url, headers={"authorization": f"Bearer {token}"}),
        ]

    replies = with_application(bank, use, tokens=tmp_path / "tokens", listen="127.0.0.1:0")
    assert [reply.status_code for reply in replies] == [200, 200, 401, 200]


def test_status_is_stale_while_the_newest_state_cannot_be_had(
    bank: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    refresh = Upkeep.refresh
    broken = threading.Event()

    def refreshed(upkeep: Upkeep) -> Any:
        if broken.is_set():
            raise OSError("no more")
        return refresh(upkeep)

    monkeypatch.setattr(Upkeep, "refresh", refreshed)

    async def use(client: httpx.AsyncClient) -> list[httpx.Response]:
        broken.set()
        with hashmatch.open(bank, "r+") as database, database.change("BANK_A") as change:
            change.add("pdq", ["5" * 64], refs=["7"])
        while (stale := await client.get("/status")).status_code == 200:
            await asyncio.sleep(0.02)
        live = await client.get("/status/live")
        lookup = await client.get(f"/m/raw_lookup?signal={H}&signal_type=pdq")
        broken.clear()
        while (again := await client.get("/status")).status_code == 503:
            await asyncio.sleep(0.02)
        return [stale, live, lookup, again]

    stale, live, lookup, again = with_application(bank, use)
    assert (stale.status_code, stale.text) == (503, "INDEX-STALE")
    assert (live.status_code, again.status_code) == (200, 200)
    assert len(lookup.json()["matches"]) == 5


def test_what_is_hidden_is_not_told(bank: Path) -> None:
    url = f"/m/raw_lookup?signal={H}&signal_type=pdq"
    raw, refused, lookup = get(
        bank, url, f"{url}&include_distance=1", url.replace("raw_", ""), hide_distances=True
    )
    assert (
        raw.json()["matches"] == sorted(raw.json()["matches"]) and len(raw.json()["matches"]) == 5
    )
    problem(refused, 403, field="include_distance")
    for found in lookup.json().values():
        assert {row["distance"] for row in found} == {"-"}
        assert [row["bank_content_id"] for row in found] == sorted(
            row["bank_content_id"] for row in found
        )
    (comparison,) = compared(bank, {"pdq": [H, H]}, hide_distances=True)
    assert "message" in problem(comparison, 403)


def as_caller(path: Path, caller: Caller, url: str) -> tuple[int, Any, Any]:
    """What someone is answered, and what was noted of the look-up."""
    bare, _, query = url.partition("?")
    scope = {
        "method": "GET", "path": bare, "query_string": query.encode(), "headers": [],
        "type": "http",
    }  # fmt: skip

    async def receive() -> Message:
        return {"type": "http.request", "body": b""}

    async def ask() -> tuple[int, Any, Any]:
        app = create_app(Settings(path=path))
        await app.service.start()
        try:
            request = Request(scope, receive, app.service.settings)
            request.caller = caller
            reply = await hma.ROUTES["GET", bare](request, app.service)
            assert isinstance(reply.body, bytes)
            return reply.status, json.loads(reply.body), request.lookup
        finally:
            await app.service.stop()

    return asyncio.run(ask())


def test_callers_see_their_own_sets(bank: Path) -> None:
    reader = Caller("reader", frozenset(("read",)), frozenset(("BANK_B", "not made yet")))
    url = f"/m/lookup?signal={H}&signal_type=pdq"
    status, found, noted = as_caller(bank, reader, url)
    assert status == 200 and list(found) == ["BANK_B"]
    assert (noted.hash_type, noted.hashes, noted.matches) == ("pdq", 1, {"BANK_B": 1})
    status, refused, noted = as_caller(bank, reader, f"{url}&banks=BANK_A")
    assert status == 403 and "BANK_A" in refused["message"] and noted is None
    writer = Caller("writer", frozenset(("write", "admin")))
    for path in (url, url.replace("lookup", "raw_lookup"), "/m/index/status"):
        assert as_caller(bank, writer, path)[0] == 403


def test_videos_are_looked_up(tmp_path: Path) -> None:
    codes = np.random.default_rng(5).integers(0, 256, (40, 32), np.uint8)
    with hashmatch.open(tmp_path / "bank", "c") as database:
        database.create("films")
        with database.change("films") as change:
            change.add("pdq", codes[:10], refs=["one"] * 10, kind="video")
            change.add("pdq", codes[10:30], refs=["two"] * 20, kind="video")
    frames = [f"{code.tobytes().hex()},100,{second}" for second, code in enumerate(codes[10:20])]
    query = urlencode({"signal": json.dumps(frames), "signal_type": "vpdq"})
    raw, lookup, broken = get(
        tmp_path / "bank", f"/m/raw_lookup?{query}", f"/m/lookup?{query}",
        "/m/lookup?signal_type=vpdq&signal=[1]",
    )  # fmt: skip
    assert raw.json() == {"matches": [10]}
    assert lookup.json() == {"films": [{"bank_content_id": 10, "distance": "100%[50%]"}]}
    problem(broken, 400, field="signal")


@pytest.fixture(scope="module")
def random_bank(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Any]]:
    path = tmp_path_factory.mktemp("random") / "bank"
    random = np.random.default_rng(9)
    # Near each other, so that distances on both sides of the limit are common.
    flips = random.random((2 * _RANDOM, 256)) < 0.08
    codes = np.packbits(flips, axis=1)
    with hashmatch.open(path, "c") as database:
        for number, name in enumerate(("one", "two")):
            database.create(name, max_distance={"pdq": (31, 25)[number]})
            part = codes[number * _RANDOM : (number + 1) * _RANDOM]
            with database.change(name) as change:
                change.add("pdq", part, refs=[f"{name} {row}" for row in range(_RANDOM)])
    yield path, codes


@settings(max_examples=15, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    banks=st.sampled_from([None, "one", "two", "two,one", "one,three", "three"]),
)
def test_lookups_find_what_brute_force_finds(
    random_bank: tuple[Path, Any], seed: int, banks: str | None
) -> None:
    path, codes = random_bank
    query = np.packbits(np.random.default_rng(seed).random(256) < 0.08)
    distance = np.bitwise_count(codes ^ query).sum(axis=1)
    wanted: dict[str, dict[int, str]] = {}
    for id, bits in enumerate(distance.tolist()):
        name, most = (("one", 31), ("two", 25))[id // _RANDOM]
        if bits <= most and (banks is None or name in banks.split(",")):
            wanted.setdefault(name, {})[id] = str(bits)
    parameters = {"signal": query.tobytes().hex(), "signal_type": "pdq"}
    text = urlencode(parameters | ({"banks": banks} if banks else {}))
    raw, near, lookup = get(
        path, f"/m/raw_lookup?{text}", f"/m/raw_lookup?{text}&include_distance=true",
        f"/m/lookup?{text}",
    )  # fmt: skip
    every = {id: text for found in wanted.values() for id, text in found.items()}
    assert sorted(raw.json()["matches"]) == sorted(every)
    rows = near.json()["matches"]
    assert {row["bank_content_id"]: row["distance"] for row in rows} == every
    assert len(rows) == len(every)
    assert {
        name: {row["bank_content_id"]: row["distance"] for row in found}
        for name, found in lookup.json().items()
    } == wanted
