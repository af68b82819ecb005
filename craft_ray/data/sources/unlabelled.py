"""Images that nobody has labelled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

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
