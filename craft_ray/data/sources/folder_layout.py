"""Whether the folders of a tree are splits or classes."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from craft_ray.data.dataset import SPLITS, Split
from craft_ray.data.sources.image_names import is_image_name
from craft_ray.data.sources.instead import instead_in
from craft_ray.data.sources.listing import class_folders, image_files, images_directly_in, walk
from craft_ray.data.split_names import split_of
from craft_ray.errors import DataError

Layout = Literal["auto", "classes", "splits"]


def split_folders(root: Path, layout: Layout) -> tuple[dict[Split, Path], tuple[str, ...]]:
    """The folders of splits by what they are, in the order of `SPLITS`, and notes on folders that
    are passed over; no folders if the folders are classes.

    A folder is a split if its name is a word for one and it holds more folders of images than
    images of its own. A class may be called train, too: then it holds images, as the others do.

    - No folder has a name of a split: all are classes.
    - All have: they are splits.
    - Others lie beside. If none of the names of splits holds folders of images, all are classes.
      With two splits or more, or if the others have no image, these are passed over and told. A
      single split beside folders of images is refused, as all may be classes.

    Args:
        root: the tree.
        layout: what the user says; `auto` decides by the rules above.

    Raises:
        DataError: two folders are one split, a split has images but no class folders, or it cannot
            be told what the folders are.
    """
    shown = class_folders(root)
    if layout == "classes" or not any(map(split_of, shown)):
        if layout == "splits":
            raise DataError(
                f"{root}: must have a folder train, val or test for data.source.layout=splits, but "
                f"has {', '.join(shown[:5])}"
            )
        return {}, ()
    named = {name: split for name in shown if (split := split_of(name)) is not None}
    others = [name for name in shown if name not in named]
    if others and layout == "auto":
        like_splits = [name for name in named if _holds_classes(root / name)]
        if not like_splits:
            return {}, ()
        unclear = [name for name in others if _has_image(root / name)]
        if len({named[name] for name in like_splits}) == 1 and unclear:
            raise DataError(
                f"{root}: {like_splits[0]} has folders of images, as a split has, but "
                f"{unclear[0]} beside it is no split: say data.source.layout=splits (only splits "
                "are read), or data.source.layout=classes (each folder is a class)"
            )
    folders: dict[Split, Path] = {}
    for name, split in named.items():
        if split in folders:
            first, second = sorted((folders[split].name, name), key=len)
            raise DataError(f"{root / second}: must not be there beside {first}: both are {split}")
        folders[split] = root / name
        _check_is_split(root / name, is_said=layout == "splits")
    ordered = {split: folders[split] for split in SPLITS if split in folders}
    return ordered, _notes(root, others)


def _holds_classes(folder: Path) -> bool:
    """Whether it has more folders of images than images of its own, of which a split may have some
    by mistake."""
    inner = sum(_has_image(folder / name) for name in class_folders(folder))
    return len(images_directly_in(folder)) < inner


def _has_image(folder: Path) -> bool:
    """Stops at the first one."""
    return any(is_image_name(entry.name) for _, entries in walk(folder) for entry in entries)


def _check_is_split(folder: Path, *, is_said: bool) -> None:
    """Refuse images without classes; some by mistake are told elsewhere.

    Args:
        folder: has the name of a split.
        is_said: by the user, that it is one.
    """
    images = images_directly_in(folder)
    if images and not (class_folders(folder) if is_said else _holds_classes(folder)):
        raise DataError(
            f"{folder}: must be a folder of class folders, but has {len(images):,} image(s) itself"
            ": move them into class folders; or remove the folder, if nobody knows their classes; "
            "or say data.source.layout=classes, if it is itself a class"
            f"{instead_in(folder)}"
        )


def _notes(root: Path, others: list[str]) -> tuple[str, ...]:
    if not others:
        return ()
    number = sum(len(image_files(root / name)) for name in others)
    return (
        f"{', '.join(others[:5])}{' ...' * (len(others) > 5)} in {root} is no split and is passed "
        f"over, with {number:,} image(s)",
    )
