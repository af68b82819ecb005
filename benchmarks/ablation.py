"""What each choice is worth in which the authors' code and a careful implementation differ.

    python -m benchmarks.ablation --seeds 1 2 3 4 5

The whole method on the embedded task, from both ends: the authors' procedure with one choice
corrected, and the corrected one with one choice of the authors'. Hyperparameters are those that the
paper gives for EuroSAT (sigma 0.02, std 1, w 0.01), the data set most like this one.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from benchmarks.methods import run_once
from benchmarks.record import commit, write_result
from craft_ray.config.fidelity import PRESETS
from craft_ray.config.loading import load_run_config
from craft_ray.oracle.clip import ClipOracle

BASE = ("optimizer.sigma=0.02", "prompt.projection_std=1", "data.shots=16")


def variants() -> dict[str, tuple[str, ...]]:
    """Name -> settings: both presets, and each with one switch of the other."""
    named: dict[str, tuple[str, ...]] = {}
    for preset, other in (("reference", "corrected"), ("corrected", "reference")):
        named[preset] = (f"fidelity={preset}",)
        for switch, value in PRESETS[other].items():
            named[f"{preset}, {switch} {value}"] = (
                f"fidelity={preset}",
                f"fidelity.{switch}={value}",
            )
        named[f"{preset}, deployed_prompt best"] = (
            f"fidelity={preset}",
            "fidelity.deployed_prompt=best",
        )
    named["corrected, step_size_rule tpa"] = (
        "fidelity=corrected",
        "optimizer.step_size_rule=tpa",
    )
    return named


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ablation", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--max-queries", type=int, default=8000)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    commit_id = commit()
    torch.set_num_threads(options.threads)
    threadpool_limits(1, user_api="blas")  # as in a worker
    base = [*BASE, f"max_queries={options.max_queries}"]
    config = load_run_config(None, base)
    oracle = ClipOracle.load(config.local_model)
    runs = []
    # Seed by seed, so that what a stopped benchmark has printed compares like with like.
    for seed in options.seeds:
        for name, words in variants().items():
            run = run_once(oracle, [*base, *words, f"seed={seed}"])
            runs.append({"variant": name, **run})
            print(seed, name, run["test_accuracy"], run["seconds"], flush=True)
    show(runs)
    result = {"settings": config.model_dump(mode="json"), "runs": runs}
    print(write_result("ablation", commit_id, result))


def summarise(runs: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For each variant: mean and standard deviation of the test accuracy, and of the difference
    to its preset, paired by seed. All in points."""
    accuracy = {(run["variant"], run["seed"]): 100 * run["test_accuracy"] for run in runs}
    seeds = sorted({run["seed"] for run in runs})
    rows = []
    for name in dict.fromkeys(run["variant"] for run in runs):
        preset = name.split(",")[0]
        values = [accuracy[name, seed] for seed in seeds]
        differences = [accuracy[name, seed] - accuracy[preset, seed] for seed in seeds]
        rows.append(
            {
                "variant": name,
                "mean": statistics.mean(values),
                "std": _spread(values),
                "difference": statistics.mean(differences),
                "difference_std": _spread(differences),
            }
        )
    return rows


def _spread(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


def show(runs: Sequence[Mapping[str, Any]]) -> None:
    """A human's table."""
    table = Table("variant", "mean", "std", "difference", "std")
    for row in summarise(runs):
        is_preset = "," not in row["variant"]
        cells = [f"{row['mean']:.1f}", f"{row['std']:.1f}"]
        cells += (
            ["", ""] if is_preset else [f"{row['difference']:+.1f}", f"{row['difference_std']:.1f}"]
        )
        table.add_row(row["variant"], *cells)
    Console().print(table)


if __name__ == "__main__":
    main()
