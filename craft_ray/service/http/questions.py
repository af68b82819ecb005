"""From bodies of craft-ray's protocol to questions: pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from craft_ray.data.dataset import LONGEST_CLASS_NAME
from craft_ray.method.reduction import LinearHeadError, PromptLoss, Reduction
from craft_ray.oracle.contract import Answer, ClassificationTask, FloatArray
from craft_ray.oracle.endpoints.craft_ray_protocol import LIMITS
from craft_ray.oracle.endpoints.tensor_body import MEDIA_TYPE, Arrays, unpack
from craft_ray.oracle.endpoints.wire import AnswerError
from craft_ray.service.http.bodies import check_digest
from craft_ray.service.http.problems import Problem

MOST_TEXTS = 50_000
"""Of a task, classes and prompts together."""
_HEAD = "head."

Text = Annotated[str, Field(min_length=1, max_length=LONGEST_CLASS_NAME)]


class TaskBody(BaseModel):
    """Of `POST /v1/tasks`."""

    model_config = ConfigDict(extra="forbid")

    class_names: Annotated[list[Text], Field(min_length=1, max_length=MOST_TEXTS)]
    template: Annotated[str, Field(max_length=1000)]
    prompts: Annotated[list[Text], Field(max_length=MOST_TEXTS)] = []


@dataclass(frozen=True)
class TaskQuestion:
    """What both kinds of questions have.

    Attributes:
        task: digest of a registered one.
        images: digests of registered ones.
        contexts: float32 [K, L, E] or [K, C, L, E].
        answer: of `predict`.
        reduction: of `score`, else None.
    """

    task: str
    images: tuple[str, ...]
    contexts: FloatArray
    answer: Answer = "logits"
    reduction: Reduction | None = None


def read_task(body: bytes) -> ClassificationTask:
    """A task that is to be registered.

    Raises:
        Problem: 422, it breaks a law.
    """
    try:
        read = TaskBody.model_validate_json(body)
    except ValidationError as error:
        raise Problem(422, "bad_task", first_words(error)) from None
    if read.template.count("{}") != 1:
        raise Problem(
            422, "bad_task", f"template: must have one {{}}, but got {read.template!r:.200}"
        )
    names = (*read.class_names, read.template, *read.prompts)
    if any("\0" in name or not _is_text(name) for name in names):
        raise Problem(422, "bad_task", "class_names, template, prompts: must be printable text")
    return ClassificationTask(tuple(read.class_names), read.template, tuple(read.prompts))


def task_as_json(task: ClassificationTask) -> bytes:
    """As `read_task` reads it."""
    document = {
        "class_names": task.class_names,
        "template": task.template,
        "prompts": task.prompts,
    }
    return json.dumps(document).encode()


def read_question(body: bytes, *, is_score: bool) -> TaskQuestion:
    """A question of `/v1/predict` or `/v1/score`.

    Raises:
        Problem: 400, it is no body of the protocol; 422, it breaks a law.
    """
    arrays, document = _unpacked(body)
    task = check_digest(document.get("task"), "task")
    images = document.get("images")
    if not isinstance(images, list) or not 1 <= len(images) <= (LIMITS.images or 1):
        raise Problem(
            422, "bad_question", f"images: must be 1 to {LIMITS.images} digests, but are not"
        )
    digests = tuple(check_digest(digest, f"images[{row}]") for row, digest in enumerate(images))
    contexts = arrays.pop("contexts", None)
    if contexts is None or contexts.dtype != np.float32 or contexts.ndim not in (3, 4):
        raise Problem(
            422, "bad_question", "contexts: must be float32 [K, L, E] or [K, C, L, E], but are not"
        )
    if not 1 <= len(contexts) <= (LIMITS.contexts or 1):
        raise Problem(
            422, "bad_question", f"contexts: must be 1 to {LIMITS.contexts}, but {len(contexts)}"
        )
    if is_score:
        reduction = _reduction(document.get("reduction"), arrays)
        return TaskQuestion(task, digests, contexts, reduction=reduction)
    answer = document.get("answer", "logits")
    if answer not in ("logits", "unnormalized_logits"):
        raise Problem(
            422,
            "bad_question",
            f"answer: must be logits or unnormalized_logits, but got {answer!r:.60}",
        )
    return TaskQuestion(task, digests, contexts, answer)


def _unpacked(body: bytes) -> tuple[Arrays, dict[str, Any]]:
    try:
        arrays, document = unpack(body)
    except AnswerError as error:
        words = str(error).replace("the endpoint's answer", "the body")
        raise Problem(400, "bad_body", words) from None
    except (RecursionError, OverflowError, MemoryError):
        raise Problem(400, "bad_body", f"the body must be {MEDIA_TYPE}, but is not") from None
    return arrays, document


def _reduction(document: Any, arrays: Arrays) -> Reduction:
    """As `CraftRayProtocol` sends it; whether it fits images and task, the oracle says."""
    kind = document.get("kind") if isinstance(document, dict) else None
    labels = arrays.pop("labels", None)
    if kind not in ("linear_head_error", "prompt_loss") or labels is None:
        raise Problem(
            422,
            "bad_reduction",
            "reduction: must be of kind linear_head_error or prompt_loss, with labels, but is not",
        )
    if labels.dtype != np.int64 or labels.ndim != 1:
        raise Problem(422, "bad_reduction", "labels: must be int64 [N], but are not")
    if kind == "linear_head_error":
        known, num_classes = arrays.get("known"), document.get("num_classes")
        if known is None or known.ndim != 2 or type(num_classes) is not int:
            raise Problem(
                422, "bad_reduction", "known, num_classes: must be float32 [N, F] and a number"
            )
        return LinearHeadError(labels, num_classes, known)
    consistency = document.get("consistency")
    if type(consistency) not in (int, float):
        raise Problem(422, "bad_reduction", "consistency: must be a number, but is not")
    head = {
        name.removeprefix(_HEAD): array
        for name, array in arrays.items()
        if name.startswith(_HEAD) and array.dtype == np.float32
    }
    return PromptLoss(labels, head if document.get("has_head") else None, float(consistency))


def _is_text(name: str) -> bool:
    """Half a surrogate pair, which JSON can hold, is no text for a tokenizer."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def first_words(error: ValidationError) -> str:
    """Where and what, of the first fault; without what was sent."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"]) or "body"
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{where}: {first['msg']}{more}"
