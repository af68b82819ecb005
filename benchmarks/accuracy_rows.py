"""Rows of a table from runs over seeds: means, 95 % intervals, differences paired by seed."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from scipy.stats import t as student_t

PAPER = "CraFT, the paper's procedure"
HIDDEN = "linear probe on the hidden features"


def summarise(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of each task, number of shots and method: means, intervals, and how it compares."""
    rows = []
    keys = dict.fromkeys((run["task"], run["shots"], run["method"]) for run in runs)
    for task, shots, method in keys:
        own = {
            r["seed"]: r
            for r in runs
            if (r["task"], r["shots"], r["method"]) == (task, shots, method)
        }
        paper = {
            r["seed"]: r
            for r in runs
            if (r["task"], r["shots"], r["method"]) == (task, shots, PAPER)
        }
        accuracies = [run["accuracy"] for run in own.values()]
        gains = [run["accuracy"] - run["zero_shot"] for run in own.values()]
        row: dict[str, Any] = {
            "task": task,
            "shots": shots,
            "method": method,
            "seeds": sorted(own),
            "accuracy": interval(accuracies),
            "over_zero_shot": interval(gains),
            "runs_below_zero_shot": sum(gain < 0 for gain in gains),
        }
        if method != HIDDEN:
            row["passes"] = max(run["passes"] for run in own.values())
            row["predictions_per_image"] = max(r["predictions_per_image"] for r in own.values())
            marks = set.intersection(*(set(run["at_passes"]) for run in own.values()))
            row["at_passes"] = {
                mark: interval([run["at_passes"][mark] for run in own.values()])
                for mark in sorted(marks, key=int)
            }
            if paper:
                goal = interval([run["accuracy"] for run in paper.values()])[0]
                row["reaches_the_paper_within"] = first_mark(row["at_passes"], goal)
        if method != PAPER and own.keys() <= paper.keys():
            row["over_the_paper"] = interval(
                [run["accuracy"] - paper[seed]["accuracy"] for seed, run in own.items()]
            )
        rows.append(row)
    return rows


def first_mark(at_passes: dict[str, list[float]], goal: float) -> int | None:
    """The first mark at which the mean is as high as the goal."""
    return next((int(mark) for mark, (mean, _) in at_passes.items() if mean >= goal), None)


def interval(values: Sequence[float]) -> list[float]:
    """Mean and half width of the 95 % interval, in points; width 0 for one seed."""
    mean = 100 * statistics.mean(values)
    if len(values) < 2:
        return [round(mean, 2), 0.0]
    error = 100 * statistics.stdev(values) / len(values) ** 0.5
    return [round(mean, 2), round(float(student_t.ppf(0.975, len(values) - 1)) * error, 2)]


def show(rows: Sequence[dict[str, Any]]) -> None:
    """A table."""
    table = Table(
        "task", "shots", "method", "passes", "accuracy", "over zero-shot", "over the paper"
    )
    for row in rows:
        cells = [row.get(key) for key in ("accuracy", "over_zero_shot", "over_the_paper")]
        table.add_row(
            row["task"],
            str(row["shots"]),
            row["method"],
            f"{row['passes']:g}" if "passes" in row else "",
            *[f"{cell[0]:.1f} ± {cell[1]:.1f}" if cell else "" for cell in cells],
        )
    Console(width=140).print(table)
