"""A reference server of craft-ray's own protocol, over any oracle: pure, to be put behind
`model_server`. It reads bodies with safetensors alone."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import Counter
from dataclasses import fields
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from safetensors.numpy import load

from craft_ray.errors import OracleError
from craft_ray.method.reduction import LinearHeadError, PromptLoss, Reduction
from craft_ray.oracle.contract import ClassificationTask, TaskHandle
from craft_ray.oracle.endpoints.tensor_body import pack
from craft_ray.oracle.endpoints.wire import Reply, Request, lower

_ANSWERS_ONCE = ("/v1/predict", "/v1/score")


class CraftRayServer:
    """Answers requests by an oracle in this process.

    Args:
        oracle: that takes pixels.

    Attributes:
        answered: how often each body was answered by the oracle, and not from memory.
    """

    def __init__(self, oracle: Any) -> None:
        self.oracle = oracle
        self.answered: Counter[bytes] = Counter()
        self._lock = threading.Lock()
        self.restart()

    def restart(self) -> None:
        """What was registered and answered is forgotten."""
        self.tasks: dict[str, TaskHandle] = {}
        self.images: dict[str, npt.NDArray[np.uint8]] = {}
        self._answers: dict[str, Reply] = {}

    def serve(self, request: Request) -> Reply:
        """One request at a time."""
        with self._lock:
            key = lower(request.headers).get("idempotency-key", "")
            if key in self._answers:
                known = self._answers[key]
                headers = {**known.headers, "Idempotency-Replayed": "true"}
                return Reply(known.status, headers, known.body)
            try:
                reply = self._answer(request)
            except KeyError as error:
                return problem(404, "not_registered", f"{error.args[0][:12]} is not registered")
            except OracleError as error:
                return problem(422, "refused", str(error))
            if request.path in _ANSWERS_ONCE:
                self.answered[request.body] += 1
                self._answers[key] = reply
            return reply

    def _answer(self, request: Request) -> Reply:
        if request.path == "/v1/describe":
            return self._describe()
        if request.path == "/v1/tasks":
            asked = json.loads(request.body)
            names, prompts = tuple(asked["class_names"]), tuple(asked.get("prompts", ()))
            task = ClassificationTask(names, asked["template"], prompts)
            handle = self.tasks[task.digest] = self.oracle.register_task(task)
            told = {"digest": handle.digest, "num_classes": handle.num_classes}
            return Reply(200, {}, pack({"initial_context": handle.initial_context}, told))
        if request.path.startswith("/v1/images/"):
            digest = request.path.rpartition("/")[2]
            if hashlib.sha256(request.body).hexdigest() != digest:
                return problem(422, "refused", "the body's digest is another")
            pixels = np.asarray(Image.open(BytesIO(request.body)).convert("RGB"))
            self.images[digest] = pixels.transpose(2, 0, 1)
            return Reply(201, {}, b"")
        return self._question(request)

    def _describe(self) -> Reply:
        described = self.oracle.describe()
        left_out = ("initial_context", "capabilities")
        names = [item.name for item in fields(described) if item.name not in left_out]
        document = {name: getattr(described, name) for name in names}
        return Reply(200, {}, pack({"initial_context": described.initial_context}, document))

    def _question(self, request: Request) -> Reply:
        arrays = load(request.body)
        length = int.from_bytes(request.body[:8], "little")
        asked = json.loads(json.loads(request.body[8 : 8 + length])["__metadata__"]["craft-ray"])
        task = self.tasks[asked["task"]]
        pixels = np.stack([self.images[digest] for digest in asked["images"]])
        images = self.oracle.register_images(pixels)
        contexts = arrays["contexts"]
        spent = len(contexts) * len(pixels) * task.num_classes
        headers = {"X-Craft-Spent": str(spent)}
        if request.path == "/v1/predict":
            logits = self.oracle.predict(task, images, contexts, asked["answer"])
            return Reply(200, headers, pack({"logits": logits}, {}))
        losses = self.oracle.score(task, images, contexts, reduction_of(asked["reduction"], arrays))
        return Reply(200, headers, pack({"losses": np.asarray(losses)}, {}))


def reduction_of(document: dict[str, Any], arrays: dict[str, Any]) -> Reduction:
    """As it was sent."""
    if document["kind"] == "linear_head_error":
        return LinearHeadError(arrays["labels"], document["num_classes"], arrays["known"])
    names = [name for name in arrays if name.startswith("head.")]
    head = {name.removeprefix("head."): arrays[name] for name in names}
    return PromptLoss(
        arrays["labels"], head if document["has_head"] else None, document["consistency"]
    )


def problem(status: int, code: str, detail: str) -> Reply:
    """A refusal, in words."""
    headers = {"Content-Type": "application/problem+json"}
    return Reply(status, headers, json.dumps({"code": code, "detail": detail}).encode())
