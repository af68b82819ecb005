"""What the readers have in common: listing folders of images, and files that must be there."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

from craft_ray.data.dataset import Item
from craft_ray.data.sources.image_names import HEIF_EXTENSIONS as HEIF_EXTENSIONS
from craft_ray.data.sources.image_names import IMAGE_EXTENSIONS as IMAGE_EXTENSIONS
from craft_ray.data.sources.image_names import PassedOver, is_image_name
from craft_ray.data.sources.instead import packed_in
from craft_ray.errors import DataError

SYSTEM_FOLDERS = ("__MACOSX", "@eaDir", "$RECYCLE.BIN", "System Volume Information", "lost+found")
"""Which zip files of a Mac, file servers and file systems leave. They are no classes."""

NAMED_AT_MOST = 3
"""Missing files that a message names; it counts the others."""


def composed(name: str) -> str:
    """With letters and their accents put together: macOS and its archives take them apart, and
    the two look the same."""
    return unicodedata.normalize("NFC", name)


def class_folders(folder: Path) -> tuple[str, ...]:
    """Names of the folders in `folder`, sorted; hidden ones (`.git`) and `SYSTEM_FOLDERS` are no
    classes.

    Raises:
        DataError: `folder` cannot be listed.
    """
    entries = _entries(folder)
    return tuple(sorted(entry.name for entry in entries if _is_shown(entry) and is_folder(entry)))


def images_directly_in(folder: Path) -> list[Path]:
    """The images of a folder itself, not of folders in it; sorted.

    Raises:
        DataError: `folder` cannot be listed.
    """
    entries = _entries(folder)
    names = [each.name for each in entries if is_image_name(each.name) and not is_folder(each)]
    return [folder / name for name in sorted(names)]


def image_files(folder: Path, passed_over: PassedOver | None = None) -> list[Path]:
    """The images of a class, also in folders below it, in the order of torchvision's ImageFolder:
    folders by their paths, in each the files by name.

    Links to folders are followed as ImageFolder does, but a link that leads back to a folder that
    holds it is not. Other files and hidden ones (`._cat.jpg`, which macOS leaves beside an image)
    are not given; ImageFolder gives hidden ones.

    Args:
        folder: of the class.
        passed_over: counts the images that are not read.

    Raises:
        DataError: a folder cannot be listed, or what is called an image is no file.
    """
    return [
        parent / entry.name  # cheaper than a path of the whole text
        for parent, entries in sorted(walk(folder), key=lambda each: str(each[0]))
        for entry in images_among(entries, passed_over)
    ]


def images_among(
    entries: Iterable[os.DirEntry[str]], passed_over: PassedOver | None = None
) -> Iterator[os.DirEntry[str]]:
    """The images among the entries of a folder that are no folders, in their order.

    Raises:
        DataError: what is called an image is no file: of a named pipe, reading would wait for ever.
    """
    for entry in entries:
        if is_image_name(entry.name):
            if not _is_file(entry):
                raise DataError(f"{entry.path}: must be an image file, but is no file")
            yield entry
        elif passed_over is not None:
            passed_over.look_at(entry.path)


def walk(folder: Path) -> Iterator[tuple[Path, list[os.DirEntry[str]]]]:
    """Each folder from `folder` downwards with what is in it and no folder, sorted by name;
    hidden things and `SYSTEM_FOLDERS` are left out, links are followed and end where they would
    turn in a circle. A folder comes before those in it, which come sorted.

    Raises:
        DataError: a folder cannot be listed.
    """
    yield from _walk(folder, frozenset())


def _walk(
    folder: Path, above: frozenset[tuple[int, int]]
) -> Iterator[tuple[Path, list[os.DirEntry[str]]]]:
    """As `walk`, without what is in `above`: devices and inodes of the folders that hold it."""
    entries = sorted(_entries(folder), key=lambda each: each.name)
    yield folder, [entry for entry in entries if not is_folder(entry)]
    inner = [entry for entry in entries if is_folder(entry) and _is_shown(entry)]
    if not inner:
        return
    own = os.stat(folder)
    above |= {(own.st_dev, own.st_ino)}
    for entry in inner:
        status = entry.stat()
        if (status.st_dev, status.st_ino) not in above:
            yield from _walk(folder / entry.name, above)


def is_folder(entry: os.DirEntry[str]) -> bool:
    """False of a link that leads nowhere or to itself."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _is_file(entry: os.DirEntry[str]) -> bool:
    """False of a link that leads nowhere or to itself."""
    try:
        return entry.is_file()
    except OSError:
        return False


def _is_shown(folder: os.DirEntry[str]) -> bool:
    return folder.name not in SYSTEM_FOLDERS


def labelled(paths: Iterable[Path], label: int) -> list[Item]:
    """Items of one class, named by their paths."""
    return [Item(path, label, str(path)) for path in paths]


class Files:
    """Which files there are; each folder is listed once, not each file asked for."""

    def __init__(self) -> None:
        self._names: dict[Path, frozenset[str]] = {}

    def has(self, path: Path) -> bool:
        """Whether there is a file of this path."""
        if path.parent not in self._names:
            self._names[path.parent] = _file_names(path.parent)
        return path.name in self._names[path.parent]


def check_files_exist(paths: Iterable[Path], where: Path, files: Files | None = None) -> None:
    """Find the files of an index.

    Args:
        paths: all of the index.
        where: the index, for the message.
        files: what has been listed already.

    Raises:
        DataError: names the first missing files and counts them all.
    """
    files = files or Files()
    missing = []
    total = 0
    for path in paths:
        total += 1
        if not files.has(path):
            missing.append(path)
    if missing:
        named = ", ".join(str(path) for path in missing[:NAMED_AT_MOST])
        others = f" and {len(missing) - NAMED_AT_MOST:,} more" * (len(missing) > NAMED_AT_MOST)
        also = " (also read with / for \\)" * any("\\" in str(path) for path in missing)
        raise DataError(
            f"{where}: all of its {total:,} images must exist, but {len(missing):,} do not: "
            f"{named}{others}{also}{packed_in(where.parent)}"
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
        raise DataError(f"{folder}: must be a folder that can be read, but: {error}") from error


def _file_names(folder: Path) -> frozenset[str]:
    try:
        with os.scandir(folder) as entries:
            return frozenset(entry.name for entry in entries if _is_file(entry))
    except (OSError, ValueError):  # ValueError: a null byte in the path
        return frozenset()
