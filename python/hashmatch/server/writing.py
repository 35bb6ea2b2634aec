"""The writer, as the processes that answer requests see it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import orjson

from hashmatch.server import messages
from hashmatch.server.problems import Problem

#: How soon a caller should try again: a writer that ended is started again at once.
_AGAIN_S = 1
#: How long a change may take, those before it included.
_PATIENCE_S = 300.0
#: How long a process that is started waits for it.
_SETTLED_S = 5.0
_LOOK_S = 0.05


class Answer(NamedTuple):
    """What the writer answered."""

    document: bytes
    generation: int


class Writing:
    """Asks the writer for changes. Each question has a connection of its own, so a writer that was
    started anew is found without more ado.
    """

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def change(self, set: str, body: bytes, who: str, key: str | None = None) -> Answer:
        """Have the changes in a body made, and return the answer once they are durable.

        Problem if they cannot be, or not now. With a `key` the same may be asked for again by one
        who does not know whether it was done: it is done once.
        """
        return await self._ask({"ask": "change", "set": set, "who": who, "key": key}, body)

    async def create(self, set: str, body: bytes) -> Answer:
        """Have an empty set made, and return the record of it. Problem if there is one."""
        return await self._ask({"ask": "create", "set": set}, body)

    async def trouble(self) -> str | None:
        """What keeps changes from being made now, None if nothing does."""
        try:
            return (await self._state())["trouble"] or None
        except Problem as problem:
            return problem.detail

    async def settled(self) -> None:
        """Wait, not for long, until the writer has opened the database, or cannot."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _SETTLED_S
        while loop.time() < deadline:
            with suppress(Problem):
                if (await self._state())["tried"]:
                    return
            await asyncio.sleep(_LOOK_S)

    async def _state(self) -> Any:
        return orjson.loads((await self._ask({"ask": "state"}, b"")).document)

    async def _ask(self, head: dict[str, Any], body: bytes) -> Answer:
        try:
            reader, writer = await asyncio.open_unix_connection(str(self._socket))
        except OSError as error:
            raise Problem(
                503,
                f"the writer is away ({error.strerror}): nothing was changed; try again",
                retry_after=_AGAIN_S,
            ) from None
        try:
            async with asyncio.timeout(_PATIENCE_S):
                answer, document = await _exchange(reader, writer, head, body)
        except (OSError, EOFError, ValueError) as error:
            # TimeoutError is an OSError.
            why = "took too long" if isinstance(error, TimeoutError) else "went away"
            raise Problem(
                503,
                f"the writer {why} amid the change, which was made whole or not at all: ask again, "
                "under the same Idempotency-Key, and it is made once",
                retry_after=_AGAIN_S,
            ) from None
        finally:
            writer.close()
        if "problem" in answer:
            raise Problem(**answer["problem"])
        return Answer(document, answer["generation"])


async def _exchange(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, head: dict[str, Any], body: bytes
) -> tuple[dict[str, Any], bytes]:
    writer.write(messages.packed(head, len(body)))
    writer.write(body)
    await writer.drain()
    head_bytes, body_bytes = messages.sizes(await reader.readexactly(messages.PREFIX.size))
    answer = messages.head_of(await reader.readexactly(head_bytes))
    return answer, await reader.readexactly(body_bytes)
