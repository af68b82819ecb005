"""Contexts searched one after another, each for what the best linear head makes of it.

In: a metered oracle, a prepared task, settings. Out: a `ProbesClassifier` and reports. A candidate
is scored by the error on unseen images of the best linear head on its logits and on those of the
contexts chosen before (`craft_ray.method.cross_validation`): prompt and head are searched together
without training a head for each candidate, and a further context is chosen for what the ones
before it do not see. What is validated and deployed has the head of `craft_ray.method.heads`.

A state holds the chosen contexts; the answers to them, which grow with images x classes, are on
record, and are asked for there again.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import numpy as np

from craft_ray.classifiers.kinds import ProbesClassifier
from craft_ray.config.heads import ProbingHeadConfig
from craft_ray.config.run import RunConfig
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.method.projection import PromptProjection
from craft_ray.method.reduction import LinearHeadError
from craft_ray.optimizers import ZerothOrderOptimizer, deployed_point, make_optimizer
from craft_ray.oracle.contract import FloatArray
from craft_ray.task.batches import Batches
from craft_ray.task.prepared import PreparedTask
from craft_ray.tuners.base import Losses, Trainer
from craft_ray.tuners.questions import Prober
from craft_ray.tuners.state import TrainerState

# Independent random streams under one seed; the number of a search follows.
_PROJECTION_STREAM, _OPTIMIZER_STREAM, _FOLDS_STREAM, _BATCHES_STREAM = 30, 31, 32, 33


class ProbeSearchTrainer(Trainer):
    """Searches the contexts that a linear head sees.

    Args:
        oracle: answers and counts.
        prepared: the task and its image sets.
        config: settings of the run.
        head: its section of the head.

    Raises:
        ConfigError: the vocabulary has too few names that are not the task's own.
    """

    def __init__(
        self,
        oracle: MeteredOracle,
        prepared: PreparedTask,
        config: RunConfig,
        head: ProbingHeadConfig,
    ) -> None:
        super().__init__(oracle, prepared, config)
        self._prober = Prober(oracle, prepared, config, head, self._seed(_FOLDS_STREAM))
        self._batches = Batches(prepared.fitness, config, self._seed(_BATCHES_STREAM))
        self._start_LE = prepared.start_context(config.prompt.per_class)
        self._chosen_KLE: FloatArray = np.zeros((0, *self._start_LE.shape), dtype=np.float32)
        """Contexts whose search is over."""
        self._known_VNF = self._prober.no_answers
        """The answers to the first `_num_known` of them."""
        self._num_known = 0
        self._working: ProbesClassifier | None = None
        self._projection, self._optimizer = self._begin_search()

    def _begin_search(self) -> tuple[PromptProjection, ZerothOrderOptimizer]:
        """Of the next context: from the same start, in directions of its own."""
        number = len(self._chosen_KLE)
        prompt = self._config.prompt
        projection = PromptProjection(
            self._start_LE, prompt, self._seed(_PROJECTION_STREAM, number)
        )
        seed = self._seed(_OPTIMIZER_STREAM, number)
        return projection, make_optimizer(self._config.soft_optimizer, prompt.intrinsic_dim, seed)

    def _tune(self) -> Losses:
        """One population; where it is due, the head on what was found."""
        self._recall_answers()
        candidates_PD = self._optimizer.ask()
        batch = self._batches.of_generation(self.generation)
        losses_P = self._oracle.score(
            self._prober.task,
            batch.handle,
            self._projection.contexts(candidates_PD),
            LinearHeadError(
                batch.labels_M,
                self._prepared.task.num_classes,
                self._known_VNF[0, batch.rows],
            ),
            batch.counts_P,
        )
        self._optimizer.tell(losses_P)
        point_D = deployed_point(self._optimizer, self._config.fidelity.deployed_prompt)
        done = self.generation + 1
        is_end = done in self._config.search_ends
        head_loss = None
        if is_end or self._config.evaluates_after(done):
            head_loss = self._fit(self._projection.contexts(point_D[None]), is_end)
        return Losses(
            fitness_best=float(np.nanmin(losses_P)),
            fitness_median=float(np.nanmedian(losses_P)),
            head_loss=head_loss,
        )

    def _recall_answers(self) -> None:
        """Those to the contexts that were chosen before the training was taken up here."""
        while (number := self._num_known) < len(self._chosen_KLE):
            with self._oracle.recalling(self._config.search_ends[number] - 1):
                answers_VNF = self._prober.ask(self._chosen_KLE[number : number + 1], "head")
            self._known_VNF = np.concatenate([self._known_VNF, answers_VNF], axis=2)
            self._num_known += 1

    @property
    def recalled_generations(self) -> Collection[int]:
        return [end - 1 for end in self._config.search_ends if end <= self.generation]

    def _fit(self, found_1LE: FloatArray, is_end_of_search: bool) -> float | None:
        """The head on the chosen contexts and the one found so far, which is chosen at the end of
        its search. Returns the held-out loss."""
        contexts_KLE = np.concatenate([self._chosen_KLE, found_1LE])
        logits_VNF = np.concatenate([self._known_VNF, self._prober.ask(found_1LE, "head")], axis=2)
        fitted = self._prober.fit(logits_VNF)
        self._working = self._prober.classifier(contexts_KLE, fitted.head)
        if is_end_of_search:
            self._chosen_KLE, self._known_VNF = contexts_KLE, logits_VNF
            self._num_known += 1
            self._projection, self._optimizer = self._begin_search()
        return fitted.held_out_loss

    def _working_classifier(self) -> ProbesClassifier:
        assert self._working is not None  # fitted in the generation that is evaluated
        return self._working

    def _arrays(self) -> dict[str, Any]:
        return {
            "contexts": self._chosen_KLE,
            **{f"optimizer.{k}": v for k, v in self._optimizer.state_dict().items()},
        }

    def _load_arrays(self, state: TrainerState) -> None:
        self._chosen_KLE = state.arrays["contexts"]
        self._known_VNF, self._num_known = self._prober.no_answers, 0
        self._projection, self._optimizer = self._begin_search()
        self._optimizer.load_state_dict(state.group("optimizer."))
