"""While sets change, every answer is that of the generation which it names."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path
from typing import Any

import httpx

from database_model import TYPES as HASH_TYPES
from database_model import VERDICTS, Answer, Model, codes_near, random_steps
from databases import changed, filled
from server_answers import TYPES, Row, answer, as_body, with_parameters
from serving import application

CHANGES = 40


def as_answers(rows: list[Row]) -> list[Answer]:
    """Rows of an answer as the model has them."""
    return sorted(
        (
            row["query"], row["distance"], row["set"], row["contributor"], row["ref"],
            tuple(row["labels"]), tuple(row["verdicts"]),
        )
        for row in rows
    )  # fmt: skip


def asked(chance: random.Random) -> tuple[str, dict[str, Any]]:
    """A hash type, and arguments that the model takes as the server does."""
    return chance.choice(HASH_TYPES), {
        name: value
        for name, value in {
            "max_distance": chance.randrange(20),
            "sets": chance.choice([["films"], ["pictures", "films"]]),
            "verdicts": chance.sample([*VERDICTS, "none"], 2),
        }.items()
        if chance.random() < 0.5
    }


def test_answers_while_sets_change(tmp_path: Path) -> None:
    database, model = filled(tmp_path)
    models: dict[int, Model] = {model.generation: model.copy()}
    seen: set[int] = set()

    async def change() -> None:
        for seed in range(100, 100 + CHANGES):
            # Known before anybody can be answered from it.
            models[model.generation + 1] = after = model.copy()
            steps = random_steps(seed)
            name = ("films", "pictures")[seed % 2]
            after.make(name, steps)
            await asyncio.to_thread(changed, database, model, name, steps)
            await asyncio.sleep(0.005)

    async def look_up(client: httpx.AsyncClient, number: int, changing: asyncio.Task[None]) -> None:
        chance = random.Random(number)
        while not changing.done():
            hash_type, parameters = asked(chance)
            codes = codes_near(hash_type, chance.choice([1, 3, 8]), chance.randrange(99))
            body, accept = chance.choice(TYPES), chance.choice(TYPES)
            arguments = with_parameters(as_body(body, codes), {"type": hash_type, **parameters})
            headers = arguments.pop("headers", {}) | {"accept": accept}
            if chance.random() < 0.5:
                headers["hashmatch-min-generation"] = str(database.generation)
            reply = await client.post("/v1/match", **arguments, headers=headers)
            generation, queries, rows = answer(reply)
            assert queries == len(codes)
            wanted = models[generation].answer(hash_type, codes, **parameters)
            assert as_answers(rows) == wanted
            seen.add(generation)

    async def run() -> None:
        async with application(tmp_path) as client:
            changing = asyncio.create_task(change())
            await asyncio.gather(changing, *(look_up(client, n, changing) for n in range(6)))

    asyncio.run(run())
    assert len(seen) > CHANGES // 4
    database.close()
