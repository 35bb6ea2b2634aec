"""Bulk look-ups through both servers: streamed answers are whole or break off, and may be left."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Literal

import httpx
import numpy as np
import pytest

import hashmatch
import media
from hashmatch import wire
from hashmatch.hashing import hash_image
from oracle import random_codes
from server_answers import JSON, PACKED, TYPES, answer, as_body
from serving import Server, problem


@pytest.mark.parametrize("http", ["granian", "uvicorn"])
def test_bulk(tmp_path: Path, http: Literal["granian", "uvicorn"]) -> None:
    picture = media.encoded(media.picture(3), "PNG")
    codes = random_codes(17_000, 256)
    with hashmatch.open(tmp_path / "bank", "c") as database:
        database.create("shared")
        with database.change("shared") as change:
            change.add("pdq", codes, refs=[f"ref {row}" for row in range(len(codes))], labels=["x"])
            change.add("pdq", hash_image(picture).code, refs=["picture"])
        queries = np.concatenate([codes, random_codes(500, 256, 9)])
        matches = database.match("pdq", queries)
        wanted = [
            {"query": query, "signal": signal, "distance": distance}
            for query, signal, distance in zip(
                matches.query.tolist(), matches.signal.tolist(), matches.distance.tolist(),
                strict=True,
            )
        ]  # fmt: skip
        refs = matches.ref
    assert len(wanted) == 17_000
    with Server(tmp_path / "bank", http) as server, server.client() as client:
        body = as_body(PACKED, queries)
        for accept in TYPES:
            headers = body["headers"] | {"accept": accept}
            reply = client.post("/v1/match?fields=ids", content=body["content"], headers=headers)
            assert reply.headers.get("transfer-encoding") == "chunked"
            assert answer(reply) == (1, len(queries), wanted)
        for _ in range(3):
            headers = body["headers"] | {"accept": JSON}
            with client.stream(
                "POST", "/v1/match", content=body["content"], headers=headers
            ) as reply:
                assert next(reply.iter_raw(1)) == b"{"
        packed = wire.decode(client.post("/v1/match", **body).content)
        assert packed.joined is not None
        known = dict(zip(packed.joined["signal"], packed.joined["ref"], strict=True))
        assert [known[signal] for signal in packed.signal.tolist()] == refs
        document = client.post("/v1/match/file", content=picture).json()
        assert [row["ref"] for row in document["matches"]["pdq"]] == ["picture"]
        damage(tmp_path / "bank", "ref 16999")
        for accept in TYPES:
            headers = body["headers"] | {"accept": accept}
            if accept == PACKED:  # All that is said of signals is looked up before it begins.
                reply = client.post("/v1/match", content=body["content"], headers=headers)
                assert "damaged" in problem(reply, 503)["detail"]
                continue
            with pytest.raises(httpx.RemoteProtocolError):
                client.post("/v1/match", content=body["content"], headers=headers)
        assert client.post("/v1/match?fields=ids", **body).status_code == 200
        assert server.stop() == 0


def damage(path: Path, ref: str) -> None:
    """An item's signals."""
    with closing(sqlite3.connect(path / "catalog.db")) as connection:
        connection.execute("UPDATE item SET signals = x'00' WHERE ref = ?", (ref,))
        connection.commit()
