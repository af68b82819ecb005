"""The routes of OpenAI's files and fine-tuning, and what goes with them, for a FastAPI app."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Coroutine
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


Answered = Callable[[str, str, int, float], None]
"""Is told of each request: name of the key (`request.state.key_name`), route, status, seconds."""
NOBODY = "-"
_TEXT = {"type": ["string", "null"]}
_ERROR: dict[str, Any] = {
    "description": "What is wrong, in OpenAI's shape.",
    "content": {
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["error"],
                "properties": {
                    "error": {
                        "type": "object",
                        "required": ["message", "type", "param", "code"],
                        "properties": dict.fromkeys(("message", "type", "param", "code"), _TEXT),
                    }
                },
            }
        }
    },
}


def tuning_routes(desk: Desk, answered: Answered = lambda *_: None) -> APIRouter:
    """All of them. Errors are in OpenAI's shape, so that its clients raise their own.

    Args:
        desk: the service around them.
        answered: counts requests.
    """
    router = APIRouter(
        route_class=_openai_route(answered),
        tags=["tuning"],
        responses={"4XX": _ERROR, "5XX": _ERROR},
    )
    if desk.config.tuning.enabled:
        add_file_routes(router, desk)
        add_job_routes(router, desk)
        add_classify_routes(router, desk)
    return router


def error_response(error: ApiError) -> JSONResponse:
    """An error as an answer."""
    headers = {}
    if error.retry_after_s is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after_s)))
    if error.status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    return JSONResponse(error.body(), error.status, headers)


def _openai_route(answered: Answered) -> type[APIRoute]:
    """A kind of route that turns what goes wrong into OpenAI's errors."""

    class OpenAiRoute(APIRoute):
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()

            async def handled(request: Request) -> Response:
                started_s, status = time.monotonic(), 500
                try:
                    response = await _with_errors(handle, request)
                    status = response.status_code
                    return response
                finally:
                    key = getattr(request.state, "key_name", NOBODY)
                    answered(key, self.path, status, time.monotonic() - started_s)

            return handled

    return OpenAiRoute


async def _with_errors(
    handle: Callable[[Request], Coroutine[Any, Any, Response]], request: Request
) -> Response:
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
        # Of the owner's making: a classifier of another model, say. It may name the owner's files.
        logger.error("%s %s: %s", request.method, request.url.path, error)
        return error_response(ApiError(409, "the classifier cannot be used now", "not_usable"))
