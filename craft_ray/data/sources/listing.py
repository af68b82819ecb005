"""What the readers have in common: listing folders of images, and files that must be there."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from craft_ray.data.dataset import Item
from craft_ray.errors import DataError

IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""Those of torchvision's ImageFolder, written out: checking a data set need not wait for torch."""

OTHER_IMAGES = (".gif", ".heic", ".heif", ".avif", ".jp2", ".jfif", ".svg", ".psd", ".dng")
"""Of images that people have and that are not read."""

NAMED_AT_MOST = 3
"""Missing files that a message names; it counts the others."""


def class_folders(folder: Path) -> tuple[str, ...]:
    """Names of the folders in `folder`, sorted; hidden ones (`.git`) are no classes.

    Raises:
        DataError: `folder` cannot be listed.
    """
    return tuple(sorted(entry.name for entry in _entries(folder) if entry.is_dir()))


def image_files(folder: Path) -> list[Path]:
    """The images of a class, sorted by name as torchvision's ImageFolder does.

    Other files and hidden ones (`._cat.jpg`, which macOS leaves beside an image) are passed over.

    Raises:
        DataError: `folder` cannot be listed, or what is called an image is no file.
    """
    names = []
    for entry in _entries(folder):
        if entry.name.lower().endswith(IMAGE_EXTENSIONS):
            if not entry.is_file():  # of a named pipe, reading would wait for ever
                raise DataError(f"{folder / entry.name}: must be an image file, but is no file")
            names.append(entry.name)
    return [folder / name for name in sorted(names)]


def passed_over(folders: Iterable[Path]) -> list[Path]:
    """Images that `image_files` does not give, as their kind is not read; sorted.

    Raises:
        DataError: a folder cannot be listed.
    """
    return sorted(
        folder / entry.name
        for folder in folders
        for entry in _entries(folder)
        if entry.name.lower().endswith(OTHER_IMAGES)
    )


def labelled(paths: Iterable[Path], label: int) -> list[Item]:
    """Items of one class, named by their paths."""
    return [Item(path, label, str(path)) for path in paths]


def check_files_exist(items: Sequence[Item], where: Path) -> None:
    """Find the files of an index; each folder is listed once, not each file asked for.

    Raises:
        DataError: names the first missing files and counts them all.
    """
    present: dict[Path, frozenset[str]] = {}
    missing = []
    for item in items:
        path = item.encoded
        assert isinstance(path, Path)
        if path.parent not in present:
            present[path.parent] = _file_names(path.parent)
        if path.name not in present[path.parent]:
            missing.append(path)
    if missing:
        named = ", ".join(str(path) for path in missing[:NAMED_AT_MOST])
        others = f" and {len(missing) - NAMED_AT_MOST:,} more" * (len(missing) > NAMED_AT_MOST)
        raise DataError(
            f"{where}: all of its {len(items):,} images must exist, but {len(missing):,} do not: "
            f"{named}{others}"
        )


def read_lines(path: Path) -> list[tuple[int, str]]:
    """The lines of a text file that are not empty, stripped, with their numbers from 1.

    Raises:
        DataError: the file is missing or is not UTF-8.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: must be a text file in UTF-8, but: {error}") from error
    numbered = enumerate((line.strip() for line in text.split("\n")), start=1)
    return [(number, line) for number, line in numbered if line]


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return [entry for entry in entries if not entry.name.startswith(".")]
    except OSError as error:
        raise DataError(f"{folder}: must be a folder, but: {error}") from error


def _file_names(folder: Path) -> frozenset[str]:
    try:
        with os.scandir(folder) as entries:
            return frozenset(entry.name for entry in entries if entry.is_file())
    except (OSError, ValueError):  # ValueError: a null byte in the path
        return frozenset()
