"""Images that nobody has labelled."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from craft_ray.data.dataset import Item
from craft_ray.data.decoding import Decoding
from craft_ray.data.sources.listing import image_files
from craft_ray.errors import DataError

NO_LABEL = -1

T = TypeVar("T")


def load_unlabelled(
    source: str | None, rest: Sequence[Item], decoding: Decoding, most: int, seed: int
) -> tuple[Item, ...]:
    """What `data.unlabelled` names, with labels that mean nothing.

    Args:
        source: a folder, whose images are taken with those of the folders in it; or `rest`; None:
            no images.
        rest: training images that were not drawn.
        decoding: of the training images, and so of these.
        most: of more images so many are drawn, in the order in which they were.
        seed: draws them.

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
        return tuple(replace(item, label=NO_LABEL) for item in _at_most(rest, most, seed))
    folder = Path(source)
    if not folder.is_dir():
        raise DataError(f"data.unlabelled: must be a folder of images or rest, but got {source!r}")
    paths = image_files(folder)
    if not paths:
        raise DataError(f"data.unlabelled: {folder} must have at least one image, but has none")
    chosen = _at_most(paths, most, seed)
    return tuple(Item(path, NO_LABEL, str(path), decoding) for path in chosen)


def _at_most(found: Sequence[T], most: int, seed: int) -> Sequence[T]:
    if len(found) <= most:
        return found
    positions = random.Random(f"{seed} unlabelled").sample(range(len(found)), most)
    return [found[position] for position in sorted(positions)]
