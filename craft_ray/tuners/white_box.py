"""White-box prompt tuning, the yardstick: gradients through the text tower (CoOp, Zhou et al.).

Needs an oracle that says `white_box`. Context, template and image views are those of the black-box
methods; only how the context moves differs. One generation is one step on all training images.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from craft_ray.classifiers.kinds import PromptClassifier
from craft_ray.config.run import RunConfig
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.method.adamw import AdamW
from craft_ray.oracle.contract import FloatArray
from craft_ray.task.prepared import PreparedTask
from craft_ray.task.views import nth_view
from craft_ray.tuners.base import Losses, Trainer
from craft_ray.tuners.state import TrainerState, pack_adam, unpack_adam


class WhiteBoxTrainer(Trainer):
    """Adam on the context, its learning rate falling as a cosine to zero."""

    def __init__(self, oracle: MeteredOracle, prepared: PreparedTask, config: RunConfig) -> None:
        super().__init__(oracle, prepared, config)
        self._context = torch.from_numpy(prepared.start_context(per_class=False).copy())
        self._adam = AdamW([self._context], config.white_box.learning_rate)

    def _tune(self) -> Losses:
        with nth_view(self._oracle, self._prepared, self.generation) as view:
            loss, gradient = self._oracle.context_gradient(
                self._prepared.task,
                view,
                self._present_context(),
                self._prepared.fitness.labels_N,
            )
        self.diverged = not (np.isfinite(loss) and np.isfinite(gradient).all())
        if not self.diverged:
            self._step(gradient)
        return Losses(fitness_best=loss)

    def _present_context(self) -> FloatArray:
        """[L, E]; shares the memory that Adam writes to."""
        context: FloatArray = self._context.numpy()
        return context

    def _step(self, gradient_LE: FloatArray) -> None:
        done = self.generation / self._config.num_generations
        rate = self._config.white_box.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
        self._adam.learning_rate = rate
        # `copy`: answers from the object store are read-only, which torch warns about.
        self._context.grad = torch.from_numpy(gradient_LE.copy())
        self._adam.step()

    def _working_classifier(self) -> PromptClassifier:
        return PromptClassifier.capture(self._present_context(), None)

    def _arrays(self) -> dict[str, Any]:
        moments = {f"adam.{k}": v for k, v in pack_adam(self._adam).items()}
        return {"context": self._present_context(), **moments}

    def _load_arrays(self, state: TrainerState) -> None:
        self._context.copy_(torch.from_numpy(state.arrays["context"].copy()))
        unpack_adam(self._adam, state.group("adam."))
