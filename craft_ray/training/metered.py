"""Every question to the oracle passes here: authorised before, counted after."""

from __future__ import annotations

from typing import cast

from craft_ray.method.reduction import LabelArray, Reduction
from craft_ray.method.scoring import reduce_logits
from craft_ray.oracle.contract import (
    Answer,
    ClassificationTask,
    FloatArray,
    ImageHandle,
    LossArray,
    Oracle,
    OracleDescription,
    PixelArray,
    ScoringOracle,
    TaskHandle,
    WhiteBoxOracle,
    check_white_box,
)
from craft_ray.training.ledger import Purpose, QueryLedger, Spending, cost_of


class MeteredOracle:
    """The only way in which anybody asks: authorised before, recorded after."""

    def __init__(self, oracle: Oracle, ledger: QueryLedger) -> None:
        self._oracle = oracle
        self.ledger = ledger

    def describe(self) -> OracleDescription:
        """See `Oracle`; free."""
        return self._oracle.describe()

    def register_task(self, task: ClassificationTask) -> TaskHandle:
        """See `Oracle`; free."""
        return self._oracle.register_task(task)

    def register_images(self, pixels_NSS: PixelArray, *, keep: bool = True) -> ImageHandle:
        """See `Oracle`; counted as images sent."""
        handle = self._oracle.register_images(pixels_NSS, keep=keep)
        self.ledger.record(Spending(images_sent=len(pixels_NSS)))
        return handle

    def predict(
        self,
        task: TaskHandle,
        images: ImageHandle,
        contexts_KLE: FloatArray,
        *,
        purpose: Purpose,
        answer: Answer = "logits",
    ) -> FloatArray:
        """Logits [K, N, C]; see `Oracle.predict`.

        Raises:
            BudgetError: the candidate budget does not cover it; nothing was asked.
        """
        cost = cost_of(purpose, len(contexts_KLE), images.num_images, task.num_classes)
        self.ledger.authorize(cost)
        logits = self._oracle.predict(task, images, contexts_KLE, answer)
        self.ledger.record(cost)
        return logits

    def score(
        self,
        task: TaskHandle,
        images: ImageHandle,
        contexts_KLE: FloatArray,
        reduction: Reduction,
    ) -> LossArray:
        """Losses of candidates, float64 [K], reduced beside the oracle if it offers that.

        Either way every image is predicted, and costs the same.

        Raises:
            BudgetError: the candidate budget does not cover it; nothing was asked.
        """
        cost = cost_of("search", len(contexts_KLE), images.num_images, task.num_classes)
        self.ledger.authorize(cost)
        if self._oracle.describe().scores:
            scoring = cast(ScoringOracle, self._oracle)
            losses = scoring.score(task, images, contexts_KLE, reduction)
        else:
            logits = self._oracle.predict(task, images, contexts_KLE)
            losses = reduce_logits(logits, reduction)
        self.ledger.record(cost)
        return losses

    def image_features(self, images: ImageHandle) -> FloatArray:
        """See `WhiteBoxOracle`.

        Raises:
            OracleError: the oracle is a black box.
        """
        features = self._open().image_features(images)
        self.ledger.record(cost_of("white_box", 1, images.num_images, num_classes=0))
        return features

    def context_gradient(
        self, task: TaskHandle, images: ImageHandle, context_LE: FloatArray, labels_N: LabelArray
    ) -> tuple[float, FloatArray]:
        """See `WhiteBoxOracle`.

        Raises:
            OracleError: the oracle is a black box.
        """
        answer = self._open().context_gradient(task, images, context_LE, labels_N)
        self.ledger.record(cost_of("white_box", 1, images.num_images, task.num_classes))
        return answer

    def _open(self) -> WhiteBoxOracle:
        check_white_box(self._oracle.describe())
        return cast(WhiteBoxOracle, self._oracle)
