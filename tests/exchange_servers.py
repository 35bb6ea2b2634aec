"""Exchanges on 127.0.0.1 that speak the protocols of the real ones, and fail when told to.

Each holds records that come, change and go with the time of a clock of its own, and says what a
database that followed it is to hold.
"""

from __future__ import annotations

import json
import random
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, NamedTuple, TypeAlias

import pytest

import hashmatch
from hashmatch import Database
from hashmatch.database import Item

#: In every token and password, so that a test can look for it anywhere.
SECRET = "s3cret-Zr7+/kQ"
VARIABLE = "HASHMATCH_TEST_CREDENTIALS"
#: Records a page.
PAGE = 3
DIGITS = {"pdq": 64, "md5": 32, "sha1": 40, "sha256": 64}

#: Kind, hashes as (type, hex), labels, opinions as (contributor, verdict, labels).
Held: TypeAlias = tuple[str, frozenset[tuple[str, str]], frozenset[str], frozenset[Any]]


class Fault(NamedTuple):
    """What a server does in the place of an answer."""

    status: int = 200
    headers: Mapping[str, str] = {}
    #: Sends half of what it announced, and hangs up.
    cut: bool = False
    #: Says nothing for so long.
    stall_s: float = 0.0
    #: Takes so long from one byte to the next.
    drip_s: float = 0.0
    body: bytes | None = None


@dataclass
class Record:
    key: tuple[str, ...]
    time: int
    #: None for one that is deleted.
    body: dict[str, Any] | None


@dataclass
class ExchangeServer:
    """One exchange. Subclasses say what it is called and how it answers."""

    exchange = ""
    options: Mapping[str, str] = field(default_factory=dict)
    records: dict[tuple[str, ...], Record] = field(default_factory=dict)
    #: Malformed records, as they are sent, by their time.
    malformed: list[tuple[int, Any]] = field(default_factory=list)
    now: int = 1_000
    #: What goes wrong with a request, by its number from 1; 0 for every one.
    faults: dict[int, Fault] = field(default_factory=dict)
    requests: list[str] = field(default_factory=list)
    base: str = ""

    # What tests ask.

    def credentials(self) -> str:
        return f"tester:{SECRET}"

    def patch(self, patch: pytest.MonkeyPatch) -> None:
        """Lead the library's client here, and let it have the clock of this server."""
        raise NotImplementedError

    def put(self, key: tuple[str, ...], body: dict[str, Any] | None) -> None:
        self.records[key] = Record(key, self.now, body)

    def expected(self) -> dict[str, Held]:
        found = (self.held(record) for record in self.records.values() if record.body)
        return {ref: held for ref, held in found if held[1]}

    def held(self, record: Record) -> tuple[str, Held]:
        """The ref of a live record, and what a database is to hold of it."""
        raise NotImplementedError

    def random_body(self, chance: random.Random) -> tuple[tuple[str, ...], dict[str, Any]]:
        raise NotImplementedError

    def break_one(self, number: int) -> None:
        """Have a malformed record among the others."""
        raise NotImplementedError

    def spoil(self, number: int) -> None:
        """`break_one`, at a time of its own."""
        self.break_one(number)
        self.now += 1

    def change(self, seed: int, steps: int = 8) -> None:
        """Some records come, change and go, the same for the same seed."""
        chance = random.Random(f"{self.exchange} {seed}")
        for _ in range(steps):
            # Often many in one second.
            self.now += chance.choice([0, 0, 1, 5])
            key, body = self.random_body(chance)
            known = self.records.get(key)
            if known and known.body and chance.random() < 0.4:
                self.put(key, None)
            else:
                self.put(key, body)
        self.now += 10

    # How it answers.

    def reply(self, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Any:
        """JSON, or bytes."""
        raise NotImplementedError

    def updates(self, since: int) -> list[Record | Any]:
        """What came to be as it is at a time or later, oldest first; malformed ones among it."""
        found: list[tuple[int, Any]] = [(each.time, each) for each in self.records.values()]
        found += self.malformed
        return [each for at, each in sorted(found, key=lambda pair: pair[0]) if at >= since]


def digits(hash_type: str, chance: random.Random) -> str:
    return f"{chance.randrange(16 ** DIGITS[hash_type]):0{DIGITS[hash_type]}x}"


def _opinions(exchange: str, said: Iterator[tuple[str, str, tuple[str, ...]]]) -> frozenset[Any]:
    return frozenset((f"{exchange}:{owner}", verdict, labels) for owner, verdict, labels in said)


class Meta(ExchangeServer):
    exchange = "fb_threatexchange"
    verdicts: ClassVar[dict[str, str]] = {
        "MALICIOUS": "positive",
        "NON_MALICIOUS": "negative",
        "UNKNOWN": "investigate",
    }
    types: ClassVar[dict[str, tuple[str, str]]] = {
        "HASH_PDQ": ("pdq", "image"),
        "HASH_MD5": ("md5", "file"),
        "HASH_SHA1": ("sha1", "file"),
        "HASH_VIDEO_MD5": ("md5", "video"),
    }

    def credentials(self) -> str:
        return f"12345678|{SECRET.replace('+', '_').replace('/', '-')}abcdefgh"

    def patch(self, patch: pytest.MonkeyPatch) -> None:
        from threatexchange.exchanges.clients.fb_threatexchange.api import ThreatExchangeAPI

        patch.setattr(ThreatExchangeAPI, "_TE_BASE_URL", self.base)

    def random_body(self, chance: random.Random) -> tuple[tuple[str, ...], dict[str, Any]]:
        number = chance.randrange(12)
        name = list(self.types)[number % len(self.types)]
        # The hash is the key.
        indicator = digits(self.types[name][0], random.Random(number))
        owners = chance.sample(["111", "222", "333"], chance.randint(1, 3))
        return (name, indicator), {
            "owners": {
                owner: (chance.choice(list(self.verdicts)), chance.sample(["a", "b"], 1))
                for owner in owners
            }
        }

    def held(self, record: Record) -> tuple[str, Held]:
        assert record.body
        hash_type, kind = self.types[record.key[0]]
        owners = record.body["owners"]
        labels = frozenset(tag for _, tags in owners.values() for tag in tags)
        said = (
            (owner, self.verdicts[status], tuple(tags)) for owner, (status, tags) in owners.items()
        )
        hashes = frozenset([(hash_type, record.key[1])])
        return " ".join(record.key), (kind, hashes, labels, _opinions(self.exchange, said))

    def break_one(self, number: int) -> None:
        whole = {"id": "1", "type": "HASH_PDQ", "last_updated": self.now, "should_delete": False}
        owned = {"id": "7", "owner": {"id": "111"}, "status": "MALICIOUS"}
        bad = [
            {**whole, "indicator": f"bad{number}", "descriptors": {"data": [owned]}},
            {**whole, "indicator": "ab" * 32, "descriptors": {"data": [{"owner": {}}]}},
            {**whole, "descriptors": {"data": []}},
            "no record",
        ]
        self.malformed.append((self.now, bad[number % len(bad)]))

    def reply(self, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Any:
        assert path == "/4711/threat_updates/"
        assert query["access_token"] == self.credentials()
        assert "descriptors" in query["fields"]
        found = self.updates(int(query.get("start_time", 0)))
        at = int(query.get("after", 0))
        page = {"data": [self._sent(each) for each in found[at : at + PAGE]]}
        if at + PAGE <= len(found):  # Sometimes to an empty page.
            following = urllib.parse.urlencode({**query, "after": at + PAGE})
            page["paging"] = {"next": f"{self.base}{path}?{following}"}  # type: ignore[assignment]
        return page

    def _sent(self, record: Any) -> Any:
        if not isinstance(record, Record):
            return record
        sent: dict[str, Any] = {
            "id": "99", "type": record.key[0], "indicator": record.key[1],
            "last_updated": record.time, "should_delete": record.body is None and record.time % 2,
        }  # fmt: skip
        if record.body:
            sent["descriptors"] = {
                "data": [
                    {"id": "5", "owner": {"id": owner}, "status": status,
                     "tags": {"data": [{"id": "6", "text": tag} for tag in tags]}}
                    for owner, (status, tags) in record.body["owners"].items()
                ]
            }  # fmt: skip
        return sent


class Clock:
    """The module `time` to the library's NCMEC client, whose ranges end at the present."""

    def __init__(self, now: Callable[[], int]) -> None:
        self._now = now
        self._slept = 0

    def time(self) -> float:
        return self._now() + self._slept

    def sleep(self, seconds: float) -> None:
        self._slept += 1


class Ncmec(ExchangeServer):
    exchange = "ncmec"
    namespace = "https://hashsharing.ncmec.org/hashsharing/v2"

    def patch(self, patch: pytest.MonkeyPatch) -> None:
        from threatexchange.exchanges.clients.ncmec import hash_api
        from threatexchange.exchanges.impl import ncmec_api

        from hashmatch.feeds import ncmec

        clock = Clock(lambda: self.now)
        for module in (hash_api, ncmec_api, ncmec):
            patch.setattr(module, "time", clock)
        patch.setattr(hash_api.NCMECEnvironment.NGO, "_value_", self.base)

    def random_body(self, chance: random.Random) -> tuple[tuple[str, ...], dict[str, Any]]:
        number = chance.randrange(12)
        types = chance.sample(["md5", "sha1", "pdq", "pdna"], chance.randint(1, 3))
        return (str(42 + number % 3), f"entry{number}"), {
            "kind": "video" if number % 4 == 3 else "image",
            "class": chance.choice(["A1", "B2", ""]),
            "hashes": {name: digits(name, chance) for name in types if name != "pdna"}
            | ({"pdna": "opaque"} if "pdna" in types else {}),
            "votes": chance.sample([("7", "affirmative"), ("8", "negative")], chance.randint(0, 2)),
        }

    def held(self, record: Record) -> tuple[str, Held]:
        body = record.body
        assert body
        labels = (body["class"],) if body["class"] else ()
        said = [(record.key[0], "positive", labels)]
        for member, vote in body["votes"]:
            up = vote == "affirmative"
            said.append((member, "positive" if up else "negative", () if up else ("too vague",)))
        hashes = frozenset(pair for pair in body["hashes"].items() if pair[0] != "pdna")
        return "-".join(record.key), (
            body["kind"], hashes, frozenset(labels), _opinions(self.exchange, iter(said)),
        )  # fmt: skip

    def break_one(self, number: int) -> None:
        bad = [
            f'<image><member id="42">M</member><id>bad{number}</id><fingerprints>'
            "<md5>xyz</md5></fingerprints></image>",
            "<image><id>bad</id></image>",
            '<image><member id="4x">M</member><id>bad</id></image>',
            '<picture><member id="42">M</member><id>bad</id></picture>',
            '<image><member id="42">M</member></image>',
        ]
        self.malformed.append((self.now, bad[number % len(bad)]))

    def reply(self, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Any:
        assert path == "/v2/entries"
        assert headers["Authorization"].startswith("Basic ")
        first, end = (
            int(
                datetime.strptime(query[name], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
            )
            for name in ("from", "to")
        )
        found = [
            each
            for each in self.updates(first)
            if (each.time if isinstance(each, Record) else self._time(each)) < end
        ]
        at = int(query.get("start", 0))
        some = found[at : at + PAGE]
        parts = {"images": "", "videos": ""}
        for each in some:
            text = self._sent(each)
            parts["videos" if text.startswith(("<video", "<deletedVideo")) else "images"] += text
        newest = datetime.fromtimestamp(self.now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        xml = f'<queryResult xmlns="{self.namespace}">' + "".join(
            f'<{name} count="1" maxTimestamp="{newest}">{text}</{name}>'
            for name, text in parts.items()
        )
        if at + PAGE < len(found):
            following = {**query, "start": at + PAGE, "size": PAGE, "max": len(found)}
            link = f"{path}?{urllib.parse.urlencode(following)}".replace("&", "&amp;")
            xml += f"<paging><next>{link}</next></paging>"
        return (xml + "</queryResult>").encode()

    def _time(self, sent: Any) -> int:
        return next(at for at, each in self.malformed if each is sent)

    def _sent(self, record: Any) -> str:
        if not isinstance(record, Record):
            return str(record)
        member, own = record.key
        about = f'<member id="{member}">Member {member}</member><id>{own}</id>'
        if record.body is None:
            # Which of the two it was is no longer known.
            return f"<deletedImage>{about}</deletedImage>"
        body = record.body
        prints = "".join(
            f"<{name}>{text.upper()}</{name}>" for name, text in body["hashes"].items()
        )
        votes = "".join(
            f'<affirmativeFeedback type="md5"><members><member id="{member}">M</member></members>'
            "</affirmativeFeedback>"
            if vote == "affirmative"
            else '<negativeFeedback type="md5"><reasons><reason name="too vague"/><members>'
            f'<member id="{member}">M</member></members></reasons></negativeFeedback>'
            for member, vote in body["votes"]
        )
        about += f"<classification>{body['class']}</classification>" if body["class"] else ""
        return (
            f"<{body['kind']}>{about}<fingerprints>{prints}</fingerprints>"
            f"<feedback>{votes}</feedback></{body['kind']}>"
        )


class StopNcii(ExchangeServer):
    exchange = "stop_ncii"
    types: ClassVar[dict[str, tuple[str, str]]] = {
        "ImagePDQ": ("pdq", "image"),
        "VideoMD5": ("md5", "video"),
        "URL": ("", "image"),
    }
    verdicts: ClassVar[dict[str, str]] = {
        "Blocked": "positive",
        "NotBlocked": "negative",
        "PendingReview": "investigate",
    }

    def credentials(self) -> str:
        return f"{SECRET},subscription-{SECRET},{self.base}"

    def patch(self, patch: pytest.MonkeyPatch) -> None:
        """The credentials lead here."""

    def random_body(self, chance: random.Random) -> tuple[tuple[str, ...], dict[str, Any]]:
        number = chance.randrange(12)
        name = list(self.types)[number % 3]
        text = "https://example.org"
        if name != "URL":
            text = digits(self.types[name][0], random.Random(number))
        sources = chance.sample(["Acme", "Böse & Co"], chance.randint(0, 2))
        values = [*self.verdicts, "None"]
        return (name, text), {
            "feedback": {
                source: (chance.choice(values), chance.sample(["x", "y"], chance.randint(0, 2)))
                for source in sources
            }
        }

    def held(self, record: Record) -> tuple[str, Held]:
        assert record.body
        hash_type, kind = self.types[record.key[0]]
        given = record.body["feedback"]
        labels = frozenset(tag for _, tags in given.values() for tag in tags)
        said = (
            (source, self.verdicts[value], tuple(sorted(tags)))
            for source, (value, tags) in given.items()
            if value in self.verdicts
        )
        hashes = frozenset([(hash_type, record.key[1])] if hash_type else [])
        return " ".join(record.key), (kind, hashes, labels, _opinions(self.exchange, said))

    def break_one(self, number: int) -> None:
        whole = {
            "lastModtimestamp": self.now, "signalType": "ImagePDQ", "hashValue": f"bad{number}",
            "hashStatus": "Received", "caseNumbers": {},
        }  # fmt: skip
        bad = [
            whole,
            {**whole, "hashValue": "ab" * 32, "hashStatus": "New"},
            {"hashStatus": "Received"},
            {**whole, "hashValue": "ab" * 32, "CSPFeedbacks": [{"feedbackValue": "Odd"}]},
            7,
        ]
        self.malformed.append((self.now, bad[number % len(bad)]))

    def reply(self, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Any:
        assert path == "/FetchHashes"
        assert headers["x-functions-key"] == SECRET
        assert headers["Ocp-Apim-Subscription-Key"] == f"subscription-{SECRET}"
        found = self.updates(int(query["startTimestamp"]))
        at = int(query.get("nextPageToken", "page 0").removeprefix("page "))
        more = at + PAGE < len(found)
        some = [self._sent(each) for each in found[at : at + PAGE]]
        return {
            "count": len(some), "nextPageToken": f"page {at + PAGE}" if more else "",
            "nextSetTimestamp": self.now, "hasMoreRecords": more, "hashRecords": some,
        }  # fmt: skip

    def _sent(self, record: Any) -> Any:
        if not isinstance(record, Record):
            return record
        sent: dict[str, Any] = {
            "lastModtimestamp": record.time, "signalType": record.key[0],
            "hashValue": record.key[1], "hashStatus": "Active", "caseNumbers": {"27-1": "Active"},
        }  # fmt: skip
        if record.body is None:
            sent["hashStatus"] = "Withdrawn" if record.time % 2 else "Deleted"
            return sent
        feedback = [
            {"source": source, "feedbackValue": value, "tags": tags}
            for source, (value, tags) in record.body["feedback"].items()
        ]
        return {**sent, "CSPFeedbacks": feedback}


class Tat(ExchangeServer):
    exchange = "tat"

    def patch(self, patch: pytest.MonkeyPatch) -> None:
        from threatexchange.exchanges.clients.techagainstterrorism.api import TATHashListAPI

        patch.setattr(TATHashListAPI, "BASE_URL", f"{self.base}/")

    def random_body(self, chance: random.Random) -> tuple[tuple[str, ...], dict[str, Any]]:
        number = chance.randrange(12)
        hash_type = chance.choice(["pdq", "md5"])
        # Several entries have the same hash.
        return (str(2800 + number),), {
            "type": hash_type,
            "digits": digits(hash_type, random.Random(number % 5)),
            "ideology": chance.choice(["islamist", "far-right"]),
            "file": "mp4" if number % 2 else "gif",
        }

    def held(self, record: Record) -> tuple[str, Held]:
        body = record.body
        assert body
        kind = "video" if body["type"] == "md5" and body["file"] == "mp4" else "image"
        hashes = frozenset([(body["type"], body["digits"])])
        return record.key[0], (kind, hashes, frozenset([body["ideology"]]), frozenset())

    def break_one(self, number: int) -> None:
        whole = {
            "hash_digest": "xyz", "algorithm": "PDQ", "ideology": "islamist", "deleted": False,
            "file_type": "gif", "updated_on": self.now, "created_on": "", "id": 9000 + number,
        }  # fmt: skip
        bad = [whole, {"id": 9000 + number}, [number], {**whole, "hash_digest": 7}]
        self.malformed.append((self.now, bad[number % len(bad)]))

    def reply(self, path: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Any:
        if path == "/token-auth/tcap/":
            return {"user": {}, "token": f"token-{SECRET}"}
        assert path == "/api/hash-list/v2/all"
        assert headers["Authorization"] == f"Bearer token-{SECRET}"
        # As "time,number": after that place among all updates there ever are.
        numbered = list(enumerate(self.updates(0)))
        since, _, place = query.get("after", "").partition(",")
        if since:
            times = [self._time(each) for _, each in numbered]
            first = float(since)
            numbered = [
                pair
                for pair, at in zip(numbered, times, strict=True)
                if (at, self._id(pair[1])) > (first, int(place))
            ]
        numbered.sort(key=lambda pair: (self._time(pair[1]), self._id(pair[1])))
        some = [each for _, each in numbered[:PAGE]]
        reached = f"{self._time(some[-1])},{self._id(some[-1])}" if some else query.get("after", "")
        more = len(numbered) > PAGE
        following = f"{self.base}{path}?limit={PAGE}&offset={PAGE}"
        return {
            "count": len(numbered), "next": following if more else None, "previous": None,
            "checkpoint": reached, "results": [self._sent(each) for each in some],
        }  # fmt: skip

    def _time(self, record: Any) -> int:
        if isinstance(record, Record):
            return record.time
        return next(at for at, each in self.malformed if each is record)

    def _id(self, record: Any) -> int:
        if isinstance(record, Record):
            return int(record.key[0])
        return 9000 + next(n for n, (_, each) in enumerate(self.malformed) if each is record)

    def _sent(self, record: Any) -> Any:
        if not isinstance(record, Record):
            return record
        body = record.body or {"type": "pdq", "digits": "", "ideology": "islamist", "file": ""}
        return {
            "hash_digest": body["digits"], "algorithm": body["type"].upper(), "new_field": 1,
            "ideology": body["ideology"], "file_type": body["file"], "deleted": record.body is None,
            "updated_on": float(record.time), "created_on": "2025-03-03", "id": int(record.key[0]),
        }  # fmt: skip


KINDS: dict[str, tuple[type[ExchangeServer], dict[str, str]]] = {
    "fb_threatexchange": (Meta, {"privacy_group": "4711"}),
    "ncmec": (Ncmec, {"environment": "NGO"}),
    "stop_ncii": (StopNcii, {}),
    "tat": (Tat, {}),
}


@contextmanager
def serving(kind: str) -> Iterator[ExchangeServer]:
    """The exchange of that name, until the block ends."""
    made, options = KINDS[kind]
    exchange = made(options)
    released = threading.Event()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            length = int(self.headers.get("Content-Length") or 0)
            self.rfile.read(length)
            exchange.requests.append(self.path)
            number = len(exchange.requests)
            fault = exchange.faults.get(number) or exchange.faults.get(0) or Fault()
            if fault.stall_s:
                released.wait(fault.stall_s)
                return
            address = urllib.parse.urlsplit(self.path)
            query = dict(urllib.parse.parse_qsl(address.query))
            body = fault.body
            if body is None and fault.status == 200:
                reply = exchange.reply(address.path, query, self.headers)  # type: ignore[arg-type]
                body = reply if isinstance(reply, bytes) else json.dumps(reply).encode()
            body = body or b"{}"
            self.send_response(fault.status)
            for name, value in {"Content-Length": str(len(body)), **fault.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            if fault.drip_s:
                with suppress(OSError):
                    for place in range(len(body)):
                        self.wfile.write(body[place : place + 1])
                        released.wait(fault.drip_s)
                return
            self.wfile.write(body[: len(body) // 2] if fault.cut else body)

        do_POST = do_GET

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    exchange.base = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield exchange
    finally:
        released.set()
        server.shutdown()
        thread.join()
        server.server_close()


def held(database: Database, name: str) -> dict[str, Held]:
    """What a set holds, as `ExchangeServer.expected` has it."""
    found: dict[str, Held] = {}
    for each in database.contents(name):
        # An opinion on a ref without an item would be one that was not withdrawn.
        assert isinstance(each, Item), each
        assert each.ref not in found
        found[each.ref] = (
            each.kind,
            frozenset((signal.hash_type, signal.code.hex()) for signal in each.signals),
            frozenset(each.labels),
            frozenset((o.contributor, o.verdict, tuple(o.labels)) for o in each.opinions),
        )
    return found


def open_with_feed(path: Path, server: ExchangeServer) -> Database:
    """A database with a feed "f" that fills a set "s" from the server."""
    from hashmatch.feeds import add_feed

    database = hashmatch.open(path, "c")
    if not database.feeds.list():
        add_feed(
            database, "f", set="s", exchange=server.exchange, options=server.options,
            credentials=f"env:{VARIABLE}",
        )  # fmt: skip
    return database


def wait_until(done: Callable[[], bool], within_s: float = 30.0) -> None:
    end = time.monotonic() + within_s
    while not done():
        assert time.monotonic() < end
        time.sleep(0.01)
