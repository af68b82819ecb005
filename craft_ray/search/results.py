"""The trials of a search as they ended, and the best of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from craft_ray.classifiers.evidence import Evidence, best_evidence
from craft_ray.classifiers.score import Score
from craft_ray.config.sampling import Objective
from craft_ray.files.remote import Place
from craft_ray.jobs.tuned import Tuned, read_tuned
from craft_ray.search.objectives import as_compared, objective_values, pareto_front
from craft_ray.search.trials_on_disk import read_trials, trial_folder


@dataclass(frozen=True)
class TrialResult:
    """One trial.

    Attributes:
        number: from 1.
        status: how it ended: `finished`, `stopped early` (by the scheduler), `diverged` or
            `failed`.
        params: what it tried.
        tuned: what came of it.
        error: why it has failed.
    """

    number: int
    status: str
    params: Mapping[str, Any]
    tuned: Tuned
    error: str | None = None

    @property
    def evidence(self) -> Evidence | None:
        """Of the selected state."""
        return self.tuned.evidence

    @property
    def validation(self) -> Score | None:
        """Its score on the validation images, if there are any."""
        return None if self.evidence is None else self.evidence.validation

    @property
    def deciding(self) -> Score | None:
        """On validation; without validation images on held-out training images."""
        return None if self.evidence is None else self.evidence.deciding

    @property
    def objectives(self) -> dict[Objective, float] | None:
        """All that a search may seek, of the selected state; None where it has no result, or
        nothing says how good it is."""
        if self.tuned.last is None or self.evidence is None or self.evidence.deciding is None:
            return None
        return objective_values(as_compared(self.tuned.last))

    def as_dict(self) -> dict[str, Any]:
        """For the summary."""
        held_out = self.evidence and self.evidence.held_out
        return {
            "number": self.number,
            "status": self.status,
            "params": dict(self.params),
            "validation": self.validation and asdict(self.validation),
            "held_out": held_out and asdict(held_out),
            "objectives": self.objectives,
            "ledger": self.tuned.spent.as_dict(),
            "retried_chunks": self.tuned.retried_chunks,
            "seconds": round(self.tuned.seconds, 3),
            "error": self.error,
        }


def read_results(
    folder: Place, ended: Mapping[int, str], errors: Mapping[int, str]
) -> list[TrialResult]:
    """All trials of the search in `folder`, in the order in which they were made.

    Args:
        folder: of the search.
        ended: number -> how a trial ended.
        errors: number -> why a trial has failed.
    """
    results = []
    for number, params in enumerate(read_trials(folder), 1):
        tuned = read_tuned(trial_folder(folder, number))
        own = "failed" if tuned.outcome == "running" else tuned.outcome
        status = ended.get(number, own)
        results.append(TrialResult(number, status, params, tuned, errors.get(number)))
    return results


def front_of(results: Sequence[TrialResult], objectives: Sequence[Objective]) -> list[TrialResult]:
    """The Pareto front, best validation accuracy first."""
    known = [result for result in results if result.objectives is not None]
    values = [result.objectives for result in known if result.objectives is not None]
    return [known[position] for position in pareto_front(values, objectives)]


def best_of(
    results: Sequence[TrialResult], num_validation: int, num_training: int
) -> TrialResult | None:
    """The trial with the best evidence (`best_evidence`), on so many images; of equal ones the
    first. None if no trial has any."""
    known = [
        (result, result.evidence)
        for result in sorted(results, key=lambda result: result.number)
        if result.evidence is not None and result.deciding is not None
    ]
    if not known:
        return None
    place = best_evidence([each for _, each in known], num_validation, num_training)
    return known[place][0]
