"""`/v1/classify` and `/v1/models`."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import UploadFile
from starlette.responses import Response

from craft_ray.errors import DataError
from craft_ray.files.whole_files import write_whole
from craft_ray.service.meter.terms import Asked, Caller, Refusal, Replayed, Stored
from craft_ray.service.tunings.api_error import ApiError, bad_request, not_found, refused
from craft_ray.service.tunings.body import has_form, read_form, read_json
from craft_ray.service.tunings.classify import classify, labels_of, pairs_asked
from craft_ray.service.tunings.data_uri import image_of
from craft_ray.service.tunings.desk import Desk
from craft_ray.service.tunings.job_routes import succeeded_job
from craft_ray.service.tunings.jobs import TUNED, ModelObject, page_of
from craft_ray.service.tunings.rows import JobRecord
from craft_ray.service.tunings.upload import MB, UploadBounds, check_image

MOST_IMAGES = 1_000
ROUTE = "classify"
JSON = "application/json"


class ClassifyRequest(BaseModel):
    """Body of `POST /v1/classify`."""

    model_config = ConfigDict(extra="forbid")

    model: str = Field(min_length=1, max_length=200)
    """`ft:<job>`."""
    images: Annotated[list[str], Field(min_length=1, max_length=MOST_IMAGES)]
    """`data:image/png;base64,...`."""


BODY = {
    "requestBody": {
        "required": True,
        "content": {
            JSON: {"schema": ClassifyRequest.model_json_schema()},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["model", "images"],
                    "properties": {
                        "model": {"type": "string"},
                        "images": {
                            "type": "array",
                            "minItems": 1,
                            "items": {"type": "string", "format": "binary"},
                        },
                    },
                }
            },
        },
    }
}


def add_classify_routes(router: APIRouter, desk: Desk) -> None:
    """Labels of images, and the names of what gives them."""

    @router.post("/v1/classify", openapi_extra=BODY, response_class=Response)
    async def classify_images(request: Request) -> Response:
        caller = await run_in_threadpool(desk.authenticate, request)
        most = desk.config.bounds.body_mb * MB
        if has_form(request):
            async with read_form(request, most, MOST_IMAGES) as form:
                model = form.get("model")
                parts = [each for each in form.getlist("images") if isinstance(each, UploadFile)]
                images = [await each.read() for each in parts]
            if not isinstance(model, str) or not images:
                raise bad_request("model must be a field and images one or more files", "images")
        else:
            model, images = _read(await read_json(request, most))
        key = request.headers.get("idempotency-key")
        content = await run_in_threadpool(_answer, desk, caller, model, images, key)
        return Response(content, media_type=JSON)

    @router.get("/v1/models")
    def list_models(request: Request) -> dict[str, Any]:
        caller = desk.authenticate(request)
        jobs = desk.records.jobs(caller.key_id, None, 10_000) or []
        own = [_model_of(job) for job in jobs if job.status == "succeeded"]
        models = [*_base_models(desk), *own]
        return page_of(models, len(models))

    @router.get("/v1/models/{model}")
    def retrieve_model(request: Request, model: str) -> ModelObject:
        caller = desk.authenticate(request)
        for base in _base_models(desk):
            if base.id == model:
                return base
        return _model_of(_job_of(desk, caller, model))


def _base_models(desk: Desk) -> list[ModelObject]:
    name = desk.config.name
    return [ModelObject(id=model, created=0, owned_by=name) for model in desk.models]


def _model_of(job: JobRecord) -> ModelObject:
    return ModelObject(id=TUNED + job.id, created=int(job.created_at), owned_by=job.key_id)


def _job_of(desk: Desk, caller: Caller, model: str) -> JobRecord:
    if not model.startswith(TUNED):
        raise not_found("model", model)
    try:
        return succeeded_job(desk, caller, model.removeprefix(TUNED))
    except ApiError as error:
        if error.status == 404:
            raise not_found("model", model) from None
        raise


def _read(document: Any) -> tuple[str, list[bytes]]:
    try:
        asked = ClassifyRequest.model_validate(document)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise bad_request(f"{where}: {first['msg']}", where) from error
    try:
        images = [image_of(each, f"images[{n}]") for n, each in enumerate(asked.images)]
    except DataError as error:
        raise bad_request(str(error), "images", "invalid_image") from error
    return asked.model, images


def _answer(
    desk: Desk, caller: Caller, model: str, images: Sequence[bytes], key: str | None
) -> bytes:
    """The answer; charged when it is there, and kept for a repetition if the request has a key."""
    job = _job_of(desk, caller, model)
    _check_images(images, UploadBounds.of(desk.config.tuning, desk.config.bounds))
    artifact = desk.classifiers.of_run(desk.layout.run(caller.key_id, job.id))
    pairs = pairs_asked(artifact, len(images))
    digest = hashlib.sha256(model.encode())
    for image in images:
        digest.update(hashlib.sha256(image).digest())
    idempotency_key = key or secrets.token_hex(16)
    attempt = secrets.token_hex(8)  # a call whose reply is lost is repeated, and is the same one
    asked = Asked(ROUTE, pairs, idempotency_key, digest.hexdigest(), desk.holder, attempt)
    begun = desk.meter.begin_for(caller.key_id, asked, time.time())
    answers = desk.layout.folder / "answers"
    if isinstance(begun, Refusal):
        raise refused(begun)
    if isinstance(begun, Replayed):
        return (answers / begun.answer.file).read_bytes()
    try:
        probabilities_NC = desk.ask(
            caller.key_id, lambda oracle: classify(artifact, oracle, images), pairs
        )
        data = labels_of(artifact.task.class_names, probabilities_NC, desk.config.gives)
        document = {"object": "list", "model": model, "data": data, "usage": {"pairs": pairs}}
        content = json.dumps(document).encode()
        stored = None
        if key is not None:
            name = f"classify-{secrets.token_hex(16)}"
            answers.mkdir(parents=True, exist_ok=True)
            write_whole(answers / name, content)
            stored = Stored(name, JSON, pairs)
    except BaseException:
        desk.meter.refund(begun.request_id, time.time())
        raise
    desk.meter.settle(begun.request_id, pairs, stored, time.time())
    return content


def _check_images(images: Sequence[bytes], bounds: UploadBounds) -> None:
    """Before anything is asked.

    Raises:
        ApiError: names the image that cannot be read.
    """
    try:
        for place, image in enumerate(images):
            check_image(image, f"images[{place}]", bounds)
    except DataError as error:
        raise bad_request(str(error), "images", "invalid_image") from error
