"""The driver's own questions: how good a classifier is on validation and, at the end, test data."""

from __future__ import annotations

from craft_ray.training.classifier import Score, TunedClassifier, score_logits
from craft_ray.training.ledger import Spending
from craft_ray.training.metered import MeteredOracle
from craft_ray.training.preparation import FewShotData, register_test_images
from craft_ray.training.task import LabelledImages, PreparedTask


class Examiner:
    """Scores classifiers on validation and test data, in the driver, and counts it.

    Test images are registered when they are first asked for: after the search has ended.
    """

    def __init__(self, oracle: MeteredOracle, prepared: PreparedTask, data: FewShotData) -> None:
        self._oracle = oracle
        self._prepared = prepared
        self._data = data
        self._test: LabelledImages | None = None

    @property
    def spent(self) -> Spending:
        """What the driver has spent: these scores, and the image sets that it sent."""
        return self._oracle.ledger.spent

    @property
    def zero_shot(self) -> TunedClassifier:
        """The untouched classifier."""
        return TunedClassifier(self._prepared.task.initial_context, None)

    def validate(self, classifier: TunedClassifier) -> Score:
        """Score on the validation split."""
        return self._score(classifier, self._prepared.validation)

    def test(self, classifier: TunedClassifier) -> Score:
        """Score on the test split; for the report, never for a choice."""
        if self._test is None:
            self._test = register_test_images(self._data, self._oracle)
        return self._score(classifier, self._test)

    def _score(self, classifier: TunedClassifier, images: LabelledImages) -> Score:
        logits_NC = self._oracle.predict(
            self._prepared.task,
            images.handle,
            classifier.context_LE[None],
            purpose="evaluation",
        )[0]
        return score_logits(classifier.refine(logits_NC), images.labels_N)
