"""The measured work of the sidecar, one function a job: what a caller on the same machine gets.

The server is `hashmatch serve` with tokens, metrics, logs and the audit on, with as many workers as
there are cores; the load comes from another process, which the server shares the cores with, and
each figure of throughput says in its name what share of one that process took.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

import datasets
import peers
from database_jobs import filled, folder
from datasets import Codes
from hashmatch import wire
from hashmatch.database import Database
from load import Load, Order, Report, ask, request
from pairs import PAIRS, count_mixed, moved, moving
from record import Figure
from sidecar import Sidecar
from stalled import Stalled
from timing import in_turns, median, pin, seconds, unpin

PDQ = 31
CONNECTIONS = 16
#: More than any cache in the server would hold, so that none is measured.
UPLOADS = 100_000
MEASURED_S = 10
PACKED = wire.MEDIA_TYPE


def one_hash(rows: int) -> Iterator[Figure]:
    """One hash a request, 16 connections, a tenth of `rows` PDQ codes in the database."""
    data = datasets.make("uniform", rows // 10)
    uploads = data.uploads(UPLOADS, PDQ)
    unpin()
    with folder() as path, filled(path, data.codes, ["label"]) as database, Load() as load:
        for http, where, listen, fields, bound in (
            ("granian", "a Unix socket", "", "joined", 5_000),
            ("granian", "a Unix socket", "", "ids", None),
            ("granian", "loopback TCP", "127.0.0.1:0", "joined", 5_000),
            ("uvicorn", "a Unix socket", "", "joined", None),
        ):
            with Sidecar(path, listen, http=http) as server:
                _assert_same(server, database, uploads[:200])
                asked = [_match(server, code, fields) for code in uploads]
                work = f"one hash a request, {where}, {http}, {fields}"
                report = load.run(Order(server.address, asked, CONNECTIONS, MEASURED_S))
                yield from _figures(work, report, bound, 10 if bound else None)
                yield from _beside_the_engine(work, server, load, database, uploads, asked)
    pin()


def _figures(
    work: str, report: Report, at_least: float | None, p99_at_most: float | None
) -> Iterator[Figure]:
    busy = f"{work} (load: {report.busy:.0%} of a core)"
    yield Figure(busy, report.rate, "a second", at_least=at_least)
    yield Figure(f"{work}: median", report.quantile_ms(0.5), "ms")
    yield Figure(f"{work}: p99", report.quantile_ms(0.99), "ms", at_most=p99_at_most)
    yield Figure(f"{work}: longest", report.quantile_ms(1), "ms")
    yield Figure(f"{work}: errors", report.errors, "requests", at_most=0)


def _beside_the_engine(
    work: str, server: Sidecar, load: Load, database: Database, uploads: Codes, asked: list[bytes]
) -> Iterator[Figure]:
    """One connection, so that no request waits for another: what the server takes by its own
    metrics, and what the caller sees, the way there and back included.
    """
    rows = [partial(database.match, "pdq", code[None], threads=1) for code in uploads[:4_000]]
    engine_us = median(np.array(list(map(seconds, rows)))) * 1e6
    before, cpu = server.request_seconds(), server.cpu_seconds()
    report = load.run(Order(server.address, asked, 1, MEASURED_S / 2, warm_up_s=0))
    after, cpu = server.request_seconds(), server.cpu_seconds() - cpu
    counts = {bound: count - before.get(bound, 0) for bound, count in after.items()}
    yield Figure(
        f"{work}: the server's time beside the engine, one connection, median",
        *(_histogram_median(counts) * 1e6 - engine_us, "us", "the engine in process", engine_us),
        at_most=200,
    )
    yield Figure(f"{work}: the round trip, median", report.quantile_ms(0.5) * 1e3, "us")
    each_us = cpu / max(counts.values()) * 1e6
    yield Figure(f"{work}: processor time of the workers a request", each_us, "us")


def _histogram_median(counts: Mapping[float, float]) -> float:
    """As Prometheus works it out: the values within a bucket are taken to lie evenly."""
    below, least = 0.0, 0.0
    half = max(counts.values()) / 2
    for bound, count in sorted(counts.items()):
        if count >= half:
            return least + (bound - least) * (half - below) / (count - below)
        below, least = count, bound
    raise AssertionError("no request was counted")


def bulk(rows: int) -> Iterator[Figure]:
    """A tenth of `rows` packed hashes in one request, against the same search in process."""
    data = datasets.make("uniform", rows // 10)
    uploads = data.uploads(rows // 10, PDQ)
    body = uploads.tobytes()
    unpin()
    with (
        folder() as path,
        filled(path, data.codes, ["label"]) as database,
        Sidecar(path, workers=1) as server,
    ):
        for fields, turns in (("ids", 5), ("joined", 2)):
            asked = server.request("POST", f"/v1/match?type=pdq&fields={fields}", body, PACKED)
            answer = ask(server.address, asked)
            found = database.match("pdq", uploads)
            if answer.status != 200 or not _same(answer.body, found, fields == "joined"):
                raise AssertionError(f"the answer over the wire is another: {answer.body[:500]!r}")
            ours, theirs = in_turns(
                turns,
                [partial(ask, server.address, asked)] * turns,
                [partial(_in_process, database, uploads, fields == "joined")] * turns,
            )
            yield Figure(
                f"{len(uploads):,} packed hashes a request, {fields}",
                *(median(ours), "s", "the same search in process", median(theirs)),
                ratio=median(theirs) / median(ours),
                at_least=0.85,
            )
    pin()


def _in_process(database: Database, codes: Codes, joined: bool) -> None:
    found = database.match("pdq", codes)
    if joined:
        found.to_arrow()


def _same(body: bytes, found: Any, joined: bool) -> bool:
    answer = wire.decode(body)
    assert answer.distance is not None
    same = np.array_equal(answer.offsets, found.offsets) and all(
        np.array_equal(getattr(answer, name), getattr(found, name))
        for name in ("signal", "distance")
    )
    if not same or (answer.joined is not None) != joined:
        return False
    if answer.joined is None:
        return True
    refs = dict(zip(found.signal.tolist(), found.ref, strict=True))
    return answer.joined["ref"] == [refs[signal] for signal in answer.joined["signal"]]


def hma(rows: int) -> Iterator[Figure]:
    """HMA's matcher: the index that it uses, queried in process as its route does, without its
    HTTP server and database; and its service with the same hashes, if HASHMATCH_HMA says where one
    listens.
    """
    data = datasets.make("uniform", rows // 10)
    uploads = data.uploads(UPLOADS, PDQ)
    index = peers.ThreatExchange(data.codes)
    service = os.environ.get("HASHMATCH_HMA")
    paths = [f"/m/raw_lookup?signal_type=pdq&signal={code.tobytes().hex()}" for code in uploads]
    plain = [request("GET", path) for path in paths]
    unpin()
    with (
        folder() as path,
        filled(path, data.codes) as database,
        Sidecar(path) as server,
        Load() as load,
    ):
        asked = [server.request("GET", path) for path in paths]
        for place, code in enumerate(uploads[:100]):
            ids = _hma_ids(server.address, asked[place])
            assert sorted(ids) == sorted(database.match("pdq", code[None]).signal.tolist())
            assert len(ids) == index.matches(code)
            assert service is None or len(ids) == len(_hma_ids(service, plain[place]))
        ours = load.run(Order(server.address, asked, CONNECTIONS, MEASURED_S))
        each_s = np.array([seconds(partial(index.matches, code)) for code in uploads[100:400]])
        work = f"/m/raw_lookup, {len(data.codes):,} codes (load: {ours.busy:.0%} of a core)"
        alone = 1 / median(each_s)
        yield Figure(
            work,
            *(ours.rate, "a second", "HMA's index alone, in process, one thread", alone),
            ratio=ours.rate / alone,
        )
        if service is not None:
            report = load.run(Order(service, plain, CONNECTIONS, MEASURED_S))
            if report.errors:
                raise AssertionError(f"HMA's service: {report}")
            yield Figure(
                work,
                *(ours.rate, "a second", "HMA's service", report.rate),
                ratio=ours.rate / report.rate,
                at_least=10,
            )
    pin()


def _hma_ids(address: str, asked: bytes) -> list[int]:
    ids: list[int] = json.loads(ask(address, asked).body)["matches"]
    return ids


CHANGES_A_SECOND = 100
#: One request in so many is for a pair.
PAIR_EVERY = 10


def under_change(rows: int, duration_s: float = 60, http: str = "granian") -> Iterator[Figure]:
    """100 changes a second of 100 rows, while one hash a request is looked up.

    A change gives both items of each of 50 pairs a new label, the same one. What is looked up finds
    both: an answer that mixes generations would show different labels, or one that was no longer,
    or not yet, that of the generation that it names.
    """
    data = datasets.make("uniform", rows // 10)
    uploads = data.uploads(UPLOADS, PDQ)
    random = np.random.Generator(np.random.SFC64(17))
    first = datasets.uniform(random, PAIRS, 256)
    second = datasets.perturbed(first, 5, 5, random)
    count = int(duration_s * CHANGES_A_SECOND)
    unpin()
    with folder() as path:
        filled(path, data.codes, ["label"]).close()
        with Sidecar(path, http=http) as server, Load() as load, Load() as changing:
            begin = ask(server.address, moving(server, first, second, range(PAIRS), "begin"))
            assert begin.status == 200, begin.body
            asked = [
                _match(server, first[place // PAIR_EVERY % PAIRS])
                if place % PAIR_EVERY == 0
                else _match(server, code)
                for place, code in enumerate(uploads)
            ]
            pairs = frozenset(range(0, len(asked), PAIR_EVERY))
            quiet = load.run(Order(server.address, asked, CONNECTIONS, duration_s / 6))
            changes = [
                moving(server, first, second, moved(number), f"change {number}")
                for number in range(count)
            ]
            before = _memory(server)
            made = changing.start(
                Order(
                    server.address, changes, 4, duration_s, warm_up_s=0, rate=CHANGES_A_SECOND,
                    kept=frozenset(range(count)),
                )
            )  # fmt: skip
            looked_up = load.start(
                Order(server.address, asked, CONNECTIONS, duration_s, warm_up_s=0, kept=pairs)
            )
            time.sleep(duration_s / 4)
            warm = _memory(server)
            report, changed = looked_up.result(), made.result()
            after = _memory(server)
    pin()
    mixed = count_mixed(
        json.loads(begin.body)["generation"],
        changed.kept,
        [(place // PAIR_EVERY % PAIRS, body) for place, body in report.kept],
    )
    work = f"one hash a request while 100 rows change, {CONNECTIONS} connections"
    yield Figure("changes of 100 rows", changed.rate, "a second", at_least=CHANGES_A_SECOND * 0.98)
    yield Figure("changes of 100 rows: p99", changed.quantile_ms(0.99), "ms")
    yield from _figures(work, report, None, 20)
    yield Figure("the same, nothing changed: p99", quiet.quantile_ms(0.99), "ms")
    yield Figure("errors of changes", changed.errors, "requests", at_most=0)
    yield Figure("answers looked through for two generations", len(report.kept), "answers")
    yield Figure("answers from two generations", mixed, "answers", at_most=0)
    for name in ("worker", "writer"):
        yield Figure(
            f"memory of {name}s at the end",
            *(after[name] / 1e6, "MB", f"after {duration_s / 4:g} s", warm[name] / 1e6),
            ratio=after[name] / warm[name],
            at_most=1.2,
        )
        yield Figure(f"memory of {name}s before", before[name] / 1e6, "MB")


def _memory(server: Sidecar) -> dict[str, int]:
    return {name: server.memory_bytes(name) for name in ("worker", "writer")}


def overload(rows: int) -> Iterator[Figure]:
    """Callers that ask for four times what the server can do, and 64 clients that stall, beside one
    that asks for a quarter of it.
    """
    data = datasets.make("uniform", rows // 10)
    uploads = data.uploads(UPLOADS, PDQ)
    unpin()
    with (
        folder() as path,
        filled(path, data.codes, ["label"]),
        Sidecar(path) as server,
        Load() as load,
        Load() as others,
    ):
        asked = [_match(server, code) for code in uploads]
        capacity = load.run(Order(server.address, asked, CONNECTIONS, MEASURED_S / 2)).rate
        good = Order(server.address, asked, CONNECTIONS, MEASURED_S, rate=capacity / 4)
        undisturbed = load.run(good)
        packed = server.request(
            "POST", "/v1/match?fields=ids", data.codes[:50_000].tobytes(), PACKED
        )
        bad = Order(
            server.address, [_match(server, code, caller="other") for code in uploads],
            *(16 * CONNECTIONS, MEASURED_S + 2), rate=4 * capacity, warm_up_s=0,
        )  # fmt: skip
        with Stalled(server.address, packed) as stalled:
            disturbing = others.start(bad)
            time.sleep(1)
            report = load.run(good)
            refused = disturbing.result()
    pin()
    work = "a caller within its share, 4 x overload, 64 stalled clients"
    yield Figure("what the server can do", capacity, "a second")
    yield Figure(
        f"{work} (load: {report.busy + refused.busy:.0%} of a core)",
        *(report.rate, "a second", "undisturbed", undisturbed.rate),
        ratio=report.rate / undisturbed.rate,
        at_least=0.9,
    )
    yield Figure(f"{work}: errors", report.errors, "requests")
    for name, each in ((work, report), ("undisturbed", undisturbed)):
        yield Figure(f"{name}: p99", each.quantile_ms(0.99), "ms")
    statuses = {status: refused.statuses[status] for status in (200, 429, 503)}
    for status, number in statuses.items():
        yield Figure(f"the others' answers of status {status}", number, "answers")
    wrong = refused.statuses.total() - sum(statuses.values())
    yield Figure("the others' answers of another status", wrong, "answers", at_most=0)
    yield Figure("stalled clients that were ended", stalled.closed.total(), "connections")


def _match(server: Sidecar, code: Codes, fields: str = "joined", caller: str = "good") -> bytes:
    """POST /v1/match with one hash."""
    members = {"type": "pdq", "hashes": [code.tobytes().hex()]}
    if fields != "joined":
        members["fields"] = fields
    return server.request("POST", "/v1/match", json.dumps(members).encode(), caller=caller)


def _assert_same(server: Sidecar, database: Database, uploads: Codes) -> None:
    """Before a time means anything: the answers are those of the same search in process."""
    compared = 0
    for code in uploads:
        answer = ask(server.address, _match(server, code))
        rows = json.loads(answer.body)["matches"] if answer.status == 200 else None
        found = database.match("pdq", code[None])
        wanted = list(zip(found.signal.tolist(), found.distance.tolist(), found.ref, strict=True))
        if rows is None or [(r["signal"], r["distance"], r["ref"]) for r in rows] != wanted:
            raise AssertionError(f"the answer over the wire is another: {answer.body!r}")
        compared += len(wanted)
    if not compared:
        raise AssertionError("nothing matched: these uploads compare nothing")


#: By name, in the order in which they run.
SERVER_JOBS: dict[str, Callable[[int], Iterator[Figure]]] = {
    "server": one_hash,
    "server-bulk": bulk,
    "server-hma": hma,
    "server-under-change": under_change,
    "server-overload": overload,
}
