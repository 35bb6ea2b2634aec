"""Who is let in: every way of calling without the right is denied, on both servers."""

from __future__ import annotations

import stat
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeAlias

import httpx
import pytest

import hashmatch
from hashmatch.server.tokens import add_token, new_token, remove_token
from serving import Server, problem, with_application

Http: TypeAlias = Literal["granian", "uvicorn"]
CODE = "f8f8f0cee0f4a84f06370a22038f63f0b36e2ed596621e1d33e6b39c4e9c9b22"
LOOKUP = {"type": "pdq", "hashes": [CODE]}
PAST = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("gate") / "bank"
    with hashmatch.open(folder, "c") as database:
        for name in ("open", "secret"):
            database.create(name, contributor="forum")
            with database.change(name) as change:
                change.add("pdq", [CODE], refs=[f"{name}-1"])
    return folder


class Callers:
    """A file of tokens, and the header of each caller in it."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.reader = self.added("reader", ["read"])
        self.writer = self.added("writer", ["write"])
        self.narrow = self.added("narrow", ["read", "write"], ["open"])
        self.late = self.added("late", ["read", "write", "admin"], None, PAST)

    def added(self, name: str, *more: Any) -> dict[str, str]:
        return bearer(add_token(self.file, name, *more))


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


@pytest.fixture(scope="module")
def callers(tmp_path_factory: pytest.TempPathFactory) -> Callers:
    return Callers(tmp_path_factory.mktemp("tokens") / "tokens")


@pytest.fixture(scope="module", params=["granian", "uvicorn"])
def server(request: pytest.FixtureRequest, path: Path, callers: Callers) -> Iterator[Server]:
    """On TCP, where a token is needed."""
    with Server(path, request.param, listen="127.0.0.1:0", tokens=callers.file) as server:
        yield server


def test_nobody_gets_in_over_tcp_without_a_token_that_holds(
    server: Server, callers: Callers
) -> None:
    secret = callers.reader["authorization"].removeprefix("Bearer ")
    refused: list[dict[str, str]] = [
        {},
        bearer(new_token()),
        bearer(secret[:-1]),
        bearer(f"{secret}x"),
        bearer(secret + "x" * 10_000),
        bearer("hm_"),
        {"authorization": secret},
        {"authorization": f"Basic {secret}"},
        {"authorization": "Bearer"},
        {"cookie": f"token={secret}"},
        {"x-api-key": secret},
        callers.late,
    ]
    routes = [
        ("GET", "/v1/sets"),
        ("GET", "/metrics"),
        ("GET", "/m/raw_lookup"),
        ("POST", "/v1/sets/open/changes"),
        ("GET", "/nothing"),
    ]
    asked = [("POST", "/v1/match", headers) for headers in refused]
    asked += [(method, route, {}) for method, route in routes]

    def ask(method: str, route: str, headers: dict[str, str]) -> httpx.Response:
        with server.client() as client:
            return client.request(method, route, json=LOOKUP, headers=headers)

    # Each answer is held back a while.
    with ThreadPoolExecutor(len(asked)) as pool:
        for reply in pool.map(ask, *zip(*asked, strict=True)):
            problem(reply, 401)
            assert reply.headers["www-authenticate"].startswith('Bearer realm="hashmatch"')
            assert secret not in reply.text
    with server.client() as client:
        assert client.post("/v1/match", json=LOOKUP, headers=callers.reader).status_code == 200
        lower = {"authorization": f"bearer  {secret}"}
        assert client.post("/v1/match", json=LOOKUP, headers=lower).status_code == 200


def test_a_token_given_twice_is_refused(server: Server, callers: Callers) -> None:
    sound = callers.reader["authorization"]
    for pair in ((sound, sound), (sound, "Bearer x"), ("Bearer x", sound)):
        headers = [("authorization", each) for each in pair]
        with server.client() as client:
            reply = client.post("/v1/match", json=LOOKUP, headers=headers)
        problem(reply, 400)


def test_what_is_open_is_open_and_nothing_else(server: Server) -> None:
    with server.client() as client:
        for route in ("/livez", "/readyz", "/", "/docs", "/openapi.json", "/page/style.css"):
            assert client.get(route).status_code == 200, route
            # A token that is wrong does not matter there.
            assert client.get(route, headers=bearer("x")).status_code == 200, route
        for route in ("/page/../v1/status", "/page/nothing", "/livez/", "/V1/sets"):
            assert client.get(route).status_code in (401, 404), route


def test_a_token_does_what_it_is_for_and_no_more(server: Server, callers: Callers) -> None:
    adds = {"adds": [{"ref": "x", "type": "pdq", "hash": CODE}]}
    with server.client() as client:

        def status(method: str, route: str, headers: dict[str, str], sent: object = None) -> int:
            reply = client.request(method, route, headers=headers, json=sent)
            if reply.status_code >= 400:
                problem(reply, reply.status_code)
            return reply.status_code

        assert status("POST", "/v1/sets/open/changes", callers.reader, adds) == 403
        assert status("PUT", "/v1/sets/new", callers.reader, {}) == 403
        assert status("PUT", "/v1/sets/new", callers.writer, {}) == 403
        assert status("GET", "/v1/sets/open/contents", callers.reader) == 403
        assert status("POST", "/v1/match", callers.writer, LOOKUP) == 403
        assert status("GET", "/metrics", callers.writer) == 403
        assert status("GET", "/metrics", callers.narrow) == 403
        assert status("POST", "/v1/sets/secret/match", callers.narrow, LOOKUP) == 403
        assert status("POST", "/v1/match", callers.narrow, LOOKUP | {"sets": ["secret"]}) == 403
        assert status("GET", "/v1/sets/secret", callers.narrow) in (403, 404)
        assert status("POST", "/v1/sets/secret/changes", callers.narrow, adds) == 403
        assert status("GET", "/metrics", callers.reader) == 200
        found = client.post("/v1/match", json=LOOKUP, headers=callers.narrow).json()
        assert {match["set"] for match in found["matches"]} == {"open"}
        found = client.post("/v1/match", json=LOOKUP, headers=callers.reader).json()
        assert {match["set"] for match in found["matches"]} == {"open", "secret"}


def test_a_change_of_the_file_holds_within_a_second(server: Server, callers: Callers) -> None:
    with server.client() as client:

        def becomes(headers: dict[str, str], status: int) -> None:
            end = time.monotonic() + 5
            while client.post("/v1/match", json=LOOKUP, headers=headers).status_code != status:
                assert time.monotonic() < end

        guest = callers.added("guest", ["read"])
        becomes(guest, 200)
        sound = callers.file.read_bytes()
        callers.file.write_bytes(sound + b'{"name":"hm_oops"}\n')
        end = time.monotonic() + 5
        while "the tokens read before hold" not in server.log():
            assert time.monotonic() < end
            time.sleep(0.05)
        assert "hm_oops" not in server.log()
        becomes(guest, 200)
        failed = 'hashmatch_failures_total{what="tokens"} 1.0'
        assert failed in client.get("/metrics", headers=callers.reader).text
        callers.file.write_bytes(sound)
        remove_token(callers.file, "guest")
        becomes(guest, 401)
        becomes(callers.reader, 200)


@pytest.mark.parametrize("http", ["granian", "uvicorn"])
def test_a_socket_needs_no_token_but_heeds_one(path: Path, callers: Callers, http: Http) -> None:
    with Server(path, http, tokens=callers.file) as server:
        place = Path(server.url.removeprefix("unix:"))
        assert stat.S_IMODE(place.stat().st_mode) == 0o600
        with server.client() as client:
            assert client.post("/v1/match", json=LOOKUP).status_code == 200
            assert client.get("/metrics").status_code == 200
            problem(client.post("/v1/match", json=LOOKUP, headers=bearer("hm_wrong")), 401)
            problem(client.post("/v1/match", json=LOOKUP, headers=callers.late), 401)
            problem(client.post("/v1/match", json=LOOKUP, headers=callers.writer), 403)


def test_without_a_file_of_tokens_any_token_is_a_wrong_one(path: Path) -> None:
    async def use(client: httpx.AsyncClient) -> list[httpx.Response]:
        return [
            await client.post("/v1/match", json=LOOKUP),
            await client.post("/v1/match", json=LOOKUP, headers=bearer("hm_x")),
        ]

    good, wrong = with_application(path, use)
    assert good.status_code == 200
    problem(wrong, 401)


def test_tcp_without_tokens_lets_nobody_in(path: Path) -> None:
    async def use(client: httpx.AsyncClient) -> httpx.Response:
        return await client.post("/v1/match", json=LOOKUP)

    problem(with_application(path, use, listen="127.0.0.1:0"), 401)


def test_a_certificate_without_a_token_does_what_the_setting_says(
    path: Path, callers: Callers
) -> None:
    async def use(client: httpx.AsyncClient) -> list[int]:
        adds = {"adds": [{"ref": "x", "type": "pdq", "hash": CODE}]}
        return [
            (await client.post("/v1/match", json=LOOKUP)).status_code,
            (await client.post("/v1/sets/open/changes", json=adds)).status_code,
            (await client.post("/v1/match", json=LOOKUP, headers=callers.writer)).status_code,
            (await client.post("/v1/match", json=LOOKUP, headers=bearer("hm_x"))).status_code,
        ]

    settings = {"listen": "127.0.0.1:0", "client_ca": path, "tokens": callers.file}
    assert with_application(path, use, **settings) == [200, 403, 403, 401]


def test_a_file_of_tokens_that_is_none_keeps_the_sidecar_from_starting(
    path: Path, tmp_path: Path
) -> None:
    async def use(client: httpx.AsyncClient) -> None: ...

    with pytest.raises(FileNotFoundError):
        with_application(path, use, tokens=tmp_path / "none")
    (tmp_path / "bad").write_text("{")
    with pytest.raises(ValueError, match="bad, line 1"):
        with_application(path, use, tokens=tmp_path / "bad")
