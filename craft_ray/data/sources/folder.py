"""Class folders: `root/{train,val,test}/<class>/<image>`, or `root/<class>/<image>`."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from craft_ray.config.data import FolderSource
from craft_ray.data.dataset import Dataset, Item, Split
from craft_ray.data.packed_items import packed_files
from craft_ray.data.sources.folder_layout import split_folders
from craft_ray.data.sources.image_names import PassedOver, image_extensions
from craft_ray.data.sources.instead import TABLE_SUFFIXES, instead_in, table_in
from craft_ray.data.sources.listing import (
    class_folders,
    composed,
    image_files,
    images_directly_in,
)
from craft_ray.data.sources.metadata import METADATA_FILES, load_metadata, metadata_files
from craft_ray.data.sources.seeded_split import split_by_seed
from craft_ray.errors import DataError

LAYOUT = "root/<class>/<image>, or root/{train,val,test}/<class>/<image>"


def load_folder(source: FolderSource) -> Dataset:
    """Read the index of a tree, or of the table `metadata.csv` or `metadata.jsonl` in it.

    Which folders are splits and which are classes is decided by `split_folders`. A split may be
    missing. Of classes, images are read as by `image_files`.

    Raises:
        DataError: a folder is missing, a split is there twice, it cannot be told whether folders
            are splits or classes, a class has no image, or a split has a class that train does not
            have.
    """
    root = Path(source.root)
    _check_is_folder(root)
    unlabelled: tuple[str, ...] = ()
    if tables := metadata_files(root):
        if (table := load_metadata(root, source)) is not None:
            return table
        unlabelled = (f"{tables[0]} has no column of labels: the folders of classes are read",)
    elif source.label_column is not None:
        raise DataError(
            f"data.source.label_column: must be a column of a table, but {root} has no "
            f"{' or '.join(METADATA_FILES)}: without one, classes are the names of folders"
        )
    _check_has_class_folders(root)
    folders, notes = split_folders(root, source.layout)
    notes = (*unlabelled, *notes)
    passed_over = PassedOver()
    if not folders:
        class_names = class_folders(root)
        _check_is_no_wrapper(root, class_names)
        items = _items_of(root, class_names, passed_over)
        splits = split_by_seed(items, class_names, source)
        below = _only_below(root, class_names, items)
        passed_over.beside += images_directly_in(root)
        notes = (*notes, *below, *passed_over.notes())
        return Dataset(root.name, class_names, splits, notes=notes)
    for folder in folders.values():
        if not class_folders(folder):
            raise DataError(
                f"{folder}: must be a folder of class folders, but has none: remove it, or put "
                f"them into it{instead_in(folder)}"
            )
    class_names = _classes_of(folders)
    complete = "train" if "train" in folders else None
    found = {
        split: _items_of(folder, class_names, passed_over, complete=split == complete)
        for split, folder in folders.items()
    }
    for folder in (root, *folders.values()):
        passed_over.beside += images_directly_in(folder)
    return Dataset(root.name, class_names, found, notes=(*notes, *passed_over.notes()))


def _classes_of(folders: dict[Split, Path]) -> tuple[str, ...]:
    """Those of train; without train, those of all splits.

    Raises:
        DataError: train has not all of them.
    """
    if "train" not in folders:
        names = {composed(name): name for each in folders.values() for name in class_folders(each)}
        return tuple(sorted(names.values()))
    class_names = class_folders(folders["train"])
    known = set(map(composed, class_names))
    for folder in folders.values():
        unknown = [name for name in class_folders(folder) if composed(name) not in known]
        if unknown:
            raise DataError(f"{folder / unknown[0]}: class must also exist in train, but does not")
    return class_names


def _check_is_folder(root: Path) -> None:
    try:
        is_folder = stat.S_ISDIR(os.stat(root).st_mode)
    except FileNotFoundError as error:
        raise DataError(f"{root}: must be a folder with {LAYOUT}, but is missing") from error
    if not is_folder:
        is_table = root.suffix.lower() in TABLE_SUFFIXES
        remedy = f": say data.source.kind=csv data.source.file={root}" if is_table else ""
        raise DataError(f"{root}: must be a folder with {LAYOUT}, but is a file{remedy}")


def _check_has_class_folders(root: Path) -> None:
    """For who names another thing than a tree.

    Raises:
        DataError: the root is a folder without folders.
    """
    if class_folders(root):
        return
    images = images_directly_in(root)
    if not images:
        raise DataError(
            f"{root}: must be a folder with {LAYOUT}, but has no folder of images{instead_in(root)}"
        )
    raise DataError(
        f"{root}: must be a folder with {LAYOUT}, but has {len(images):,} image(s) and no "
        "folder: move them into one folder for each class, or list them in a table with the "
        f"columns path and label, TABLE.csv, and name that{instead_in(root)}; if nobody has "
        "labelled them, craft-ray suggest says which to label first"
    )


def _check_is_no_wrapper(root: Path, class_names: tuple[str, ...]) -> None:
    """Refuse the folder that an archive was unpacked into, with one folder that has the classes;
    and one with a folder of images beside the table of their labels."""
    if len(class_names) != 1:
        return
    table = table_in(root)
    if class_folders(root / class_names[0]):
        inner = root / class_names[0]
        raise DataError(
            f"{root}: must have at least two class folders, but has one, {class_names[0]}, with "
            f"folders in it: name {inner}, if these are the classes{table}"
        )
    if table:
        raise DataError(
            f"{root}: must have at least two class folders, but has one, {class_names[0]}{table}"
        )


def _only_below(root: Path, class_names: tuple[str, ...], items: Sequence[Item]) -> tuple[str, ...]:
    """A note where all images lie deeper than in the folders of classes, which then may be parts
    or groups of what a user calls classes."""
    if any(isinstance(each.encoded, Path) and each.encoded.parent.parent == root for each in items):
        return ()
    return (
        f"all images lie in folders below {', '.join(class_names[:5])}, such as {items[0].name}: "
        f"the classes are the folders in {root}, not those below",
    )


def _items_of(
    folder: Path, class_names: tuple[str, ...], passed_over: PassedOver, *, complete: bool = True
) -> Sequence[Item]:
    """Images of all classes; where it must be `complete`, each class has at least one."""
    there = {composed(name): name for name in class_folders(folder)}

    def files_of_classes() -> Iterator[tuple[int, list[Path]]]:
        for label, class_name in enumerate(class_names):
            path = folder / class_name
            if not path.is_dir():
                path = folder / there.get(composed(class_name), class_name)
            images = image_files(path, passed_over) if path.is_dir() else []
            if complete and not images:
                others = "; ".join(passed_over.notes())
                raise DataError(
                    f"{path}: must have at least one image ({', '.join(image_extensions())}), but "
                    "has none: remove the folder, or put images of the class into it"
                    f"{f' ({others})' if others else ''}{instead_in(path)}"
                )
            yield label, images

    return packed_files(files_of_classes())
