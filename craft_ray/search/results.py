"""The trials of a search as they ended, and the best of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

from ray.tune import ResultGrid

from craft_ray.classifiers.score import Score
from craft_ray.classifiers.selection import Evidence
from craft_ray.config.sampling import Objective
from craft_ray.errors import last_words
from craft_ray.files.folders import place_of
from craft_ray.files.remote import Place
from craft_ray.jobs.job import CHECKPOINT_PATH
from craft_ray.metering.journal import spent_on_record
from craft_ray.metering.ledger import Spending
from craft_ray.search.objectives import METRIC, objective_values, pareto_front


@dataclass(frozen=True)
class TrialResult:
    """One trial as reported."""

    number: int
    trial_id: str
    status: str
    """`finished`, `stopped early` (by the scheduler), `diverged` or `failed`."""
    params: Mapping[str, Any]
    evidence: Evidence | None
    """Of the selected state."""
    objectives: Mapping[Objective, float] | None
    """All that a search may seek, of the selected state."""
    spent: Spending
    retried_chunks: int
    """Chunks that were sent again after they were lost; they are paid for once."""
    seconds: float
    checkpoint: Place | None
    error: str | None = None

    @property
    def validation(self) -> Score | None:
        """Its score on the validation images."""
        return None if self.evidence is None else self.evidence.validation

    def as_dict(self) -> dict[str, Any]:
        """For the summary."""
        return {
            "number": self.number,
            "trial_id": self.trial_id,
            "status": self.status,
            "params": dict(self.params),
            **(asdict(self.evidence) if self.evidence else {"validation": None, "held_out": None}),
            "objectives": dict(self.objectives) if self.objectives else None,
            "ledger": self.spent.as_dict(),
            "retried_chunks": self.retried_chunks,
            "seconds": round(self.seconds, 3),
            "error": self.error,
        }


def number_of(experiment_tag: str) -> int:
    """A trial's number, from 1: Tune's tag starts with it, and keeps it over a resume."""
    return int(experiment_tag.split("_")[0])


def status_of(outcome: str) -> str:
    """What became of a trial that ended without an error, from its last report."""
    return "stopped early" if outcome == "running" else outcome


def read_results(grid: ResultGrid, folder: Place, trials: Place) -> list[TrialResult]:
    """All trials of the search in `folder`, in the order in which they were made.

    What a trial spent is what its record of queries in `trials` says: one that was stopped or died
    has paid for more than it reported.
    """
    results = []
    for position, result in enumerate((grid[index] for index in range(len(grid))), 1):
        metrics = result.metrics or {}
        has_report = METRIC in metrics
        # One that died before its first report has no tag; they come as they were made.
        number = number_of(metrics.get("experiment_tag", str(position)))
        results.append(
            TrialResult(
                number=number,
                trial_id=str(metrics.get("trial_id", "")),
                status="failed" if result.error else status_of(metrics.get("outcome", "failed")),
                params=dict(result.config or {}),
                evidence=_evidence_of(metrics) if has_report else None,
                objectives=objective_values(metrics) if has_report else None,
                spent=spent_on_record(trials / str(number)),
                retried_chunks=int(metrics.get("retried_chunks", 0)),
                seconds=float(metrics.get("train_seconds", 0.0)),
                checkpoint=place_of(metrics[CHECKPOINT_PATH], folder) if has_report else None,
                error=last_words(result.error) if result.error else None,
            )
        )
    return sorted(results, key=lambda result: result.number)


def front_of(results: Sequence[TrialResult], objectives: Sequence[Objective]) -> list[TrialResult]:
    """The Pareto front, best validation accuracy first."""
    known = [result for result in results if result.objectives is not None]
    values = [result.objectives for result in known if result.objectives is not None]
    return [known[position] for position in pareto_front(values, objectives)]


def _evidence_of(report: Mapping[str, Any]) -> Evidence:
    validation = Score(**{f.name: report[f"val_{f.name}"] for f in fields(Score)})
    held_out = report.get("held_out")
    return Evidence(validation, held_out and Score(**held_out))


def best_of(
    results: Sequence[TrialResult], num_validation: int, num_training: int
) -> TrialResult | None:
    """The trial with the best evidence, on so many images; None if no trial has any."""
    best: TrialResult | None = None
    for result in results:
        if result.evidence is None:
            continue
        if (
            best is None
            or best.evidence is None
            or result.evidence.is_better_than(best.evidence, num_validation, num_training)
        ):
            best = result
    return best
