"""`CraftClassifier`: scikit-learn's conventions on images and a model that only answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.validation import check_is_fitted

from craft_ray.classifiers.artifact import Artifact
from craft_ray.classifiers.examiner import Examiner
from craft_ray.config.loading import change_run_config, load_oracle_config
from craft_ray.config.oracle import OracleConfig
from craft_ray.config.run import RunConfig
from craft_ray.config.shipped import DEFAULT_RUN
from craft_ray.data.dataset import Item
from craft_ray.errors import ConfigError, DataError
from craft_ray.estimator.inputs import Images, items_of, labelled_items
from craft_ray.files.remote import locate
from craft_ray.inference.predictor import Predictor
from craft_ray.metering.ledger import QueryLedger, Spending
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.method.softmax import softmax
from craft_ray.oracle.clip import ClipOracle
from craft_ray.oracle.contract import FloatArray, Oracle
from craft_ray.oracle.devices import best_device
from craft_ray.task.preparation import FewShotData, classification_task, prepare
from craft_ray.tuners.registry import make_trainer


class CraftClassifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]
    """Fine-tunes a black-box vision-language model on labelled images, in this process.

    By default a linear head on the answers about more class names (docs/probes.md), which takes one
    query; `settings` takes any other method. The untouched model competes: what is fitted is not
    what validation images say is worse.

        classifier = CraftClassifier("ViT-B-32", pretrained="laion2b_s34b_b79k")
        classifier.fit("train/")                      # a folder of class folders; or X and y
        classifier.predict(["a.jpg", "b.jpg"])

    Args:
        model: `embedded`, a model of open_clip, or `local-dir:<folder>`.
        pretrained: open_clip's tag or a checkpoint file, for a model of open_clip.
        oracle: any other client of a model, in place of both.
        validation_share: of the images of each class, which choose and are not fitted to.
        seed: of that choice, the views and the method.
        settings: `section.key` -> value, as on the command line of `craft-ray train`.

    Attributes:
        classes_: the labels, sorted.
        zero_shot_score_: accuracy of the untouched model on the validation images.
        validation_score_: that of what was fitted.
        spent_: queries, image predictions and prompts of the fit.
    """

    def __init__(
        self,
        model: str = "embedded",
        *,
        pretrained: str | None = None,
        oracle: Oracle | None = None,
        validation_share: float = 0.25,
        seed: int = 1,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.model = model
        self.pretrained = pretrained
        self.oracle = oracle
        self.validation_share = validation_share
        self.seed = seed
        self.settings = settings

    def fit(self, X: Images, y: Iterable[Any] | None = None) -> Self:
        """Fit on images and their labels; or on a folder of class folders.

        Raises:
            UserError: names what is wrong with images, labels or settings.
        """
        dataset, classes = labelled_items(X, y)
        config = self._config()
        train, validation = _split(dataset.splits["train"], self.validation_share, self.seed)
        data = FewShotData(dataset, tuple(train), tuple(validation))
        asked = self._oracle(config.oracle)
        metered = MeteredOracle(asked, QueryLedger(config.max_queries))
        prepared = prepare(config, data, metered)
        prepared, zero_shot = Examiner(metered, prepared, data).validate_zero_shot()
        trainer = make_trainer(metered, prepared, config)
        while not trainer.finished:
            trainer.run_generation()
        selected = trainer.selected
        artifact = Artifact(
            selected.classifier,
            classification_task(config, data),
            prepared.oracle_id,
            prepared.weights_id,
            None if self.oracle is not None else config.oracle,
        )
        self.classes_ = np.array(classes)
        self.zero_shot_score_ = zero_shot.accuracy
        self.validation_score_ = selected.validation.accuracy
        self.spent_: Spending = metered.ledger.spent
        self._predictor = Predictor(artifact, asked)
        return self

    def predict(self, X: Images) -> npt.NDArray[Any]:
        """The likeliest class of each image, [N]."""
        logits_NC = self._logits(X)
        labels: npt.NDArray[Any] = self.classes_[logits_NC.argmax(axis=1)]
        return labels

    def predict_proba(self, X: Images) -> npt.NDArray[np.float64]:
        """Probabilities of the classes, [N, C], in the order of `classes_`."""
        return softmax(self._logits(X).astype(np.float64))

    def save(self, folder: str | Path) -> None:
        """Store what was fitted: `load`, `craft-ray predict` and `evaluate` take the folder."""
        check_is_fitted(self, "classes_")
        self._predictor.artifact.save(locate(str(folder)))

    @classmethod
    def load(cls, folder: str | Path, oracle: Oracle | None = None) -> Self:
        """What `save` or a run has stored, ready to predict; labels are then class names.

        Args:
            folder: or the address of one.
            oracle: the model; None loads the one that the classifier names.

        Raises:
            UserError: nothing is stored there, or the model is another one.
        """
        artifact = Artifact.load(locate(str(folder)))
        loaded = cls(oracle=oracle)
        if oracle is None:
            config = load_oracle_config(artifact.oracle, [])
            loaded = cls(config.model, pretrained=config.pretrained)
            oracle = loaded._oracle(config)
        loaded._predictor = Predictor(artifact, oracle)
        loaded.classes_ = np.array(artifact.task.class_names)
        return loaded

    def _config(self) -> RunConfig:
        if not 0 < self.validation_share < 1:
            raise ConfigError(
                "CraftClassifier",
                [f"validation_share: 0 < share < 1 must hold, but got {self.validation_share}"],
            )
        own = {"oracle.model": self.model, "oracle.pretrained": self.pretrained, "seed": self.seed}
        words = [*own.items(), *(self.settings or {}).items()]
        return change_run_config(DEFAULT_RUN, words, "CraftClassifier")

    def _oracle(self, config: OracleConfig) -> Oracle:
        if self.oracle is not None:
            return self.oracle
        return ClipOracle.load(config, best_device())

    def _logits(self, images: Images) -> FloatArray:
        check_is_fitted(self, "classes_")
        batches = list(self._predictor.predict(items_of(images)))
        for batch in batches:
            for reason in batch.unreadable:
                raise DataError(reason)
        logits_NC: FloatArray = np.concatenate([batch.logits_NC for batch in batches])
        return logits_NC


def _split(items: Sequence[Item], share: float, seed: int) -> tuple[list[Item], list[Item]]:
    """Training and validation images, class by class; each class has at least one of both."""
    rng = np.random.default_rng(seed)
    train: list[Item] = []
    validation: list[Item] = []
    for label in sorted({item.label for item in items}):
        own = [item for item in items if item.label == label]
        if len(own) < 2:
            raise DataError(
                f"X: each class must have at least two images, but {own[0].name} is alone"
            )
        count = min(max(round(share * len(own)), 1), len(own) - 1)
        chosen = set(rng.permutation(len(own))[:count].tolist())
        for place, item in enumerate(own):
            (validation if place in chosen else train).append(item)
    return train, validation
