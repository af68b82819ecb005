"""The routes of craft-ray's own protocol (`oracle/endpoints/craft_ray_protocol.py`)."""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import nullcontext
from typing import Any

import numpy as np
from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from craft_ray.data.decoding import opened
from craft_ray.data.pixels import PixelArray
from craft_ray.errors import DataError, RunFailedError
from craft_ray.oracle.contract import ClassificationTask
from craft_ray.oracle.endpoints.tensor_body import MEDIA_TYPE, pack
from craft_ray.service.asking import PixelSet, set_address, stacked
from craft_ray.service.given_away import (
    check_contexts_given,
    check_task,
    declared,
    limited,
)
from craft_ray.service.http.bodies import (
    check_digest,
    check_media_type,
    idempotency_key,
    read_body,
)
from craft_ray.service.http.desk import Desk, problem_of
from craft_ray.service.http.metrics import counted
from craft_ray.service.http.page import (
    ADMISSION,
    ANSWERS,
    BODY,
    IMAGE,
    QUESTION,
    TASK,
    TENSORS,
    problems,
)
from craft_ray.service.http.problems import Problem, rate_headers
from craft_ray.service.http.questions import (
    TaskQuestion,
    read_question,
    read_task,
    task_as_json,
)
from craft_ray.service.meter.terms import Asked

MOST_TASK_BYTES = 16_000_000
LARGE_PIXELS = 10_000_000
"""Of an image that takes hundreds of megabytes while it is decoded: two at a time."""
MOMENTS_BYTES = 2_000_000_000
"""Of the sums of squares that `linear_head_error` needs for one chunk of contexts."""

_large_images = threading.Semaphore(2)


def protocol_routes(desk: Desk) -> APIRouter:
    """All of them."""
    router = APIRouter(route_class=counted(desk.metrics), tags=["craft-ray"])

    @router.get(
        "/v1/describe",
        response_class=Response,
        responses={200: TENSORS, **problems(*ADMISSION)},
    )
    async def describe(request: Request) -> Response:
        """What the owner declares about the model."""
        admitted = await desk.admit(request, None)
        description = desk.asker.describe()
        arrays = {"initial_context": description.initial_context}
        body = pack(arrays, declared(description, desk.config.gives))
        return Response(body, media_type=MEDIA_TYPE, headers=rate_headers(admitted.rate))

    @router.post(
        "/v1/tasks",
        response_class=Response,
        responses={200: TENSORS, **problems(*ADMISSION, *BODY, 415, 503)},
        openapi_extra=TASK,
    )
    async def register_task(request: Request) -> Response:
        """Register class names and a template; free, and repeating it changes nothing."""
        admitted = await desk.admit(request, None)
        check_media_type(request, "application/json")
        body = await read_body(request, min(MOST_TASK_BYTES, desk.most_bytes))
        task = await asyncio.to_thread(read_task, body)
        try:
            check_task(task, desk.config.gives)
            handle = await one_of(desk.asker.task(admitted.caller.key_id, task))
        except Exception as error:
            raise problem_of(error) from error
        put = desk.tasks.put
        await asyncio.to_thread(put, admitted.caller.key_id, task.digest, task_as_json(task))
        told = {"digest": handle.digest, "num_classes": handle.num_classes}
        packed = pack({"initial_context": handle.initial_context}, told)
        return Response(packed, media_type=MEDIA_TYPE, headers=rate_headers(admitted.rate))

    @router.put(
        "/v1/images/{digest}",
        response_class=Response,
        responses={201: {"description": "It is new."}, **problems(*ADMISSION, *BODY, 415)},
        openapi_extra=IMAGE,
    )
    async def register_image(request: Request, digest: str) -> Response:
        """Register an image's file under its SHA-256; free, and only this key can ask about it."""
        admitted = await desk.admit(request, None)
        check_digest(digest, "digest")
        body = await read_body(request, desk.config.bounds.image_mb * 10**6)
        key_id = admitted.caller.key_id
        is_new = await asyncio.to_thread(_keep_image, desk, key_id, digest, body)
        headers = rate_headers(admitted.rate)
        return Response(status_code=201 if is_new else 200, headers=headers)

    @router.post(
        "/v1/predict",
        response_class=Response,
        responses={200: TENSORS, **problems(*ADMISSION, *BODY, *ANSWERS)},
        openapi_extra=QUESTION,
    )
    async def predict(request: Request) -> Response:
        """Logits of contexts, registered images and classes."""
        return await _answered(desk, request, is_score=False)

    @router.post(
        "/v1/score",
        response_class=Response,
        responses={200: TENSORS, **problems(*ADMISSION, *BODY, *ANSWERS)},
        openapi_extra=QUESTION,
    )
    async def score(request: Request) -> Response:
        """One loss a context, of registered images with labels."""
        if not desk.config.gives.scores:
            await desk.admit(request, None)
            raise Problem(403, "not_given", "scores are not given by this service: ask /v1/predict")
        return await _answered(desk, request, is_score=True)

    @router.get("/v1/usage", responses=problems(*ADMISSION))
    async def usage(request: Request) -> JSONResponse:
        """What this key has used in the period that runs, in pairs."""
        admitted = await desk.admit(request, None)
        used = await desk.metered(desk.meter.usage, admitted.caller.key_id, time.time())
        document = {
            "key": used.key_id,
            "name": used.name,
            "pairs": used.balance.spent,
            "quota": used.balance.quota,
            "remaining": used.balance.remaining,
            "period_ends": used.period_ends,
            "requests": used.requests,
            "pairs_by_route": used.by_route,
        }
        return JSONResponse(document, headers=rate_headers(admitted.rate))

    return router


async def _answered(desk: Desk, request: Request, *, is_score: bool) -> Response:
    """Of predict and score."""
    route = "score" if is_score else "predict"
    admitted = await desk.admit(request, "score" if is_score else "predict")
    check_media_type(request, MEDIA_TYPE)
    key = idempotency_key(request)
    body = await read_body(request, desk.most_bytes)
    question = await asyncio.to_thread(read_question, body, is_score=is_score)
    key_id = admitted.caller.key_id
    task = await asyncio.to_thread(_task_of, desk, key_id, question.task)
    await asyncio.to_thread(_check_registered, desk, key_id, question.images)
    pairs = len(question.contexts) * len(question.images) * task.num_texts
    _check_size(desk, question, task, pairs)
    digest = await asyncio.to_thread(lambda: hashlib.sha256(body).hexdigest())
    asked = Asked(route, pairs, key, digest, desk.holder)

    async def work() -> bytes:
        if is_score:
            return await _scored(desk, key_id, task, question)
        return await _predicted(desk, key_id, task, question)

    return await desk.answer(request, admitted, asked, work, MEDIA_TYPE)


async def _predicted(
    desk: Desk, key_id: str, task: ClassificationTask, question: TaskQuestion
) -> bytes:
    handle = await one_of(desk.asker.task(key_id, task))
    check_contexts_given(question.contexts, handle, desk.config.gives)
    images = _pixel_set(desk, key_id, question)
    futures = desk.asker.predict(key_id, task, images, question.contexts, question.answer)
    parts = await all_of(futures)
    gives = desk.config.gives

    def packed() -> bytes:
        return pack({"logits": limited(np.concatenate(parts), gives)}, {})

    return await asyncio.to_thread(packed)


async def _scored(
    desk: Desk, key_id: str, task: ClassificationTask, question: TaskQuestion
) -> bytes:
    assert question.reduction is not None
    handle = await one_of(desk.asker.task(key_id, task))
    check_contexts_given(question.contexts, handle, desk.config.gives)
    images = _pixel_set(desk, key_id, question)
    reduction = question.reduction
    parts = await all_of(desk.asker.score(key_id, task, images, question.contexts, reduction))
    return pack({"losses": np.concatenate(parts)}, {})


async def all_of(futures: Sequence[Future[Any]]) -> list[Any]:
    """All results; after a failure nobody waits for the others, and those not begun are never
    begun.

    Raises:
        RunFailedError: the service ends before they are begun.
        Exception: of the first that failed.
    """
    try:
        return list(await asyncio.gather(*map(asyncio.wrap_future, futures)))
    except BaseException as error:
        for future in futures:
            future.cancel()
        task = asyncio.current_task()
        if isinstance(error, asyncio.CancelledError) and task and not task.cancelling():
            raise RunFailedError("the service ends") from error
        raise


async def one_of(future: Future[Any]) -> Any:
    """Its result; see `all_of`."""
    return (await all_of([future]))[0]


def not_registered(what: str, digest: str) -> Problem:
    """The client then registers it, as after a change of the owner's bounds."""
    return Problem(404, "not_registered", f"{what} {digest[:12]} must be registered first")


def _task_of(desk: Desk, key_id: str, digest: str) -> ClassificationTask:
    stored = desk.tasks.get(key_id, digest)
    if stored is None:
        raise not_registered("task", digest)
    try:
        task = read_task(stored)
    except Problem:  # as of an image
        desk.tasks.drop(key_id, digest)
        raise not_registered("task", digest) from None
    try:
        check_task(task, desk.config.gives)  # the owner may have changed them since
    except Exception as error:
        raise problem_of(error) from error
    return task


def _check_registered(desk: Desk, key_id: str, images: Sequence[str]) -> None:
    for digest in images:
        if not desk.images.has(key_id, digest):
            raise not_registered("image", digest)


def _pixel_set(desk: Desk, key_id: str, question: TaskQuestion) -> PixelSet:
    size = desk.asker.describe().image_size

    def load() -> PixelArray:
        arrays = []
        for digest in question.images:
            data = desk.images.get(key_id, digest)
            if data is None or len(data) != 3 * size**2:  # a disk was full, or lost its power
                desk.images.drop(key_id, digest)
                raise not_registered("image", digest)
            arrays.append(data)
        return stacked(arrays, size)

    address = set_address(key_id, question.images)
    return PixelSet(address, len(question.images), load)


def _keep_image(desk: Desk, key_id: str, digest: str, data: bytes) -> bool:
    """Decoded once, here: what is stored are the pixels that the model sees.

    Raises:
        Problem: 422, the digest is another one, or it is no image or too large.
    """
    if hashlib.sha256(data).hexdigest() != digest:
        raise Problem(422, "other_digest", "digest: must be the SHA-256 of the body, but is not")
    if desk.images.has(key_id, digest, look=True):
        return False
    return desk.images.put(key_id, digest, decoded(desk, data, digest[:12]).tobytes())


def decoded(desk: Desk, data: bytes, name: str) -> PixelArray:
    """An image file as the model sees it; how large it is, its head tells before it is decoded.

    Raises:
        Problem: 422, it is no image, or too large.
    """
    most = desk.config.bounds.image_megapixels * 10**6
    try:
        with opened(data, name) as image:
            width, height = image.size
        if width * height > most:
            raise Problem(
                422,
                "image_too_large",
                f"image {name}: must have at most {most} pixels, but has {width} x {height}",
            )
        with _large_images if width * height > LARGE_PIXELS else nullcontext():
            return desk.asker.decode(data, name)
    except DataError as error:
        raise Problem(422, "bad_image", str(error)) from None


def _check_size(desk: Desk, question: TaskQuestion, task: ClassificationTask, pairs: int) -> None:
    if question.reduction is None:
        if 4 * pairs > desk.most_bytes:
            raise Problem(
                413,
                "answer_too_large",
                f"images, contexts: their answer must have at most {desk.most_bytes} bytes, but "
                f"has {4 * pairs}: ask about fewer at a time",
            )
        return
    columns = question.reduction.num_known + task.num_texts
    at_a_time = min(len(question.contexts), desk.config.pool.candidates_per_chunk)
    if question.reduction.num_known and 8 * at_a_time * columns**2 > MOMENTS_BYTES:
        raise Problem(
            422,
            "bad_reduction",
            f"known: must be of fewer columns, but with the task's has {columns}",
        )
