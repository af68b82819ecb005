"""Our own protocol against a model of its server, which reads the bytes with safetensors alone."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load, save

from craft_ray.errors import OracleError
from craft_ray.method.reduction import LinearHeadError, PromptLoss
from craft_ray.oracle.contract import ClassificationTask, TaskHandle
from craft_ray.oracle.endpoints.capabilities import Limits, check_method
from craft_ray.oracle.endpoints.craft_ray_protocol import (
    LIMITS,
    ROOM,
    ContextQuestion,
    CraftRayProtocol,
)
from craft_ray.oracle.endpoints.parts import halves
from craft_ray.oracle.endpoints.tensor_body import pack
from craft_ray.oracle.endpoints.wire import AnswerError, Reply, Request
from tests.oracle.endpoints.servers import image

EMBED_DIM = 2
TASK = ClassificationTask(("cat", "dog", "hen"))
HANDLE = TaskHandle(TASK.digest, 3, np.zeros((4, EMBED_DIM), dtype=np.float32))
DESCRIPTION = {
    "oracle_id": "tiny",
    "embed_dim": EMBED_DIM,
    "context_length": 77,
    "image_size": 32,
    "logit_scale": 100.0,
    "answers": ["logits"],
    "scores": True,
    "white_box": True,
    "added_in_a_later_version": 1,
}

Logits = np.ndarray[Any, np.dtype[np.float32]]


def logits_of(contexts: Logits, images: Any, num_classes: int = 3) -> Logits:
    seen = np.array([[int(name[:4], 16) % 97 + c for c in range(num_classes)] for name in images])
    sums = contexts.reshape(len(contexts), -1).sum(axis=1)
    logits: Logits = (sums[:, None, None] * seen[None]).astype(np.float32)
    return logits


def served(request: Request) -> Reply:
    """What the server answers."""
    if request.path == "/v1/describe":
        context = np.ones((4, EMBED_DIM), dtype=np.float32)
        return Reply(200, {}, pack({"initial_context": context}, DESCRIPTION))
    if request.path == "/v1/tasks":
        asked = json.loads(request.body)
        task = ClassificationTask(tuple(asked["class_names"]), asked["template"])
        told = {"digest": task.digest, "num_classes": len(task.class_names)}
        return Reply(200, {}, pack({"initial_context": HANDLE.initial_context}, told))
    arrays = load(request.body)
    length = int.from_bytes(request.body[:8], "little")
    asked = json.loads(json.loads(request.body[8 : 8 + length])["__metadata__"]["craft-ray"])
    assert asked["protocol"] == "craft-ray/1"
    assert asked["task"] == TASK.digest
    logits = logits_of(arrays["contexts"], asked["images"])
    headers = {"X-Craft-Spent": str(logits.size)}
    if request.path == "/v1/predict":
        assert asked["answer"] == "logits"
        return Reply(200, headers, pack({"logits": logits}, {}))
    rows = np.arange(len(arrays["labels"]))
    losses = logits[:, rows, arrays["labels"]].mean(axis=1).astype(np.float64)
    return Reply(200, headers, pack({"losses": losses}, {}))


def question(num_contexts: int, num_images: int, *, by_class: bool = False) -> ContextQuestion:
    shape = (num_contexts, 3, 4, EMBED_DIM) if by_class else (num_contexts, 4, EMBED_DIM)
    contexts = (np.arange(np.prod(shape)).reshape(shape) / 100).astype(np.float32)
    digests = tuple(hashlib.sha256(bytes([row])).hexdigest() for row in range(num_images))
    return ContextQuestion(HANDLE, digests, contexts)


def answered(codec: CraftRayProtocol, asked: ContextQuestion, data: st.DataObject) -> Any:
    answers = []
    for part in data.draw(st.permutations(codec.parts_of(asked))):
        pieces = halves(part) if data.draw(st.booleans()) else ()
        for piece in pieces or (part,):
            request = codec.encode(asked, piece)
            assert codec.limits.bytes is None or len(request.body) <= codec.limits.bytes
            reply = served(request)
            assert codec.classify(request, reply, 0.0) is None
            answer = codec.decode(asked, request, reply)
            assert answer.told == request.units
            if asked.reduction is None and codec.limits.answer_bytes is not None:
                assert answer.values.nbytes <= max(codec.limits.answer_bytes, 12)
            answers.append(answer)
    return codec.join(asked, answers)


limits = st.builds(
    Limits,
    images=st.none() | st.integers(1, 5),
    contexts=st.none() | st.integers(1, 5),
    bytes=st.none() | st.integers(ROOM + 1000, ROOM + 1200),
    answer_bytes=st.none() | st.integers(12, 200),
)


@given(
    limits=limits,
    num_contexts=st.integers(1, 7),
    num_images=st.integers(1, 7),
    by_class=st.booleans(),
    data=st.data(),
)
def test_predictions_in_parts_are_those_of_one_question(
    limits: Limits, num_contexts: int, num_images: int, by_class: bool, data: st.DataObject
) -> None:
    asked = question(num_contexts, num_images, by_class=by_class)
    values = answered(CraftRayProtocol(limits), asked, data)
    np.testing.assert_array_equal(values, logits_of(asked.contexts, asked.images))
    assert values.dtype == np.float32


@given(num_contexts=st.integers(1, 7), most=st.integers(1, 3), data=st.data())
def test_scores_are_split_by_contexts_only(
    num_contexts: int, most: int, data: st.DataObject
) -> None:
    labels = np.array([0, 2, 1, 1])
    shapes = {
        "enter.weight": (2, 3),
        "enter.bias": (2,),
        "leave.weight": (3, 2),
        "leave.bias": (3,),
    }
    head = {name: np.ones(shape, dtype=np.float32) for name, shape in shapes.items()}
    for reduction in (
        PromptLoss(labels, head, 0.5),
        PromptLoss(labels, None, 0.0),
        LinearHeadError(labels, 3, np.ones((4, 2), dtype=np.float32)),
    ):
        asked = replace(question(num_contexts, 4), reduction=reduction)
        losses = answered(CraftRayProtocol(replace(LIMITS, contexts=most)), asked, data)
        logits = logits_of(asked.contexts, asked.images)
        np.testing.assert_allclose(losses, logits[:, range(4), labels].mean(axis=1))
        assert losses.dtype == np.float64


def test_registrations() -> None:
    codec = CraftRayProtocol()
    description = codec.decode_description(served(codec.encode_describe()))
    assert (description.oracle_id, description.answers) == ("tiny", ("logits",))
    assert description.scores
    assert not description.white_box  # whatever it says
    handle = codec.decode_task(TASK, served(codec.encode_task(TASK)))
    assert (handle.digest, handle.num_classes) == (TASK.digest, 3)
    request = codec.encode_image(image("a"))
    assert (request.method, request.path) == ("PUT", f"/v1/images/{image('a').digest}")
    assert request.headers["Content-Type"] == "image/png"
    assert request.body == image("a").data
    assert check_method(codec.capabilities(), "both") == "contexts"


def test_another_task_than_was_sent() -> None:
    codec = CraftRayProtocol()
    reply = served(codec.encode_task(replace(TASK, template="{}")))
    with pytest.raises(AnswerError, match="was sent, but"):
        codec.decode_task(TASK, reply)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"embed_dim": 3}, "a context of width embed_dim"),
        ({"embed_dim": "2"}, "sizes above 0"),
        ({"oracle_id": ""}, "must have oracle_id"),
        ({"logit_scale": None}, "not a whole declaration"),
        ({"resize_mode": "stretch"}, "resize_mode must be one of"),
    ],
)
def test_a_declaration_that_cannot_be(change: dict[str, Any], words: str) -> None:
    body = pack(
        {"initial_context": np.ones((4, EMBED_DIM), dtype=np.float32)}, {**DESCRIPTION, **change}
    )
    with pytest.raises(AnswerError, match=words):
        CraftRayProtocol().decode_description(Reply(200, {}, body))


def test_answers_that_are_not_what_was_asked_for() -> None:
    codec, asked = CraftRayProtocol(), question(2, 3)
    (part,) = codec.parts_of(asked)
    request = codec.encode(asked, part)
    good = served(request).body
    ones = np.ones((2, 3, 3), dtype=np.float32)
    for body, again, words in (
        (b"", True, "broken or something else"),
        (good[:-1], True, "broken or something else"),
        (good[: len(good) // 2], True, "broken or something else"),
        (b'{"error": "no"}', True, "broken or something else"),
        (save({"logits": ones}), True, "broken or something else"),
        (b"<html>", False, "HTML page"),
        (pack({"logits": ones}, {"protocol": "craft-ray/2"}), False, "must be craft-ray/1"),
        (pack({"losses": ones}, {}), False, "logits: must be float32 .* but is missing"),
        (pack({"logits": ones[:1]}, {}), False, r"\[2, 3, 3\], but is float32 \[1, 3, 3\]"),
        (pack({"logits": ones.astype("f8")}, {}), False, "but is float64"),
        (pack({"logits": ones * np.nan}, {}), False, "logits: must be finite"),
    ):
        with pytest.raises(AnswerError, match=words) as raised:
            codec.decode(asked, request, Reply(200, {}, body))
        assert raised.value.again is again, body


def test_missing_and_double_answers() -> None:
    codec, asked = CraftRayProtocol(Limits(contexts=1)), question(2, 3)
    requests = [codec.encode(asked, part) for part in codec.parts_of(asked)]
    one, two = (codec.decode(asked, request, served(request)) for request in requests)
    for answers in ([], [one], [one, one], [one, two, two]):
        with pytest.raises(OracleError, match="once for each context and image"):
            codec.join(asked, answers)


def test_equal_questions_are_equal_bytes() -> None:
    """An idempotency key stands for them."""
    codec, asked = CraftRayProtocol(), question(3, 3)
    (part,) = codec.parts_of(asked)
    assert codec.encode(asked, part).body == codec.encode(question(3, 3), part).body


def test_refusals() -> None:
    codec, asked = (
        CraftRayProtocol(),
        replace(question(1, 4), reduction=PromptLoss(np.array([0, 1, 2, 0]), None, 0.0)),
    )
    (part,) = codec.parts_of(asked)
    request = codec.encode(asked, part)
    for status, body, action in (
        (403, b'{"title": "quota_exhausted", "detail": "0 of 10 left"}', "never"),
        (409, b"", "retry"),
        (404, b"Path '/v1/predict' not found. Ping http://.../-/routes for", "retry"),
        (413, b"", "never"),  # one context, and a score is not split by images
        (429, b"", "retry"),
    ):
        verdict = codec.classify(request, Reply(status, {"retry-after": "1"}, body), 0.0)
        assert verdict is not None
        assert (verdict.action, verdict.billed) == (action, "no")


def test_questions_beyond_the_limits() -> None:
    asked = replace(question(1, 4), reduction=PromptLoss(np.array([0, 1, 2, 0]), None, 0.0))
    with pytest.raises(OracleError, match=r"limits.images: must hold all 4 images of a score"):
        CraftRayProtocol(Limits(images=3)).parts_of(asked)
    with pytest.raises(OracleError, match=r"limits.bytes: must hold one context"):
        CraftRayProtocol(Limits(bytes=100)).parts_of(asked)
    with pytest.raises(OracleError, match="must have images and contexts"):
        question(1, 0)
    with pytest.raises(OracleError, match=r"reduction: labels must be integers \[4\]"):
        replace(question(1, 4), reduction=PromptLoss(np.array([0]), None, 0.0))
