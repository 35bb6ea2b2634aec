"""The routes that say how a sidecar fares, and what was changed when by whom."""

from __future__ import annotations

from datetime import UTC, datetime
from heapq import nlargest
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BeforeValidator, Field
from starlette.requests import Request
from starlette.responses import Response

from hashmatch.database import HistoryRow
from hashmatch.server.callers import Caller
from hashmatch.server.service import Service
from hashmatch.server.sets import AT_LEAST, answered, let_in, named, seen
from hashmatch.server.status_models import (
    AuditShown,
    ChangeShown,
    EventShown,
    History,
    StatusShown,
    TypeShown,
)

_MOST_ROWS = 10_000


def _digits(text: object) -> object:
    # What else Python takes for a whole number is no number in a URL.
    if isinstance(text, str) and not (text.isascii() and text.isdecimal() and len(text) < 20):
        raise ValueError("must be a whole number, in digits")
    return text


Limit = Annotated[
    int,
    BeforeValidator(_digits, json_schema_input_type=Annotated[int, Field(ge=1, le=_MOST_ROWS)]),
    Query(ge=1, le=_MOST_ROWS, description="At most so many."),
]


def routes() -> APIRouter:
    """Those of the status and the history."""
    router = APIRouter()
    router.add_api_route(
        "/v1/status", show_status, response_model=StatusShown, openapi_extra=AT_LEAST
    )
    router.add_api_route(
        "/v1/history", show_history, response_model=History, openapi_extra=AT_LEAST
    )
    return router


async def show_status(request: Request) -> Response:
    """How the process that answers fares. The newest good generation goes on being served when a
    newer one cannot be taken in; `trouble` then says why.
    """
    service, caller = await let_in(request, "read")
    writer_trouble = None if service.writer is None else await service.writer.trouble()
    shown = await service.beside(_status, service, caller, writer_trouble)
    return answered(shown, shown.generation)


def _status(service: Service, caller: Caller, writer_trouble: str | None) -> StatusShown:
    state = service.database.status()
    generation, records = seen(service, caller)
    while generation != state.generation:
        state = service.database.status()
        generation, records = seen(service, caller)
    now = datetime.now(UTC)
    age = None if state.changed is None else max(0.0, (now - state.changed).total_seconds())
    audit = service.audit.state()
    return StatusShown(
        generation=state.generation,
        changed=state.changed,
        age_seconds=age,
        sets=len(records),
        items=sum(record.items for record in records),
        types={
            name: TypeShown(
                signals=held.signals,
                segments=held.segments,
                unfolded=held.unfolded,
                size_bytes=held.size_bytes,
            )
            for name, held in state.types.items()
            if caller.sets is None
        },
        writer=state.writer,
        writer_trouble=writer_trouble,
        trouble=state.trouble,
        workers=service.settings.workers,
        read_only=service.writer is None,
        audit=AuditShown(waiting=audit.waiting, lost=audit.lost, trouble=audit.trouble),
    )


async def show_history(
    request: Request,
    limit: Limit = 100,
    set: Annotated[str | None, Query(description="Only of this set.")] = None,
    ref: Annotated[str | None, Query(description="Only what concerned this ref.")] = None,
) -> Response:
    """The changes of the sets that the caller may see, the newest first."""
    service, caller = await let_in(request, "read", set, ("limit", "set", "ref"))
    if set is not None:
        named(service, caller, set)
    history = await service.beside(_history, service, caller, set, ref, limit)
    return answered(history, history.generation)


def _history(
    service: Service, caller: Caller, set: str | None, ref: str | None, limit: int
) -> History:
    database = service.database
    generation, records = seen(service, caller)
    if set is not None or caller.sets is None:
        rows = database.history(set, ref, limit)
        # The catalog may be ahead of what is searched.
        generation = max([generation, *(row.generation for row in rows[:1])])
    else:
        some = (row for each in records for row in database.history(each.name, ref, limit))
        rows = nlargest(limit, some, key=lambda row: row.generation)
        # Each set's are of a state of its own, but all of one as new as this.
        rows = [row for row in rows if row.generation <= generation]
    return History(generation=generation, changes=[_shown(row) for row in rows])


def _shown(row: HistoryRow) -> ChangeShown:
    return ChangeShown(
        generation=row.generation,
        time=row.time,
        set=row.set,
        who=row.who,
        added=row.added,
        updated=row.updated,
        removed=row.removed,
        unchanged=row.unchanged,
        opinions=row.opinions,
        rejected=row.rejected,
        events=[
            EventShown(
                action=event.action,
                contributor=event.contributor,
                labels=list(event.labels),
                kind=event.kind,
                verdict=event.verdict,
                signal=event.first,
            )
            for event in row.events
        ],
    )
