"""The driver's own questions: how good a classifier is on validation and, at the end, test data."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import replace

from craft_ray.classifiers.classifier import Classifier, TunedClassifier
from craft_ray.classifiers.kinds import PromptClassifier
from craft_ray.classifiers.predictions import PredictionLog
from craft_ray.classifiers.score import Score, ScoreCount, score_logits
from craft_ray.data.dataset import Dataset, Item, labels_of
from craft_ray.data.threads import map_in_threads
from craft_ray.errors import DataError
from craft_ray.metering.ledger import Spending
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.metering.planned_spending import examined_blocks
from craft_ray.oracle.contract import FloatArray, ImageHandle, OracleDescription
from craft_ray.task.preparation import FewShotData
from craft_ray.task.prepared import PreparedTask
from craft_ray.task.sending import send_passing


class Examiner:
    """Scores classifiers on validation and test data, in the driver, and counts it.

    Test images are sent when they are first asked for: after the search has ended.
    """

    def __init__(self, oracle: MeteredOracle, prepared: PreparedTask, data: FewShotData) -> None:
        self._oracle = oracle
        self._prepared = prepared
        self._data = data

    @property
    def spent(self) -> Spending:
        """What the driver has spent: these scores, and the image sets that it sent."""
        return self._oracle.ledger.spent

    def describe_oracle(self) -> OracleDescription:
        """What its owner says of it."""
        return self._oracle.describe()

    @property
    def zero_shot(self) -> TunedClassifier:
        """The untouched classifier."""
        return PromptClassifier(self._prepared.task.initial_context, None)

    def validate_zero_shot(self) -> tuple[PreparedTask, Score | None]:
        """Ask for the untouched classifier on the validation images, once for all who tune: the
        task with the answer, and its score; without such images nothing is asked, and there is no
        score."""
        validation = self._prepared.validation
        if validation is None:
            return self._prepared, None
        logits_NC = self.zero_shot.predict(self._oracle, self._prepared.classes, validation.handle)
        score = score_logits(logits_NC, validation.labels_N)
        return replace(self._prepared, zero_shot_NC=logits_NC), score

    def test(
        self,
        classifiers: Sequence[Classifier],
        on: Dataset | None = None,
        log: PredictionLog | None = None,
    ) -> list[Score]:
        """Scores on the test split, in one go; for the report, never for a choice.

        Args:
            classifiers: all are tested on the same images.
            on: another data set with the same classes; None: the one they were tuned on.
            log: takes down what they say of each image; nothing more is asked for it.

        Images are read, sent and asked about in blocks that nobody keeps, so that memory does not
        grow with the split. All classifiers are tested on a block while it is there.

        Raises:
            DataError: `on` has other classes.
        """
        dataset = on or self._data.dataset
        if dataset.class_names != self._prepared.class_names:
            raise DataError(
                f"{dataset.name}: must have the classes of {self._data.dataset.name}, which the "
                "classifier was tuned for, but has others"
            )
        items = dataset.splits["test"]
        blocks = [items[block.start : block.stop] for block in examined_blocks(len(items))]
        counts = [ScoreCount(dataset.scored_classes) for _ in classifiers]

        def ask(images: ImageHandle) -> list[FloatArray]:
            try:
                return [
                    classifier.predict(self._oracle, self._prepared.classes, images)
                    for classifier in classifiers
                ]
            finally:
                self._oracle.forget(images)

        at_once = self._oracle.questions_at_once()
        answered: Generator[list[FloatArray]]
        if at_once == 1:
            answered = (ask(images) for images in self._sent_ahead(blocks))
        else:
            answered = map_in_threads(
                lambda block: ask(send_passing(self._oracle, block)),
                blocks,
                at_once,
                1,
                self._oracle.give_up,
            )
        with closing(answered):  # threads end before the record is closed
            for block, answers in zip(blocks, answered, strict=True):
                labels_N = labels_of(block)
                for count, logits_NC in zip(counts, answers, strict=True):
                    count.add(logits_NC, labels_N)
                if log is not None:
                    log.add(block, answers)
        return [count.score for count in counts]

    def _sent_ahead(self, blocks: Sequence[Sequence[Item]]) -> Iterator[ImageHandle]:
        """While one is asked about, the next is there: another replica may encode it."""
        sent = map(self._send, blocks)
        following = next(sent, None)
        while following is not None:
            images, following = following, next(sent, None)
            yield images

    def _send(self, block: Sequence[Item]) -> ImageHandle:
        handle = send_passing(self._oracle, block)
        self._oracle.expect(handle)
        return handle
