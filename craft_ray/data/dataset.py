"""A labelled image data set whose images stay encoded until they are needed."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt
from PIL import Image

from craft_ray.errors import DataError

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@dataclass(frozen=True)
class Item:
    """One encoded image with its label."""

    encoded: bytes | Path
    label: int
    name: str
    """What an error message calls this image."""

    def decode(self) -> Image.Image:
        """The image in RGB.

        Raises:
            DataError: the bytes are no image, truncated, a decompression bomb, or have channels
                of more than 16 bits.
        """
        stream = io.BytesIO(self.encoded) if isinstance(self.encoded, bytes) else self.encoded
        try:
            with Image.open(stream) as image:
                return _with_8_bits(image).convert("RGB")
        except Exception as error:  # on broken bytes, each of Pillow's decoders raises its own
            raise DataError(f"{self.name}: must be a readable image, but: {error}") from error


def _with_8_bits(image: Image.Image) -> Image.Image:
    """Scale 16-bit greyscale down: Pillow's own conversion clips it at 255, which is white."""
    if image.mode in ("I", "F"):
        raise ValueError(f"8 or 16 bits a channel are supported, and its mode is {image.mode}")
    if not image.mode.startswith("I;16"):
        return image
    return Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))


@dataclass(frozen=True)
class Dataset:
    """Class names and the items of each split.

    Raises:
        DataError: there are fewer than two classes, duplicate or empty class names, a label
            outside the classes, an empty split, or a class without training images.
    """

    name: str
    class_names: tuple[str, ...]
    splits: Mapping[Split, Sequence[Item]]

    def __post_init__(self) -> None:
        check_class_names(self.class_names, self.name)
        num_classes = len(self.class_names)
        for split in SPLITS:
            items = self.splits.get(split, ())
            if not items:
                raise DataError(f"{self.name}: split {split} must have at least one image")
            for item in items:
                if not 0 <= item.label < num_classes:
                    raise DataError(
                        f"{item.name}: 0 <= label < {num_classes} must hold, but got {item.label}"
                    )
        present = {item.label for item in self.splits["train"]}
        for label, class_name in enumerate(self.class_names):
            if label not in present:
                raise DataError(
                    f"{self.name}: class {class_name!r} must have at least one training image"
                )


def check_class_names(class_names: Sequence[str], where: str) -> None:
    """Refuse lists that no classifier can be built from.

    Raises:
        DataError: fewer than two names, an empty name, or two names equal up to case, spaces
            and underscores.
    """
    if len(class_names) < 2:
        raise DataError(f"{where}: at least 2 classes are needed, but got {len(class_names)}")
    seen: dict[str, str] = {}
    for class_name in class_names:
        # Underscores are read as spaces when the prompt is made.
        normalized = " ".join(class_name.replace("_", " ").split()).casefold()
        if not normalized:
            raise DataError(f"{where}: a class name must not be empty, but got {class_name!r}")
        if normalized in seen:
            raise DataError(
                f"{where}: class names must differ, but got {seen[normalized]!r} and {class_name!r}"
            )
        seen[normalized] = class_name


def labels_of(items: Sequence[Item]) -> npt.NDArray[np.int64]:
    """Labels, int64 [N]."""
    return np.array([item.label for item in items], dtype=np.int64)
