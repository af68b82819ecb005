"""What is wrong with a data set, before a run is wasted on it."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from craft_ray.data.appearance import Trait, decode_and_examine, told
from craft_ray.data.dataset import (
    Dataset,
    Item,
    Split,
    class_name_problems,
    classes_without_training_image,
    labels_of,
    normalized_name,
)
from craft_ray.data.duplicate import Duplicate as Duplicate
from craft_ray.data.label_check import LabelCheck
from craft_ray.data.mute_names import mute_names
from craft_ray.data.near_duplicates import (
    FloatArray,
    NearDuplicate,
    Seen,
    near_duplicates_among,
    thumbnail_of,
)
from craft_ray.data.sources.coop_table import CoopEntry
from craft_ray.data.threads import map_in_threads
from craft_ray.errors import DataError

Examined = tuple[bytes, frozenset[Trait], FloatArray | None]
"""The hash of a file, what is special about the image, and its thumbnail."""


@dataclass(frozen=True)
class Report:
    """What was found in a data set."""

    name: str
    class_names: tuple[str, ...]
    counts: dict[Split, tuple[int, ...]]
    """Images of each class, in the order of the labels."""
    broken: tuple[str, ...]
    """Why each image that cannot be decoded cannot."""
    leaks: tuple[Duplicate, ...]
    """Images that are in two splits."""
    contradictions: tuple[Duplicate, ...]
    """Images that are in two classes."""
    num_repeated: int
    """Images that are in one class of one split twice: no finding, but good to know."""
    class_problems: tuple[str, ...]
    traits: dict[Trait, int]
    """How many images are turned, have transparent parts and the like: no finding."""
    looks: tuple[str, ...]
    """The same in sentences, with what is done about it."""
    shared_names: tuple[str, ...]
    """Names of more than one class, which ids tell apart: no finding, but zero-shot cannot."""
    notes: tuple[str, ...] = ()
    """How files were read, such as files that were passed over: no findings, but good to know."""
    licence: str | None = None
    usual_template: str | None = None
    near_duplicates: tuple[NearDuplicate, ...] = ()
    """Images that look like one of another split, without being the same file."""
    labels: LabelCheck | None = None
    """Labels that look wrong; None: no model was asked about them."""

    @property
    def num_findings(self) -> int:
        """What a user should look at; repeated images are not counted."""
        own = sum(map(len, (self.broken, self.leaks, self.contradictions, self.class_problems)))
        wrong_labels = 0 if self.labels is None else len(self.labels.wrong)
        return own + len(self.near_duplicates) + wrong_labels

    def as_dict(self) -> dict[str, Any]:
        """For `--json`."""
        return {**asdict(self), "num_findings": self.num_findings}


def check_dataset(
    dataset: Dataset,
    about: CoopEntry | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Report:
    """Read and decode every image once; of each, a hash and a thumbnail stay in memory.

    Args:
        dataset: what is checked; its class names may be any.
        about: where it is one of CoOp's, what the report says of licence and template.
        progress: is told of each image, by the number 1.
    """
    broken: list[str] = []
    leaks: list[Duplicate] = []
    contradictions: list[Duplicate] = []
    num_repeated = 0
    traits: Counter[Trait] = Counter()
    seen: list[Seen] = []
    first_of: dict[bytes, tuple[Split, int]] = {}
    for split, place, outcome in _examined(dataset):
        progress(1)
        if isinstance(outcome, DataError):
            broken.append(str(outcome))
            continue
        digest, found, thumbnail = outcome
        traits.update(found)
        if thumbnail is not None:
            seen.append(Seen(split, place, digest, thumbnail))
        other_split, other_place = first_of.setdefault(digest, (split, place))
        if (other_split, other_place) == (split, place):
            continue
        names = dataset.class_names
        item, other = dataset.splits[split][place], dataset.splits[other_split][other_place]
        pair = Duplicate(
            item.name, split, names[item.label], other.name, other_split, names[other.label]
        )
        if other_split != split:
            leaks.append(pair)
        if other.label != item.label:
            contradictions.append(pair)
        if other_split == split and other.label == item.label:
            num_repeated += 1
    return Report(
        name=dataset.name,
        class_names=dataset.class_names,
        counts={split: _count(items, dataset) for split, items in dataset.splits.items()},
        broken=tuple(broken),
        leaks=tuple(leaks),
        contradictions=tuple(contradictions),
        num_repeated=num_repeated,
        class_problems=tuple(_class_problems(dataset)),
        traits=dict(traits),
        looks=tuple(_told(dataset, traits)),
        shared_names=_shared_names(dataset),
        notes=dataset.notes,
        licence=None if about is None else about.licence,
        usual_template=None if about is None else about.template,
        near_duplicates=near_duplicates_among(seen, dataset),
    )


def _told(dataset: Dataset, traits: Counter[Trait]) -> list[str]:
    num_images = sum(map(len, dataset.splits.values()))
    return told(traits, num_images, dataset.decoding)


def _examined(dataset: Dataset) -> Iterator[tuple[Split, int, Examined | DataError]]:
    """The split of each image and its place there, with what was seen of it, or why it cannot be
    decoded."""
    for split, items in dataset.splits.items():
        for place, outcome in enumerate(map_in_threads(_hash_and_decode, items)):
            yield split, place, outcome


def _hash_and_decode(item: Item) -> Examined | DataError:
    try:
        return read_and_decode(item)
    except DataError as error:
        return error


def read_and_decode(item: Item) -> Examined:
    """The hash of a file, what is special about the image, and its thumbnail.

    Raises:
        DataError: it cannot be decoded.
    """
    encoded = item.read()
    image, traits = decode_and_examine(replace(item, encoded=encoded))
    return hashlib.blake2b(encoded, digest_size=16).digest(), traits, thumbnail_of(image)


def _count(items: Sequence[Item], dataset: Dataset) -> tuple[int, ...]:
    return tuple(np.bincount(labels_of(items), minlength=len(dataset.class_names)).tolist())


def _shared_names(dataset: Dataset) -> tuple[str, ...]:
    """In the order of the labels; none without ids, where `class_name_problems` refuses them."""
    if dataset.class_ids is None:
        return ()
    counts = Counter(map(normalized_name, dataset.class_names))
    return tuple(name for name, count in counts.items() if count > 1)


def _class_problems(dataset: Dataset) -> list[str]:
    """Names that break a law, names that say nothing in a prompt, classes without an image."""
    problems = class_name_problems(dataset)
    mute = mute_names(dataset)
    for class_name in dataset.class_names:
        if class_name in mute:
            what = mute[class_name]
            problems.append(f"class {class_name!r} is {what}, which says nothing in a prompt")
        elif class_name.strip() not in ("", class_name):
            problems.append(f"class {class_name!r} begins or ends with a space")
    if "train" in dataset.splits:
        problems += [
            f"class {class_name!r} has no training image"
            for class_name in classes_without_training_image(dataset)
        ]
    return problems
