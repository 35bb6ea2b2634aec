"""Bulk look-ups through both servers: streamed answers are whole, and may be left in the middle."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import pytest

import hashmatch
import media
from hashmatch import wire
from hashmatch.hashing import hash_image
from oracle import random_codes
from server_answers import JSON, PACKED, TYPES, answer, as_body, rows_of
from serving import Server


@pytest.mark.parametrize("http", ["granian", "uvicorn"])
def test_bulk(tmp_path: Path, http: Literal["granian", "uvicorn"]) -> None:
    picture = media.encoded(media.picture(3), "PNG")
    codes = random_codes(9_000, 256)
    with hashmatch.open(tmp_path / "bank", "c") as database:
        database.create("shared")
        with database.change("shared") as change:
            change.add("pdq", codes, refs=[f"ref {row}" for row in range(len(codes))], labels=["x"])
            change.add("pdq", hash_image(picture).code, refs=["picture"])
        queries = np.concatenate([codes, codes, random_codes(500, 256, 9)])
        wanted = rows_of(database.match("pdq", queries))
    assert len(wanted) == 18_000
    with Server(tmp_path / "bank", http) as server, server.client() as client:
        body = as_body(PACKED, queries)
        for accept in TYPES:
            headers = body["headers"] | {"accept": accept}
            reply = client.post("/v1/match", content=body["content"], headers=headers)
            assert reply.headers.get("transfer-encoding") == "chunked"
            assert answer(reply) == (1, len(queries), wanted)
        for _ in range(3):
            headers = body["headers"] | {"accept": JSON}
            with client.stream(
                "POST", "/v1/match", content=body["content"], headers=headers
            ) as reply:
                assert next(reply.iter_raw(1)) == b"{"
        ids = client.post("/v1/match?fields=ids", **body)
        packed = wire.decode(ids.content)
        assert packed.joined is None
        assert packed.signal.tolist() == [row["signal"] for row in wanted]
        document = client.post("/v1/match/file", content=picture).json()
        assert [row["ref"] for row in document["matches"]["pdq"]] == ["picture"]
        assert server.stop() == 0
