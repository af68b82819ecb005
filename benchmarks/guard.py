"""Is a head told from zero-shot where zero-shot is good and there are few labels?

    python -m benchmarks.guard --seeds 1 2 3 4 5

Tasks are three to five of the embedded data set's classes, drawn by the seed among those sets on
whose training images zero-shot is right in 70 to 97 %. From each, 1 to 16 images a class are drawn
and, as few as the paper has, at most 4 a class to validate on. A head on 500 names is fitted, and
it or zero-shot is kept: by validation images alone, by training images alone, each held out once,
or by both, which is what craft-ray does from three images a class on ("shipped"); and without
validation images, as `data.validation: none` does: by training images from three a class on, and
below that the head. It is tested on
the test images of these classes. Intervals are 95 % over seeds, of the mean over a seed's tasks.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table
from threadpoolctl import threadpool_limits

from benchmarks.accuracy_rows import interval
from benchmarks.record import commit, write_result
from benchmarks.world import World
from craft_ray.classifiers.evidence import Evidence, best_evidence, right_images
from craft_ray.classifiers.score import Score, score_logits
from craft_ray.config.heads import ProbesHeadConfig
from craft_ray.config.loading import load_run_config
from craft_ray.data.few_shot import MAX_VALIDATION_SHOTS
from craft_ray.method.heads import fit_head
from craft_ray.oracle.contract import FloatArray
from craft_ray.oracle.white_box import load_oracle
from craft_ray.task.prepared import LabelArray
from craft_ray.tuners.questions import MIN_FOLDS

FIT = ProbesHeadConfig().fit
SHOTS = (1, 2, 4, 8, 16)
NUM_CLASSES = (3, 4, 5)
GOOD = (0.7, 0.97)
"""Zero-shot's accuracy on the training images, at least and at most."""
FOLDS = 5
VALIDATION = "by validation"
WITHOUT = "without validation images"
SETTINGS = ("data.shots=64", "data.views=4", "method=head", "head.kind=probes")


@dataclass(frozen=True)
class Images:
    """Logits of all views, [1 + V, N, C + names], and labels."""

    logits_VNF: FloatArray
    labels_N: LabelArray

    def of_classes(self, classes: Sequence[int]) -> Images:
        """Those of some classes, which become 0, 1, ...; the names stay."""
        names = range(int(self.labels_N.max()) + 1, self.logits_VNF.shape[2])
        chosen_N = np.isin(self.labels_N, classes)
        logits_VNF = self.logits_VNF[:, chosen_N][:, :, [*classes, *names]]
        return Images(logits_VNF, np.searchsorted(classes, self.labels_N[chosen_N]))

    def draw(self, shots: int, generator: np.random.Generator) -> Images:
        """So many of each class."""
        members = [np.flatnonzero(self.labels_N == label) for label in np.unique(self.labels_N)]
        chosen = np.concatenate([generator.permutation(each)[:shots] for each in members])
        return Images(self.logits_VNF[:, chosen], self.labels_N[chosen])

    def shuffled(self, generator: np.random.Generator) -> LabelArray:
        """Rows of each class in any order, [C, n]; n of the smallest class."""
        members = [np.flatnonzero(self.labels_N == label) for label in np.unique(self.labels_N)]
        fewest = min(map(len, members))
        return np.stack([generator.permutation(each)[:fewest] for each in members])

    def rows(self, chosen: LabelArray) -> Images:
        """Some of them."""
        return Images(self.logits_VNF[:, chosen], self.labels_N[chosen])

    def zero_shot(self, num_classes: int) -> Score:
        """Of the plain images."""
        return score_logits(self.logits_VNF[0, :, :num_classes], self.labels_N)


@dataclass(frozen=True)
class Answers:
    """Everything that is asked, once."""

    train: Images
    validation: Images
    test: Images
    logit_scale: float

    @classmethod
    def ask(cls, more: Sequence[str] = ()) -> Answers:
        """With all training images and their views; settings may be added."""
        config = load_run_config(None, [*SETTINGS, *more])
        world = World(load_oracle(config.local_model), config)
        validation, test = world.validation, world.test
        return cls(
            Images(world.predict_names(*world.training_handles), world.train.labels_N),
            Images(world.predict_names(validation.handle), validation.labels_N),
            Images(world.predict_names(test.handle), test.labels_N),
            world.oracle.describe().logit_scale,
        )

    def of_classes(self, classes: Sequence[int]) -> Answers:
        """A task of some classes."""
        parts = (self.train, self.validation, self.test)
        train, validation, test = (images.of_classes(classes) for images in parts)
        return Answers(train, validation, test, self.logit_scale)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.guard", description=__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--tasks", type=int, default=10, help="of each seed")
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    commit_id = commit()
    torch.set_num_threads(options.threads)
    threadpool_limits(1, user_api="blas")  # as in a worker
    answers = Answers.ask()
    runs = []
    for seed in options.seeds:
        generator = np.random.default_rng(seed)
        for classes in draw_tasks(answers.train, options.tasks, generator):
            for shots in SHOTS:
                kept, known = keep(answers.of_classes(classes), shots, generator)
                run = {"seed": seed, "classes": classes, "shots": shots, "accuracy": kept}
                run["zero_shot"] = known
                print(*run.values(), flush=True)
                runs.append(run)
    rows = list(summarise(runs))
    path = write_result("guard", commit_id, {"rows": rows, "runs": runs})
    show(rows)
    print(path)


def draw_tasks(
    train: Images, num_tasks: int, generator: np.random.Generator
) -> Iterator[list[int]]:
    """Sets of classes that zero-shot is good at."""
    num_classes = int(train.labels_N.max()) + 1
    while num_tasks > 0:
        size = generator.choice(NUM_CLASSES)
        classes = sorted(int(c) for c in generator.choice(num_classes, size, replace=False))
        if GOOD[0] <= train.of_classes(classes).zero_shot(size).accuracy <= GOOD[1]:
            num_tasks -= 1
            yield classes


def keep(
    answers: Answers, shots: int, generator: np.random.Generator
) -> tuple[dict[str, float], dict[str, float]]:
    """Test accuracy of what each rule keeps; and what the training images say of zero-shot."""
    train = answers.train.draw(shots, generator)
    validation = answers.validation.draw(min(shots, MAX_VALIDATION_SHOTS), generator)
    num_classes = int(train.labels_N.max()) + 1
    fitted = fit_head(
        FIT, train.logits_VNF, train.labels_N, num_classes, FOLDS, int(generator.integers(2**31))
    )
    untuned_NC = validation.logits_VNF[0, :, :num_classes]
    zero_shot, head = (
        Evidence(
            score_logits(logits_NC, validation.labels_N),
            right=right_images(logits_NC, validation.labels_N),
        )
        for logits_NC in (untuned_NC, fitted.head(validation.logits_VNF[0]))
    )
    tested = {
        "zero-shot": answers.test.zero_shot(num_classes),
        "head": score_logits(fitted.head(answers.test.logits_VNF[0]), answers.test.labels_N),
    }
    sizes = len(validation.labels_N), len(train.labels_N)
    takes_head = {VALIDATION: best_evidence((zero_shot, head), *sizes) == 1}
    takes_head[WITHOUT] = True
    if fitted.held_out_NC is not None:
        held_out = score_logits(fitted.held_out_NC, train.labels_N)
        on_training = train.zero_shot(num_classes)
        takes_head["by training"] = held_out.is_better_than(on_training)
        if fitted.folds >= MIN_FOLDS:
            takes_head[WITHOUT] = takes_head["by training"]
        both = (replace(zero_shot, held_out=on_training), replace(head, held_out=held_out))
        takes_head["by both"] = best_evidence(both, *sizes) == 1
        takes_head["shipped"] = takes_head["by both" if fitted.folds >= MIN_FOLDS else VALIDATION]
    kept = {rule: tested["head" if takes else "zero-shot"] for rule, takes in takes_head.items()}
    known = {"trust": fitted.zero_shot_scale, "right": fitted.zero_shot_right}
    return {name: score.accuracy for name, score in {**tested, **kept}.items()}, known


def summarise(runs: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Of each number of shots and rule."""
    for shots in SHOTS:
        of_shots = [run for run in runs if run["shots"] == shots]
        for rule in of_shots[0]["accuracy"]:
            means = [
                float(np.mean([run["accuracy"][rule] for run in of_shots if run["seed"] == seed]))
                for seed in sorted({run["seed"] for run in of_shots})
            ]
            losses = [run["accuracy"]["zero-shot"] - run["accuracy"][rule] for run in of_shots]
            yield {
                "shots": shots,
                "rule": rule,
                "accuracy": interval(means),
                "runs": len(of_shots),
                "runs_below_zero_shot": sum(loss > 0 for loss in losses),
                "most_below_zero_shot": round(100 * max(0.0, *losses), 1),
            }


def show(rows: Sequence[dict[str, Any]]) -> None:
    """A table."""
    table = Table("shots", "kept", "accuracy", "runs below zero-shot", "by at most")
    for row in rows:
        mean, width = row["accuracy"]
        below = f"{row['runs_below_zero_shot']} of {row['runs']}"
        most = str(row["most_below_zero_shot"])
        table.add_row(str(row["shots"]), row["rule"], f"{mean:.1f} ± {width:.1f}", below, most)
    Console().print(table)


if __name__ == "__main__":
    main()
