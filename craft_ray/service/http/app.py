"""The whole application: its routes, and how what goes wrong is told."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from craft_ray import __version__
from craft_ray.errors import RunFailedError
from craft_ray.service.http.desk import Desk
from craft_ray.service.http.metrics import Metrics, counted
from craft_ray.service.http.page import ADMISSION, problems
from craft_ray.service.http.problems import Problem
from craft_ray.service.http.protocol import protocol_routes
from craft_ray.service.http.upkeep import keep_alive, tidy

logger = logging.getLogger(__name__)


def make_app(desk: Desk, more: Sequence[APIRouter] = ()) -> FastAPI:
    """The application of one ingress process.

    Args:
        desk: of it.
        more: routes beside the protocol's.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        upkeep = [
            asyncio.create_task(keep_alive(desk.meter, desk.holder, desk.given_up)),
            asyncio.create_task(tidy(desk.meter, desk.answers, desk.config.bounds.keep_answers_h)),
        ]
        try:
            yield
        finally:
            desk.asker.close()  # what has not begun is refused
            await desk.finish()
            for task in upkeep:
                task.cancel()
            await asyncio.gather(*upkeep, return_exceptions=True)

    app = FastAPI(
        title="craft-ray",
        version=__version__,
        description="A vision-language model that answers questions, and is tuned by answers.",
        lifespan=lifespan,
    )
    for router in (protocol_routes(desk), _owners_routes(desk), *more):
        app.include_router(router)

    @app.exception_handler(Problem)
    async def of_problem(_: Request, problem: Problem) -> Response:
        return problem.response()

    @app.exception_handler(RequestValidationError)
    async def of_validation(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return Problem(422, "bad_request", f"{where}: {first['msg']}").response()

    @app.exception_handler(HTTPException)
    async def of_http(_: Request, error: HTTPException) -> Response:
        problem = Problem(error.status_code, "no_such_route", str(error.detail))
        return problem.response(error.headers)

    @app.exception_handler(Exception)
    async def of_defect(request: Request, error: Exception) -> Response:
        logger.exception("%s %s", request.method, request.url.path, exc_info=error)
        return Problem(500, "defect", "something is wrong in this service").response()

    return app


def _owners_routes(desk: Desk) -> APIRouter:
    """For whoever watches the service."""
    router = APIRouter(route_class=counted(desk.metrics), tags=["owner"])

    @router.get("/healthz", responses=problems(503))
    async def healthz() -> JSONResponse:
        """200 where questions are answered now, else 503."""
        try:
            await asyncio.to_thread(desk.meter.alive, desk.holder, time.time())
        except RunFailedError:
            raise Problem(503, "no_meter", "the meter does not answer") from None
        if not await asyncio.to_thread(desk.asker.is_ready):
            raise Problem(503, "no_pool", "no replica of the model answers")
        return JSONResponse({"status": "ok", "version": __version__})

    @router.get(
        "/metrics",
        response_class=Response,
        responses={200: {"content": {"text/plain": {}}}, **problems(*ADMISSION)},
    )
    async def metrics(request: Request) -> Response:
        """In Prometheus' form; a service with keys asks for one of scope `metrics`."""
        await desk.admit(request, "metrics")
        return Response(desk.metrics.text(), media_type=Metrics.media_type)

    return router
