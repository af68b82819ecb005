"""What all trainings of a linear head do: ask about contexts and names, and fit the head."""

from __future__ import annotations

import numpy as np

from craft_ray.classifiers.classifier import ProbesClassifier, flatten_probes
from craft_ray.config.heads import ProbingHeadConfig
from craft_ray.config.run import RunConfig
from craft_ray.metering.ledger import Purpose
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.method.linear_head import FittedHead, LinearHead, fit_linear_head
from craft_ray.oracle.contract import ClassificationTask, FloatArray, TaskHandle
from craft_ray.task.prepared import PreparedTask, ViewBank
from craft_ray.task.vocabulary import extra_names


class Prober:
    """Asks about the plain training images and their views, with the names of the run's head.

    Args:
        oracle: answers and counts.
        prepared: the task and its image sets, with a bank of views.
        config: settings of the run.
        head: its section of the head.
        seed: draws the folds of the cross-validation.

    Raises:
        ConfigError: the vocabulary has too few names that are not the task's own.
    """

    def __init__(
        self,
        oracle: MeteredOracle,
        prepared: PreparedTask,
        config: RunConfig,
        head: ProbingHeadConfig,
        seed: int,
    ) -> None:
        assert isinstance(prepared.views, ViewBank)  # a law of the settings
        self._oracle = oracle
        self._prepared = prepared
        self._views = prepared.views.handles
        self._folds = head.folds
        self._seed = seed
        self._names = extra_names(config, prepared.class_names)
        asked = ClassificationTask((*prepared.class_names, *self._names), prepared.template)
        self.task: TaskHandle = oracle.register_task(asked)
        """With the names."""

    @property
    def no_answers(self) -> FloatArray:
        """[1 + V, N, 0]."""
        num_images = self._prepared.fitness.handle.num_images
        return np.zeros((1 + len(self._views), num_images, 0), dtype=np.float32)

    def ask(self, contexts_KLE: FloatArray, plain_purpose: Purpose) -> FloatArray:
        """All logits of the plain images and of their views, [1 + V, N, K (C + names)]. Asking
        about views is for the head; about plain images it has the purpose that is given."""
        asked = [(self._prepared.fitness.handle, plain_purpose)]
        asked += [(view, "head") for view in self._views]
        return np.stack(
            [
                flatten_probes(
                    self._oracle.predict(self.task, images, contexts_KLE, purpose=purpose)
                )
                for images, purpose in asked
            ]
        )

    def fit(self, logits_VNF: FloatArray) -> FittedHead:
        """The head on these answers."""
        return fit_linear_head(
            logits_VNF,
            self._prepared.fitness.labels_N,
            self._prepared.task.num_classes,
            self._folds,
            self._seed,
        )

    def classifier(self, contexts_KLE: FloatArray, head: LinearHead) -> ProbesClassifier:
        """What asks about these contexts and the names."""
        return ProbesClassifier(contexts_KLE, self._names, head)
