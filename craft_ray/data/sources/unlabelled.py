"""Images that nobody has labelled."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

from craft_ray.config.unlabelled_laws import FEWEST_IMAGES, are_enough
from craft_ray.data.dataset import Item
from craft_ray.data.decoding import Decoding
from craft_ray.data.sources.listing import image_files
from craft_ray.errors import DataError

NO_LABEL = -1


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


def without_labelled(items: Sequence[Item], labelled: Sequence[Item]) -> tuple[Item, ...]:
    """Without the files that are among the labelled images: a folder of all photographs holds these
    too. Of training images the label is known and paid for, and those of the test must teach
    nothing.

    Args:
        items: without labels.
        labelled: for training, validation and test.
    """
    folder = cache(os.path.realpath)

    def file(item: Item) -> tuple[str, str] | None:
        path = item.encoded
        return (str(folder(path.parent)), path.name) if isinstance(path, Path) else None

    known = {file(item) for item in labelled} - {None}
    return tuple(item for item in items if file(item) not in known)


def check_enough(items: Sequence[Item], num_classes: int) -> None:
    """That something is learned from so many.

    Raises:
        DataError: they are too few.
    """
    if not are_enough(len(items), num_classes):
        raise DataError(
            f"data.unlabelled: must have at least {FEWEST_IMAGES} images a class, "
            f"{FEWEST_IMAGES * num_classes:,} for {num_classes:,} classes, but has "
            f"{len(items):,} that can be read and are not labelled: fewer are not learned from, "
            "and each would be asked about"
        )
