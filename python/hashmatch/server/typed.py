"""The routes that FastAPI answers and documents, and the OpenAPI document of all."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from hashmatch import FormatError
from hashmatch.server import contents, docs, health, sets, status
from hashmatch.server.openapi import documented, methods_at
from hashmatch.server.problems import MEDIA_TYPE, Problem
from hashmatch.server.service import Service

#: How soon to try again what a damaged file or a busy system kept from being read.
_AGAIN_S = 5


def typed_app(service: Service) -> FastAPI:
    """The application of the typed routes. A route finds the service in `app.state.service`, and
    who calls in `request.scope["hashmatch.caller"]`.
    """
    app = FastAPI(
        version="1",
        docs_url=None,
        redoc_url=None,
        generate_unique_id_function=lambda route: route.name,
    )
    app.openapi = documented(app)  # type: ignore[method-assign]
    app.state.service = service
    app.add_exception_handler(Problem, _problem)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    for kind in (FormatError, OSError):
        app.add_exception_handler(kind, _unreadable)

    # A set's name may have a slash in it, so that of a set is last.
    for part in (status, contents, sets):
        app.include_router(part.routes())

    app.include_router(docs.routes())
    app.include_router(health.routes())
    return app


async def _problem(request: Request, error: Exception) -> Response:
    assert isinstance(error, Problem)
    return Response(error.document(), error.status, error.headers, MEDIA_TYPE)


async def _unreadable(request: Request, error: Exception) -> Response:
    # A slow caller's is of another kind.
    if isinstance(error, TimeoutError):
        raise error
    return await _problem(request, Problem(503, str(error), retry_after=_AGAIN_S))


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first: dict[str, Any] = error.errors()[0]
    field = ".".join(str(part) for part in first["loc"][1:])
    said = first["msg"].removeprefix("Value error, ")
    return await _problem(request, Problem(400, f"{field}: {said}", field=field))


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    # FastAPI wraps what was wrong with a body as it arrived.
    if isinstance(error.__cause__, Problem):
        return await _problem(request, error.__cause__)
    path, status = request.url.path, error.status_code
    headers = {name.lower(): value for name, value in (error.headers or {}).items()}
    # The router knows neither of the routes without a framework, nor of two with one path.
    if methods := methods_at(request.app.openapi(), path):
        status, headers["allow"] = 405, ", ".join(methods)
    detail = {
        404: f"there is nothing at {path}: /docs lists what there is",
        405: f"{path} does not take {request.method}: /docs lists what it takes",
    }.get(status, str(error.detail))
    return await _problem(request, Problem(status, detail, headers=headers))
