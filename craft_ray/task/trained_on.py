"""Which images a run was trained on, by their content: whoever measures its classifier on them
measures what it has learned by heart."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from craft_ray.data.dataset import Item
from craft_ray.data.threads import map_in_threads
from craft_ray.errors import ArtifactError
from craft_ray.files.remote import Place
from craft_ray.files.whole_files import write_text

TRAINING_IMAGES_FILE = "training_images.txt"
"""In the folder of a run: the SHA-256 of each training image as it is stored, one a line."""
REMEDY = "copy it anew, or remove it: then nobody warns of images that the run was trained on"


def write_training_images(folder: Place, items: Sequence[Item]) -> None:
    """Store which images they are, in the folder of their run; nothing where there are none.

    Raises:
        DataError: an image cannot be read any more.
        OSError, StorageError: the file cannot be written.
    """
    if items:
        write_text(folder / TRAINING_IMAGES_FILE, "\n".join([*digests(items), ""]))


def read_training_images(folder: Place) -> frozenset[str]:
    """The digests in the folder of a run; none where it does not say.

    Raises:
        ArtifactError: the file is damaged.
    """
    path = folder / TRAINING_IMAGES_FILE
    if not path.is_file():
        return frozenset()
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ArtifactError(f"{path}: cannot be read: {error}; {REMEDY}") from error
    if not re.fullmatch(r"([0-9a-f]{64}\n)*", text):
        raise ArtifactError(f"{path}: must have a SHA-256 in each line, but has not; {REMEDY}")
    return frozenset(text.split())


def digests(items: Sequence[Item]) -> list[str]:
    """Of each image as it is stored, in order.

    Raises:
        DataError: one cannot be read.
    """
    return list(map_in_threads(_digest, items))


def _digest(item: Item) -> str:
    return hashlib.sha256(item.read()).hexdigest()
