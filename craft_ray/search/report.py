"""What a search prints at its end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from craft_ray.classifiers.score import Score
from craft_ray.config.sampling import Objective
from craft_ray.search.results import TrialResult

FORMATS: dict[Objective, str] = {
    "accuracy": "{:.1%}",
    "queries": "{:,.0f}",
    "calibration_error": "{:.3f}",
    "predictions_per_image": "{:.0f}",
}


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
            f"{result.tuned.spent.candidate_queries:,}",
            f"{result.tuned.seconds:.1f}",
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


def print_front(
    console: Console, front: Sequence[TrialResult], objectives: Sequence[Objective]
) -> None:
    """The trials that no other dominates, and their values."""
    table = Table("Pareto front", box=box.SIMPLE_HEAD)
    for name in objectives:
        table.add_column(name.replace("_", " "), justify="right")
    for trial in front:
        assert trial.objectives is not None
        values = [FORMATS[name].format(trial.objectives[name]) for name in objectives]
        table.add_row(f"trial {trial.number}", *values)
    console.print(table)


def print_importances(console: Console, importances: Mapping[str, float]) -> None:
    """One line."""
    shares = ", ".join(f"{path} {share:.0%}" for path, share in importances.items())
    console.print(f"Importance for the validation accuracy: {shares}.", highlight=False)
