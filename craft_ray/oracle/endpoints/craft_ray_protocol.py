"""craft-ray's own protocol: soft prompts and `score`, which no endpoint of others has.

It carries the whole contract of `Oracle`, so it has calls of its own beside `Adapter`'s:

    GET  /v1/describe                  -> tensors: initial_context
    POST /v1/tasks          JSON       -> tensors: initial_context
    PUT  /v1/images/{sha256} a file    -> 200 or 201
    POST /v1/predict        tensors    -> tensors: logits [K, N, C]
    POST /v1/score          tensors    -> tensors: losses [K]

A server that does not know the task or an image, as after it was started again, says so by status
404 with the code `not_registered`; whoever asks registers it again.

Bodies are of `tensor_body`. The server is `craft-ray serve` (`craft_ray.service.http.protocol`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
import numpy.typing as npt

from craft_ray.errors import OracleError
from craft_ray.method.reduction import LinearHeadError, PromptLoss, Reduction
from craft_ray.oracle.contract import (
    Answer,
    ClassificationTask,
    FloatArray,
    OracleDescription,
    TaskHandle,
)
from craft_ray.oracle.endpoints.adapter import json_request
from craft_ray.oracle.endpoints.capabilities import Capabilities, Limits, Price
from craft_ray.oracle.endpoints.failures import Verdict, classify_status, quoted
from craft_ray.oracle.endpoints.tensor_body import MEDIA_TYPE, Arrays, array_of, pack, unpack
from craft_ray.oracle.endpoints.wire import (
    AnswerError,
    ImageFile,
    Part,
    Reply,
    Request,
    Units,
)

LIMITS = Limits(images=16_384, contexts=256, bytes=64_000_000, answer_bytes=64_000_000)
"""What our server takes unless it says otherwise."""
NOT_REGISTERED = "not_registered"
ROOM = 65_536
"""Bytes of a body beside contexts and digests."""
_NO_ROUTES_NOW = b"/-/routes"
_DIGEST_BYTES = 70
_SPENT = "x-craft-spent"


@dataclass(frozen=True)
class ContextQuestion:
    """Soft prompts about registered images.

    Attributes:
        task: registered.
        images: digests of registered files.
        contexts: [K, L, E], or one for each class, [K, C, L, E].
        answer: which predictions.
        reduction: None asks for logits; else each context's logits become one loss.
    """

    task: TaskHandle
    images: tuple[str, ...]
    contexts: FloatArray
    answer: Answer = "logits"
    reduction: Reduction | None = None

    def __post_init__(self) -> None:
        if not self.images or not len(self.contexts):
            raise OracleError("question: must have images and contexts, but has not both")
        if self.reduction is not None:
            try:
                self.reduction.check(len(self.images), self.task.num_classes)
            except (ValueError, KeyError) as error:
                raise OracleError(f"reduction: {error}") from error


@dataclass(frozen=True)
class ContextAnswer:
    """The numbers of one request: logits float32 [K, N, C], or losses float64 [K]."""

    part: Part
    values: npt.NDArray[Any]
    told: Units


@dataclass(frozen=True)
class CraftRayProtocol:
    """The codec.

    Attributes:
        limits: what the server declares.
        prices: what it charges.
    """

    limits: Limits = LIMITS
    prices: tuple[Price, ...] = ()

    def capabilities(self) -> Capabilities:
        """All of the contract."""
        return Capabilities(
            prompts=frozenset({"soft"}),
            answers=frozenset({"logits", "losses"}),
            limits=self.limits,
            prices=self.prices,
        )

    def encode_describe(self) -> Request:
        """Ask for the owner's declaration."""
        return _bare("GET", "/v1/describe", b"", {"Accept": MEDIA_TYPE})

    def decode_description(self, reply: Reply) -> OracleDescription:
        """The owner's declaration. An endpoint is never a white box, whatever it says.

        Raises:
            AnswerError: a declaration is missing or of another kind.
        """
        arrays, document = unpack(reply.body)
        context = array_of(arrays, "initial_context", "float32", (None, None))
        known = {field.name for field in fields(OracleDescription)} - {"initial_context"}
        given = {name: value for name, value in document.items() if name in known}
        given |= {name: tuple(value) for name, value in given.items() if isinstance(value, list)}
        try:
            described = OracleDescription(**{**given, "white_box": False}, initial_context=context)
            sizes = (described.embed_dim, described.context_length, described.image_size)
            _ = described.transform
            is_whole = all(type(size) is int and size > 0 for size in sizes)
            is_named = isinstance(described.oracle_id, str) and bool(described.oracle_id)
            scale = math.isfinite(described.logit_scale) and math.isfinite(described.logit_bias)
        except (TypeError, ValueError) as error:
            raise AnswerError(f"describe: is not a whole declaration: {error}") from None
        if not (is_whole and is_named and scale) or context.shape[1] != described.embed_dim:
            raise AnswerError(
                f"describe: must have oracle_id, sizes above 0, a finite scale and a context of "
                f"width embed_dim, but has {given}"
            )
        return described

    def encode_task(self, task: ClassificationTask) -> Request:
        """Register a task; repeating it costs nothing. A server that knows no whole prompts passes
        over them, and is refused by the digest that it tells."""
        document: dict[str, Any] = {
            "class_names": list(task.class_names),
            "template": task.template,
        }
        if task.prompts:
            document["prompts"] = list(task.prompts)
        return json_request("/v1/tasks", document, Part())

    def decode_task(self, task: ClassificationTask, reply: Reply) -> TaskHandle:
        """The registered task.

        Raises:
            AnswerError: it is another one than was sent.
        """
        arrays, document = unpack(reply.body)
        context = array_of(arrays, "initial_context", "float32", (None, None))
        handle = TaskHandle(task.digest, task.num_texts, context)
        told = (document.get("digest"), document.get("num_classes"))
        if told != (handle.digest, handle.num_classes):
            older = "; a server of an earlier version knows no whole prompts: head.offset=template"
            raise AnswerError(
                f"task: {handle.digest} of {handle.num_classes} classes was sent, but {told} is "
                f"registered{older if task.prompts else ''}"
            )
        return handle

    def encode_image(self, image: ImageFile) -> Request:
        """Register an image by its file; repeating it costs nothing."""
        headers = {"Content-Type": image.media_type}
        return _bare("PUT", f"/v1/images/{image.digest}", image.data, headers)

    def parts_of(self, question: ContextQuestion) -> tuple[Part, ...]:
        """A question in parts within the limits. The images of a score stay together, because a
        loss is of all of them.

        Raises:
            OracleError: one context, or the images of a score, are beyond the limits.
        """
        num_images, limits = len(question.images), self.limits
        row_bytes = 4 * question.task.num_classes
        if question.reduction is None:
            rows = _smallest(num_images, limits.images, _times(limits.answer_bytes, row_bytes))
            most_contexts = _smallest(
                len(question.contexts),
                limits.contexts,
                _times(limits.answer_bytes, row_bytes * rows),
            )
        else:
            rows, most_contexts = num_images, _smallest(limits.contexts, len(question.contexts))
            if limits.images is not None and num_images > limits.images:
                raise OracleError(
                    f"oracle.limits.images: must hold all {num_images} images of a score, but is "
                    f"{limits.images}"
                )
        beside = ROOM + _DIGEST_BYTES * rows + getattr(question.reduction, "num_bytes", 0)
        context_bytes = max(question.contexts[0].nbytes, 1)
        if limits.bytes is not None and beside + context_bytes > limits.bytes:
            raise OracleError(
                f"oracle.limits.bytes: must hold one context, which needs "
                f"{beside + context_bytes} bytes, but is {limits.bytes}"
            )
        room = None if limits.bytes is None else limits.bytes - beside
        columns = _smallest(most_contexts, len(question.contexts), _times(room, context_bytes))
        runs = _runs(len(question.contexts), columns)
        if question.reduction is not None:
            return tuple(Part(contexts=contexts) for contexts in runs)
        return tuple(
            Part(images, (), contexts) for images in _runs(num_images, rows) for contexts in runs
        )

    def encode(self, question: ContextQuestion, part: Part) -> Request:
        """The request of a part."""
        reduction = question.reduction
        arrays: Arrays = {"contexts": question.contexts[list(part.contexts)]}
        images = [question.images[row] for row in _images(question, part)]
        document: dict[str, Any] = {"task": question.task.digest, "images": images}
        if reduction is None:
            document["answer"] = question.answer
        else:
            more, document["reduction"] = _reduction(reduction)
            arrays |= more
        path = "/v1/predict" if reduction is None else "/v1/score"
        headers = {"Content-Type": MEDIA_TYPE, "Accept": MEDIA_TYPE}
        pairs = len(part.contexts) * len(images) * question.task.num_classes
        return Request("POST", path, headers, pack(arrays, document), part, Units(pairs=pairs))

    def decode(self, question: ContextQuestion, request: Request, reply: Reply) -> ContextAnswer:
        """The numbers of a reply.

        Raises:
            AnswerError: they are missing, of another shape, or not finite.
        """
        arrays, _ = unpack(reply.body)
        part = request.part
        if question.reduction is None:
            shape = (len(part.contexts), len(part.images), question.task.num_classes)
            values = array_of(arrays, "logits", "float32", shape)
        else:
            values = array_of(arrays, "losses", "float64", (len(part.contexts),))
        spent = (reply.header(_SPENT) or "").strip()
        is_count = spent.isascii() and spent.isdecimal() and len(spent) < 16
        return ContextAnswer(part, values, Units(pairs=int(spent) if is_count else None))

    def join(self, question: ContextQuestion, answers: Sequence[ContextAnswer]) -> npt.NDArray[Any]:
        """The answers of all parts, in any order: logits [K, N, C] or losses [K].

        Raises:
            OracleError: one is missing, or there is one twice.
        """
        num_contexts, num_images = len(question.contexts), len(question.images)
        times = np.zeros((num_contexts, num_images), dtype=int)
        is_score = question.reduction is not None
        classes = () if is_score else (num_images, question.task.num_classes)
        joined = np.empty((num_contexts, *classes), dtype="float64" if is_score else "float32")
        for answer in answers:
            cells = np.ix_(answer.part.contexts, _images(question, answer.part))
            times[cells] += 1
            joined[list(answer.part.contexts) if is_score else cells] = answer.values
        if (times != 1).any():
            raise OracleError(
                f"answers: must be there once for each context and image, but for "
                f"{int((times != 1).sum())} of {times.size} they are not"
            )
        return joined

    def classify(self, request: Request, reply: Reply, now: float) -> Verdict | None:
        """What a refusal means. 409: the same question is being answered; its answer is kept. A
        server that starts or ends says by 404, in the words of Ray Serve, that it has no routes
        now."""
        if reply.status == 404 and _NO_ROUTES_NOW in reply.body:
            return Verdict("retry", "no", "status 404: the service starts or ends")
        return classify_status(request, reply, now)

    def has_forgotten(self, reply: Reply) -> bool:
        """Whether a refusal says that the task or an image must be registered first."""
        return reply.status == 404 and NOT_REGISTERED in quoted(reply.body)


def _images(question: ContextQuestion, part: Part) -> tuple[int, ...]:
    """A score names no images in its parts, so that nobody splits it by them: it is of all."""
    return part.images or tuple(range(len(question.images)))


def _bare(method: str, path: str, body: bytes, headers: dict[str, str]) -> Request:
    return Request(method, path, headers, body, Part(), Units())


def _reduction(reduction: Reduction) -> tuple[Arrays, dict[str, Any]]:
    labels: Arrays = {"labels": reduction.labels_N.astype(np.int64)}
    if isinstance(reduction, LinearHeadError):
        arrays = {**labels, "known": reduction.known_NF}
        return arrays, {"kind": "linear_head_error", "num_classes": reduction.num_classes}
    assert isinstance(reduction, PromptLoss)
    head = {f"head.{name}": weights for name, weights in (reduction.head or {}).items()}
    document = {
        "kind": "prompt_loss",
        "consistency": reduction.consistency,
        "has_head": reduction.head is not None,
    }
    return {**labels, **head}, document


def _smallest(*counts: int | None) -> int:
    """Of those that are known, and at least 1."""
    return max(1, min(count for count in counts if count is not None))


def _times(room: int | None, size: int) -> int | None:
    """How often something fits."""
    return None if room is None else room // size


def _runs(number: int, most: int) -> list[tuple[int, ...]]:
    return [tuple(range(start, min(start + most, number))) for start in range(0, number, most)]
