"""The data sets of CoOp, as users have them: a split file beside a folder of images."""

from __future__ import annotations

import json
from array import array
from collections.abc import Sequence
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

from craft_ray.config.data import CoopSource
from craft_ray.data.dataset import SPLITS, Dataset, Item, Split
from craft_ray.data.lazy_sequence import Joined
from craft_ray.data.packed_items import PackedItems
from craft_ray.data.packed_places import PackedPaths
from craft_ray.data.sources.coop_table import COOP_TABLE, CoopEntry
from craft_ray.data.sources.imagenet import load_imagenet, load_shifted_imagenet
from craft_ray.data.sources.index import found_path
from craft_ray.data.sources.listing import Files, check_files_exist, read_lines
from craft_ray.data.split_names import split_of
from craft_ray.errors import DataError


def load_coop(source: CoopSource) -> Dataset:
    """Read the index of one of the data sets.

    Raises:
        DataError: a folder, file or image is missing, malformed, or contradicts another.
    """
    entry = COOP_TABLE[source.dataset]
    root = Path(source.root)
    folder = root / entry.folder
    if not folder.is_dir():
        raise DataError(f"{folder}: must be the folder of {source.dataset}, but is missing")
    if entry.is_test_only:
        return load_shifted_imagenet(root, source.dataset)
    if source.dataset == "imagenet":
        return load_imagenet(root)
    if source.dataset == "fgvc_aircraft":
        return _load_aircraft(source.dataset, folder, entry)
    assert entry.split_file is not None
    return _load_split_file(source.dataset, folder, entry, folder / entry.split_file)


def _load_split_file(name: str, folder: Path, entry: CoopEntry, path: Path) -> Dataset:
    """`{"train" | "val" | "test": [[path below the image folder, label, class name], ...]}`."""
    names = _Names(path, entry)
    splits: dict[Split, Sequence[Item]] = {}
    files = Files()
    images: list[PackedPaths] = []
    lists = _read_split_file(path)
    num_entries = sum(map(len, lists.values()))
    for split, rows in lists.items():
        paths, labels = PackedPaths(), array("l")
        for number, row in enumerate(rows):
            where = f"{path}: {split} entry {number}"
            relative, label, class_name = _check_row(row, where, num_entries)
            names.add(label, class_name, where)
            paths.append(found_path(folder / entry.images, relative, files))
            labels.append(label)
        if labels:
            splits[split] = PackedItems(paths, None, labels)
        images.append(paths)
    class_names = names.in_order()
    check_files_exist(Joined(images), path, files)
    return Dataset(name, class_names, splits)


def _read_split_file(path: Path) -> dict[Split, list[Any]]:
    try:
        document = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise DataError(f"{path}: must be a split file in JSON, but: {error}") from error
    lists: dict[Split, list[Any]] = {}
    for word, entries in document.items() if isinstance(document, dict) else ():
        if (split := split_of(word)) is not None and isinstance(entries, list):
            if split in lists:
                raise DataError(f"{path}: {word} must not be there beside another list of {split}")
            lists[split] = entries
    if len(lists) < len(SPLITS):
        raise DataError(f"{path}: must be an object with lists train, val and test")
    return {split: lists[split] for split in SPLITS}


def _check_row(row: Any, where: str, num_entries: int) -> tuple[str, int, str]:
    """An entry, or a DataError that shows it. Every label below another one has an entry too, so
    one that is not below the number of all entries leaves others out."""
    match row:
        case [str(relative), int(label), str(class_name)] if not isinstance(label, bool):
            if label < 0:
                raise DataError(f"{where}: label >= 0 must hold, but got {row}")
            if label >= num_entries:
                raise DataError(
                    f"{where}: labels must be 0, 1, ..., so label < {num_entries}, the number of "
                    f"entries, must hold, but got {row!r:.200}"
                )
        case _:
            raise DataError(f"{where}: must be [path, label, class name], but got {row!r:.200}")
    # A split file comes from elsewhere: it must not make us read any file of this machine.
    for flavour in (PurePosixPath(relative), PureWindowsPath(relative)):
        if flavour.anchor or ".." in flavour.parts or not flavour.parts:
            raise DataError(
                f"{where}: path must lead to a file below the image folder, but got {relative!r}"
            )
    return relative, label, class_name


class _Names:
    """Class names by label, each of which must belong to the other alone."""

    def __init__(self, path: Path, entry: CoopEntry) -> None:
        self._path = path
        self._renamed = entry.renamed or {}
        self._names: dict[int, str] = {}
        self._labels: dict[str, int] = {}

    def add(self, label: int, class_name: str, where: str) -> None:
        """Take in the class of an entry."""
        class_name = self._renamed.get(class_name, class_name)
        known = self._names.setdefault(label, class_name)
        if known != class_name:
            raise DataError(
                f"{where}: label {label} must be class {known!r} as in an earlier entry, but got "
                f"{class_name!r}"
            )
        label_before = self._labels.setdefault(class_name, label)
        if label_before != label:
            raise DataError(
                f"{where}: class {class_name!r} must have label {label_before} as in an earlier "
                f"entry, but got {label}"
            )

    def in_order(self) -> tuple[str, ...]:
        """Names of labels 0, 1, ..., of which none may be left out."""
        for label in range(len(self._names)):
            if label not in self._names:
                raise DataError(f"{self._path}: labels must be 0, 1, ..., but {label} is left out")
        return tuple(self._names[label] for label in range(len(self._names)))


def _load_aircraft(name: str, folder: Path, entry: CoopEntry) -> Dataset:
    """Classes in the order of `variants.txt`; lines `0034309 DC-9-30` in the file of a split."""
    class_names = tuple(line for _, line in read_lines(folder / "variants.txt"))
    labels = {class_name: label for label, class_name in enumerate(class_names)}
    splits: dict[Split, Sequence[Item]] = {}
    for split in SPLITS:
        path = folder / f"images_variant_{split}.txt"
        paths, numbers = PackedPaths(), array("l")
        for number, line in read_lines(path):
            image_id, _, class_name = line.partition(" ")
            class_name = class_name.strip()
            if class_name not in labels:
                raise DataError(
                    f"{path} line {number}: class must be one of variants.txt, but got "
                    f"{class_name!r}"
                )
            if PurePosixPath(image_id).name != image_id or "\\" in image_id:
                raise DataError(
                    f"{path} line {number}: must begin with the id of an image, but got "
                    f"{image_id!r}"
                )
            paths.append(folder / entry.images / f"{image_id}.jpg")
            numbers.append(labels[class_name])
        if not paths:
            raise DataError(f"{path}: must have at least one image")
        check_files_exist(paths, path)
        splits[split] = PackedItems(paths, None, numbers)
    return Dataset(name, class_names, splits)
