"""Training without a search: a linear head on the answers to many fixed questions.

In: a metered oracle, a prepared task, settings. Out: a `ProbesClassifier` and reports. A generation
asks about the next contexts, on the plain training images and on their views, and fits the head
anew to all answers so far. A state holds no answers, which grow with images x classes x contexts:
those that a later generation needs are on record, and are asked for there again.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np

from craft_ray.classifiers.classifier import TunedClassifier
from craft_ray.classifiers.kinds import ProbesClassifier
from craft_ray.classifiers.selection import HeldOut
from craft_ray.config.heads import ProbesHeadConfig, ProbingHeadConfig
from craft_ray.config.run import RunConfig
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.method.heads.linear import LinearHead
from craft_ray.oracle.contract import FloatArray
from craft_ray.task.prepared import PreparedTask
from craft_ray.tuners.base import Losses, Trainer
from craft_ray.tuners.findings import HeadFindings
from craft_ray.tuners.questions import Prober, evidence_of, held_out_logits
from craft_ray.tuners.state import TrainerState

# Independent random streams under one seed.
_CONTEXTS_STREAM, _FOLDS_STREAM = 21, 22


class ProbingTrainer(Trainer):
    """Asks, and fits a linear head; no prompt is searched.

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
        self._head_config = head
        self._prober = Prober(oracle, prepared, config, head, self._seed(_FOLDS_STREAM))
        self._contexts_KLE = self._draw_contexts()
        self._num_asked = 0
        """Generations whose answers are here."""
        self._logits_VNF: FloatArray | None = None
        """Their answers."""
        self._unlabelled_UF: FloatArray | None = None
        """Those about images without labels, if there are any."""
        self._head = LinearHead(np.zeros((0, 0), np.float32), np.zeros(0, np.float32))
        self._evidence: HeldOut | None = None

    def _draw_contexts(self) -> FloatArray:
        """The one to start from, then random ones around it."""
        start_LE = self._prepared.start_context(per_class=False)
        head = self._head_config
        num_random = head.num_contexts - 1
        generator = np.random.default_rng(self._seed(_CONTEXTS_STREAM))
        std = head.context_std if isinstance(head, ProbesHeadConfig) else 0.0
        shifts_KLE = generator.normal(0.0, 1.0, (num_random, *start_LE.shape)) * std
        contexts: FloatArray = np.concatenate([start_LE[None], start_LE + shifts_KLE])
        return contexts.astype(np.float32)

    def _tune(self) -> Losses:
        while self._num_asked < self.generation:  # it was taken up here
            with self._oracle.recalling(self._num_asked):
                self._ask()
        logits_VNF, unlabelled_UF = self._ask()
        fitted = self._prober.fit(logits_VNF, unlabelled_UF)
        self._head = fitted.head
        num_unlabelled = 0 if unlabelled_UF is None else len(unlabelled_UF)
        self.findings = HeadFindings.of(
            fitted, logits_VNF.shape, num_unlabelled, self._prober.chosen
        )
        zero_shot_NC = logits_VNF[0, :, : self._prepared.task.num_classes]
        self._evidence = evidence_of(
            held_out_logits(fitted), zero_shot_NC, self._prepared, self._config
        )
        return Losses(head_loss=fitted.held_out_loss)

    def _ask(self) -> tuple[FloatArray, FloatArray | None]:
        """What the next generation asks; gives all answers so far, and those about images without
        labels."""
        width = self._head_config.contexts_per_generation
        start = self._num_asked * width
        contexts_KLE = self._contexts_KLE[start : start + width]
        logits_VNF = self._prober.ask(contexts_KLE, "search", num_before=start)
        unlabelled_UF = self._prober.ask_unlabelled(contexts_KLE, num_before=start)
        if self._logits_VNF is not None:
            logits_VNF = np.concatenate([self._logits_VNF, logits_VNF], axis=2)
        if unlabelled_UF is not None and self._unlabelled_UF is not None:
            unlabelled_UF = np.concatenate([self._unlabelled_UF, unlabelled_UF], axis=1)
        self._logits_VNF, self._unlabelled_UF = logits_VNF, unlabelled_UF
        self._num_asked += 1
        return logits_VNF, unlabelled_UF

    @property
    def recalled_generations(self) -> Collection[int]:
        return range(self.generation)

    def _held_out(self) -> HeldOut | None:
        return self._evidence

    def _working_classifier(self) -> ProbesClassifier:
        num_logits = len(self._head.weight_FC)
        num_contexts = num_logits // self._prober.task.num_classes
        return self._prober.classifier(self._contexts_KLE[:num_contexts], self._head)

    def _validation_answers(self, working: TunedClassifier) -> FloatArray:
        """Asked as the training asked: of another trial of the search they may be known."""
        assert isinstance(working, ProbesClassifier)
        return self._prober.ask_validation(working.asked_contexts())

    def _arrays(self) -> Mapping[str, Any]:
        """None: the next head is fitted anew to all answers."""
        return {}

    def _load_arrays(self, state: TrainerState) -> None:
        self._num_asked, self._logits_VNF, self._unlabelled_UF = 0, None, None
