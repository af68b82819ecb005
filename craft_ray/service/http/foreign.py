"""Routes in the shape of others', so that their official clients work: a zero-shot pipeline of
Hugging Face, and OpenAI's embeddings. Both are off unless the owner gives them."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import json
import secrets
from collections.abc import Callable, Coroutine
from typing import Annotated, Any, Literal

import numpy as np
from fastapi import APIRouter
from fastapi.routing import APIRoute
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.requests import Request
from starlette.responses import Response

from craft_ray.method.softmax import softmax
from craft_ray.oracle.contract import ClassificationTask, FloatArray
from craft_ray.service.asking import PixelSet
from craft_ray.service.given_away import check_task, limited
from craft_ray.service.http.bodies import idempotency_key, read_body
from craft_ray.service.http.desk import Desk, problem_of
from craft_ray.service.http.metrics import counted
from craft_ray.service.http.page import ADMISSION, BODY, problems
from craft_ray.service.http.problems import Problem
from craft_ray.service.http.protocol import decoded, one_of
from craft_ray.service.http.questions import MOST_TEXTS, Text, first_words
from craft_ray.service.meter.terms import Asked

JSON = "application/json"
HF_TEMPLATE = "This is a photo of {}."
"""Of the zero-shot pipeline of transformers, where none is sent."""
_ANY_JSON: dict[str, Any] = {"content": {JSON: {"schema": {}}}}
MOST_INPUTS = 2048
"""Of one request for embeddings, as OpenAI has it."""


class ZeroShotParameters(BaseModel):
    """Beside the image."""

    candidate_labels: Annotated[list[Text], Field(min_length=1, max_length=MOST_TEXTS)]
    hypothesis_template: str = HF_TEMPLATE


class ZeroShotBody(BaseModel):
    """Of `POST /hf`."""

    inputs: str
    """An image in base64."""
    parameters: ZeroShotParameters


class EmbeddingsBody(BaseModel):
    """Of `POST /v1/embeddings`."""

    model_config = ConfigDict(extra="ignore")

    model: str = ""
    input: str | Annotated[list[str], Field(min_length=1, max_length=MOST_INPUTS)]
    """Texts, and images as data URIs."""
    encoding_format: Literal["float", "base64"] = "float"
    modality: Literal["text", "image"] | None = None
    """Of infinity's dialect: whether all inputs are texts or images. null: by `data:image/`."""


def foreign_routes(desk: Desk) -> APIRouter:
    """Those that the owner gives."""
    router = APIRouter(route_class=_told_as_others_do(desk), tags=["others' clients"])
    if desk.config.gives.hugging_face:

        @router.post(
            "/hf",
            response_class=Response,
            responses={200: _ANY_JSON, **problems(*ADMISSION, *BODY, 409, 410, 415)},
            openapi_extra=_body_of(ZeroShotBody),
        )
        async def zero_shot(request: Request) -> Response:
            """All labels with their probabilities, the most probable one first."""
            admitted = await desk.admit(request, "predict")
            body = await read_body(request, desk.most_bytes)
            asked = await asyncio.to_thread(_read, ZeroShotBody, body)
            labels = asked.parameters.candidate_labels
            template = asked.parameters.hypothesis_template
            if template.count("{}") != 1:
                raise Problem(
                    422,
                    "bad_template",
                    f"hypothesis_template: must have one {{}}, but got {template!r:.200}",
                )
            task = ClassificationTask(tuple(dict.fromkeys(labels)), template)
            try:
                check_task(task, desk.config.gives)
            except Exception as error:
                raise problem_of(error) from error
            image = await asyncio.to_thread(_image_of, desk, asked.inputs)
            key_id = admitted.caller.key_id

            async def work() -> bytes:
                futures = desk.asker.predict(key_id, task, image, None)
                logits_1NC = await one_of(futures[0])
                logs_C = limited(logits_1NC, desk.config.gives)[0, 0].astype(np.float64)
                scores_C = softmax(logs_C[None])[0]
                order = np.argsort(-scores_C, kind="stable")
                return json.dumps(
                    [
                        {"score": float(scores_C[row]), "label": task.class_names[row]}
                        for row in order
                    ]
                ).encode()

            pairs = len(task.class_names)
            question, keep = await asyncio.to_thread(_asked, request, desk, "hf", pairs, body)
            return await desk.answer(request, admitted, question, work, JSON, keep=keep)

    if desk.config.gives.embeddings:

        @router.post(
            "/v1/embeddings",
            response_class=Response,
            responses={200: _ANY_JSON, **problems(*ADMISSION, *BODY, 409, 410, 415)},
            openapi_extra=_body_of(EmbeddingsBody),
        )
        async def embeddings(request: Request) -> Response:
            """Features of unit length, of texts and of images."""
            admitted = await desk.admit(request, "features")
            body = await read_body(request, desk.most_bytes)
            asked = await asyncio.to_thread(_read, EmbeddingsBody, body)
            inputs = [asked.input] if isinstance(asked.input, str) else asked.input
            if any(not text.strip() for text in inputs):
                raise Problem(422, "bad_input", "input: must not be blank")
            key_id = admitted.caller.key_id

            async def work() -> bytes:
                features_IF = await _features(desk, key_id, inputs, asked.modality)
                return await asyncio.to_thread(
                    _as_openai, features_IF, asked.encoding_format, desk.config.name
                )

            question, keep = await asyncio.to_thread(
                _asked, request, desk, "embeddings", len(inputs), body
            )
            return await desk.answer(request, admitted, question, work, JSON, keep=keep)

    return router


def _told_as_others_do(desk: Desk) -> type[APIRoute]:
    """A problem has, beside its own members, the one that the official clients show."""

    class ForeignRoute(counted(desk.metrics)):  # type: ignore[misc]
        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()

            async def told(request: Request) -> Response:
                try:
                    response: Response = await handle(request)
                    return response
                except Problem as problem:
                    if self.path == "/hf":
                        return problem.response(error=problem.detail)
                    error = {"message": problem.detail, "code": problem.code, "param": None}
                    return problem.response(error={**error, "type": "invalid_request_error"})

            return told

    return ForeignRoute


async def _features(desk: Desk, key_id: str, inputs: list[str], modality: str | None) -> FloatArray:
    """[I, F], in the order of the inputs."""
    is_image = [
        modality == "image" if modality else text.startswith("data:image/") for text in inputs
    ]
    texts = [text for text, image in zip(inputs, is_image, strict=True) if not image]
    images = [text for text, image in zip(inputs, is_image, strict=True) if image]
    found: dict[bool, FloatArray] = {}
    if images:
        pixels = await asyncio.to_thread(_images_of, desk, images)
        found[True] = await one_of(desk.asker.embed_images(key_id, pixels))
    if texts:
        found[False] = await one_of(desk.asker.embed_texts(key_id, texts))
    width = next(iter(found.values())).shape[1]
    features_IF = np.empty((len(inputs), width), np.float32)
    for kind, rows in found.items():
        features_IF[[row for row, image in enumerate(is_image) if image is kind]] = rows
    return features_IF


def _as_openai(features_IF: FloatArray, encoding: str, model: str) -> bytes:
    def told(row: FloatArray) -> Any:
        if encoding == "float":
            return [float(value) for value in row]
        return base64.b64encode(np.ascontiguousarray(row, "<f4").tobytes()).decode()

    data = [
        {"object": "embedding", "index": index, "embedding": told(row)}
        for index, row in enumerate(features_IF)
    ]
    # Tokens are not counted here; the clients want the field.
    usage = {"prompt_tokens": len(features_IF), "total_tokens": len(features_IF)}
    return json.dumps({"object": "list", "model": model, "data": data, "usage": usage}).encode()


def _asked(request: Request, desk: Desk, route: str, pairs: int, body: bytes) -> tuple[Asked, bool]:
    """And whether it may be repeated. The clients of others send no Idempotency-Key: each of their
    requests is a new one."""
    has_key = "idempotency-key" in request.headers
    key = idempotency_key(request) if has_key else f"once-{secrets.token_hex(16)}"
    return Asked(route, pairs, key, hashlib.sha256(body).hexdigest(), desk.holder), has_key


def _read(kind: type[Any], body: bytes) -> Any:
    try:
        return kind.model_validate_json(body)
    except ValidationError as error:
        raise Problem(422, "bad_request", first_words(error)) from None


def _image_of(desk: Desk, text: str) -> PixelSet:
    return _images_of(desk, [text])


def _images_of(desk: Desk, texts: list[str]) -> PixelSet:
    """Base64, with or without the head of a data URI.

    Raises:
        Problem: 422, it is none, or no image.
    """
    arrays = []
    for row, text in enumerate(texts):
        encoded = text.partition(",")[2] if text.startswith("data:") else text
        try:
            data = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            raise Problem(
                422, "bad_image", f"image {row}: must be base64, or a data URI of it"
            ) from None
        if len(data) > desk.config.bounds.image_mb * 10**6:
            most = desk.config.bounds.image_mb
            raise Problem(413, "image_too_large", f"image {row}: must be at most {most} MB")
        arrays.append(decoded(desk, data, str(row)))
    pixels = np.stack(arrays)
    # Nobody asks about them again by an address.
    return PixelSet(secrets.token_hex(16), len(pixels), lambda: pixels)


def _body_of(kind: type[BaseModel]) -> dict[str, Any]:
    schema = kind.model_json_schema(ref_template="#/components/schemas/{model}")
    schema.pop("$defs", None)
    if kind is ZeroShotBody:
        schema["properties"]["parameters"] = ZeroShotParameters.model_json_schema()
    return {"requestBody": {"required": True, "content": {JSON: {"schema": schema}}}}
