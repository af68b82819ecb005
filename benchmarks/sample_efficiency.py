"""Accuracy against queries: probes, the paper's procedure, prompt searches, over seeds.

    python -m benchmarks.sample_efficiency --seeds 1 2 3 4 5

One unit for all: a pass, which is one prediction of every training image, whatever it is for (a
candidate, a probe, a view for the head). Validation is not counted; it is the same for all. Each
run returns what validation selects at every mark, and all of that is tested once, at the end: no
choice sees a test image. Intervals are 95 %, Student's t over the seeds; differences from the
paper's procedure are paired by seed.

Two tasks on the embedded oracle: its own (Fashion-MNIST), and scikit-learn's handwritten digits,
which it was not made for. The default also trains on 1, 2, 4 and 8 images a class, where it selects
by as many validation images as the paper has (at most 4 a class).

    python -m benchmarks.sample_efficiency --seeds 6 --take-in sample_efficiency

adds to what was measured before: runs of the named results that are not repeated are taken in,
each with its commit and command. The result is written after every seed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits

from benchmarks.accuracy_rows import HIDDEN, PAPER, show, summarise
from benchmarks.record import RESULTS, commit, write_result
from craft_ray.classifiers.classifier import Classifier
from craft_ray.classifiers.examiner import Examiner
from craft_ray.config.loading import load_run_config
from craft_ray.metering.ledger import QueryLedger, Spending
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.oracle.clip import ClipOracle
from craft_ray.oracle.contract import Oracle
from craft_ray.oracle.white_box import load_oracle
from craft_ray.task.preparation import load_data, prepare
from craft_ray.tuners.feature_probe import fit_linear_probe
from craft_ray.tuners.registry import make_trainer

DEFAULT = "probes: 500 names"
PROBING = ("method=head", "head.kind=probes", "data.views=4", "evaluate_every_generations=1")
SEARCHING = ("method=both", "head.kind=probes", "head.names=0", "data.views=4", "max_queries=2000")
PER_CLASS = ("prompt.per_class=true",)
SHORT = ("method=prompt", "max_queries=2000")


def in_batches(count: int) -> tuple[str, ...]:
    """Evaluated as often for its queries as without batches."""
    return (f"optimizer.batches={count}", f"evaluate_every_generations={5 * count}")


METHODS: dict[str, tuple[str, ...]] = {
    DEFAULT: PROBING,
    **{
        f"probes: {count} contexts": (*PROBING, "head.names=0", f"head.contexts={count}")
        for count in (1, 3, 9, 25, 100)
    },
    "linear head, one prompt": ("method=head", "head.kind=linear", "data.views=4"),
    **{
        f"{count} searched for a linear head": (
            *SEARCHING,
            f"head.contexts={count - 1}",
            "optimizer.sigma=0.02",
        )
        for count in (1, 2, 4)
    },
    **{
        f"2 searched for a linear head: {kind}": (
            *SEARCHING,
            "head.contexts=1",
            f"optimizer.kind={kind}",
            "evaluate_every_generations=20",  # of ten queries: as often as CMA-ES with its forty
        )
        for kind in ("spsa", "zo_adam")
    },
    # The authors' settings for EuroSAT, the data set most like these.
    PAPER: ("fidelity=reference", "optimizer.sigma=0.02"),
    "CraFT, corrected": (),
    "white-box prompt tuning": ("method=white_box", "evaluate_every_generations=20"),
    **{
        f"prompt search: {kind}": ("method=prompt", f"optimizer.kind={kind}")
        for kind in (
            "cma_es",
            "sep_cma_es",
            "vkd_cma_es",
            "spsa",
            "spsa_gc",
            "zip",
            "zo_adam",
            "sharp_zo",
            "random_search",
        )
    },
    **{
        f"prompt search: cma_es, {projection}": (*SHORT, f"prompt.projection={projection}")
        for projection in ("per_token", "low_rank", "fastfood")
    },
    "CraFT, corrected, 8 batches": in_batches(8),
    "prompt search: cma_es, 8 batches": ("method=prompt", *in_batches(8)),
    **{
        f"prompt search: cma_es, {count} batches": (*SHORT, *in_batches(count))
        for count in (2, 4, 16)
    },
    **{
        f"prompt search: {kind}, 8 batches": (
            *SHORT,
            *in_batches(8),
            f"optimizer.kind={kind}",
        )
        for kind in ("spsa", "zo_adam")
    },
    **{
        f"{count} searched for a linear head, 2 batches": (
            *SEARCHING,
            *in_batches(2),
            f"head.contexts={count - 1}",
            "optimizer.sigma=0.02",
        )
        for count in (1, 2)
    },
    "CraFT, corrected, a context for each class, 8 batches": (*PER_CLASS, *in_batches(8)),
    "CraFT, corrected, a context for each class": (*PER_CLASS, "max_queries=2000"),
    "prompt search: cma_es, a context for each class": (*PER_CLASS, *SHORT),
    **{
        f"{count} searched for a linear head, a context for each class": (
            *SEARCHING,
            *PER_CLASS,
            f"head.contexts={count - 1}",
            "optimizer.sigma=0.02",
        )
        for count in (1, 2)
    },
}
MARKS = (5, 50, 200, 500, 1000, 2000, 4000, 8000)
LOW_SHOTS = (1, 2, 4, 8)
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.sample_efficiency", description=__doc__
    )
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3, 4, 5])
    parser.add_argument("--tasks", nargs="+", choices=("embedded", "digits"), default=["embedded"])
    known = [HIDDEN, *METHODS]
    parser.add_argument("--methods", nargs="+", choices=known, default=known)
    parser.add_argument("--max-queries", type=int, default=8000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--name", default="sample_efficiency", help="of the result file")
    parser.add_argument("--take-in", nargs="*", default=[], help="names of earlier result files")
    options = parser.parse_args()
    commit_id = commit()
    torch.set_num_threads(options.threads)
    threadpool_limits(1, user_api="blas")  # as in a worker
    earlier = [run for name in options.take_in for run in earlier_runs(name)]
    runs = merged(earlier, [])
    origin = {"commit": commit_id, "arguments": sys.argv[1:]}
    with tempfile.TemporaryDirectory() as folder:
        settings = task_settings(Path(folder))
        base = load_run_config(None, ["oracle.white_box=true"])
        oracle = load_oracle(base.local_model)
        for task in options.tasks:
            common = [*settings[task], "oracle.white_box=true"]
            common += [f"max_queries={options.max_queries}"]
            for seed in options.seeds:
                new = []
                for method in options.methods:
                    for run in runs_of(oracle, method, [*common, f"seed={seed}"]):
                        new.append({"task": task, "method": method, **run, **origin})
                        print(task, seed, method, run["shots"], run["accuracy"], flush=True)
                runs = merged(runs, new)
                write_result(options.name, commit_id, result_of(runs), module="sample_efficiency")
    result = result_of(runs)
    path = write_result(options.name, commit_id, result, module="sample_efficiency")
    show(result["rows"])
    print(path)


def result_of(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What is stored: rows for a reader, runs for the next who adds some."""
    return {"rows": summarise(runs), "runs": runs}


def earlier_runs(name: str) -> list[dict[str, Any]]:
    """Those of a stored result."""
    document = json.loads((RESULTS / f"{name}.json").read_text(encoding="utf-8"))
    runs: list[dict[str, Any]] = document["runs"]
    return runs


def merged(
    earlier: Sequence[dict[str, Any]], new: Sequence[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Each run once, the last one of it, by seed within its method."""
    runs = {
        (run["task"], run["shots"], run["method"], run["seed"]): run for run in (*earlier, *new)
    }
    methods = [HIDDEN, *METHODS]
    return sorted(
        runs.values(),
        key=lambda r: (r["task"], -r["shots"], methods.index(r["method"]), r["seed"]),
    )


def runs_of(oracle: ClipOracle, method: str, settings: Sequence[str]) -> Iterator[dict[str, Any]]:
    """What a method is run as: at 16 shots, and the default at few shots too."""
    if method == HIDDEN:
        yield {"shots": 16, **hidden_probe(oracle, settings)}
        return
    yield {"shots": 16, **run_once(oracle, [*settings, *METHODS[method]])}
    if method == DEFAULT:
        for shots in LOW_SHOTS:
            few = (f"data.shots={shots}", "data.validation=few_shot")
            yield {"shots": shots, **run_once(oracle, [*settings, *METHODS[method], *few])}


def task_settings(folder: Path) -> dict[str, tuple[str, ...]]:
    """Of the tasks by name; images are written into the folder."""
    return {
        "embedded": (),
        "digits": (
            f"data.source={{kind: folder, root: {write_digits(folder)}}}",
            "data.template=a photo of the number {}.",
        ),
    }


def write_digits(folder: Path) -> Path:
    """scikit-learn's digits as a folder of images, dark on white."""
    digits = load_digits()
    for index, (pixels, label) in enumerate(zip(digits.images, digits.target, strict=True)):
        place = folder / "digits" / DIGITS[label]
        place.mkdir(parents=True, exist_ok=True)
        image = Image.fromarray((255 - pixels * (255 / 16)).astype(np.uint8))
        image.resize((96, 96), Image.Resampling.BICUBIC).save(place / f"{index:04d}.png")
    return folder / "digits"


def hidden_probe(oracle: ClipOracle, settings: Sequence[str]) -> dict[str, Any]:
    """What a black box never gives: the yardstick."""
    config = load_run_config(None, settings)
    data = load_data(config)
    driver = MeteredOracle(oracle, QueryLedger(0))
    prepared = prepare(config, data, driver)
    probe, _ = fit_linear_probe(driver, prepared)
    examiner = Examiner(driver, prepared, data)
    zero_shot, test = examiner.test([examiner.zero_shot, probe])
    return {"seed": config.seed, "zero_shot": zero_shot.accuracy, "accuracy": test.accuracy}


def run_once(oracle: Oracle, settings: Sequence[str]) -> dict[str, Any]:
    """One training: what validation selected at each mark, tested."""
    config = load_run_config(None, settings)
    data = load_data(config)
    driver = MeteredOracle(oracle, QueryLedger(0))
    prepared = prepare(config, data, driver)
    ledger = QueryLedger(config.max_queries)
    trainer = make_trainer(MeteredOracle(oracle, ledger), prepared, config)
    started = time.perf_counter()
    selected: dict[int, Classifier] = {}
    passes = 0.0
    marks = list(MARKS)
    while not trainer.finished:
        before = trainer.selected.classifier
        trainer.run_generation()
        passes = passes_of(ledger.spent, prepared.fitness.handle.num_images)
        while marks and passes > marks[0]:  # what had been selected when the mark was passed
            selected[marks.pop(0)] = before
    selected |= dict.fromkeys(marks, trainer.selected.classifier)
    seconds = time.perf_counter() - started
    examiner = Examiner(driver, prepared, data)
    scores = examiner.test([examiner.zero_shot, trainer.selected.classifier, *selected.values()])
    zero_shot, final, *at_marks = (score.accuracy for score in scores)
    validation = trainer.selected.validation
    return {
        "seed": config.seed,
        "zero_shot": zero_shot,
        "accuracy": final,
        "validation": validation and validation.accuracy,
        "passes": round(passes, 1),
        "at_passes": {str(m): a for m, a in zip(selected, at_marks, strict=True) if m <= passes},
        "text_encodes": ledger.spent.text_encodes,
        "predictions_per_image": trainer.selected.classifier.predictions_per_image,
        "seconds": round(seconds, 1),
    }


def passes_of(spent: Spending, num_train: int) -> float:
    """Predictions of the training images, whatever for, over their number."""
    predictions = spent.search_predictions + spent.head_predictions + spent.white_box_predictions
    return predictions / num_train


if __name__ == "__main__":
    main()
