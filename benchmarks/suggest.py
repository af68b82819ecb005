"""What is it worth to label the images that `craft-ray suggest` names, and not any?

    python -m benchmarks.suggest --seeds 1 2 3 4 5
    python -m benchmarks.suggest --size

As many labels as classes, twice and four times as many, of a pool of unlabelled images: drawn at
random, named by `suggest`, named in two rounds of half as many (the second knows the labels of the
first), or as many of each class, which nobody can draw who does not know the labels. Then the
default head is fitted to the labelled images, without and with the others as unlabelled images, and
tested on all test images. The pool is the training images of the embedded data set and of
scikit-learn's digits; a seed draws the labels and where k-means starts. Differences to random
labels are paired by seed; intervals are 95 % over seeds. Nothing is chosen on test images.

`--size`: what the choice costs for 50,000 images and 510 names, all made up.
"""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.accuracy_rows import interval
from benchmarks.guard import Answers
from benchmarks.heads import DEFAULT, FOLDS, IMAGES_PER_CLASS
from benchmarks.record import commit, write_result
from benchmarks.sample_efficiency import task_settings
from craft_ray.classifiers.score import score_logits
from craft_ray.method.heads import Unlabelled, fit_head
from craft_ray.method.typical import choose_typical

LABELS_A_CLASS = (1, 2, 4)
WAYS = ("random", "suggested", "suggested in two rounds", "stratified")


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.suggest", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--size", action="store_true", help="measure the cost of a large choice")
    options = parser.parse_args()
    commit_id = commit()
    if options.size:
        result = {"size": list(measure_size())}
        print(write_result("suggest_size", commit_id, result, module="suggest"), result)
        return
    torch.set_num_threads(1)  # as in a worker
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for task, settings in task_settings(Path(folder)).items():
            shots = IMAGES_PER_CLASS[task]
            answers = Answers.ask((*settings, f"data.shots={shots}", "data.validation=few_shot"))
            for seed in options.seeds:
                runs += compare(task, answers, seed)
                print(task, seed, flush=True)
    rows = list(summarise(runs))
    path = write_result("suggest", commit_id, {"rows": rows, "runs": runs})
    show(rows)
    print(path)


def compare(task: str, answers: Answers, seed: int) -> Iterator[dict[str, Any]]:
    """Test accuracy for every way to choose labels."""
    num_classes = int(answers.train.labels_N.max()) + 1
    zero_shot = answers.test.zero_shot(num_classes).accuracy
    for labels_a_class in LABELS_A_CLASS:
        for way in WAYS:
            chosen = choose(way, answers, labels_a_class * num_classes, num_classes, seed)
            yield {
                "task": task,
                "seed": seed,
                "labels": len(chosen),
                "way": way,
                "zero_shot": zero_shot,
                "classes_met": len(np.unique(answers.train.labels_N[chosen])),
                "accuracy": test(answers, chosen, num_classes, with_others=False),
                "with_others": test(answers, chosen, num_classes, with_others=True),
            }


def choose(way: str, answers: Answers, budget: int, num_classes: int, seed: int) -> list[int]:
    """Rows of the pool."""
    generator = np.random.default_rng(seed)
    labels_N = answers.train.labels_N
    if way == "random":
        return [int(row) for row in generator.permutation(len(labels_N))[:budget]]
    if way == "stratified":
        members = [np.flatnonzero(labels_N == label) for label in range(num_classes)]
        each = budget // num_classes
        return [int(row) for own in members for row in generator.permutation(own)[:each]]
    names_NF = np.ascontiguousarray(answers.train.logits_VNF[0, :, num_classes:])
    chosen: list[int] = []
    for part in (budget,) if way == "suggested" else (budget // 2, budget - budget // 2):
        chosen += [each.row for each in choose_typical(names_NF, part, chosen, seed)]
    return chosen


def test(answers: Answers, chosen: Sequence[int], num_classes: int, *, with_others: bool) -> float:
    """Accuracy of the default head."""
    train = answers.train.rows(np.array(chosen))
    others = np.setdiff1d(np.arange(len(answers.train.labels_N)), chosen)
    fitted = fit_head(
        DEFAULT,
        train.logits_VNF,
        train.labels_N,
        num_classes,
        FOLDS,
        0,
        logit_scale=answers.logit_scale,
        unlabelled=Unlabelled(answers.train.logits_VNF[0, others]) if with_others else None,
    )
    return score_logits(fitted.head(answers.test.logits_VNF[0]), answers.test.labels_N).accuracy


def summarise(runs: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Of each task, number of labels and way."""
    for task, labels, way in dict.fromkeys((r["task"], r["labels"], r["way"]) for r in runs):
        same = [run for run in runs if (run["task"], run["labels"]) == (task, labels)]
        own = {run["seed"]: run for run in same if run["way"] == way}
        random = {run["seed"]: run for run in same if run["way"] == "random"}
        row = {"task": task, "labels": labels, "way": way, "zero_shot": same[0]["zero_shot"]}
        row["classes_met"] = float(np.mean([run["classes_met"] for run in own.values()]))
        for score in ("accuracy", "with_others"):
            row[score] = interval([run[score] for run in own.values()])
            gains = [run[score] - random[seed][score] for seed, run in own.items()]
            row[f"{score}_over_random"] = interval(gains)
        yield row


def measure_size() -> Iterator[dict[str, Any]]:
    """Seconds and memory of a choice among many images."""
    num_images, num_names, rank, num_classes = 50_000, 510, 512, 100
    generator = torch.Generator().manual_seed(0)

    def randn(*shape: int) -> torch.Tensor:
        return torch.nn.functional.normalize(torch.randn(*shape, generator=generator), dim=-1)

    class_N = torch.randint(num_classes, (num_images,), generator=generator)
    features_NR = 0.5 * randn(num_classes, rank)[class_N] + randn(num_images, rank)
    logits_NF = (50 * torch.nn.functional.normalize(features_NR, dim=1)) @ randn(num_names, rank).T
    for budget in (10, 40, 400):
        started_s, cpu_s = time.monotonic(), time.process_time()
        chosen = choose_typical(logits_NF.numpy(), budget)
        yield {
            "images": num_images,
            "labels": budget,
            "threads": torch.get_num_threads(),
            "seconds": round(time.monotonic() - started_s, 1),
            "cpu_s": round(time.process_time() - cpu_s, 1),
            "classes_met": len({int(class_N[each.row]) for each in chosen}),
            "most_resident_gb": round(
                resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 1
            ),
        }


def show(rows: Sequence[dict[str, Any]]) -> None:
    """A table."""
    table = Table("task", "labels", "way", "classes met", "accuracy", "over random", "with others")
    for row in rows:
        cells = [row[key] for key in ("accuracy", "accuracy_over_random", "with_others")]
        table.add_row(
            row["task"],
            str(row["labels"]),
            row["way"],
            f"{row['classes_met']:.1f}",
            *["{:.1f} ± {:.1f}".format(*cell) for cell in cells],
        )
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
