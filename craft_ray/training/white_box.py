"""White-box prompt tuning, the yardstick: gradients through the text tower (CoOp, Zhou et al.).

Needs an oracle that says `white_box`. Context, template and image views are those of the black-box
methods; only how the context moves differs. One generation is one step on all training images.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from craft_ray.config.run import RunConfig
from craft_ray.oracle.contract import FloatArray
from craft_ray.training.classifier import Score, TunedClassifier
from craft_ray.training.metered import MeteredOracle
from craft_ray.training.report import GenerationReport
from craft_ray.training.selection import Selected, Selector
from craft_ray.training.state import TrainerState, pack_adam, refuse_other_state, unpack_adam
from craft_ray.training.task import PreparedTask
from craft_ray.training.views import view_of_generation


class WhiteBoxTrainer:
    """Adam on the context, its learning rate falling as a cosine to zero; implements `Trainer`.

    Args:
        oracle: answers and counts; gives gradients.
        prepared: the task and its image sets.
        config: settings of the run.
    """

    def __init__(self, oracle: MeteredOracle, prepared: PreparedTask, config: RunConfig) -> None:
        self._oracle = oracle
        self._prepared = prepared
        self._config = config
        self.generation = 0
        self.diverged = False
        self._context = torch.from_numpy(prepared.task.initial_context.copy())
        self._adam = torch.optim.Adam([self._context], lr=config.white_box.learning_rate)
        self._selector = Selector(oracle, prepared, config.fidelity.selection)

    @property
    def finished(self) -> bool:
        """See `Trainer`."""
        return self.diverged or self.generation >= self._config.num_generations

    @property
    def selected(self) -> Selected:
        """See `Trainer`."""
        return self._selector.selected

    def run_generation(self) -> GenerationReport:
        """See `Trainer`."""
        self._oracle.begin_generation(self.generation)
        _ = self.selected  # zero-shot is validated before anything is tuned
        loss, gradient = self._oracle.context_gradient(
            self._prepared.task,
            view_of_generation(self._oracle, self._prepared, self.generation),
            self._present_context(),
            self._prepared.fitness.labels_N,
        )
        self.diverged = not (np.isfinite(loss) and np.isfinite(gradient).all())
        if not self.diverged:
            self._step(gradient)
        self.generation += 1
        due = self.generation % self._config.evaluate_every_generations == 0
        return GenerationReport(
            generation=self.generation,
            candidate_queries=0,
            fitness_best=loss,
            fitness_median=None,
            head_loss=None,
            validation=self._evaluate() if due or self.finished else None,
        )

    def _present_context(self) -> FloatArray:
        """[L, E]; shares the memory that Adam writes to."""
        context: FloatArray = self._context.numpy()
        return context

    def _step(self, gradient_LE: FloatArray) -> None:
        done = self.generation / self._config.num_generations
        rate = self._config.white_box.learning_rate * 0.5 * (1 + math.cos(math.pi * done))
        self._adam.param_groups[0]["lr"] = rate
        # `copy`: answers from the object store are read-only, which torch warns about.
        self._context.grad = torch.from_numpy(gradient_LE.copy())
        self._adam.step()

    def _evaluate(self) -> Score:
        working = TunedClassifier.capture(self._present_context(), None)
        return self._selector.consider(working, self.generation)

    def state_dict(self) -> TrainerState:
        """See `Trainer`."""
        arrays: dict[str, Any] = {
            "context": self._present_context(),
            **{f"adam.{k}": v for k, v in pack_adam(self._adam).items()},
            **{f"selected.{k}": v for k, v in self.selected.arrays().items()},
        }
        return TrainerState(
            arrays={name: np.array(array) for name, array in arrays.items()},
            values={
                "generation": self.generation,
                "diverged": self.diverged,
                "spent": self._oracle.ledger.spent.as_dict(),
                "selected": self.selected.values(),
            },
        )

    def load_state_dict(self, state: TrainerState) -> None:
        """See `Trainer`."""
        with refuse_other_state():
            self.generation = int(state.values["generation"])
            self.diverged = bool(state.values["diverged"])
            self._oracle.ledger.restore(state.values["spent"])
            self._context.copy_(torch.from_numpy(state.arrays["context"].copy()))
            unpack_adam(self._adam, state.group("adam."))
            self._selector.restore(state)
