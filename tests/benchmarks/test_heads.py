"""Runs of heads become rows with intervals and a table."""

from __future__ import annotations

from typing import Any

from benchmarks.heads import SHOTS, show, summarise


def run(head: str, seed: int, accuracy: float, shots: int = 1) -> dict[str, Any]:
    return {
        "task": "some",
        "seed": seed,
        "shots": shots,
        "head": head,
        "zero_shot": 0.5,
        "accuracy": accuracy,
        "loss": 1.0,
        "cpu_s": 0.1,
    }


RUNS = [
    run("anchored", 1, 0.6),
    run("anchored", 2, 0.4),
    run("gda", 1, 0.7),
    run("gda", 2, 0.4),
    run("gda", 2, 0.6),
]


def test_differences_are_paired_by_seed() -> None:
    _, gda = summarise(RUNS)
    assert gda["by_seed"] == [70.0, 50.0]
    assert gda["over_default"] == [10.0, 0.0]
    assert gda["runs"] == 3
    assert gda["runs_below_zero_shot"] == 1
    assert gda["most_below_zero_shot"] == 10.0


def test_the_table_has_a_column_for_each_number_of_shots() -> None:
    lines = [line for line in show(list(summarise(RUNS))) if line]
    assert {line.count("|") for line in lines} == {len(SHOTS) + 2}
    assert lines[0].strip().startswith("| some, zero-shot 50.0 | 1 | 2 |")
    assert lines[-1].startswith("| gda | 60.0 (+10.0 ± 0.0) |")
