"""No training images (`data.shots: 0`): what is returned is what prompts alone give.

In: a prepared task, settings. Out: a classifier and reports. That is the template's prompt of each
class, for which nothing is asked: zero-shot's answers about validation images, where there are
some, are the driver's. Or, where `head.offset` asks more texts of each class, their mean, which
competes with the template on validation images if there are some.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from craft_ray.classifiers.classifier import PromptedClassifier, TunedClassifier
from craft_ray.classifiers.kinds import ProbesClassifier, PromptClassifier
from craft_ray.config.run import RunConfig
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.method.heads import LinearHead
from craft_ray.oracle.contract import FloatArray
from craft_ray.task.prepared import PreparedTask
from craft_ray.tuners.base import Losses, Trainer
from craft_ray.tuners.state import TrainerState


class UntouchedTrainer(Trainer):
    """Tunes nothing.

    Args:
        oracle: answers and counts.
        prepared: the task.
        config: settings of the run.
    """

    def __init__(self, oracle: MeteredOracle, prepared: PreparedTask, config: RunConfig) -> None:
        super().__init__(oracle, prepared, config)
        self._prompts = prepared.class_prompts(config)

    @property
    def finished(self) -> bool:
        """After one generation."""
        return self.generation >= 1

    def _tune(self) -> Losses:
        return Losses()

    def _working_classifier(self) -> PromptedClassifier:
        context_LE = self._prepared.task.initial_context
        if self._prompts is None:
            return PromptClassifier(context_LE, None)
        mean_FC = self._prompts.mean_map(num_names=0)
        head = LinearHead(mean_FC, np.zeros(mean_FC.shape[1], np.float32))
        return ProbesClassifier(context_LE[None], (), head, self._prompts.texts)

    def _validation_answers(self, working: TunedClassifier) -> FloatArray | None:
        """Those about zero-shot, if this is zero-shot."""
        known_NC = self._prepared.zero_shot_NC
        return None if known_NC is None or self._prompts is not None else known_NC[None]

    def _arrays(self) -> Mapping[str, Any]:
        return {}

    def _load_arrays(self, state: TrainerState) -> None:
        pass
