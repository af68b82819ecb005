"""What a bank of V augmented views loses against the paper's fresh view in every generation.

    python -m benchmarks.views --seeds 1 2 3

The whole method on the embedded task; only the head's images differ. Fresh views cost an encoding
of all training images a generation, a bank one of V.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from benchmarks.methods import run_once
from benchmarks.record import commit, write_result
from craft_ray.config.loading import load_run_config
from craft_ray.oracle.clip import ClipOracle

VIEWS = ("1", "4", "16", "fresh")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.views", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--max-queries", type=int, default=8000)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    commit_id = commit()
    torch.set_num_threads(options.threads)
    threadpool_limits(1, user_api="blas")  # as in a worker
    base = load_run_config(None, [f"max_queries={options.max_queries}"])
    oracle = ClipOracle.load(base.local_model)
    runs = []
    for seed in options.seeds:
        for views in VIEWS:
            words = [f"max_queries={options.max_queries}", f"seed={seed}", f"data.views={views}"]
            runs.append({"views": views, **run_once(oracle, words)})
            print(views, seed, runs[-1]["test_accuracy"], runs[-1]["seconds"], flush=True)
    show(runs)
    result = {"settings": base.model_dump(mode="json"), "runs": runs}
    print(write_result("views", commit_id, result))


def show(runs: Sequence[dict[str, Any]]) -> None:
    """A human's table."""
    seeds = sorted({run["seed"] for run in runs})
    table = Table("views", *[f"seed {seed}" for seed in seeds], "mean", "std", "images sent")
    for views in VIEWS:
        own = [run for run in runs if run["views"] == views]
        values = [run["test_accuracy"] for run in own]
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        cells = [f"{100 * value:.1f}" for value in (*values, statistics.mean(values), spread)]
        table.add_row(views, *cells, f"{own[0]['images_sent']:,}")
    Console().print(table)


if __name__ == "__main__":
    main()
