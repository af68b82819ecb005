"""Which head makes the most of the same answers, without validation images?

    python -m benchmarks.heads --seeds 1 2 3 4 5 --tasks 4
    python -m benchmarks.heads --seeds 1 2 3 4 5 --third third/

Every kind of `head.fit` is fitted to 500 names and four views of 1 to 16 images a class, and tested
on all test images: of the embedded data set, of scikit-learn's digits, and of tasks of three to
five classes at which zero-shot is good (`benchmarks.guard`). With unlabelled images: the other
training images; 60 of them; and those of three of ten classes only. Nothing is chosen on any image:
one configuration for all tasks and shots. Differences to the default are paired by seed; intervals
are 95 % over seeds.

`--third`: the same on a task at which nobody looked while choosing (`benchmarks.third_task` builds
it), with other shares of the mixture beside the shipped ones.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args
from unittest.mock import patch

import numpy as np
import torch
from threadpoolctl import threadpool_limits

from benchmarks.accuracy_rows import interval
from benchmarks.guard import Answers, Images, draw_tasks
from benchmarks.record import commit, write_result
from benchmarks.sample_efficiency import task_settings
from benchmarks.third_task import check
from craft_ray.classifiers.score import score_logits
from craft_ray.config.heads import HeadFit, ProbesHeadConfig
from craft_ray.method.heads import Unlabelled, fit_head
from craft_ray.method.heads.unlabelled import SHARES

SHOTS = (1, 2, 4, 8, 16)
FOLDS = 5
DEFAULT = ProbesHeadConfig().fit
POOLS: dict[str, tuple[int | None, int | None]] = {
    "all others unlabelled": (None, None),
    "60 others unlabelled": (60, None),
    "others of 3 classes unlabelled": (None, 3),
}
"""Images and classes that are in it at most."""
IMAGES_PER_CLASS = {"embedded": 64, "digits": 32, "third": 32}
OTHER_SHARES = (0.3, 1.0, 3.0)
"""Of the mixture, on the third task."""


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.heads", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(1, 11)))
    parser.add_argument("--tasks", type=int, default=5, help="of classes, for each seed")
    parser.add_argument("--third", type=Path, help="the folder of the third task")
    options = parser.parse_args()
    commit_id = commit()
    torch.set_num_threads(1)  # as in a worker
    threadpool_limits(1, user_api="blas")
    with tempfile.TemporaryDirectory() as folder:
        if options.third:
            check(options.third)
            source = f"data.source={{kind: folder, root: {options.third.resolve()}}}"
            tasks: dict[str, tuple[str, ...]] = {"third": (source,)}
        else:
            tasks = task_settings(Path(folder))
        runs: list[dict[str, Any]] = []
        for task, settings in tasks.items():
            shots = IMAGES_PER_CLASS[task]
            answers = Answers.ask((*settings, f"data.shots={shots}", "data.validation=few_shot"))
            for seed in options.seeds:
                runs += compare(task, answers, seed, np.random.default_rng(seed))
                print(task, seed, flush=True)
            if task == "embedded":
                runs += good_tasks(answers, options.seeds, options.tasks)
    rows = list(summarise(runs))
    name = "heads_third" if options.third else "heads"
    path = write_result(name, commit_id, {"seeds": options.seeds, "rows": rows}, module="heads")
    print(*show(rows), path, sep="\n")


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
            pool = others
            if num_present is not None:
                if num_classes < 2 * num_present:
                    continue
                present = generator.permutation(num_classes)[:num_present]
                pool = pool.rows(np.flatnonzero(np.isin(pool.labels_N, present)))
            seen_UF = pool.logits_VNF[0, :num_images]
            found = fit_and_test(DEFAULT, train, answers, Unlabelled(seen_UF))
            yield {**common, "head": f"{DEFAULT}, {name}", **found}
        if task != "third":  # which was run before this was built
            yield from without_labels(train, others, answers, generator, common)
            continue
        unlabelled = Unlabelled(others.logits_VNF[0])
        for share in OTHER_SHARES:
            with patch.dict(SHARES, few=share, many=share):
                found = fit_and_test(DEFAULT, train, answers, unlabelled)
            yield {**common, "head": f"{DEFAULT}, all others, share {share}", **found}


def without_labels(
    train: Images,
    others: Images,
    answers: Answers,
    generator: np.random.Generator,
    common: dict[str, Any],
) -> Iterator[dict[str, Any]]:
    """The default where a class of three or four has no label, or two of more."""
    num_classes = int(train.labels_N.max()) + 1
    missing = generator.permutation(num_classes)[: 1 if num_classes < 5 else 2]
    seen = train.rows(np.flatnonzero(~np.isin(train.labels_N, missing)))
    pools = {"": None, ", all others unlabelled": Unlabelled(others.logits_VNF[0])}
    for name, unlabelled in pools.items():
        found = fit_and_test(DEFAULT, seen, answers, unlabelled, num_classes)
        yield {**common, "head": f"{DEFAULT}, classes without labels{name}", **found}


def fit_and_test(
    kind: HeadFit,
    train: Images,
    answers: Answers,
    unlabelled: Unlabelled | None,
    num_classes: int | None = None,
) -> dict[str, Any]:
    """Accuracy, loss and CPU seconds of the fit; of all classes that have labels, or more."""
    num_classes = num_classes or int(train.labels_N.max()) + 1
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
            "zero_shot": interval(by_seed(own, seeds, "zero_shot")),
            "accuracy": interval(accuracies),
            "by_seed": [round(100 * accuracy, 2) for accuracy in accuracies],
            "over_default": interval(gains),
            "worst_over_default": round(100 * min(gains), 1),
            "loss": round(float(np.mean([r["loss"] for r in own])), 3),
            "cpu_s": round(float(np.mean([r["cpu_s"] for r in own])), 3),
            "runs": len(own),
            "runs_below_zero_shot": sum(r["accuracy"] < r["zero_shot"] for r in own),
            "most_below_zero_shot": round(100 * max(0.0, -worst), 1),
        }


def by_seed(
    runs: Sequence[dict[str, Any]], seeds: Sequence[int], value: str = "accuracy"
) -> list[float]:
    """The mean of the runs of each seed."""
    return [float(np.mean([r[value] for r in runs if r["seed"] == seed])) for seed in seeds]


def show(rows: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Lines of a table in Markdown for each task: accuracy of the default, and of each other head
    with its difference to the default."""
    for task in dict.fromkeys(row["task"] for row in rows):
        own = [row for row in rows if row["task"] == task]
        mean, width = own[0]["zero_shot"]
        zero_shot = f"{mean:.1f} ± {width:.1f}" if width else f"{mean:.1f}"
        yield f"\n| {task}, zero-shot {zero_shot} | {' | '.join(map(str, SHOTS))} |"
        yield "|---" * (1 + len(SHOTS)) + "|"
        for head in dict.fromkeys(row["head"] for row in own):
            of_shots = {row["shots"]: row for row in own if row["head"] == head}
            cells = [cell_of(of_shots[shots]) if shots in of_shots else "" for shots in SHOTS]
            yield f"| {head} | {' | '.join(cells)} |"


def cell_of(row: dict[str, Any]) -> str:
    """Accuracy and its interval; of other heads than the default the gain and its interval."""
    mean, width = row["accuracy"]
    if row["head"] == DEFAULT:
        return f"{mean:.1f} ± {width:.1f}"
    gain, gain_width = row["over_default"]
    return f"{mean:.1f} ({gain:+.1f} ± {gain_width:.1f})"


if __name__ == "__main__":
    main()
