"""The routes of OpenAI's files and fine-tuning, and what goes with them, for a FastAPI app."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from craft_ray.errors import DataError, RunFailedError, UserError
from craft_ray.service.tunings.api_error import ApiError, bad_request
from craft_ray.service.tunings.classify_routes import add_classify_routes
from craft_ray.service.tunings.desk import Desk
from craft_ray.service.tunings.file_routes import add_file_routes
from craft_ray.service.tunings.job_routes import add_job_routes

logger = logging.getLogger(__name__)

_ERROR = {
    "type": "object",
    "required": ["error"],
    "properties": {
        "error": {
            "type": "object",
            "required": ["message", "type", "code", "param"],
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "code": {"type": ["string", "null"]},
                "param": {"type": ["string", "null"]},
            },
        }
    },
}
ERRORS: dict[int | str, dict[str, Any]] = {
    status: {
        "description": HTTPStatus(status).phrase,
        "content": {"application/json": {"schema": _ERROR}},
    }
    for status in (400, 401, 403, 404, 409, 413, 422, 429, 503)
}
"""Of the OpenAPI page: what any of these routes may refuse with."""


def tuning_routes(desk: Desk) -> APIRouter:
    """All of them. Errors are in OpenAI's shape, so that its clients raise their own.

    Args:
        desk: the service around them.
    """
    router = APIRouter(route_class=_OpenAiRoute, tags=["tuning"], responses=ERRORS)
    if desk.config.tuning.enabled:
        add_file_routes(router, desk)
        add_job_routes(router, desk)
        add_classify_routes(router, desk)
    return router


def error_response(error: ApiError) -> JSONResponse:
    """An error as an answer."""
    headers = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after_s))
    return JSONResponse(error.body(), error.status, headers)


class _OpenAiRoute(APIRoute):
    """Turns what goes wrong into OpenAI's errors."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_errors(request: Request) -> Response:
            try:
                return await handle(request)
            except ApiError as error:
                return error_response(error)
            except RequestValidationError as error:
                first = error.errors()[0]
                param = str(first["loc"][-1])
                return error_response(bad_request(f"{param}: {first['msg']}", param))
            except DataError as error:
                return error_response(bad_request(str(error), "file", "invalid_file"))
            except RunFailedError as error:  # the pool or another process, which starts again
                logger.error("%s %s: %s", request.method, request.url.path, error)
                busy = "what answers this does not work now; try again"
                return error_response(ApiError(503, busy, "unavailable", retry_after_s=5.0))
            except UserError as error:
                # Of the owner's making: a classifier of another model, say.
                return error_response(ApiError(409, str(error), "not_usable"))

        return handle_errors
