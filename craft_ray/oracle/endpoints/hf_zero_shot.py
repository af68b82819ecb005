"""Scores by the zero-shot pipeline of Hugging Face's `transformers`, as its containers serve it.

`endpoint` is Inference Endpoints and the toolkit's own container, `sagemaker` the same behind
`/invocations`, `vertex` wraps questions into `instances` and answers into `predictions`.

Scores are a softmax over the labels sent, or, for SigLIP, each label's own sigmoid. Labels come
back sorted by score, so they are found by their words.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from craft_ray.errors import OracleError
from craft_ray.oracle.endpoints.adapter import json_request
from craft_ray.oracle.endpoints.capabilities import NO_LIMITS, Capabilities, Limits, Price, Served
from craft_ray.oracle.endpoints.failures import Verdict, can_split, classify_status
from craft_ray.oracle.endpoints.parsing import entry, json_of, matrix
from craft_ray.oracle.endpoints.wire import (
    Answer,
    AnswerError,
    FloatArray,
    Part,
    Question,
    Reply,
    Request,
)

Wrapper = Literal["endpoint", "sagemaker", "vertex"]

_PATHS: dict[Wrapper, str] = {"endpoint": "", "sagemaker": "/invocations", "vertex": ""}
_LIMITS = Limits(images=1)
_LONGEST_WAIT_S = 3600.0


@dataclass(frozen=True)
class HFZeroShot:
    """The adapter.

    Attributes:
        sigmoid: whether the model is of SigLIP's kind, whose scores do not depend on each other.
        wrapper: around questions and answers.
        path: below the URL. None: the wrapper's.
        decimals: that scores are rounded to, if they are.
        limits: one image a request, as the official client has it, unless more are declared.
        prices: of the endpoint.
    """

    sigmoid: bool = False
    wrapper: Wrapper = "endpoint"
    path: str | None = None
    decimals: int | None = None
    limits: Limits = NO_LIMITS
    prices: tuple[Price, ...] = ()

    @property
    def _served(self) -> Served:
        return "sigmoid" if self.sigmoid else "probabilities"

    def capabilities(self) -> Capabilities:
        return Capabilities(
            prompts=frozenset({"text"}),
            answers=frozenset({self._served}),
            joint_over_labels=not self.sigmoid,
            decimals=self.decimals,
            limits=self.limits.or_else(_LIMITS),
            prices=self.prices,
        )

    def encode(self, question: Question, part: Part) -> Request:
        if not question.is_scores:
            raise OracleError(
                "hf_zero_shot: answers with scores: a question must have images and "
                "texts, but has one of them only"
            )
        labels = [question.texts[text] for text in part.texts]
        if len(labels) < 2 and not self.sigmoid:
            raise OracleError(
                "hf_zero_shot: must have at least 2 texts, whose scores add up to 1, but got "
                f"{len(labels)}"
            )
        images = [question.images[row].base64 for row in part.images]
        # The pipeline's own template is "This is a photo of {}."; ours is in the texts already.
        parameters = {"candidate_labels": labels, "hypothesis_template": "{}"}
        path = _PATHS[self.wrapper] if self.path is None else self.path
        if self.wrapper == "vertex":
            return json_request(path, {"instances": images, "parameters": parameters}, part)
        inputs = images[0] if len(images) == 1 else images
        return json_request(path, {"inputs": inputs, "parameters": parameters}, part)

    def decode(self, question: Question, request: Request, reply: Reply) -> Answer:
        document = json_of(reply)
        answers = entry(document, "predictions", list) if self.wrapper == "vertex" else document
        if not isinstance(answers, list):
            entry(document, "[list of labels and scores]", list)  # raises: it is something else
        if answers and isinstance(answers[0], dict):  # one image's, without a list around it
            answers = [answers]
        labels = [question.texts[text] for text in request.part.texts]
        rows = [_scores(answer, labels) for answer in answers]
        scores = matrix(rows, len(request.part.images), len(labels), "scores")
        if not self.sigmoid:
            self._check_softmax(scores)
        elif scores.min() < 0 or scores.max() > 1:
            raise AnswerError(
                f"scores: must be between 0 and 1, but are {scores.min()} to {scores.max()}"
            )
        return Answer(request.part, scores)

    def classify(self, request: Request, reply: Reply, now: float) -> Verdict | None:
        """The toolkit says 400 to all that goes wrong, also where memory is short: halves may go.
        An endpoint that wakes up says 503, and sometimes when it will be ready."""
        verdict = classify_status(request, reply, now)
        if verdict is None:
            return None
        if reply.status == 400 and can_split(request.part):
            return replace(verdict, action="split")
        if reply.status == 503 and verdict.wait_s is None:
            return replace(verdict, wait_s=_estimated_time(reply))
        return verdict

    def _check_softmax(self, scores: FloatArray) -> None:
        rounding = 0.0 if self.decimals is None else 0.5 * 10.0**-self.decimals
        sums = scores.sum(axis=1, dtype=np.float64)
        worst = float(sums[np.abs(sums - 1).argmax()])
        if scores.min() < 0 or abs(worst - 1) > 0.01 + rounding * scores.shape[1]:
            raise AnswerError(
                f"scores: must be probabilities that add up to 1, but add up to {worst:.4g}: say "
                "oracle.options.sigmoid=true if the model is of SigLIP's kind, "
                "oracle.options.decimals=N if its scores are rounded"
            )


def _scores(answer: Any, labels: Sequence[str]) -> list[Any]:
    """One image's, in the order of the labels that were sent."""
    if not isinstance(answer, list):
        entry(answer, "[list of labels and scores]", list)
    found = [(entry(item, "label", str), entry(item, "score", (int, float))) for item in answer]
    scores = dict(found)
    if len(found) != len(labels) or scores.keys() != set(labels):
        missing = [label for label in labels if label not in scores]
        raise AnswerError(
            f"labels: {len(labels)} were sent, each must come back once, but {len(found)} came, "
            f"without {missing[:3]}: an endpoint that tells its best labels only needs an adapter "
            "of your own (docs/endpoints.md), with answers={'top_k'}"
        )
    return [scores[label] for label in labels]


def _estimated_time(reply: Reply) -> float | None:
    """Seconds until a model is loaded, as `{"error": "...", "estimated_time": 20.0}` says."""
    try:
        document = json.loads(reply.body)
    except (ValueError, RecursionError):
        return None
    seconds = document.get("estimated_time") if isinstance(document, dict) else None
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    return float(seconds) if 0 <= seconds <= _LONGEST_WAIT_S else None
