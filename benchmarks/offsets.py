"""What do more prompts of each class give a head to start from, and is the choice right?

    python -m benchmarks.offsets --seeds 1 2 3 4 5 6

The template's prompt of each class, CLIP's seven other templates (`ensemble`) and 15 sentences with
words and letters that mean nothing (`waffle`) are asked with 500 names, once. Without images: test
accuracy of the mean logit of each class. With one and four images a class and four views of each:
of the default head, without these texts (`template`), with them and their mean as the offset in any
case, and with the offset that the training images choose, as `head.offset` does it. Tasks are those
of `benchmarks.heads`; intervals are 95 % over seeds, differences to the template paired by seed.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.accuracy_rows import interval
from benchmarks.guard import SETTINGS, Images, draw_tasks
from benchmarks.heads import FOLDS, IMAGES_PER_CLASS, by_seed
from benchmarks.record import commit, write_result
from benchmarks.sample_efficiency import task_settings
from benchmarks.world import World
from craft_ray.classifiers.score import score_logits
from craft_ray.config.heads import ProbesHeadConfig
from craft_ray.config.loading import load_run_config
from craft_ray.method.heads import choose_offset, fit_head
from craft_ray.oracle.contract import ClassificationTask, FloatArray
from craft_ray.oracle.white_box import load_oracle
from craft_ray.task.class_prompts import ClassPrompts, class_prompts
from craft_ray.task.vocabulary import extra_names

SHOTS = (1, 4)
OFFSETS = ("ensemble", "waffle")
DEFAULT = ProbesHeadConfig().fit


@dataclass(frozen=True)
class Asked:
    """Answers about a task with the texts of one offset: classes, names, texts."""

    train: Images
    test: Images
    prompts: ClassPrompts

    @property
    def mean_map(self) -> FloatArray:
        """From all logits to the offset."""
        num_classes = len(self.prompts.of_classes)
        num_logits = self.test.logits_VNF.shape[2]
        return self.prompts.mean_map(num_logits - num_classes - len(self.prompts.texts))

    def of_classes(self, classes: Sequence[int]) -> Asked:
        """A task of some classes: the texts of the others are not asked."""
        num_classes, num_logits = len(self.prompts.of_classes), self.test.logits_VNF.shape[2]
        each = len(self.prompts.of_classes[0])
        first = num_logits - num_classes * each
        texts = [first + each * c + place for c in classes for place in range(each)]
        columns = [*classes, *range(num_classes, first), *texts]

        def part(images: Images) -> Images:
            chosen_N = np.isin(images.labels_N, classes)
            logits_VNF = images.logits_VNF[:, chosen_N][:, :, columns]
            return Images(logits_VNF, np.searchsorted(classes, images.labels_N[chosen_N]))

        of_classes = tuple(self.prompts.of_classes[c] for c in classes)
        prompts = ClassPrompts(of_classes, self.prompts.with_template)
        return Asked(part(self.train), part(self.test), prompts)

    def without_texts(self, images: Images) -> Images:
        """What is asked under the template alone."""
        return Images(images.logits_VNF[:, :, : -len(self.prompts.texts)], images.labels_N)


def ask(more: Sequence[str]) -> dict[str, Asked]:
    """By offset, everything that is asked."""
    asked = {}
    oracle = None
    for offset in OFFSETS:
        config = load_run_config(None, [*SETTINGS, *more, f"head.offset={offset}"])
        oracle = oracle or load_oracle(config.local_model)
        world = World(oracle, config)
        names = world.class_names
        prompts = class_prompts(config, names, config.data.template, {})
        assert prompts is not None
        every = (*names, *extra_names(config, names))
        task = ClassificationTask(every, config.data.template, prompts.texts)
        handle = oracle.register_task(task)
        context_1LE = handle.initial_context[None]
        sets = [[*world.training_handles], [world.test.handle]]
        train, test = (
            np.stack([oracle.predict(handle, images, context_1LE)[0] for images in each])
            for each in sets
        )
        asked[offset] = Asked(
            Images(train, world.train.labels_N), Images(test, world.test.labels_N), prompts
        )
    return asked


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.offsets", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=list(range(1, 7)))
    parser.add_argument("--tasks", type=int, default=3, help="of classes, for each seed")
    options = parser.parse_args()
    commit_id = commit()
    torch.set_num_threads(1)  # as in a worker
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        for task, settings in task_settings(Path(folder)).items():
            shots = IMAGES_PER_CLASS[task]
            asked = ask((*settings, f"data.shots={shots}", "data.validation=few_shot"))
            for seed in options.seeds:
                runs += compare(task, asked, seed, np.random.default_rng(seed))
                print(task, seed, flush=True)
            if task == "embedded":
                runs += good_tasks(asked, options.seeds, options.tasks)
    rows = list(summarise(runs))
    path = write_result("offsets", commit_id, {"rows": rows, "runs": runs})
    show(rows)
    print(path)


def good_tasks(
    asked: dict[str, Asked], seeds: Sequence[int], num_tasks: int
) -> Iterator[dict[str, Any]]:
    """Tasks at which zero-shot is good."""
    any_of = next(iter(asked.values()))
    for seed in seeds:
        generator = np.random.default_rng(seed)
        for classes in draw_tasks(any_of.train, num_tasks, generator):
            own = {offset: each.of_classes(classes) for offset, each in asked.items()}
            yield from compare("good zero-shot", own, seed, generator)
        print("good zero-shot", seed, flush=True)


def compare(
    task: str, asked: dict[str, Asked], seed: int, generator: np.random.Generator
) -> Iterator[dict[str, Any]]:
    """Test accuracy of every offset on one draw."""
    common = {"task": task, "seed": seed}
    any_of = next(iter(asked.values()))
    num_classes = len(any_of.prompts.of_classes)
    zero_NC = any_of.test.logits_VNF[0, :, :num_classes]
    yield {**common, "shots": 0, "offset": "template", **tested(zero_NC, any_of.test)}
    for offset, each in asked.items():
        zero_NC = each.test.logits_VNF[0] @ each.mean_map
        yield {**common, "shots": 0, "offset": offset, **tested(zero_NC, each.test)}
    for shots in SHOTS:
        rows = any_of.train.shuffled(generator)[:, :shots].ravel()
        known = any_of.without_texts(any_of.train.rows(rows)), any_of.without_texts(any_of.test)
        accuracy = fit_and_test(*known, None)
        yield {**common, "shots": shots, "offset": "template", **accuracy}
        for offset, each in asked.items():
            train = each.train.rows(rows)
            plain_NF = train.logits_VNF[0]
            candidates = {
                "template": plain_NF[:, :num_classes],
                offset: plain_NF @ each.mean_map,
            }
            chosen = choose_offset(candidates, train.labels_N, offset).name
            for name, takes_mean in ((offset, True), (f"{offset}, chosen", chosen == offset)):
                found = fit_and_test(train, each.test, each.mean_map if takes_mean else None)
                yield {**common, "shots": shots, "offset": name, "mean": takes_mean, **found}


def fit_and_test(train: Images, test: Images, offset_FC: FloatArray | None) -> dict[str, Any]:
    """Of the default head."""
    num_classes = int(train.labels_N.max()) + 1
    fitted = fit_head(
        DEFAULT, train.logits_VNF, train.labels_N, num_classes, FOLDS, 0, offset_FC=offset_FC
    )
    return tested(fitted.head(test.logits_VNF[0]), test)


def tested(final_NC: FloatArray, test: Images) -> dict[str, float]:
    """Accuracy."""
    return {"accuracy": score_logits(final_NC, test.labels_N).accuracy}


def summarise(runs: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Of each task, number of shots and offset."""
    for task, shots, offset in dict.fromkeys((r["task"], r["shots"], r["offset"]) for r in runs):
        of_cell = [r for r in runs if (r["task"], r["shots"]) == (task, shots)]
        own = [r for r in of_cell if r["offset"] == offset]
        template = [r for r in of_cell if r["offset"] == "template"]
        seeds = sorted({r["seed"] for r in own})
        accuracies = by_seed(own, seeds)
        gains = [a - b for a, b in zip(accuracies, by_seed(template, seeds), strict=True)]
        differences = [a["accuracy"] - b["accuracy"] for a, b in zip(own, template, strict=True)]
        yield {
            "task": task,
            "shots": shots,
            "offset": offset,
            "accuracy": interval(accuracies),
            "over_template": interval(gains),
            "runs": len(own),
            "runs_that_take_the_mean": sum(r.get("mean", False) for r in own),
            "runs_below_template": sum(difference < 0 for difference in differences),
            "most_below_template": round(100 * max(0.0, -min(differences)), 1),
        }


def show(rows: Sequence[dict[str, Any]]) -> None:
    """A table."""
    shots = (0, *SHOTS)
    table = Table("task", "offset", *map(str, shots))
    for task, offset in dict.fromkeys((row["task"], row["offset"]) for row in rows):
        own = {r["shots"]: r for r in rows if (r["task"], r["offset"]) == (task, offset)}
        cells = ["{:.1f} ± {:.1f}".format(*own[n]["accuracy"]) if n in own else "" for n in shots]
        table.add_row(task, offset, *cells)
    Console(width=120).print(table)


if __name__ == "__main__":
    main()
