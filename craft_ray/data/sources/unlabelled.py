"""Images that nobody has labelled."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from craft_ray.config.unlabelled_laws import FEWEST_IMAGES, are_enough
from craft_ray.data.dataset import Dataset, Item
from craft_ray.data.decoding import Decoding
from craft_ray.data.packed_items import all_decoded_as, chosen_items, packed_files, relabelled
from craft_ray.data.sources.listing import image_files
from craft_ray.errors import DataError

NO_LABEL = -1


class TooFewUnlabelledError(DataError):
    """There are images without labels, and not enough to learn from."""


def load_unlabelled(source: str | None, rest: Sequence[Item], decoding: Decoding) -> Sequence[Item]:
    """What `data.unlabelled` names, with labels that mean nothing.

    Args:
        source: a folder, whose images are taken with those of the folders in it; or `rest`; None:
            no images.
        rest: training images that were not drawn.
        decoding: of the training images, and so of these.

    Raises:
        DataError: there is no such folder, or there are no images.
    """
    if source is None:
        return ()
    if source == "rest":
        if not rest:
            raise DataError(
                "data.unlabelled: rest needs training images that are neither drawn nor validated "
                "on, but there are none: fewer data.shots leave some"
            )
        return relabelled(rest, np.full(len(rest), NO_LABEL))
    folder = Path(source)
    if not folder.is_dir():
        raise DataError(f"data.unlabelled: must be a folder of images or rest, but got {source!r}")
    paths = image_files(folder)
    if not paths:
        raise DataError(f"data.unlabelled: {folder} must have at least one image, but has none")
    return all_decoded_as(packed_files([(NO_LABEL, paths)]), decoding)


def drawn_without(
    items: Sequence[Item], labelled: Sequence[Item], most: int, seed: int
) -> tuple[Sequence[Item], int]:
    """At most so many of the images whose files are not among the labelled ones, in their order,
    and how many others were met on the way. A folder of all photographs holds the labelled ones
    too: of training images the label is known and paid for, and those of the test must teach
    nothing.

    Args:
        items: without labels.
        labelled: for training, validation and test; a copy of one is the same to us.
        most: of more, so many are drawn.
        seed: draws them.

    Raises:
        DataError: a file is gone.
    """
    digests = {_digest(item) for item in labelled}
    order = list(range(len(items)))
    if len(items) > most:
        random.Random(f"{seed} unlabelled").shuffle(order)
    places: list[int] = []
    num_labelled = 0
    for place in order:
        if len(places) == most:
            break  # the others are not even read
        if digests and _digest(items[place]) in digests:
            num_labelled += 1
        else:
            places.append(place)
    return chosen_items(items, sorted(places)), num_labelled


def check_enough(items: Sequence[Item], dataset: Dataset) -> None:
    """That something is learned from so many, of the classes of a data set.

    Raises:
        TooFewUnlabelledError: they are too few.
    """
    num_classes = len(dataset.class_names)
    if not are_enough(len(items), num_classes):
        raise TooFewUnlabelledError(
            f"data.unlabelled: must have at least {FEWEST_IMAGES} images a class, "
            f"{FEWEST_IMAGES * num_classes:,} for the {num_classes:,} classes of {dataset.name}, "
            f"but has {len(items):,} that can be read and are not labelled: fewer are not learned "
            "from, and each would be asked about"
        )


def _digest(item: Item) -> bytes:
    return hashlib.sha256(item.read()).digest()
