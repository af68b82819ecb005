"""Images that nobody has labelled."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from craft_ray.config.unlabelled_laws import FEWEST_IMAGES, are_enough
from craft_ray.data.dataset import Dataset, Item
from craft_ray.data.decoding import Decoding
from craft_ray.data.sources.listing import image_files
from craft_ray.errors import DataError

NO_LABEL = -1


def unlabelled_images(
    source: str | None, rest: Sequence[Item], known: Sequence[Item], dataset: Dataset
) -> tuple[tuple[Item, ...], tuple[str, ...]]:
    """What `data.unlabelled` names beside the images that a run knows already, and what is said of
    it: a head would learn from its own test images, or count a training image twice.

    Args:
        source: see `load_unlabelled`.
        rest: training images that were not drawn.
        known: training, validation and test images.
        dataset: of all these.

    Raises:
        DataError: see `load_unlabelled`; or a class has too few; or a file is gone.
    """
    found = load_unlabelled(source, rest, dataset.decoding)
    unlabelled = found if source in (None, "rest") else _without(known, found)
    num_known = len(found) - len(unlabelled)
    num_classes = len(dataset.class_names)
    if found and not are_enough(len(unlabelled), num_classes):
        other = " that are no training, validation or test images" if num_known else ""
        raise DataError(
            f"data.unlabelled: must have at least {FEWEST_IMAGES} images a class, "
            f"{FEWEST_IMAGES * num_classes:,} for the {num_classes:,} classes of {dataset.name}, "
            f"but has {len(unlabelled):,}{other}: fewer are not learned from, and each would be "
            "asked about"
        )
    if not num_known:
        return unlabelled, ()
    said = (
        f"data.unlabelled: {num_known:,} of the {len(found):,} images are training, validation or "
        "test images of this run, and are left out"
    )
    return unlabelled, (said,)


def load_unlabelled(
    source: str | None, rest: Sequence[Item], decoding: Decoding
) -> tuple[Item, ...]:
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
        return tuple(replace(item, label=NO_LABEL) for item in rest)
    folder = Path(source)
    if not folder.is_dir():
        raise DataError(f"data.unlabelled: must be a folder of images or rest, but got {source!r}")
    paths = image_files(folder)
    if not paths:
        raise DataError(f"data.unlabelled: {folder} must have at least one image, but has none")
    return tuple(Item(path, NO_LABEL, str(path), decoding) for path in paths)


def _without(known: Sequence[Item], items: Sequence[Item]) -> tuple[Item, ...]:
    """Those whose file has other content."""
    seen = {_digest(item) for item in known}
    return tuple(item for item in items if _digest(item) not in seen)


def _digest(item: Item) -> bytes:
    return hashlib.sha256(item.read()).digest()
