"""Which head makes the most of the same answers, without validation images?

    python -m benchmarks.heads --seeds 1 2 3 4 5 6 7 8 9 10
    python -m benchmarks.heads --size

Every kind of `head.fit` is fitted to 500 names and four views of 1 to 16 images a class, and tested
on all test images: of the embedded data set, of scikit-learn's digits, and of tasks of three to
five classes at which zero-shot is good (`benchmarks.guard`). With unlabelled images: the other
training images; 60 of them; and those of three classes only. Nothing is chosen on any image: one
configuration for all tasks and shots. Differences to the default are paired by seed; intervals are
95 % over seeds.

`--size`: what a fit costs for 16,000 images, four views of each, 1,000 classes and 1,510 names,
all made up.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.accuracy_rows import interval
from benchmarks.guard import Answers, Images, draw_tasks
from benchmarks.record import commit, write_result
from benchmarks.sample_efficiency import task_settings
from craft_ray.classifiers.score import score_logits
from craft_ray.config.heads import HeadFit, ProbesHeadConfig
from craft_ray.method.heads import Unlabelled, fit_head

SHOTS = (1, 2, 4, 8, 16)
FOLDS = 5
DEFAULT = ProbesHeadConfig().fit
POOLS: dict[str, tuple[int | None, int | None]] = {
    "all others unlabelled": (None, None),
    "60 others unlabelled": (60, None),
    "others of 3 classes unlabelled": (None, 3),
}
"""Images and classes that are in it at most."""
IMAGES_PER_CLASS = {"embedded": 64, "digits": 32}


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.heads", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(1, 11)))
    parser.add_argument("--tasks", type=int, default=5, help="of classes, for each seed")
    parser.add_argument("--size", action="store_true", help="measure the cost of a large fit")
    options = parser.parse_args()
    commit_id = commit()
    if options.size:
        result = {"size": list(measure_size())}
        print(write_result("heads_size", commit_id, result), result)
        return
    torch.set_num_threads(1)  # as in a worker
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for task, settings in task_settings(Path(folder)).items():
            shots = IMAGES_PER_CLASS[task]
            answers = Answers.ask((*settings, f"data.shots={shots}", "data.validation=few_shot"))
            for seed in options.seeds:
                runs += compare(task, answers, seed, np.random.default_rng(seed))
                print(task, seed, flush=True)
            if task == "embedded":
                runs += good_tasks(answers, options.seeds, options.tasks)
    rows = list(summarise(runs))
    path = write_result("heads", commit_id, {"rows": rows, "runs": runs})
    show(rows)
    print(path)


def good_tasks(answers: Answers, seeds: Sequence[int], num_tasks: int) -> Iterator[dict[str, Any]]:
    """Tasks at which zero-shot is good."""
    for seed in seeds:
        generator = np.random.default_rng(seed)
        for classes in draw_tasks(answers.train, num_tasks, generator):
            yield from compare("good zero-shot", answers.of_classes(classes), seed, generator)
        print("good zero-shot", seed, flush=True)


def compare(
    task: str, answers: Answers, seed: int, generator: np.random.Generator
) -> Iterator[dict[str, Any]]:
    """Test accuracy of every head on one draw."""
    num_classes = int(answers.train.labels_N.max()) + 1
    zero_shot = answers.test.zero_shot(num_classes).accuracy
    for shots in SHOTS:
        order_N = answers.train.shuffled(generator)
        train = answers.train.rows(order_N[:, :shots].ravel())
        others = answers.train.rows(generator.permutation(order_N[:, shots:].ravel()))
        common = {"task": task, "seed": seed, "shots": shots, "zero_shot": zero_shot}
        for kind in get_args(HeadFit):
            yield {**common, "head": kind, **fit_and_test(kind, train, answers, None)}
        for name, (num_images, num_present) in POOLS.items():
            if num_present is not None and num_classes <= num_present:
                continue
            pool = others
            if num_present is not None:
                present = generator.permutation(num_classes)[:num_present]
                pool = pool.rows(np.flatnonzero(np.isin(pool.labels_N, present)))
            seen_UF = pool.logits_VNF[0, :num_images]
            found = fit_and_test(DEFAULT, train, answers, Unlabelled(seen_UF))
            yield {**common, "head": f"{DEFAULT}, {name}", **found}


def fit_and_test(
    kind: HeadFit, train: Images, answers: Answers, unlabelled: Unlabelled | None
) -> dict[str, Any]:
    """Accuracy, loss and CPU seconds of the fit."""
    num_classes = int(train.labels_N.max()) + 1
    started_s = time.process_time()
    fitted = fit_head(
        kind,
        train.logits_VNF,
        train.labels_N,
        num_classes,
        FOLDS,
        0,
        logit_scale=answers.logit_scale,
        unlabelled=unlabelled,
    )
    seconds = time.process_time() - started_s
    score = score_logits(fitted.head(answers.test.logits_VNF[0]), answers.test.labels_N)
    return {"accuracy": score.accuracy, "loss": score.loss, "cpu_s": seconds}


def summarise(runs: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Of each task, number of shots and head."""
    for task, shots, head in dict.fromkeys((r["task"], r["shots"], r["head"]) for r in runs):
        own = [r for r in runs if (r["task"], r["shots"], r["head"]) == (task, shots, head)]
        default = [r for r in runs if (r["task"], r["shots"], r["head"]) == (task, shots, DEFAULT)]
        seeds = sorted({r["seed"] for r in own})

        accuracies = by_seed(own, seeds)
        gains = [a - b for a, b in zip(accuracies, by_seed(default, seeds), strict=True)]
        worst = min(r["accuracy"] - r["zero_shot"] for r in own)
        yield {
            "task": task,
            "shots": shots,
            "head": head,
            "accuracy": interval(accuracies),
            "over_default": interval(gains),
            "worst_over_default": round(100 * min(gains), 1),
            "loss": round(float(np.mean([r["loss"] for r in own])), 3),
            "cpu_s": round(float(np.mean([r["cpu_s"] for r in own])), 3),
            "runs": len(own),
            "runs_below_zero_shot": sum(r["accuracy"] < r["zero_shot"] for r in own),
            "most_below_zero_shot": round(100 * max(0.0, -worst), 1),
        }


def by_seed(runs: Sequence[dict[str, Any]], seeds: Sequence[int]) -> list[float]:
    """Mean accuracy of the runs of each seed."""
    return [float(np.mean([r["accuracy"] for r in runs if r["seed"] == seed])) for seed in seeds]


def measure_size() -> Iterator[dict[str, Any]]:
    """Seconds and memory of a fit at ImageNet's size."""
    num_images, num_views, rank, num_classes, num_names = 16_000, 5, 512, 1000, 1510
    generator = torch.Generator().manual_seed(0)

    def randn(*shape: int) -> torch.Tensor:
        return torch.nn.functional.normalize(torch.randn(*shape, generator=generator), dim=-1)

    texts_FR, centres_CR = randn(num_names, rank), randn(num_classes, rank)
    texts_FR[:num_classes] = randn(num_classes, rank) + 0.3 * centres_CR
    labels_N = torch.arange(num_classes).repeat_interleave(num_images // num_classes)
    logits_VNF = torch.empty(num_views, num_images, num_names)
    for view_NF in logits_VNF:
        features_NR = torch.nn.functional.normalize(
            0.35 * centres_CR[labels_N] + randn(num_images, rank), dim=1
        )
        torch.matmul(50 * features_NR, texts_FR.T, out=view_NF)
    for kind in ("gda", "logistic", DEFAULT):
        started_s, cpu_s = time.monotonic(), time.process_time()
        fitted = fit_head(
            kind, logits_VNF.numpy(), labels_N.numpy(), num_classes, FOLDS, 0, logit_scale=50.0
        )
        yield {
            "head": kind,
            "threads": torch.get_num_threads(),
            "seconds": round(time.monotonic() - started_s, 1),
            "cpu_s": round(time.process_time() - cpu_s, 1),
            "rank": fitted.rank,
            "held_out_loss": fitted.held_out_loss,
            "most_resident_gb": round(
                resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 1
            ),
        }


def show(rows: Sequence[dict[str, Any]]) -> None:
    """A table."""
    table = Table("task", "head", *map(str, SHOTS))
    for task, head in dict.fromkeys((row["task"], row["head"]) for row in rows):
        own = {r["shots"]: r["accuracy"] for r in rows if (r["task"], r["head"]) == (task, head)}
        cells = ["{:.1f} ± {:.1f}".format(*own[shots]) for shots in SHOTS if shots in own]
        table.add_row(task, head, *cells)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
