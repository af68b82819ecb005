"""Class folders: `root/{train,val,test}/<class>/<image>`, or `root/<class>/<image>`."""

from __future__ import annotations

import os
from pathlib import Path

from craft_ray.config.data import FolderSource
from craft_ray.data.dataset import SPLITS, Dataset, Item
from craft_ray.data.sources.listing import IMAGE_EXTENSIONS, class_folders, image_files, labelled
from craft_ray.data.sources.seeded_split import split_by_seed
from craft_ray.errors import DataError

VALIDATION_NAMES = ("val", "validation", "valid")
"""A validation folder that is not recognised would be passed over without a word."""


def load_folder(source: FolderSource) -> Dataset:
    """Read the index of a tree; folders named train, val and test are splits, not classes.

    The validation folder may be missing, or be called validation or valid.

    Raises:
        DataError: a folder is missing or there twice, a class has no image, or a split has a class
            that train does not have.
    """
    root = Path(source.root)
    if root.is_dir() and not any((root / split).is_dir() for split in SPLITS):
        class_names = class_folders(root)
        if class_names:
            items = _items_of(root, class_names)
            return Dataset(root.name, class_names, split_by_seed(items, class_names, source))
    _check_has_class_folders(root)
    folders = {split: root / split for split in SPLITS}
    validation = [root / name for name in VALIDATION_NAMES if (root / name).is_dir()]
    if len(validation) > 1:
        raise DataError(f"{validation[1]}: must not be there beside {validation[0].name}")
    if validation:
        folders["val"] = validation[0]
    else:
        del folders["val"]
    for folder in folders.values():
        if not folder.is_dir():
            raise DataError(f"{folder}: must be a folder of class folders, but is missing")
    class_names = class_folders(folders["train"])
    for folder in folders.values():
        unknown = sorted(set(class_folders(folder)) - set(class_names))
        if unknown:
            raise DataError(f"{folder / unknown[0]}: class must also exist in train, but does not")
    splits = {
        split: _items_of(folder, class_names, complete=split == "train")
        for split, folder in folders.items()
    }
    return Dataset(root.name, class_names, splits)


def _check_has_class_folders(root: Path) -> None:
    """For who names another thing than a tree.

    Raises:
        DataError: the root is missing, a file, or a folder of images without classes.
    """
    layout = "root/<class>/<image>, or root/{train,val,test}/<class>/<image>"
    if not os.path.isdir(root):
        if not os.path.exists(root):
            raise DataError(f"{root}: must be a folder with {layout}, but is missing")
        is_table = root.suffix.lower() == ".csv"
        remedy = f": say data.source.kind=csv data.source.file={root}" if is_table else ""
        raise DataError(f"{root}: must be a folder with {layout}, but is a file{remedy}")
    if not class_folders(root) and not image_files(root):
        raise DataError(f"{root}: must be a folder with {layout}, but has no folder of images")
    if not class_folders(root) and (images := image_files(root)):
        raise DataError(
            f"{root}: must be a folder with {layout}, but has {len(images):,} image(s) and no "
            "folder: move them into one folder for each class, or list them in a table with the "
            "columns path and label, TABLE.csv, and name that"
        )


def _items_of(folder: Path, class_names: tuple[str, ...], *, complete: bool = True) -> list[Item]:
    """Images of all classes; where it must be `complete`, each class has at least one."""
    items = []
    for label, class_name in enumerate(class_names):
        path = folder / class_name
        images = image_files(path) if path.is_dir() else []
        if complete and not images:
            raise DataError(
                f"{path}: must have at least one image ({', '.join(IMAGE_EXTENSIONS)}), but has "
                f"{_instead(path)}"
            )
        items += labelled(images, label)
    return items


def _instead(path: Path) -> str:
    """What a class without images has, and what to do."""
    if path.is_dir() and (inner := class_folders(path)):
        return f"only folders, such as {inner[0]!r}, which are not looked into: move the images up"
    return "none: remove the folder, or put images of the class into it"
