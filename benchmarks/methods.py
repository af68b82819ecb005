"""Prompt only, head only and both on the embedded task, over seeds.

    python -m benchmarks.methods --seeds 1 2 3

Runs the loop in this process on a plain `ClipOracle`: Ray changes the speed and not the numbers.
Each run selects by validation and is tested once, at its end.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from benchmarks.record import commit, write_result
from craft_ray.config.loading import load_run_config
from craft_ray.oracle.clip import ClipOracle
from craft_ray.training.examiner import Examiner
from craft_ray.training.ledger import QueryLedger
from craft_ray.training.loop import CollaborativeTrainer
from craft_ray.training.metered import MeteredOracle
from craft_ray.training.preparation import load_data, prepare

METHODS = ("prompt", "head", "both")
MARKS = (1000, 2000, 4000, 8000)
"""Queries at which the curve is read."""


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.methods", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--max-queries", type=int, default=8000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings of all runs")
    options = parser.parse_args()
    commit_id = commit()
    torch.set_num_threads(options.threads)
    threadpool_limits(1, user_api="blas")  # as in a worker
    settings = [f"max_queries={options.max_queries}", *options.overrides]
    base = load_run_config(None, settings)
    oracle = ClipOracle.load(base.oracle)
    runs = []
    for seed in options.seeds:
        for method in METHODS:
            runs.append(run_once(oracle, [*settings, f"seed={seed}", f"method={method}"]))
            print(runs[-1]["method"], runs[-1]["seed"], runs[-1]["test_accuracy"], flush=True)
    path = write_result(
        "methods", commit_id, {"settings": base.model_dump(mode="json"), "runs": runs}
    )
    show(runs)
    print(path)


def run_once(oracle: ClipOracle, settings: Sequence[str]) -> dict[str, Any]:
    """One fine-tuning; returns its numbers."""
    config = load_run_config(None, settings)
    data = load_data(config)
    driver = MeteredOracle(oracle, QueryLedger(0))
    prepared = prepare(config, data, driver)
    ledger = QueryLedger(config.max_queries)
    trainer = CollaborativeTrainer(MeteredOracle(oracle, ledger), prepared, config)
    sent_by_driver = driver.ledger.spent.images_sent
    started = time.perf_counter()
    chosen = {}
    while not trainer.finished:
        trainer.run_generation()
        if (queries := trainer.generation * config.optimizer.population) in MARKS:
            chosen[queries] = trainer.selected.classifier
    seconds = time.perf_counter() - started
    examiner = Examiner(driver, prepared, data)
    zero_shot, selected, *at_marks = (
        score.accuracy
        for score in examiner.test(
            [examiner.zero_shot, trainer.selected.classifier, *chosen.values()]
        )
    )
    return {
        "method": config.method,
        "seed": config.seed,
        "zero_shot_test_accuracy": zero_shot,
        "test_accuracy": selected,
        "validation_accuracy": trainer.selected.validation.accuracy,
        "selected_generation": trainer.selected.generation,
        "generations": config.num_generations,
        "test_accuracy_of_the_choice_at_queries": {
            str(queries): accuracy for queries, accuracy in zip(chosen, at_marks, strict=True)
        },
        "images_sent": sent_by_driver + ledger.spent.images_sent,
        "seconds": round(seconds, 1),
    }


def show(runs: Sequence[dict[str, Any]]) -> None:
    """A table: each seed, mean and standard deviation."""
    table = Table("method", *[f"seed {seed}" for seed in sorted({r["seed"] for r in runs})])
    table.add_column("mean")
    table.add_column("std")
    zero_shot = [run["zero_shot_test_accuracy"] for run in runs if run["method"] == METHODS[0]]
    rows = {"zero-shot": zero_shot}
    rows |= {m: [r["test_accuracy"] for r in runs if r["method"] == m] for m in METHODS}
    for method, values in rows.items():
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        cells = [*values, statistics.mean(values), spread]
        table.add_row(method, *[f"{100 * value:.1f}" for value in cells])
    Console().print(table)


if __name__ == "__main__":
    main()
