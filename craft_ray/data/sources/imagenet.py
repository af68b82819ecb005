"""ImageNet and the four sets that test a classifier of it on other images.

All have the same classes: those of `classnames.txt`, labelled in the order of their sorted WordNet
ids, so that a classifier tuned on ImageNet applies to each.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from craft_ray.config.data import CoopName
from craft_ray.data.dataset import Dataset, Item, Split
from craft_ray.data.packed_items import packed_files
from craft_ray.data.sources.coop_table import COOP_TABLE
from craft_ray.data.sources.image_names import PassedOver
from craft_ray.data.sources.listing import class_folders, image_files, read_lines
from craft_ray.errors import DataError

CLASS_NAMES_FILE = "classnames.txt"
README_FILE = "README.txt"
SKETCH_FOLDERS = ("images", "sketch")
OWN_CLASSES_ONLY: tuple[CoopName, ...] = ("imagenet_a", "imagenet_r")

_WORDNET_ID = re.compile(r"n\d{8}")


def load_imagenet(root: Path) -> Dataset:
    """`images/train` and `images/val`, whose images are the test split: by custom ImageNet is
    tested on them, so that they must not choose anything. There is no validation split.

    Raises:
        DataError: a folder or `classnames.txt` is missing or malformed, or they do not agree.
    """
    entry = COOP_TABLE["imagenet"]
    folder = root / entry.folder
    names = _read_class_names(folder / CLASS_NAMES_FILE)
    train, test = folder / entry.images / "train", folder / entry.images / "val"
    passed_over = PassedOver()
    splits: dict[Split, Sequence[Item]] = {
        "train": _items_by_id(train, names, names.keys(), passed_over),
        "test": _items_by_id(test, names, names.keys(), passed_over),
    }
    class_names, ids = tuple(names.values()), tuple(names)
    return Dataset("imagenet", class_names, splits, class_ids=ids, notes=passed_over.notes())


def load_shifted_imagenet(root: Path, name: CoopName) -> Dataset:
    """ImageNetV2, -Sketch, -A or -R: a test split, with all classes of ImageNet.

    A and R have images of 200 classes, which their README.txt lists (without one, their folders
    do), and are scored among these.

    Raises:
        DataError: a folder or list is missing or malformed, or they do not agree.
    """
    entry = COOP_TABLE[name]
    folder = root / entry.folder
    names = _shared_class_names(root, folder)
    images = folder / entry.images
    scored, passed_over = None, PassedOver()
    if name == "imagenetv2":
        items = _items_by_number(images, names, passed_over)
    elif name in OWN_CLASSES_ONLY:
        own_ids = _own_ids(images)
        items = _items_by_id(images, names, own_ids, passed_over)
        labels = {identity: label for label, identity in enumerate(names)}
        scored = tuple(sorted(labels[identity] for identity in own_ids))
    else:
        present = [folder / option for option in SKETCH_FOLDERS if (folder / option).is_dir()]
        images = present[0] if present else images
        items = _items_by_id(images, names, names.keys(), passed_over)
    class_names, ids = tuple(names.values()), tuple(names)
    return Dataset(name, class_names, {"test": items}, scored, ids, passed_over.notes())


def _read_class_names(path: Path, *, must_be_sorted: bool = False) -> dict[str, str]:
    """WordNet id -> class name, in the order of the sorted ids, which is that of the labels.

    Lines are `n01440764 tench`; names may have spaces and need not be unique.
    """
    names: dict[str, str] = {}
    for number, line in read_lines(path):
        identity, _, name = line.partition(" ")
        if not _WORDNET_ID.fullmatch(identity) or not name.strip():
            raise DataError(f"{path} line {number}: must be 'n01440764 tench', but got {line!r}")
        if identity in names:
            raise DataError(f"{path} line {number}: {identity} must be there once, but is twice")
        names[identity] = name.strip()
    if must_be_sorted and list(names) != sorted(names):
        raise DataError(
            f"{path}: lines must be in the order of their ids, as the folders of imagenetv2 are "
            "numbered in it"
        )
    return dict(sorted(names.items()))


def _shared_class_names(root: Path, folder: Path) -> dict[str, str]:
    """Names from the set's own folder or ImageNet's; where both have them, they must be equal."""
    own = folder / CLASS_NAMES_FILE
    shared = root / COOP_TABLE["imagenet"].folder / CLASS_NAMES_FILE
    must_be_sorted = folder.name == COOP_TABLE["imagenetv2"].folder
    paths = [path for path in (own, shared) if path.is_file()]
    if not paths:
        raise DataError(f"{own}: must list ImageNet's classes, but it and {shared} are missing")
    names = [_read_class_names(path, must_be_sorted=must_be_sorted) for path in paths]
    if names[0] != names[-1]:
        raise DataError(
            f"{own}: must equal {shared}, so that a classifier of ImageNet applies, but does not"
        )
    return names[0]


def _items_by_id(
    folder: Path, names: dict[str, str], ids: Iterable[str], passed_over: PassedOver
) -> Sequence[Item]:
    """Images of folders named by WordNet ids, of which exactly `ids` must be there."""
    present, expected = set(class_folders(folder)), set(ids)
    if expected and not present:
        raise DataError(
            f"{folder}: must have a folder for each class, named by its id (n01440764), but has "
            "no folder"
        )
    _check_same(present, expected, folder)
    unknown = sorted(expected - names.keys())
    if unknown:
        raise DataError(f"{folder}: {unknown[0]} must be one of {CLASS_NAMES_FILE}, but is not")
    return packed_files(
        (label, _images_of_class(folder / identity, passed_over))
        for label, identity in enumerate(names)
        if identity in expected
    )


def _items_by_number(
    images: Path, names: dict[str, str], passed_over: PassedOver
) -> Sequence[Item]:
    """Images of folders 0, 1, ..., by number: as words they sort 0, 1, 10, 100, ..."""
    _check_same(set(class_folders(images)), {str(label) for label in range(len(names))}, images)
    return packed_files(
        (label, _images_of_class(images / str(label), passed_over)) for label in range(len(names))
    )


def _images_of_class(folder: Path, passed_over: PassedOver) -> list[Path]:
    files = image_files(folder, passed_over)
    if not files:
        raise DataError(f"{folder}: must have at least one image, but has none")
    return files


def _own_ids(images: Path) -> list[str]:
    """WordNet ids that README.txt lists, in lines `n01498041 stingray` among its other text."""
    readme = images / README_FILE
    if not readme.is_file():
        return list(class_folders(images))
    words = [line.split()[0] for _, line in read_lines(readme)]
    ids = [word for word in words if _WORDNET_ID.fullmatch(word)]
    if not ids:
        raise DataError(f"{readme}: must list the classes, in lines 'n01498041 stingray'")
    return ids


def _check_same(present: set[str], expected: set[str], folder: Path) -> None:
    """Refuse a part of the classes: its accuracy would pass for that of all."""
    for wrong, law in (
        (expected - present, "must be there, but is missing"),
        (present - expected, "must be one of the listed classes, but is not"),
    ):
        if wrong:
            raise DataError(f"{folder}: folder {min(wrong)} {law} ({len(wrong):,} in all)")
