"""What a user may give as images, and as labels."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image
from sklearn.utils import assert_all_finite, column_or_1d
from sklearn.utils.multiclass import check_classification_targets

from craft_ray.data.dataset import (
    Dataset,
    Item,
    class_name_problems,
    classes_without_training_image,
)
from craft_ray.data.decoding import AS_SEEN, Decoding, in_rgb
from craft_ray.data.sources.folder_layout import split_folders
from craft_ray.data.sources.image_names import PassedOver
from craft_ray.data.sources.listing import (
    class_folders,
    image_files,
    images_directly_in,
    labelled,
)
from craft_ray.errors import DataError
from craft_ray.inference.images import ImagesAt

Images = Any
"""uint8 [N, H, W, 3], or a sequence of paths or of Pillow's images; or the path of a folder."""


def items_of(images: Images, decoding: Decoding = AS_SEEN) -> list[Item]:
    """Images without labels.

    Args:
        images: that were given.
        decoding: of those of Pillow, which are made into files here.

    Raises:
        DataError: they are none of `Images`, or there is none.
    """
    if isinstance(images, str | os.PathLike):
        return list(ImagesAt([Path(images)]))
    is_single = isinstance(images, np.ndarray) and images.ndim == 0
    if is_single or not isinstance(images, Iterable):
        raise DataError(f"X: must be images or paths, but is {type(images).__name__}")
    if isinstance(images, np.ndarray) and images.dtype.kind not in "OU":
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
            raise DataError(
                f"X: must be uint8 [N, H, W, 3], but got {images.dtype} {list(images.shape)}"
            )
        images = [Image.fromarray(each) for each in images]
    items = [_item(image, number, decoding) for number, image in enumerate(images)]
    if not items:
        raise DataError("X: must have at least one image, but got 0")
    return items


def labelled_items(images: Images, labels: Iterable[Any] | None) -> tuple[Dataset, list[Any]]:
    """Images with their labels as a data set of one split, and the labels of the classes.

    Args:
        images: of `items_of`; or without labels a folder of class folders.
        labels: one an image: class names, or anything whose text is one.

    Raises:
        DataError: numbers differ, there are less than two classes, or a class name is unusable.
    """
    if labels is None:
        if not isinstance(images, str | os.PathLike):
            raise DataError("y: must be given, unless X is a folder of class folders")
        root = Path(images)
        splits, notes = split_folders(root, "auto")
        if splits:
            first = next(iter(splits.values()))
            raise DataError(f"X: must be a folder of class folders, such as {first}, not of splits")
        classes: list[Any] = list(class_folders(root))
        passed_over = PassedOver()
        items = [
            item
            for label, name in enumerate(classes)
            for item in labelled(image_files(root / name, passed_over), label)
        ]
        passed_over.beside += images_directly_in(root)
        for each in (*notes, *passed_over.notes()):
            warnings.warn(each, UserWarning, stacklevel=3)
        return _dataset(root.name, [str(each) for each in classes], items), classes
    listed = _labels(labels)
    items = items_of(images)
    if len(items) != len(listed):
        raise DataError(f"y: must have a label an image, but got {len(listed)} for {len(items)}")
    classes = np.unique(listed).tolist()
    places = {label: place for place, label in enumerate(classes)}
    items = [
        Item(item.encoded, places[label], item.name)
        for item, label in zip(items, listed.tolist(), strict=True)
    ]
    return _dataset("X", [str(each) for each in classes], items), classes


def _labels(labels: Iterable[Any]) -> npt.NDArray[Any]:
    """One an image, [N]; by scikit-learn's laws of what a class can be.

    Raises:
        DataError: they are no row, or numbers that count or measure something.
    """
    try:
        listed = np.asarray(labels if hasattr(labels, "__len__") else list(labels))
        row = column_or_1d(listed, warn=True)
        if row.dtype.kind == "f":
            assert_all_finite(row)
        if len(row):
            check_classification_targets(row)
        np.unique(row)  # None and NaN among words have no order
    except (ValueError, TypeError) as error:
        raise DataError(f"y: must be a class for each image, but: {error}") from error
    found: npt.NDArray[Any] = row
    return found


def _dataset(name: str, class_names: Sequence[str], items: Sequence[Item]) -> Dataset:
    dataset = Dataset(name, tuple(class_names), {"train": list(items)})
    if problems := class_name_problems(dataset):
        raise DataError(f"y: {'; '.join(problems)}")
    if missing := classes_without_training_image(dataset):
        raise DataError(f"X: class {missing[0]!r} must have at least two images, but has none")
    return dataset


def _item(image: Any, number: int, decoding: Decoding) -> Item:
    if isinstance(image, str | os.PathLike):
        return Item(Path(image), 0, str(image))
    if isinstance(image, Image.Image):
        stream = io.BytesIO()
        try:
            # Without loss, so that nothing is changed on the way.
            in_rgb(image, decoding).save(stream, "PNG", compress_level=1)
        except Exception as error:  # of a file that is broken, of which only the head was read
            raise DataError(f"X[{number}]: must be a readable image, but: {error}") from error
        return Item(stream.getvalue(), 0, f"X[{number}]")
    raise DataError(
        f"X[{number}]: must be a path or an image of Pillow, but is {type(image).__name__}"
    )
