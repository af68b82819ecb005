"""Images that nobody has labelled."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from craft_ray.data.dataset import Item
from craft_ray.data.sources.listing import image_files
from craft_ray.errors import DataError

NO_LABEL = -1


def load_unlabelled(source: str | None, rest: Sequence[Item]) -> tuple[Item, ...]:
    """What `data.unlabelled` names, with labels that mean nothing.

    Args:
        source: a folder, whose images are taken with those of the folders in it; or `rest`; None:
            no images.
        rest: training images that were not drawn.

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
    paths = [path for each in _folders(folder) for path in image_files(each)]
    if not paths:
        raise DataError(f"data.unlabelled: {folder} must have at least one image, but has none")
    return tuple(Item(path, NO_LABEL, str(path)) for path in paths)


def _folders(folder: Path) -> list[Path]:
    """A folder and all in it that are not hidden, sorted."""
    found = []
    for path, names, _ in os.walk(folder):
        names[:] = [name for name in names if not name.startswith(".")]
        found.append(Path(path))
    return sorted(found)
