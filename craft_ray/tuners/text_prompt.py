"""A search over the words of a template, for models that take text only.

In: a metered oracle, a prepared task, settings. Out: a `TextClassifier` and reports. A candidate is
a whole template; its loss is the mean cross-entropy of the training images under it, as for a soft
prompt without a head. A template that was asked before is not asked again.

At each validation the best template on the training images that was not validated yet is, so that
validation images choose among the best few and not between one and zero-shot. Without validation
images it is the best one on the training images.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from craft_ray.classifiers.kinds import TextClassifier
from craft_ray.config.optimizers import TextConfig
from craft_ray.config.prompt_words import fill, num_places, with_own_template
from craft_ray.config.run import RunConfig
from craft_ray.errors import OracleError
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.method.reduction import PromptLoss
from craft_ray.optimizers.encoding import from_bytes, to_bytes
from craft_ray.optimizers.text_search import TextSearch
from craft_ray.oracle.contract import ClassificationTask
from craft_ray.task.prepared import PreparedTask
from craft_ray.tuners.base import Losses, Trainer
from craft_ray.tuners.state import TrainerState

_OPTIMIZER_STREAM = 40
"""Independent of the other random streams under one seed."""


class TextPromptTrainer(Trainer):
    """Searches frames and words.

    Args:
        oracle: answers and counts.
        prepared: the task and its image sets.
        config: settings of the run.
        text: its section of the optimizer.
    """

    def __init__(
        self,
        oracle: MeteredOracle,
        prepared: PreparedTask,
        config: RunConfig,
        text: TextConfig,
    ) -> None:
        super().__init__(oracle, prepared, config)
        self._frames = with_own_template(text.frames, prepared.template)
        self._words = text.vocabulary
        self._optimizer = TextSearch(
            text,
            [num_places(frame) for frame in self._frames],
            len(self._words),
            self._seed(_OPTIMIZER_STREAM),
        )
        self._losses: dict[str, float] = {}
        """Of every template that was asked, in their order."""
        self._validated: list[str] = []

    def _tune(self) -> Losses:
        """One population."""
        candidates = [self._template(genome) for genome in self._optimizer.ask()]
        problem: OracleError | None = None
        for template in candidates:
            if template not in self._losses:
                try:
                    self._losses[template] = self._ask(template)
                except _DoesNotFitError as error:
                    self._losses[template], problem = np.inf, error
        losses_P = np.array([self._losses[template] for template in candidates])
        if not np.isfinite(losses_P).any():
            fitting = [loss for loss in self._losses.values() if np.isfinite(loss)]
            if problem is not None and not fitting:
                raise OracleError(str(problem)) from problem
            # Nothing of this population fits, but others did: all are as bad as the worst of them.
            losses_P = np.full_like(losses_P, max(fitting))
        self._optimizer.tell(losses_P)
        finite = losses_P[np.isfinite(losses_P)]
        return Losses(fitness_best=float(finite.min()), fitness_median=float(np.median(finite)))

    def _template(self, genome: Any) -> str:
        frame, *words = (int(number) for number in genome)
        return fill(self._frames[frame], [self._words[word] for word in words])

    def _ask(self, template: str) -> float:
        """The loss on the training images.

        Raises:
            _DoesNotFitError: with a class name it is too long for the model; nothing was asked.
        """
        prepared = self._prepared
        try:
            task = self._oracle.register_task(ClassificationTask(prepared.class_names, template))
        except OracleError as error:
            raise _DoesNotFitError(str(error)) from error
        loss = PromptLoss(prepared.fitness.labels_N, None, 0.0)
        contexts_1LE = task.initial_context[None]
        return float(self._oracle.score(task, prepared.fitness.handle, contexts_1LE, loss)[0])

    def _working_classifier(self) -> TextClassifier:
        """The best that fits and was not validated yet; when all were, the best."""
        fitting = [template for template, loss in self._losses.items() if np.isfinite(loss)]
        order = sorted(fitting, key=self._losses.__getitem__)
        if self._prepared.validation is None:
            return TextClassifier(order[0])
        template = next((each for each in order if each not in self._validated), order[0])
        self._validated.append(template)
        return TextClassifier(template)

    def _arrays(self) -> Mapping[str, Any]:
        told = {"losses": list(self._losses.items()), "validated": self._validated}
        return {
            "text": to_bytes(told).copy(),
            **{f"optimizer.{k}": v for k, v in self._optimizer.state_dict().items()},
        }

    def _load_arrays(self, state: TrainerState) -> None:
        told = from_bytes(state.arrays["text"])
        self._optimizer.load_state_dict(state.group("optimizer."))
        self._losses = {str(template): float(loss) for template, loss in told["losses"]}
        self._validated = [str(template) for template in told["validated"]]


class _DoesNotFitError(OracleError):
    """A template with which a prompt is too long."""
