"""Changes over the wire against dicts: sent again, in any order, with some left out, and more than
once; checked by what is found, by the contents of the sets, and by the history.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import httpx

import hashmatch
from catalog_model import Item, Model
from change_model import CODES, OWNER, REFS, SETS, TYPES, Chance, apply
from hashmatch.database import Counts
from serving import problem, with_application
from writers import JSON, writer_of

#: Campaigns take more.
STEPS = int(os.environ.get("HASHMATCH_CHANGE_STEPS", "2000"))
SEED = int(os.environ.get("HASHMATCH_CHANGE_SEED", "14"))
LOOK_EVERY = 400

Body = Any


class Feed:
    """A client that sends changes, and knows what must have become of each."""

    def __init__(self, client: httpx.AsyncClient, seed: int) -> None:
        self.client = client
        self.chance = Chance(seed)
        self.model = Model()
        self.generation = 0
        #: By generation: set, and what the change did.
        self.made: dict[int, tuple[str, Counts]] = {}
        #: Those sent under a key: key, set, body, answer.
        self.keyed: list[tuple[str, str, bytes, bytes]] = []
        #: What comes later than it was made.
        self.late: list[tuple[str, Body]] = []

    async def step(self) -> None:
        draw = self.chance.draw
        what = draw.random()
        if what < 0.1 and self.keyed:
            await self._send_again(*draw.choice(self.keyed))
        elif what < 0.15:
            await self._send_bad()
        elif what < 0.25 and self.late:
            # Out of its order, and perhaps it was sent before.
            set_name, body = draw.choice(self.late)
            await self._send(set_name, body, None)
        else:
            set_name, body = draw.choice(SETS), self.chance.body()
            self.late = [*self.late[-20:], (set_name, body)]
            if draw.random() < 0.8:  # else it never arrives, or late
                key = f"key {len(self.keyed)}" if draw.random() < 0.5 else None
                await self._send(set_name, body, key)

    async def _send(self, set_name: str, body: Body, key: str | None) -> None:
        content = json.dumps(body).encode()
        headers = {} if key is None else {"Idempotency-Key": key}
        reply = await self._post(set_name, content, headers)
        assert reply.status_code == 200, reply.text
        counts, rejected = apply(self.model, set_name, body)
        self.generation += 1
        self.made[self.generation] = (set_name, counts)
        answer = reply.json()
        fields = [row["field"].rpartition(".")[0] for row in answer.pop("rejected")]
        assert sorted(fields) == sorted(rejected)
        assert answer == {
            "generation": self.generation,
            "set": set_name,
            "added": counts.added,
            "updated": counts.updated,
            "removed": counts.removed,
            "unchanged": counts.unchanged,
            "opinions": counts.opinions,
        }
        if key is not None:
            self.keyed.append((key, set_name, content, reply.content))

    async def _send_again(self, key: str, set_name: str, content: bytes, answer: bytes) -> None:
        headers = {"Idempotency-Key": key}
        again = await self._post(set_name, content, headers)
        assert (again.status_code, again.content) == (200, answer)
        other = await self._post(set_name, content + b" ", headers)
        problem(other, 422, field="Idempotency-Key")

    async def _send_bad(self) -> None:
        """A change of which the end is bad: nothing of it is made."""
        bad: list[Any] = [{"adds": [{"ref": "", "type": "pdq", "hash": "0" * 64}]}, {"add": []}, 7]
        body = [self.chance.body(), self.chance.draw.choice(bad)]
        reply = await self._post(self.chance.draw.choice(SETS), json.dumps(body).encode(), {})
        assert problem(reply, 400)["detail"]

    async def _post(self, set_name: str, content: bytes, headers: dict[str, str]) -> httpx.Response:
        path = f"/v1/sets/{set_name}/changes"
        return await self.client.post(path, content=content, headers=JSON | headers)

    # What must be there.

    async def look(self) -> None:
        newest = {"Hashmatch-Min-Generation": str(self.generation)}
        for set_name in SETS:
            reply = await self.client.get(f"/v1/sets/{set_name}/contents", headers=newest)
            assert reply.headers["hashmatch-generation"] == str(self.generation)
            self._require_contents(set_name, reply.text)
            shown = (await self.client.get(f"/v1/sets/{set_name}", headers=newest)).json()
            items = [item for key, item in self.model.items.items() if key[0] == set_name]
            signals = sum(len(run) for item in items for run in item.signals.values())
            assert (shown["items"], shown["signals"]) == (len(items), signals)
            assert shown["checkpoint"] == self.model.checkpoints.get(set_name, "")
        for hash_type in TYPES:
            await self._require_found(hash_type, newest)
        await self._require_history(newest)

    def _require_contents(self, set_name: str, text: str) -> None:
        items: dict[tuple[str, str, str], Item] = {}
        opinions: dict[tuple[str, str, str], tuple[str, list[str]]] = {}
        for line in text.splitlines():
            row = json.loads(line)
            for said in row.get("opinions", ()):
                key = (set_name, row["ref"], said["contributor"])
                opinions[key] = (said["verdict"], said.get("labels", []))
            if "hash" in row:
                key = (set_name, row["contributor"], row["ref"])
                item = items.setdefault(key, Item(row["kind"], row["labels"], {}))
                assert (item.kind, item.labels) == (row["kind"], row["labels"])
                item.signals.setdefault(row["type"], []).append(
                    (bytes.fromhex(row["hash"]), row.get("quality"), row.get("time_ms"))
                )
        assert items == {key: item for key, item in self.model.items.items() if key[0] == set_name}
        expected = {key: said for key, said in self.model.opinions.items() if key[0] == set_name}
        assert opinions == expected

    async def _require_found(self, hash_type: str, newest: dict[str, str]) -> None:
        codes = CODES[hash_type]
        asked = {"type": hash_type, "hashes": [code.hex() for code in codes], "max_distance": 0}
        reply = await self.client.post("/v1/match", json=asked, headers=newest)
        answer = reply.json()
        assert answer["generation"] == self.generation
        found = [
            (row["query"], row["set"], row["contributor"], row["ref"], row["kind"], row["labels"],
             row["verdicts"])
            for row in answer["matches"]
        ]  # fmt: skip
        expected = [
            (query, *key, item.kind, item.labels, list(self.model.verdicts(key)))
            for key, item in self.model.items.items()
            for code, _, _ in item.signals.get(hash_type, [])
            for query in [query for query, each in enumerate(codes) if each == code]
        ]
        assert sorted(found) == sorted(expected)

    async def _require_history(self, newest: dict[str, str]) -> None:
        reply = await self.client.get("/v1/history?limit=10000", headers=newest)
        history = reply.json()
        assert history["generation"] == self.generation
        assert [row["generation"] for row in history["changes"]] == list(
            range(self.generation, 0, -1)
        )
        for row in history["changes"]:
            set_name, counts = self.made[row["generation"]]
            assert (row["set"], row["who"]) == (set_name, "socket")
            assert row["rejected"] == len(counts.rejected)
            for name in ("added", "updated", "removed", "unchanged", "opinions"):
                assert row[name] == getattr(counts, name)
        for ref in REFS:
            await self._require_ref(ref)

    async def _require_ref(self, ref: str) -> None:
        for set_name in SETS:
            asked = {"set": set_name, "ref": ref}
            changes = (await self.client.get("/v1/history", params=asked)).json()["changes"]
            for contributor in (OWNER, "", "other"):
                events = [
                    event["action"]
                    for row in changes
                    for event in row["events"]
                    if event["contributor"] == contributor and event["action"] != "opinion"
                ]
                is_there = (set_name, contributor, ref) in self.model.items
                assert is_there == bool(events and "removed" not in events[:1])


def test_changes_against_dicts(tmp_path: Path) -> None:
    path = tmp_path / "bank"
    with hashmatch.open(path, "c") as database:
        for name in SETS:
            database.create(name, contributor=OWNER)

    async def use(client: httpx.AsyncClient) -> Feed:
        feed = Feed(client, SEED)
        for number in range(STEPS):
            await feed.step()
            if number % LOOK_EVERY == 0:
                await feed.look()
        await feed.look()
        return feed

    with writer_of(path) as writer:
        feed = with_application(path, use, writer_socket=writer.socket)
    assert len(feed.keyed) > STEPS // 10 and len(feed.model.items) > len(REFS)
    with hashmatch.open(path) as database:
        assert database.check() == []
        assert database.generation == feed.generation
