"""Tar shards in the convention of webdataset: `KEY.jpg` beside `KEY.cls` or `KEY.json`.

Each shard is gone through once, for the places of its files; an image is read by place and size.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

from craft_ray.config.data import WebdatasetSource
from craft_ray.data.dataset import Dataset, Split
from craft_ray.data.packed_places import PackedTexts, TarMembers
from craft_ray.data.sources.class_files import GivenNames, given_names, names_in_file
from craft_ray.data.sources.image_names import PassedOver, is_image_name
from craft_ray.data.sources.shard_files import shard_paths
from craft_ray.data.sources.shard_names import Layout, layout_of
from craft_ray.data.sources.table_columns import LABEL_NAMES
from craft_ray.data.sources.tabled import UNLABELLED, Label, Part, dataset_of, plain_labels
from craft_ray.data.sources.tar_index import Member, content_of, members_of
from craft_ray.errors import DataError

SUFFIXES = (".tar",)
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
CLASS_ENDING, JSON_ENDING = "cls", "json"
NAMES_FILES = ("classnames.txt", "classes.txt", "dataset_info.json")
"""Where names of classes are looked for: CLIP benchmark's, and that of `datasets`."""
MAX_LABEL_BYTES = 2**20

_INTEGER = re.compile(r"[+-]?\d{1,18}")
"""What is longer is no number of a class, and a word like any other."""


def load_webdataset(source: WebdatasetSource) -> Dataset:
    """Read the index of the shards; an item refers to its place in one.

    Raises:
        DataError: there is no shard, one is compressed or broken, an image has no label or two
            images share one, or labels have no names.
    """
    root = Path(source.root)
    folder, layout = _layout(root, source.config)
    passed_over = PassedOver()
    shards = [
        _read_shard(split, folder / path, source, passed_over) for split, path in layout.files
    ]
    _check_labelled(shards)
    parts = [shard.part for shard in shards]
    notes = [*layout.notes, *passed_over.notes()]
    given = given_names(source.class_names)
    if are_numbers := _are_numbers(parts):
        for part in parts:
            part.labels = [_number_of(label) for label in part.labels]
    if given is None and are_numbers:
        given = _names_beside(folder)
        if given is not None:
            notes.append(f"{root.name}: names of the classes are those in {given.where}.")
    remedy = (
        f"{folder / layout.files[0][1]}: labels are numbers, and their names must be given, but "
        "are not: say data.source.class_names=[cat,dog] with them, or name a file with one name a "
        f"line (data check: --class-names FILE), or put such a file into {folder} as "
        f"{NAMES_FILES[0]}"
    )
    return dataset_of(root.name, parts, given, source, remedy, notes)


def _layout(root: Path, config: str | None) -> tuple[Path, Layout]:
    """The folder, and its shards.

    Raises:
        DataError: there is none, or they are compressed.
    """
    if root.is_file():
        return root.parent, Layout({}, [root.name], ())
    paths = shard_paths(root, SUFFIXES)
    if not paths:
        packed = shard_paths(root, COMPRESSED)
        if packed:
            raise DataError(
                f"{root}: shards must be tar files that are not compressed, as images are read "
                f"where they lie in them, but are such as {packed[0]}: decompress them"
            )
        raise DataError(
            f"{root}: must be a folder of this machine with tar shards, such as train-000000.tar "
            "or train/0.tar, but has none"
        )
    return root, layout_of(paths, config, str(root))


@dataclass
class _Shard:
    part: Part
    without_label: list[str]
    """Images that have no file with a label."""


def _read_shard(
    split: Split | None, shard: Path, source: WebdatasetSource, passed_over: PassedOver
) -> _Shard:
    by_name = {member.name: member for member in members_of(shard)}
    images = [member for member in by_name.values() if _is_image(member.name, source.image_column)]
    if source.image_column is None:
        for name in by_name:
            if not PurePosixPath(name).name.startswith("."):
                passed_over.look_at_name(f"{shard} {name}")
    if not images:
        endings = sorted({_endings(name) for name in by_name})
        wanted = source.image_column or "jpg, jpeg, png, webp ..."
        raise DataError(
            f"{shard}: must have images KEY.({wanted}), but has files with "
            f"{', '.join(endings[:8]) or 'nothing'}"
            f"{''.join(f' ({note})' for note in passed_over.notes())}"
        )
    names = PackedTexts(f"{shard} {member.name}" for member in images)
    files = [_label_member(member.name, by_name, source.label_column) for member in images]
    _check_own_labels(shard, images, files)
    with shard.open("rb") as stream:
        labels = [
            None if file is None else _label_in(stream, file, source.label_column, f"{shard} ")
            for file in files
        ]
    part = Part(
        split,
        str(shard),
        TarMembers(str(shard), ((member.offset, member.size) for member in images)),
        names,
        plain_labels(labels, names),
    )
    return _Shard(part, [name for name, file in zip(names, files, strict=True) if file is None])


def _check_own_labels(
    shard: Path, images: Sequence[Member], labels: Sequence[Member | None]
) -> None:
    """Raises:
    DataError: two images have one label.
    """
    image_of: dict[str, str] = {}
    for image, label in zip(images, labels, strict=True):
        if label is None:
            continue
        other = image_of.setdefault(label.name, image.name)
        if other != image.name:
            raise DataError(
                f"{shard}: a label must be of one image, but {label.name!r} is of {other!r} and "
                f"{image.name!r}: name one kind, such as "
                f"data.source.image_column={_endings(other)}"
            )


def _check_labelled(shards: Sequence[_Shard]) -> None:
    """Images of a whole split may have no label, as of a test whose labels are not published.

    Raises:
        DataError: names the first image without a label among others with one.
    """
    for split in {shard.part.split for shard in shards}:
        of_split = [shard for shard in shards if shard.part.split == split]
        missing = [name for shard in of_split for name in shard.without_label]
        total = sum(len(shard.part.images) for shard in of_split)
        if missing and (len(missing) < total or split in ("train", None)):
            raise DataError(
                f"{missing[0]}: must have a label beside it, KEY.{CLASS_ENDING} or "
                f"KEY.{JSON_ENDING}, as all images must, but {len(missing):,} of {total:,} have "
                "none: data.source.label_column names another ending"
            )


def _is_image(name: str, ending: str | None) -> bool:
    base = PurePosixPath(name).name
    if base.startswith("."):  # what macOS leaves beside a file
        return False
    if ending is not None:
        return base.lower().endswith("." + ending.lower().lstrip("."))
    return is_image_name(base)


def _label_member(name: str, by_name: Mapping[str, Member], setting: str | None) -> Member | None:
    """The file with the label of an image, or None.

    In the convention a key ends at the first point of the last name (`0.left.jpg` and `0.cls`);
    names such as `22.05.png` and `22.05.cls` are as frequent, so the longest key that has a label
    is taken.
    """
    endings = (CLASS_ENDING, JSON_ENDING) if setting is None else (setting, JSON_ENDING)
    folder, slash, base = name.rpartition("/")
    words = base.split(".")
    for length in range(len(words) - 1, 0, -1):
        key = folder + slash + ".".join(words[:length])
        for ending in endings:
            if (member := by_name.get(f"{key}.{ending}")) is not None:
                return member
    return None


def _label_in(stream: BinaryIO, member: Member, setting: str | None, shard: str) -> Any:
    """What a file says: its text, or the value of one key of its JSON.

    Raises:
        DataError: it is no text or no JSON, or says no label.
    """
    where = shard + member.name
    try:
        text = content_of(stream, member, MAX_LABEL_BYTES).decode("utf-8-sig").strip()
        if not member.name.endswith(f".{JSON_ENDING}"):
            return text
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{where}: must have a label as text or JSON, but: {error}") from error
    if isinstance(document, int | str | None):
        return document
    return _of_json(document, setting, where)


def _of_json(document: Any, setting: str | None, where: str) -> Any:
    keys = list(document) if isinstance(document, dict) else []
    found = [key for key in keys if key == setting or (not setting and key.lower() in LABEL_NAMES)]
    if setting is None and "label" in found:
        found = ["label"]
    if len(found) != 1:
        such = found[0] if found else "label"
        raise DataError(
            f"{where}: one key must have the label, such as data.source.label_column={such}, but "
            f"{len(found)} of {', '.join(map(repr, keys[:12])) or 'none'} may"
        )
    value = document[found[0]]
    if not isinstance(value, int | float | str | None):
        raise DataError(f"{where}: {found[0]} must be a number or a word, but is {value!r:.60}")
    return value


def _are_numbers(parts: Sequence[Part]) -> bool:
    """Whether all labels are whole numbers, also as text."""
    return all(
        isinstance(label, int | None) or _INTEGER.fullmatch(label)
        for part in parts
        for label in part.labels
    )


def _number_of(label: Label) -> Label:
    number = None if label is None else int(label)
    return None if number == UNLABELLED else number


def _endings(name: str) -> str:
    """What is behind the first point of a name."""
    return PurePosixPath(name).name.partition(".")[2]


def _names_beside(folder: Path) -> GivenNames | None:
    """From a file beside the shards, if there is one."""
    places = [*(folder / name for name in NAMES_FILES), folder.parent / NAMES_FILES[0]]
    places += sorted(folder.glob("*_classes.txt"))[:1]  # the older CLIP benchmark's
    return next((names_in_file(place) for place in places if place.is_file()), None)
