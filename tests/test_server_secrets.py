"""What is seen of requests: metrics, logs and the audit, in which no hash, ref or token ever is."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

import hashmatch
from hashmatch.server import app
from hashmatch.server.http import Reply, Request
from hashmatch.server.service import Service
from hashmatch.server.tokens import add_token
from raw_http import answer, connect, head, send
from serving import Server, application

#: Easily found wherever they end up, in any form.
CODE = "5ec2e7c0de" * 6 + "5ec2"
OTHER = "5ec2e7badc" * 6 + "5ec2"
MARKS = ("5ec2e7", "5EC2E7", "secret-", base64.b64encode(bytes.fromhex(CODE))[:12].decode())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    with hashmatch.open(tmp_path / "bank", "c") as database:
        database.create("shared", contributor="forum")
        with database.change("shared") as change:
            change.add("pdq", [CODE], refs=["secret-ref"], labels=["secret-label"])
    return tmp_path / "bank"


def assert_secret(text: str, *tokens: str) -> None:
    for mark in (*MARKS, *tokens, *(token[3:20] for token in tokens)):
        place = text.find(mark)
        assert place < 0, text[max(0, place - 200) : place + 200]


def requests(token: str) -> list[dict[str, Any]]:
    """Good ones and bad ones, with something secret in every part."""
    adds = [{"ref": "secret-1", "type": "pdq", "hash": CODE, "labels": ["secret-2"]}]
    bad = [{"ref": "secret-3", "type": "pdq", "hash": CODE[:-1], "kind": "secret-4"}]
    match, changes = "/v1/match", "/v1/sets/shared/changes"
    return [
        {"method": "POST", "url": match, "json": {"type": "pdq", "hashes": [CODE, OTHER]}},
        {"method": "POST", "url": match, "json": {"type": "pdq", "hashes": [CODE[:-1]]}},
        {"method": "POST", "url": match, "json": {"type": "pdq", "hashes": [CODE + "zz"]}},
        {"method": "POST", "url": match, "json": {"type": CODE, "hashes": [CODE]}},
        {"method": "POST", "url": match, "json": {"hashes": [CODE], CODE: "secret-5"}},
        {"method": "POST", "url": match, "json": {"hashes": [CODE], "sets": ["secret-6"]}},
        {"method": "POST", "url": match, "json": {"hashes": [CODE], "verdicts": ["secret-7"]}},
        {"method": "POST", "url": match, "content": f"{{{CODE}", "headers": {}},
        {"method": "POST", "url": f"{match}?type={CODE}&secret-8={CODE}", "content": CODE},
        {"method": "GET", "url": f"/m/raw_lookup?signal={CODE}&signal_type=pdq"},
        {"method": "GET", "url": f"/m/raw_lookup?signal={CODE}0&signal_type={CODE}"},
        {"method": "POST", "url": "/m/compare", "json": {"pdq": [CODE, OTHER]}},
        {"method": "POST", "url": "/m/compare", "json": {"pdq": [CODE, CODE + "0"]}},
        {"method": "POST", "url": changes, "json": {"adds": adds}},
        {"method": "POST", "url": changes, "json": {"adds": bad}},
        {"method": "POST", "url": changes, "json": {"removals": ["secret-9", 7]}},
        {"method": "POST", "url": changes, "json": {"opinions": [{"ref": "secret-10"}]}},
        {"method": "GET", "url": f"/v1/sets/shared/secret-11/{CODE}"},
        {"method": "GET", "url": f"/{CODE}?token={token}"},
        {"method": CODE[:20], "url": f"/{CODE}"},
        {"method": "PUT", "url": f"/v1/match/{CODE}", "content": CODE},
        {"method": "GET", "url": "/v1/status", "headers": {"x-secret-12": CODE, "cookie": CODE}},
        {"method": "GET", "url": "/v1/sets/shared/contents"},
        {"method": "GET", "url": "/v1/sets", "headers": {"authorization": f"Bearer {token}x"}},
        {"method": "GET", "url": "/v1/sets", "headers": {"authorization": f"Basic {CODE}"}},
    ]


@pytest.mark.parametrize("http", ["granian", "uvicorn"])
def test_nothing_secret_is_logged_counted_or_audited(path: Path, tmp_path: Path, http: Any) -> None:
    token = add_token(tmp_path / "tokens", "tester", ["read", "write", "admin"])
    with Server(
        path, http, tokens=tmp_path / "tokens", max_body_bytes=20_000, body_seconds=1
    ) as server:
        good = {"authorization": f"Bearer {token}"}
        line = f"Authorization: Bearer {token}"

        def ask(asked: dict[str, Any]) -> int:
            with server.client(headers=good) as client:
                return client.request(**asked).status_code

        def ask_raw(raw: bytes) -> None:
            connection = connect(server)
            send(connection, raw)
            answer(connection)

        large = {"method": "POST", "url": "/v1/match", "json": {"hashes": [CODE] * 1000}}
        with ThreadPoolExecutor(8) as pool:
            statuses = set(pool.map(ask, [*requests(token), large]))
            list(
                pool.map(
                    ask_raw,
                    (
                        f"GET /{CODE} SECRET/{CODE}\r\n{CODE}\r\n\r\n".encode(),
                        head(f"/v1/match?{CODE}", line, "Content-Length: 500") + CODE.encode(),
                        head("/v1/match", line, "Transfer-Encoding: chunked") + CODE.encode(),
                        head("/v1/match", line, f"Content-Length: {CODE}"),
                    ),
                )
            )
        assert {200, 400, 401, 404, 413} <= statuses and max(statuses) < 500
        gone = connect(server)
        send(gone, head("/v1/match", line, "Content-Length: 500") + CODE.encode())
        gone.close()
        time.sleep(1.2)  # The sums and the audit are written by then.
        with server.client(headers=good) as client:
            text = client.get("/metrics").text
        assert server.stop() == 0
        log = server.log()
    assert_secret(log, token)
    assert_secret(text, token)
    lines = [json.loads(line) for line in log.splitlines() if line.startswith("{")]
    assert {"tester"} < {line.get("caller") for line in lines}
    assert "/v1/match" in {line.get("route") for line in lines}
    assert 'hashmatch_matches_total{set="shared"}' in text
    assert 'route="/v1/sets/{set}/changes"' in text
    audit = sqlite3.connect(path / "audit.db")
    dump = "\n".join(audit.iterdump())
    audit.close()
    assert "tester" in dump and "shared" in dump
    assert_secret(dump, token)


def test_a_fault_is_logged_by_where_it_came_from(
    path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    async def broken(request: Request, service: Service) -> Reply:
        hash = request.query["hash"][0]
        try:
            raise KeyError(hash)
        except KeyError as error:
            raise RuntimeError(f"secret-fault with {hash}") from error

    async def run() -> None:
        async with application(path) as client:
            with pytest.raises(RuntimeError):
                await client.get(f"/broken?hash={CODE}")

    monkeypatch.setitem(app.ROUTES, ("GET", "/broken"), broken)
    asyncio.run(run())
    log = capfd.readouterr().err
    assert_secret(log)
    (line,) = [json.loads(line) for line in log.splitlines()]
    assert line["exception"] == ["RuntimeError", "KeyError"]
    assert any("test_server_secrets.py" in each and "broken" in each for each in line["frames"])
    assert (line["route"], line["status"], line["level"]) == ("/broken", 500, "error")


def test_counts_are_those_of_what_was_asked(path: Path) -> None:
    async def use(client: httpx.AsyncClient) -> dict[str, float]:
        for _ in range(3):
            await client.post("/v1/match", json={"type": "pdq", "hashes": [CODE, OTHER, CODE]})
        await client.post("/v1/match", json={"type": "md5", "hashes": ["ab" * 16]})
        await client.post("/v1/match", json={"type": "pdq", "hashes": ["zz"]})
        await client.get("/nothing/of/that/name")
        await client.request("BREW", "/nothing")
        await client.get("/v1/sets/shared")
        return values((await client.get("/metrics")).text)

    async def run() -> dict[str, float]:
        async with application(path) as client:
            return await use(client)

    found = asyncio.run(run())
    assert found['hashmatch_hashes_total{type="pdq"}'] == 9
    assert found['hashmatch_hashes_total{type="md5"}'] == 1
    assert found['hashmatch_matches_total{set="shared"}'] == 6
    asked = 'hashmatch_requests_total{method="POST",route="/v1/match",status='
    assert (found[f'{asked}"200"}}'], found[f'{asked}"400"}}']) == (4, 1)
    assert found['hashmatch_requests_total{method="",route="none",status="404"}'] == 2
    assert found['hashmatch_request_seconds_count{route="/v1/match"}'] == 5
    assert found["hashmatch_generation"] == 1 and found["hashmatch_trouble"] == 0
    assert 0 <= found["hashmatch_generation_age_seconds"] < 600
    assert found['hashmatch_signals{type="pdq"}'] == 1
    assert found['hashmatch_items{set="shared"}'] == 1
    assert found["hashmatch_resident_bytes"] > 10_000_000


def values(text: str) -> dict[str, float]:
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    found = {}
    for line in lines:
        name, _, value = line.rpartition(" ")
        assert name not in found, name
        found[name] = float(value)
    return found


def test_workers_answer_for_one_another_and_go_on_when_one_is_replaced(path: Path) -> None:
    with Server(path, workers=2) as server:

        def counted() -> dict[str, float]:
            with server.client() as client:
                return values(client.get("/metrics").text)

        def totals() -> set[float]:
            return {counted()['hashmatch_hashes_total{type="pdq"}'] for _ in range(6)}

        def look_up(times: int) -> None:
            for _ in range(times):
                with server.client() as client:
                    asked = {"type": "pdq", "hashes": [CODE]}
                    assert client.post("/v1/match", json=asked).status_code == 200

        def wait_for_others(before: set[int]) -> None:
            end = time.monotonic() + 30
            while len(now := set(server.pids("worker"))) != 2 or now & before:
                assert time.monotonic() < end
                time.sleep(0.05)

        look_up(20)
        assert totals() == {20}
        (first, _) = server.pids("worker")
        os.kill(first, signal.SIGKILL)
        wait_for_others({first})
        look_up(10)
        assert totals() == {30}
        before = set(server.pids("worker"))
        server.process.send_signal(signal.SIGHUP)
        wait_for_others(before)
        look_up(5)
        assert totals() == {35}
        assert sum("resident" in name for name in counted()) == 2


def test_it_is_ready_as_soon_as_the_database_can_be_read(path: Path) -> None:
    async def ready(client: httpx.AsyncClient) -> httpx.Response:
        return await client.get("/readyz")

    async def run() -> tuple[httpx.Response, httpx.Response, httpx.Response]:
        async with application(path) as client:
            sound = await ready(client)
        (segment,) = (path / "segments").glob("*.seg")
        content = segment.read_bytes()
        segment.write_bytes(content[:-1])
        async with application(path) as client:
            damaged = await ready(client)
            alive = await client.get("/livez")
        return sound, damaged, alive

    with hashmatch.open(path, "r+") as database:
        database.compact()
    sound, damaged, alive = asyncio.run(run())
    assert sound.json() == {"status": "ready", "generation": 1}
    assert damaged.status_code == 503 and damaged.headers["retry-after"] == "1"
    assert "hashmatch db check" in damaged.json()["detail"] and str(path) not in damaged.text
    assert alive.status_code == 200
