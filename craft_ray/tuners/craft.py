"""Collaborative fine-tuning, one generation at a time (CraFT section 3.4, Algorithm 1).

In: a metered oracle, a prepared task, settings. Out: a `PromptClassifier` and reports.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from craft_ray.classifiers.kinds import PromptClassifier
from craft_ray.config.heads import ResidualMlpConfig
from craft_ray.config.run import RunConfig
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.method.adamw import AdamW
from craft_ray.method.head import RefinementHead
from craft_ray.method.losses import head_loss
from craft_ray.method.projection import PromptProjection
from craft_ray.method.reduction import PromptLoss
from craft_ray.optimizers import deployed_point, make_optimizer
from craft_ray.oracle.contract import LossArray
from craft_ray.task.batches import Batches
from craft_ray.task.prepared import PreparedTask
from craft_ray.task.views import nth_view
from craft_ray.tuners.base import Losses, Trainer
from craft_ray.tuners.state import TrainerState, pack_adam, unpack_adam

# Independent random streams under one seed.
_PROJECTION_STREAM, _OPTIMIZER_STREAM, _HEAD_STREAM, _BATCHES_STREAM = 10, 11, 12, 13


class CollaborativeTrainer(Trainer):
    """Searches the prompt by zeroth-order optimization and trains the head by gradients.

    Args:
        oracle: answers and counts.
        prepared: the task and its image sets.
        config: settings of the run.
        head: its section of the head.
    """

    def __init__(
        self,
        oracle: MeteredOracle,
        prepared: PreparedTask,
        config: RunConfig,
        head: ResidualMlpConfig,
    ) -> None:
        super().__init__(oracle, prepared, config)
        self._head_config = head
        self._searches = config.method != "head"
        self._refines = config.method != "prompt"
        start = prepared.start_context(config.prompt.per_class)
        # Of a prompt that is not searched there may be nothing to project: an endpoint that takes
        # texts has no soft prompts.
        self._projection = (
            PromptProjection(start, config.prompt, self._seed(_PROJECTION_STREAM))
            if self._searches
            else None
        )
        self._optimizer = make_optimizer(
            config.soft_optimizer, config.prompt.intrinsic_dim, self._seed(_OPTIMIZER_STREAM)
        )
        self._batches = Batches(prepared.fitness, config, self._seed(_BATCHES_STREAM))
        self._generator = torch.Generator().manual_seed(self._seed(_HEAD_STREAM))
        self._head = RefinementHead(
            prepared.task.num_classes,
            head.hidden,
            config.fidelity.head_init,
            self._generator,
        )
        self._adam = AdamW(self._head.parameters(), head.learning_rate, head.weight_decay)
        self._context_LE = start
        self._fitness_labels = torch.from_numpy(prepared.fitness.labels_N.copy())

    def _tune(self) -> Losses:
        """One population on one batch; the head when all batches had their turn."""
        losses_P = self._search_prompt() if self._searches else None
        is_end_of_pass = (self.generation + 1) % self._config.num_batches == 0
        loss_of_head = self._train_head() if self._refines and is_end_of_pass else None
        return Losses(
            fitness_best=None if losses_P is None else float(np.nanmin(losses_P)),
            fitness_median=None if losses_P is None else float(np.nanmedian(losses_P)),
            head_loss=loss_of_head,
        )

    def _search_prompt(self) -> LossArray:
        assert self._projection is not None
        candidates_PD = self._optimizer.ask()
        consistency = self._config.loss.prompt_consistency
        head = self._head.weights() if self._refines and consistency > 0 else None
        batch = self._batches.of_generation(self.generation)
        losses_P = self._oracle.score(
            self._prepared.task,
            batch.handle,
            self._projection.contexts(candidates_PD),
            PromptLoss(batch.labels_M, head, consistency),
            batch.counts_P,
        )
        self._optimizer.tell(losses_P)
        point_D = deployed_point(self._optimizer, self._config.fidelity.deployed_prompt)
        self._context_LE = self._projection.contexts(point_D[None])[0]
        return losses_P

    def _train_head(self) -> float:
        """Epochs on one augmented view; its logits are asked for once. Returns the mean loss."""
        num_passes_before = self.generation // self._config.num_batches
        with nth_view(self._oracle, self._prepared, num_passes_before) as view:
            answers_1NC = self._oracle.predict(
                self._prepared.task,
                view,
                self._context_LE[None],
                purpose="head",
                answer=self._config.fidelity.head_inputs,
            )
        logits = torch.from_numpy(answers_1NC[0].copy())
        consistency = self._head_consistency(num_passes_before + 1)
        losses = []
        for _ in range(self._head_config.epochs_per_generation):
            order = torch.randperm(len(logits), generator=self._generator)
            for batch in torch.split(order, self._head_config.batch_size):
                loss = head_loss(
                    logits[batch],
                    self._head(logits[batch]),
                    self._fitness_labels[batch],
                    consistency,
                )
                self._adam.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                self._adam.step()
                losses.append(loss.item())
        mean_loss = float(np.mean(losses))
        with torch.inference_mode():
            is_finite = bool(torch.isfinite(self._head(logits)).all())  # after the last step
        # Repeating it would diverge again: the run ends here and spends nothing more.
        self.diverged = not (is_finite and np.isfinite(mean_loss))
        return mean_loss

    def _head_consistency(self, num_passes: int) -> float:
        """The weight, for as long as what is spent, this generation included, is within the share:
        the authors count a population before they train the head (`steps <= budget // n`)."""
        spent = num_passes * self._config.optimizer.population
        within = spent <= self._config.loss.head_consistency_share * self._config.max_queries
        return self._config.loss.head_consistency if within else 0.0

    def _working_classifier(self) -> PromptClassifier:
        return PromptClassifier.capture(self._context_LE, self._head if self._refines else None)

    def _arrays(self) -> dict[str, Any]:
        return {
            "generator": self._generator.get_state().numpy(),
            "context": self._context_LE,
            **{f"head.{k}": v.numpy() for k, v in self._head.state_dict().items()},
            **{f"adam.{k}": v for k, v in pack_adam(self._adam).items()},
            **{f"optimizer.{k}": v for k, v in self._optimizer.state_dict().items()},
        }

    def _load_arrays(self, state: TrainerState) -> None:
        self._optimizer.load_state_dict(state.group("optimizer."))
        self._head.load_state_dict(
            {name: torch.from_numpy(value) for name, value in state.group("head.").items()}
        )
        unpack_adam(self._adam, state.group("adam."))
        self._generator.set_state(torch.from_numpy(state.arrays["generator"]))
        self._context_LE = state.arrays["context"]
