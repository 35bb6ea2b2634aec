"""The protocols of the exchanges, as the library's clients know them."""

from __future__ import annotations

import random
import urllib.parse
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, ClassVar

import pytest

from exchange_model import (
    PAGE,
    SECRET,
    ExchangeServer,
    Held,
    Record,
    digits,
    opinions_of,
)


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
        return " ".join(record.key), (kind, hashes, labels, opinions_of(self.exchange, said))

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
            body["kind"], hashes, frozenset(labels), opinions_of(self.exchange, iter(said)),
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
        return " ".join(record.key), (kind, hashes, labels, opinions_of(self.exchange, said))

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
