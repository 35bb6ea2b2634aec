"""The routes of hash sets: what there is, what it holds, and how it is changed."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.convertors import PathConvertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import Response

from hashmatch.database import SetRecord
from hashmatch.server.callers import Caller, Scope
from hashmatch.server.change_bodies import Changed, SetChange, SetChanges
from hashmatch.server.generations import HEADER, reach
from hashmatch.server.http import GENERATION
from hashmatch.server.http import Request as Asked
from hashmatch.server.media import JSON, content_type
from hashmatch.server.openapi_parts import problem
from hashmatch.server.problems import Problem
from hashmatch.server.service import Service
from hashmatch.server.set_models import NewSet, SetFacts, SetList, SetShown, facts
from hashmatch.server.writing import Answer, Writing

_KEY = "idempotency-key"
_MOST_KEY_CHARACTERS = 255

SetName = Annotated[str, Path(description="The name of a set.")]
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        json_schema_extra={"pattern": f"^[ -~]{{1,{_MOST_KEY_CHARACTERS}}}$"},
        description="A text of your own choice, new for each change. The same change sent again "
        "under it within seven days is not made again, and is answered as it was.",
    ),
]


class _Name(PathConvertor):
    """A name may have slashes in it, and line breaks."""

    regex = r"[\s\S]+"


register_url_convertor("name", _Name())

#: What a route says of the generation that a request may ask for.
AT_LEAST: dict[str, Any] = {"parameters": [{"$ref": f"#/components/parameters/{HEADER}"}]}


def routes() -> APIRouter:
    """Those of sets."""
    router = APIRouter()
    router.add_api_route("/v1/sets", list_sets, response_model=SetList, openapi_extra=AT_LEAST)
    router.add_api_route(
        "/v1/sets/{set:name}/changes",
        _change_documented,
        name="change_set",
        methods=["POST"],
        response_model=Changed,
        responses={415: problem(415), 422: problem(422)},
        route_class_override=_unread(change_set),
    )
    router.add_api_route(
        "/v1/sets/{set:name}", show_set, response_model=SetShown, openapi_extra=AT_LEAST
    )
    router.add_api_route(
        "/v1/sets/{set}",
        _make_documented,
        name="make_set",
        methods=["PUT"],
        status_code=201,
        response_model=SetShown,
        responses={409: problem(409), 415: problem(415)},
        route_class_override=_unread(make_set),
    )
    return router


def _unread(handler: Callable[[Request], Coroutine[Any, Any, Response]]) -> type[APIRoute]:
    """A route that documents one function's arguments, and is answered by another, which reads the
    body itself: FastAPI would read it on the loop, and hide why it could not be received.
    """

    class Unread(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            return handler

    return Unread


async def list_sets(request: Request) -> Response:
    """The sets that the caller may see, by name."""
    service, caller = await let_in(request, "read")
    # There may be tens of thousands.
    return await service.beside(_listed, service, caller)


def _listed(service: Service, caller: Caller) -> Response:
    generation, records = seen(service, caller)
    shown = [SetFacts(**facts(record)) for record in records]
    return answered(SetList(generation=generation, sets=shown), generation)


async def show_set(request: Request, set: SetName) -> Response:
    """A set."""
    service, caller = await let_in(request, "read", set)
    generation, record = named(service, caller, set)
    return answered(SetShown(generation=generation, **facts(record)), generation)


def _make_documented(set: SetName, body: NewSet) -> None:
    """Make an empty set."""


async def make_set(request: Request) -> Response:
    """PUT /v1/sets/{set}."""
    name = request.path_params["set"]
    service, _ = await let_in(request, "admin", name)
    writing = _writing(service)
    answer = await writing.create(name, await _json(request, service))
    # So that who asks here next finds it. Other processes have it within a second.
    await service.beside(service.database.refresh)
    return _reply(answer, 201)


def _change_documented(
    set: SetName, body: SetChange | SetChanges, idempotency_key: Key = None
) -> None:
    """Change a set: one object, or a list of them that are made in order. All of it is made or
    nothing, and it is durable when it is answered.
    """


async def change_set(request: Request) -> Response:
    """POST /v1/sets/{set}/changes."""
    name = request.path_params["set"]
    service, caller = await let_in(request, "write", name)
    writing = _writing(service)
    key = _key(request)
    body = await _json(request, service)
    return _reply(await writing.change(name, body, caller.name, key), 200)


async def _json(request: Request, service: Service) -> bytes:
    """The body, which is said to be JSON."""
    content_type(_plain(request, service), (JSON,))
    return await request.body()


def _plain(request: Request, service: Service) -> Asked:
    """The request as the routes without a framework have it."""
    return Asked(request.scope, request.receive, service.settings)


def answered(shown: BaseModel, generation: int) -> Response:
    """A reply of JSON that names its generation."""
    return _reply(Answer(shown.model_dump_json().encode(), generation), 200)


async def let_in(
    request: Request, scope: Scope, set: str | None = None, parameters: Sequence[str] = ()
) -> tuple[Service, Caller]:
    """The service and who calls, who may do that, and with that set. The service is at the
    generation that the request asks for. Problem if not, or if the URL has other parameters.
    """
    service: Service = request.app.state.service
    caller: Caller = request.scope["hashmatch.caller"]
    caller.require(scope, set)
    for name in request.query_params:
        if name not in parameters or len(request.query_params.getlist(name)) > 1:
            allowed = f"takes {', '.join(parameters)}, each once" if parameters else "takes none"
            raise Problem(400, f"{name!r} in the URL: {request.url.path} {allowed}", field=name)
    await reach(_plain(request, service), service)
    return service, caller


def seen(service: Service, caller: Caller) -> tuple[int, list[SetRecord]]:
    """The sets that a caller may see, as of which generation."""
    database = service.database
    while True:
        generation = database.generation
        records = database.sets()
        # The next one may have come between the two.
        if database.generation == generation:
            names = caller.sets
            return generation, [each for each in records if names is None or each.name in names]


def named(service: Service, caller: Caller, name: str) -> tuple[int, SetRecord]:
    """A set by its name, as of which generation. Problem if there is none."""
    generation, records = seen(service, caller)
    for record in records:
        if record.name == name:
            return generation, record
    raise Problem(404, f"there is no set {name!r}: GET /v1/sets lists those there are", field="set")


def _reply(answer: Answer, status: int) -> Response:
    headers = {GENERATION.decode(): str(answer.generation)}
    return Response(answer.document, status, headers, "application/json")


def _writing(service: Service) -> Writing:
    if service.writer is None:
        raise Problem(403, "no changes are taken here: it was started to be read only")
    return service.writer


def _key(request: Request) -> str | None:
    keys = request.headers.getlist(_KEY)
    if not keys:
        return None
    key = keys[0]
    if len(keys) > 1:
        raise Problem(400, "Idempotency-Key is given twice: give it once", field="Idempotency-Key")
    if not (key.isascii() and key.isprintable() and 0 < len(key) <= _MOST_KEY_CHARACTERS):
        raise Problem(
            400,
            f"Idempotency-Key must be 1 to {_MOST_KEY_CHARACTERS} printable ASCII characters",
            field="Idempotency-Key",
        )
    return key
