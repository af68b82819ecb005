"""A training that goes generation by generation: what all kinds of it share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from craft_ray.classifiers.classifier import TunedClassifier
from craft_ray.classifiers.score import Score
from craft_ray.classifiers.selection import HeldOut, Selected, Selector
from craft_ray.config.run import RunConfig
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.oracle.contract import FloatArray
from craft_ray.task.prepared import PreparedTask
from craft_ray.tuners.findings import HeadFindings
from craft_ray.tuners.state import SELECTED_PREFIX, TrainerState, refuse_other_state, selected_in


@dataclass(frozen=True)
class Losses:
    """What one generation was told. None for the side that does not run."""

    fitness_best: float | None = None
    """Lowest loss of a candidate; with gradients, the loss."""
    fitness_median: float | None = None
    head_loss: float | None = None


@dataclass(frozen=True)
class GenerationReport:
    """What happened in one generation. Losses are None for the side that does not run."""

    generation: int
    candidate_queries: int
    """Of the run so far, whoever has paid for the answers: trials are compared by what they take,
    and not by what others have asked before them."""
    fitness_best: float | None
    fitness_median: float | None
    head_loss: float | None
    is_evaluated: bool
    """Whether the state was considered as a result: every `evaluate_every_generations`."""
    validation: Score | None
    """Of the working classifier, when it is evaluated and there are validation images."""


class Trainer(ABC):
    """Whoever calls `run_generation` owns the loop; this knows neither Ray nor Tune.

    Args:
        oracle: answers and counts.
        prepared: the task and its image sets.
        config: settings of the run.
    """

    def __init__(self, oracle: MeteredOracle, prepared: PreparedTask, config: RunConfig) -> None:
        self._oracle = oracle
        self._prepared = prepared
        self._config = config
        self._selector = Selector(oracle, prepared, config.fidelity.selection)
        self.generation = 0
        """Generations that are done."""
        self.diverged = False
        """Whether the training left the finite numbers; the run then ends."""
        self.curve: list[tuple[int, float]] = []
        """Candidate queries, and the validation accuracy that the working state then had; without
        validation images the one on held-out training images, if there is one."""
        self.findings: HeadFindings | None = None
        """Of the last head that was fitted to answers; None where there is none."""

    @property
    def finished(self) -> bool:
        """Whether the budget pays for no further generation, nothing was gained for as long as the
        run has patience, or the training has diverged."""
        is_at_end = self.generation >= self._config.num_generations
        return self.diverged or is_at_end or self._is_out_of_patience

    @property
    def _is_out_of_patience(self) -> bool:
        patience = self._config.patience
        if patience is None or self.generation == 0:
            return False
        since = range(self.selected.generation + 1, self.generation + 1)
        return sum(map(self._config.evaluates_after, since)) >= patience

    @property
    def selected(self) -> Selected:
        """What would be returned now; zero-shot before the first evaluation."""
        return self._selector.selected

    @property
    def recalled_generations(self) -> Collection[int]:
        """Generations that are done, and whose answers a training that is taken up here asks for
        again: they must stay on record. What a state holds is not among them."""
        return ()

    def run_generation(self) -> GenerationReport:
        """One generation, and an evaluation when it is due.

        Raises:
            BudgetError: the budget is spent; nothing was asked.
        """
        self._oracle.begin_generation(self.generation)
        _ = self.selected  # zero-shot is validated before anything is tuned
        losses = self._tune()
        self.generation += 1
        candidate_queries = self._oracle.ledger.spent.candidates_scored
        score = None
        is_evaluated = self._config.evaluates_after(self.generation) or self.finished
        if is_evaluated:
            working, held_out = self._working_classifier(), self._held_out()
            has_validation = self._prepared.validation is not None
            answers_KNC = self._validation_answers(working) if has_validation else None
            score = self._selector.consider(working, self.generation, held_out, answers_KNC)
            if score is not None:
                self.curve.append((candidate_queries, score.accuracy))
        return GenerationReport(
            generation=self.generation,
            candidate_queries=candidate_queries,
            fitness_best=losses.fitness_best,
            fitness_median=losses.fitness_median,
            head_loss=losses.head_loss,
            is_evaluated=is_evaluated,
            validation=None if self._prepared.validation is None else score,
        )

    def state_dict(self) -> TrainerState:
        """Everything that decides the future, the ledger included."""
        classifier = self.selected.classifier
        selected = {f"{SELECTED_PREFIX}{k}": v for k, v in classifier.arrays().items()}
        arrays = {**self._arrays(), **selected}
        return TrainerState(
            arrays={name: np.array(array) for name, array in arrays.items()},
            values={
                "generation": self.generation,
                "diverged": self.diverged,
                "curve": list(self.curve),
                "spent": self._oracle.ledger.spent.as_dict(),
                "selected": self.selected.values(),
                "findings": self.findings and self.findings.as_dict(),
            },
        )

    def load_state_dict(self, state: TrainerState) -> None:
        """Continue exactly where `state_dict` was taken.

        Raises:
            ArtifactError: the state belongs to other settings.
        """
        with refuse_other_state():
            self.generation = int(state.values["generation"])
            self.diverged = bool(state.values["diverged"])
            self.curve = [(int(queries), float(score)) for queries, score in state.values["curve"]]
            self._oracle.ledger.restore(state.values["spent"])
            found = state.values["findings"]
            self.findings = found and HeadFindings.restore(found)
            self._load_arrays(state)
            self._selector.restore(selected_in(state))

    def _seed(self, *stream: int) -> int:
        """Of an independent random stream of this run."""
        return int(np.random.SeedSequence([self._config.seed, *stream]).generate_state(1)[0])

    @abstractmethod
    def _tune(self) -> Losses:
        """Go one generation further; sets `diverged` where it leads nowhere."""

    @abstractmethod
    def _working_classifier(self) -> TunedClassifier:
        """A copy of the present state, as it would be deployed."""

    def _held_out(self) -> HeldOut | None:
        """What the working state would do on training images; None unless all that was fitted to
        them is cross-validated."""
        return None

    def _validation_answers(self, working: TunedClassifier) -> FloatArray | None:
        """The oracle's answers that `working` refines on the validation images; None: they are
        asked for as after deployment. Called where there are such images."""
        return None

    @abstractmethod
    def _arrays(self) -> Mapping[str, Any]:
        """What decides the future beside the selection and the counts."""

    @abstractmethod
    def _load_arrays(self, state: TrainerState) -> None:
        """Take up what `_arrays` gave."""
