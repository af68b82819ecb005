"""A labelled image data set whose images stay encoded until they are needed."""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from craft_ray.config.words import look_alike, unprintable
from craft_ray.data.decoding import AS_SEEN, Decoding
from craft_ray.data.item import Item as Item
from craft_ray.data.packed_items import labels_of as labels_of
from craft_ray.errors import DataError

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")

LONGEST_CLASS_NAME = 500
"""Characters; no prompt has room for more."""


@dataclass(frozen=True)
class Dataset:
    """Class names and the items of the splits that there are.

    A data set for testing only has just a test split. What a fine-tuning needs beyond that is
    demanded by `check_fine_tunable`, usable names by `check_class_names`.

    Raises:
        DataError: there is no split or an empty one, or a label is outside the classes.
    """

    name: str
    class_names: tuple[str, ...]
    splits: Mapping[Split, Sequence[Item]]
    scored_classes: tuple[int, ...] | None = None
    """Ascending labels among which a prediction is chosen, where a data set has images of some
    classes only (ImageNet-A and -R). None: all."""
    class_ids: tuple[str, ...] | None = None
    """What tells classes apart where their names need not (ImageNet's WordNet ids: "missile" is
    the name of two classes). None: the names do."""
    notes: tuple[str, ...] = ()
    """What a user should know of how the files were read, such as files that were passed over: each
    in a sentence, told by `craft_ray.data check` and when a run begins."""
    has_names_only: bool = False
    """Whether there is no image of it."""

    @property
    def decoding(self) -> Decoding:
        """Of the image files: all of a data set are decoded in one way."""
        return AS_SEEN if self.has_names_only else next(iter(self.splits.values()))[0].decoding

    def __post_init__(self) -> None:
        if not self.splits and not self.has_names_only:
            raise DataError(f"{self.name}: at least one of {', '.join(SPLITS)} must have images")
        num_classes = len(self.class_names)
        for split, items in self.splits.items():
            if not items:
                raise DataError(f"{self.name}: split {split} must have at least one image")
            labels_N = labels_of(items)
            outside = np.flatnonzero((labels_N < 0) | (labels_N >= num_classes))
            if len(outside):
                item = items[int(outside[0])]
                raise DataError(
                    f"{item.name}: 0 <= label < {num_classes} must hold, but got {item.label}"
                )
        if self.scored_classes is not None:
            self._check_scored_classes(self.scored_classes)
        if self.class_ids is not None and len(set(self.class_ids)) != num_classes:
            raise DataError(f"{self.name}: each of {num_classes} classes must have its own id")

    def _check_scored_classes(self, scored: tuple[int, ...]) -> None:
        if list(scored) != sorted(set(scored) & set(range(len(self.class_names)))) or not scored:
            raise DataError(
                f"{self.name}: scored classes must be ascending labels of its "
                f"{len(self.class_names)} classes"
            )
        items = self.splits.get("test", ())
        others = np.flatnonzero(~np.isin(labels_of(items), scored))
        if len(others):
            item = items[int(others[0])]
            raise DataError(
                f"{item.name}: label must be one of the scored classes, but got {item.label}"
            )


def check_class_names(dataset: Dataset) -> None:
    """Refuse names that no classifier can be built from.

    Raises:
        DataError: fewer than two classes, a name that `class_name_problem` refuses, or two names
            that `normalized_name` makes equal (unless ids tell the classes apart).
    """
    problems = class_name_problems(dataset)
    if problems:
        raise DataError(f"{dataset.name}: {problems[0]}")


def class_name_problems(dataset: Dataset) -> list[str]:
    """What `check_class_names` refuses, each in a sentence."""
    problems = []
    if len(dataset.class_names) < 2:
        problems.append(f"at least 2 classes are needed, but got {len(dataset.class_names)}")
    seen: dict[str, str] = {}
    for class_name in dataset.class_names:
        normalized = normalized_name(class_name)
        if (problem := class_name_problem(class_name)) is not None:
            problems.append(problem)
        elif normalized in seen and dataset.class_ids is None:
            problems.append(
                f"class names must differ, but got {seen[normalized]!r} and {class_name!r}, which "
                "are the same to the model but for case, spaces, quotes or encoding"
            )
        seen.setdefault(normalized, class_name)
    return problems


def class_name_problem(class_name: str) -> str | None:
    """Why a name cannot stand in a prompt, in a sentence; None if it can."""
    shown = f"{class_name[:60]!r}"
    if not normalized_name(class_name):
        return f"a class name must not be empty, but got {shown}"
    if len(class_name) > LONGEST_CLASS_NAME:
        return (
            f"class name {shown} must have at most {LONGEST_CLASS_NAME} characters, but has "
            f"{len(class_name)}"
        )
    if (character := unprintable(class_name)) is not None:
        return f"class name {shown} must have printable characters only, but has {character}"
    if (letter := look_alike(class_name)) is not None:
        return (
            f"class name {shown} must not mix letters that look alike in a word, but has {letter}"
        )
    return None


def normalized_name(class_name: str) -> str:
    """What the prompt and CLIP's tokenizer keep of a name: broken encodings are mended, quotes
    straight, HTML entities read, underscores spaces, letters in lower case, of usual width and
    composed. A model with another tokenizer may keep less, see `TaskHandle.alike`."""
    cleaned = class_name
    if "&" in cleaned or not cleaned.isascii():
        import ftfy  # a tenth of a second, and most names need none of it

        cleaned = html.unescape(html.unescape(ftfy.fix_text(cleaned)))
    folded = unicodedata.normalize("NFKC", cleaned).replace("_", " ").casefold()
    return " ".join(folded.split())


def check_fine_tunable(dataset: Dataset, *, may_lack_images: bool = False) -> None:
    """Demand what a fine-tuning needs.

    Args:
        dataset: the data.
        may_lack_images: whether there may be classes without a training image.

    Raises:
        DataError: no training images, or a class without any. Test images need not be there: then
            the result has no test score.
    """
    if "train" not in dataset.splits:
        raise DataError(
            f"{dataset.name}: split train must have at least one image for a fine-tuning"
        )
    missing = classes_without_training_image(dataset)
    if missing and not may_lack_images:
        raise DataError(
            f"{dataset.name}: class {missing[0]!r} must have at least one training image, or "
            "data.shots must be all with method head and a head that is fitted, which leaves such "
            "a class to zero-shot"
        )


def check_testable(dataset: Dataset) -> None:
    """Demand what a table of test accuracies needs.

    Raises:
        DataError: there are no test images.
    """
    if "test" not in dataset.splits:
        raise DataError(
            f"{dataset.name}: split test must have at least one image, as `reproduce` compares "
            "test accuracies; `craft-ray tune` and `craft-ray train` need none"
        )


def classes_without_training_image(dataset: Dataset) -> list[str]:
    """Their names, in the order of the labels."""
    present = set(np.unique(labels_of(dataset.splits.get("train", ()))).tolist())
    return [name for label, name in enumerate(dataset.class_names) if label not in present]
