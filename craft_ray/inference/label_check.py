"""Labels that look wrong, by a head that is fitted to the labels themselves, as `train` with
`method=head head.kind=probes` fits it: each image is judged by a head that was not fitted to it.

An image is asked about once, plain, with the class names and others beside them.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from craft_ray.classifiers.label_issues import LabelIssue, LabelIssues
from craft_ray.config.run import RunConfig
from craft_ray.data.dataset import Dataset, Item, Split, labels_of
from craft_ray.data.label_check import LabelCheck, WrongLabel
from craft_ray.errors import DataError
from craft_ray.inference.asked_once import Progress, ask_logits, digests_of, no_progress
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.method.heads import fit_head
from craft_ray.method.softmax import softmax
from craft_ray.oracle.contract import ClassificationTask, FloatArray
from craft_ray.task.prepared import LabelArray
from craft_ray.task.temperature import decide_temperature
from craft_ray.task.vocabulary import extra_names

Placed = tuple[Split, Item]
"""An image and the split that it is in."""

MOST_A_CLASS, MOST_IMAGES = 100, 2000
"""Unless more are asked for. A head of 1,000 images of 10 classes is fitted in seconds; the time
grows with both numbers, and 2,000 images of 100 classes take minutes."""
FEWEST_OF_A_CLASS = 3
"""With fewer, a head that one is held out from knows too little of the class."""

NAMED_AT_MOST = 5
"""Classes, in a sentence."""


def default_per_class(num_classes: int) -> int:
    """Images of a class that are looked at if nobody says how many."""
    return max(FEWEST_OF_A_CLASS, min(MOST_A_CLASS, MOST_IMAGES // num_classes))


@dataclass(frozen=True)
class ChosenImages:
    """Images that can be asked about: they can be decoded, and no two are the same file.

    Attributes:
        images: of all splits, in their order.
        classes: labels that they have, in ascending order.
        num_images: of the whole data set.
        left_out: what is not among them, in a few words each.
    """

    images: tuple[Placed, ...]
    classes: tuple[int, ...]
    num_images: int
    left_out: tuple[str, ...]

    @property
    def places(self) -> LabelArray:
        """Of each image, its place among `classes`."""
        return np.searchsorted(self.classes, [item.label for _, item in self.images])


def choose_images(
    dataset: Dataset,
    per_class: int,
    seed: int,
    progress: Progress = no_progress,
) -> ChosenImages:
    """Draw at most `per_class` images of each class from all splits together, and decode them once.

    Args:
        dataset: with images.
        per_class: at most so many; at least 1.
        seed: draws them.
        progress: is told of each image that is decoded, by the number 1.

    Raises:
        DataError: fewer than two classes are left.
    """
    labels_N = np.concatenate([labels_of(items) for items in dataset.splits.values()])
    places = _draw(labels_N, per_class, seed)
    drawn: list[Placed] = []
    start = 0
    for split, items in dataset.splits.items():
        end = start + len(items)
        drawn += [(split, items[place - start]) for place in places if start <= place < end]
        start = end
    left_out = []
    if len(drawn) < len(labels_N):
        number = len(labels_N) - len(drawn)
        left_out.append(f"{number:,} image(s) beyond {per_class:,} of a class (--images-a-class)")
    good: list[Placed] = []
    seen: set[bytes] = set()
    digests = digests_of([item for _, item in drawn], progress)
    for each, digest in zip(drawn, digests, strict=True):
        if digest is not None and digest not in seen:
            seen.add(digest)
            good.append(each)
    if len(good) < len(drawn):
        left_out.append(f"{len(drawn) - len(good):,} image(s) that are broken or there twice")
    counts = np.bincount([item.label for _, item in good], minlength=len(dataset.class_names))
    few = [int(label) for label in np.flatnonzero((counts > 0) & (counts < FEWEST_OF_A_CLASS))]
    if few:
        named = [dataset.class_names[label] for label in few[:NAMED_AT_MOST]]
        names = ", ".join(named if len(few) <= NAMED_AT_MOST else [*named, "..."])
        law = f"class(es) with fewer than {FEWEST_OF_A_CLASS} images"
        left_out.append(f"{len(few):,} {law} ({names})")
    classes = tuple(int(label) for label in np.flatnonzero(counts >= FEWEST_OF_A_CLASS))
    if len(classes) < 2:
        raise DataError(
            f"{dataset.name}: --labels needs at least two classes with {FEWEST_OF_A_CLASS} or more "
            f"images that are read, but got {len(classes)}"
        )
    chosen = tuple(each for each in good if each[1].label in set(classes))
    return ChosenImages(chosen, classes, len(labels_N), tuple(left_out))


def _draw(labels_N: LabelArray, per_class: int, seed: int) -> list[int]:
    """Places, ascending: neighbours in a file are read together."""
    generator = random.Random(seed)
    drawn: list[int] = []
    for label in np.unique(labels_N):
        own = np.flatnonzero(labels_N == label).tolist()
        drawn += own if len(own) <= per_class else generator.sample(own, per_class)
    return sorted(drawn)


def names_asked(config: RunConfig, dataset: Dataset, chosen: ChosenImages) -> tuple[str, ...]:
    """What an image is asked about: the classes that are looked at, then `head.names` others.

    Raises:
        ConfigError: the vocabulary has too few names.
    """
    own = tuple(dataset.class_names[label] for label in chosen.classes)
    return (*own, *extra_names(config, dataset.class_names))


def ask(
    oracle: MeteredOracle,
    task: ClassificationTask,
    chosen: ChosenImages,
    progress: Progress = no_progress,
) -> FloatArray:
    """The logits of the images under the template's own words, [N, names]; blocks and raises as
    `ask_logits` does."""
    logits_NF = ask_logits(oracle, task, [item for _, item in chosen.images], progress)
    if oracle.describe().scale_is_known:
        return logits_NF
    scale = decide_temperature(logits_NF[:, : len(chosen.classes)], chosen.places).scale
    return logits_NF * np.float32(scale)


def find_wrong(
    logits_NF: FloatArray, chosen: ChosenImages, folds: int, seed: int
) -> list[LabelIssue[Placed]]:
    """Labels that look wrong, the surest first; labels are places among `chosen.classes`.

    Args:
        logits_NF: of `ask`.
        chosen: the images.
        folds: of the cross-validation, at most; every class is spread over all of them.
        seed: draws the folds.
    """
    labels_N, num_classes = chosen.places, len(chosen.classes)
    fitted = fit_head(
        "anchored", logits_NF[None], labels_N, num_classes, folds, seed, holds_out_all=True
    )
    assert fitted.held_out_NC is not None  # every class has images enough
    issues: LabelIssues[Placed] = LabelIssues(num_classes)
    issues.add(softmax(fitted.held_out_NC.astype(np.float64)), labels_N, chosen.images)
    return issues.found


def as_check(
    issues: Sequence[LabelIssue[Placed]], dataset: Dataset, chosen: ChosenImages
) -> LabelCheck:
    """The same in plain values, for the report."""
    names = [dataset.class_names[label] for label in chosen.classes]
    wrong = tuple(
        WrongLabel(
            issue.image[1].name,
            issue.image[0],
            names[issue.label],
            names[issue.suggested],
            issue.probability,
            issue.of_label,
        )
        for issue in issues
    )
    return LabelCheck(len(chosen.images), chosen.num_images, chosen.left_out, wrong)
