"""What a training tells after each generation, and the contract of a trainer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from craft_ray.training.classifier import Score
from craft_ray.training.selection import Selected
from craft_ray.training.state import TrainerState


@dataclass(frozen=True)
class GenerationReport:
    """What happened in one generation. Losses are None for the side that does not run."""

    generation: int
    candidate_queries: int
    fitness_best: float | None
    fitness_median: float | None
    head_loss: float | None
    validation: Score | None
    """Of the working classifier; only every `evaluate_every_generations`."""


class Trainer(Protocol):
    """A training that goes generation by generation; whoever calls it owns the loop."""

    generation: int
    """Generations that are done."""
    diverged: bool
    """Whether the training left the finite numbers; the run then ends."""

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        ...

    @property
    def selected(self) -> Selected:
        """What would be returned now; zero-shot before the first evaluation."""
        ...

    def run_generation(self) -> GenerationReport:
        """One generation, and a validation when it is due.

        Raises:
            BudgetError: the budget is spent; nothing was asked.
        """
        ...

    def state_dict(self) -> TrainerState:
        """Everything that decides the future, the ledger included."""
        ...

    def load_state_dict(self, state: TrainerState) -> None:
        """Continue exactly where `state_dict` was taken.

        Raises:
            ValueError: the state belongs to other settings.
        """
        ...
