"""An oracle whose caller dies in the middle: what it has answered until then has been paid for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from craft_ray.method.reduction import Reduction
from craft_ray.method.scoring import reduce_logits
from craft_ray.oracle.contract import (
    Answer,
    FloatArray,
    ImageHandle,
    LossArray,
    OnPart,
    OracleDescription,
    TaskHandle,
    ignore_part,
)
from tests.support.fake_oracle import FakeOracle
from tests.support.world import BOTH_ANSWERS


class DiedError(Exception):
    """The process ended here."""


class DyingOracle(FakeOracle):
    """Answers candidates in parts, in an order of its own, until `answers_left` are given.

    Attributes:
        answers_left: candidates and single predictions until death; None: lives on.
        candidates_served: candidates that have been answered, over all lives.
        predictions_served: other contexts that have been answered, over all lives.
    """

    def __init__(self, part_size: int = 3) -> None:
        super().__init__(answers=BOTH_ANSWERS)
        self._part_size = part_size
        self.answers_left: int | None = None
        self.candidates_served = 0
        self.predictions_served = 0

    def describe(self) -> OracleDescription:
        return replace(super().describe(), scores=True)

    def predict(
        self,
        task: TaskHandle,
        images: ImageHandle,
        contexts_KLE: FloatArray,
        answer: Answer = "logits",
    ) -> FloatArray:
        self._serve_one()
        self.predictions_served += len(contexts_KLE)
        return super().predict(task, images, contexts_KLE, answer)

    def score(
        self,
        task: TaskHandle,
        images: ImageHandle,
        contexts_KLE: FloatArray,
        reduction: Reduction,
        on_part: OnPart = ignore_part,
    ) -> LossArray:
        losses_K = np.empty(len(contexts_KLE))
        starts = range(0, len(contexts_KLE), self._part_size)
        for start in reversed(starts):
            self._serve_one()
            part = contexts_KLE[start : start + self._part_size]
            losses = reduce_logits(super().predict(task, images, part), reduction)
            self.candidates_served += len(part)
            losses_K[start : start + len(part)] = losses
            on_part(start, losses)
        return losses_K

    def _serve_one(self) -> None:
        if self.answers_left is None:
            return
        if self.answers_left == 0:
            raise DiedError
        self.answers_left -= 1
