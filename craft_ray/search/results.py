"""Ranking the trials of a search, and the summary that is written of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from ray.tune import ResultGrid
from rich import box
from rich.console import Console
from rich.table import Table

from craft_ray.errors import last_words
from craft_ray.remote import Place
from craft_ray.storage import place_of
from craft_ray.training.classifier import Score
from craft_ray.training.job import CHECKPOINT_PATH
from craft_ray.training.journals import spent_on_record
from craft_ray.training.ledger import Spending


@dataclass(frozen=True)
class TrialResult:
    """One trial as reported."""

    number: int
    trial_id: str
    status: str
    """`finished`, `stopped early` (by the scheduler), `diverged` or `failed`."""
    params: Mapping[str, Any]
    validation: Score | None
    """Of the selected state."""
    spent: Spending
    retried_chunks: int
    """Chunks that were sent again after they were lost; they are paid for once."""
    seconds: float
    checkpoint: Place | None
    error: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """For the summary."""
        return {
            "number": self.number,
            "trial_id": self.trial_id,
            "status": self.status,
            "params": dict(self.params),
            "validation": asdict(self.validation) if self.validation else None,
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
        has_report = "val_accuracy" in metrics
        # One that died before its first report has no tag; they come as they were made.
        number = number_of(metrics.get("experiment_tag", str(position)))
        results.append(
            TrialResult(
                number=number,
                trial_id=str(metrics.get("trial_id", "")),
                status="failed" if result.error else status_of(metrics.get("outcome", "failed")),
                params=dict(result.config or {}),
                validation=(
                    Score(metrics["val_accuracy"], metrics["val_loss"]) if has_report else None
                ),
                spent=spent_on_record(trials / str(number)),
                retried_chunks=int(metrics.get("retried_chunks", 0)),
                seconds=float(metrics.get("train_seconds", 0.0)),
                checkpoint=place_of(metrics[CHECKPOINT_PATH], folder) if has_report else None,
                error=last_words(result.error) if result.error else None,
            )
        )
    return sorted(results, key=lambda result: result.number)


def best_of(results: Sequence[TrialResult]) -> TrialResult | None:
    """The trial with the best validation score; None if no trial has one."""
    best: TrialResult | None = None
    for result in results:
        if result.validation is None:
            continue
        if (
            best is None
            or best.validation is None
            or result.validation.is_better_than(best.validation)
        ):
            best = result
    return best


def print_table(
    console: Console, zero_shot: Score, results: Sequence[TrialResult], best: TrialResult | None
) -> None:
    """Zero-shot and every trial: validation accuracy, queries, seconds, status and parameters.

    Two tables, as the parameters of a search do not fit beside the results in 80 columns.
    """
    outcomes = Table("trial", box=box.SIMPLE_HEAD)
    for column in ("validation", "queries", "seconds"):
        outcomes.add_column(column, justify="right")
    outcomes.add_column("status")
    outcomes.add_row("zero-shot", f"{zero_shot.accuracy:.1%}", "0", "", "")
    parameters = Table("trial", box=None, padding=(0, 1, 0, 0), pad_edge=False)
    paths = list(results[0].params) if results else []
    for path in paths:
        parameters.add_column(short_name(path, paths), justify="right", overflow="fold")
    for result in results:
        style = "bold green" if result is best else None
        outcomes.add_row(
            f"{result.number}",
            f"{result.validation.accuracy:.1%}" if result.validation else "-",
            f"{result.spent.candidate_queries:,}",
            f"{result.seconds:.1f}",
            result.status,
            style=style,
        )
        values = [_format(result.params.get(path)) for path in paths]
        parameters.add_row(f"{result.number}", *values, style=style)
    console.print(outcomes)
    console.print(parameters)


def short_name(path: str, paths: Sequence[str]) -> str:
    """The last part of a parameter's path, where that is unique, broken into lines."""
    leaf = path.split(".")[-1]
    is_unique = sum(other.split(".")[-1] == leaf for other in paths) == 1
    return (leaf if is_unique else path.replace(".", "\n")).replace("_", "\n")


def _format(value: Any) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
