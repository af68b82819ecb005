"""CraFT, its parts and the baselines on the embedded task, over seeds, with the paper's claims.

    python -m benchmarks.methods --seeds 1 2 3
    python -m benchmarks.methods --methods "CraFT, reference" --result methods_reference
    python -m benchmarks.methods --validation none --result methods_labelled_only

Runs the loop in this process on a plain `ClipOracle`: Ray changes the speed and not the numbers.
Each run selects by validation and is tested once, at its end. With `--validation none` the labelled
images are the training images alone, which the same seed draws: of what is searched or trained the
last state is tested, of probes the head or zero-shot, by held-out training images. White-box prompt
tuning and the linear probe see what a black box never gives: gradients and features.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from benchmarks.record import commit, write_result
from craft_ray.classifiers.examiner import Examiner
from craft_ray.config.loading import load_run_config
from craft_ray.config.run import RunConfig
from craft_ray.metering.ledger import QueryLedger
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.oracle.clip import ClipOracle
from craft_ray.oracle.white_box import load_oracle
from craft_ray.task.preparation import load_data, prepare
from craft_ray.tuners.feature_probe import fit_linear_probe
from craft_ray.tuners.registry import make_trainer

REFERENCE = "CraFT, reference"
METHODS: dict[str, tuple[str, ...]] = {
    "random search": (
        "method=prompt",
        "optimizer.kind=random_search",
        "fidelity.deployed_prompt=best",
    ),
    "head only": ("method=head",),
    "prompt only (BBT)": ("method=prompt",),
    REFERENCE: (
        "method=both",
        "fidelity=reference",
        "data.views=fresh",
        # The authors' settings for EuroSAT, the data set most like this one.
        "optimizer.sigma=0.02",
    ),
    "CraFT": ("method=both",),
    "white-box prompt tuning": ("method=white_box", "evaluate_every_generations=20"),
}
PROBES = "probes"
FITTED: dict[str, tuple[str, ...]] = {
    PROBES: ("method=head", "head.kind=probes", "data.views=4"),
}
"""Not a part of the paper's claims."""
PROBE = "linear probe"
PAPERS_GAP = 1.62
"""Points that the paper's CraFT is behind white-box prompt tuning."""
MARKS = (1000, 2000, 4000, 8000)
"""Queries at which the curve is read."""


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.methods", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--max-queries", type=int, default=8000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--methods", nargs="+", choices=[*METHODS, PROBE, *FITTED], default=[*METHODS, PROBE]
    )
    parser.add_argument("--validation", choices=["full", "few_shot", "none"], default="full")
    parser.add_argument("--result", default="methods", help="name of the file that is written")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="settings of all runs")
    options = parser.parse_args()
    if options.validation == "none" and PROBE in options.methods:
        options.methods.remove(PROBE)  # its penalty is chosen on validation images
    commit_id = commit()
    torch.set_num_threads(options.threads)
    threadpool_limits(1, user_api="blas")  # as in a worker
    settings = [f"max_queries={options.max_queries}", "oracle.white_box=true", *options.overrides]
    base = load_run_config(None, settings)
    oracle = load_oracle(base.local_model)
    facts = {"settings": base.model_dump(mode="json"), "scales": scales(oracle, base)}
    runs: list[dict[str, Any]] = []
    for seed in options.seeds:
        for method in options.methods:
            own = {**METHODS, **FITTED}.get(method, ())
            words = [*settings, *own, f"data.validation={options.validation}", f"seed={seed}"]
            if options.validation == "none" and method not in FITTED:
                words.append("fidelity.selection=last")
            run = probe_once(oracle, words) if method == PROBE else run_once(oracle, words)
            runs.append({"method": method, **run})
            print(method, seed, run["test_accuracy"], run["seconds"], flush=True)
        # After each seed, so that what is stopped leaves a result of fewer seeds.
        told = {"claims": claims(runs)} if set(METHODS) <= set(options.methods) else {}
        result = {**facts, **told, "runs": runs}
        path = write_result(options.result, commit_id, result, module="methods")
    show(runs)
    Console().print(told)
    print(path)


def probe_once(oracle: ClipOracle, settings: Sequence[str]) -> dict[str, Any]:
    """One linear probe; returns its numbers."""
    config = load_run_config(None, settings)
    data = load_data(config)
    driver = MeteredOracle(oracle, QueryLedger(0))
    prepared = prepare(config, data, driver)
    started = time.perf_counter()
    probe, validation = fit_linear_probe(driver, prepared)
    seconds = time.perf_counter() - started
    (test,) = Examiner(driver, prepared, data).test([probe])
    return {
        "seed": config.seed,
        "test_accuracy": test.accuracy,
        "validation_accuracy": validation.accuracy,
        "seconds": round(seconds, 1),
    }


def scales(oracle: ClipOracle, config: RunConfig) -> dict[str, float]:
    """What the authors' choice of the head's inputs depends on, beside their choice: the factor of
    this oracle's cosines, and the mean norm of its image features, by which unnormalised logits
    are larger than normalised ones."""
    driver = MeteredOracle(oracle, QueryLedger(0))
    prepared = prepare(config, load_data(config), driver)
    start_1LE = prepared.task.initial_context[None]
    plain_N, unnormalized_N = (
        np.linalg.norm(
            driver.predict(
                prepared.task, prepared.fitness.handle, start_1LE, purpose="head", answer=answer
            )[0],
            axis=1,
        )
        for answer in ("logits", "unnormalized_logits")
    )
    return {
        "logit_scale": round(oracle.describe().logit_scale, 2),
        "mean_image_feature_norm": round(float((unnormalized_N / plain_N).mean()), 2),
    }


def claims(runs: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The paper's headlines on this task: points, and seconds of white-box tuning over ours.

    Memory against the white box is measured by `benchmarks.memory`.
    """
    means = {
        name: statistics.mean(run["test_accuracy"] for run in runs if run["method"] == name)
        for name in METHODS
    }
    seconds = {
        name: statistics.mean(run["seconds"] for run in runs if run["method"] == name)
        for name in METHODS
    }
    zero_shot = statistics.mean(
        r["zero_shot_test_accuracy"] for r in runs if r["method"] == "CraFT"
    )
    white_box = "white-box prompt tuning"
    return {
        "gain_over_zero_shot": round(100 * (means["CraFT"] - zero_shot), 2),
        "gain_over_zero_shot_reference": round(100 * (means[REFERENCE] - zero_shot), 2),
        "gap_to_white_box": round(100 * (means[white_box] - means["CraFT"]), 2),
        "gap_to_white_box_reference": round(100 * (means[white_box] - means[REFERENCE]), 2),
        "gap_to_white_box_in_the_paper": PAPERS_GAP,
        "seconds_craft": round(seconds["CraFT"], 1),
        "seconds_white_box": round(seconds[white_box], 1),
    }


def run_once(oracle: ClipOracle, settings: Sequence[str]) -> dict[str, Any]:
    """One fine-tuning; returns its numbers."""
    config = load_run_config(None, settings)
    data = load_data(config)
    driver = MeteredOracle(oracle, QueryLedger(0))
    prepared = prepare(config, data, driver)
    ledger = QueryLedger(config.max_queries)
    trainer = make_trainer(MeteredOracle(oracle, ledger), prepared, config)
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
    validation = trainer.selected.validation
    return {
        "seed": config.seed,
        "zero_shot_test_accuracy": zero_shot,
        "test_accuracy": selected,
        "validation_accuracy": validation and validation.accuracy,
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
    told = [run for run in runs if run["method"] != PROBE]
    zero_shot = [
        run["zero_shot_test_accuracy"] for run in told if run["method"] == told[0]["method"]
    ]
    rows = {"zero-shot": zero_shot} if told else {}
    for method in dict.fromkeys(run["method"] for run in runs):
        rows[method] = [run["test_accuracy"] for run in runs if run["method"] == method]
    for method, values in rows.items():
        spread = statistics.stdev(values) if len(values) > 1 else 0.0
        cells = [*values, statistics.mean(values), spread]
        table.add_row(method, *[f"{100 * value:.1f}" for value in cells])
    Console().print(table)


if __name__ == "__main__":
    main()
