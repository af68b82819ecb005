"""Which split a file of a data set belongs to, told by its path below the folder of the data set.

Pure: takes names, opens nothing. For Parquet files, Arrow files and tar shards alike.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import PurePosixPath

from craft_ray.data.dataset import Split
from craft_ray.data.split_names import split_of
from craft_ray.errors import DataError

MAX_DEPTH = 3
"""Folders that are looked into, below the folder of the data set: `<config>/<split>/0000.parquet`
needs two."""

_OF_TOTAL = re.compile(r"(.*?)[-_.]?(\d+)-of-(\d+)(?:-[0-9a-f]+)?")
"""`train-00000-of-00002`; `datasets` before 2.15 put a hash behind the number of shards."""
_NUMBERED = re.compile(r"(?:(.*?)[-_.])?(\d+)")
_WORD_AND_NUMBER = re.compile(r"([a-zA-Z]+)(\d+)")
"""`train0`; but `cifar10` is a name."""
_BETWEEN_WORDS = re.compile(r"[-_.\s]+")
_SUFFIXES = re.compile(r"(\.(snappy|zstd|gz))?\.(parquet|arrow|tar)$", re.IGNORECASE)
_PARTIAL = "partial-"
"""What the hub puts before a split that it has converted only in part."""
_DATA = "data"
"""A folder that says nothing of what is in it."""


@dataclass(frozen=True)
class Shard:
    """One file, and what its path says."""

    config: str
    """What is left of its folders and name: the hub's configuration, mostly empty or `default`."""
    split: Split | None
    series: tuple[str, ...]
    """Shards of one split have an equal one: its folder, the words of its name, and of how many."""
    number: int | None
    total: int | None
    path: str
    by_folder: bool = False
    """Whether its folder says the split, so that its name need not."""
    is_partial: bool = False

    @property
    def place(self) -> tuple[object, ...]:
        """Its place in the order of the files."""
        number = -1 if self.number is None else self.number
        return (self.config, self.split or "", self.series, number, self.path)


@dataclass(frozen=True)
class Layout:
    """The files that are read, in their order, and what a user should know."""

    splits: dict[Split, list[str]]
    unsplit: list[str]
    """All files where none of them names a split; empty otherwise."""
    notes: tuple[str, ...]

    @property
    def files(self) -> list[tuple[Split | None, str]]:
        """Each file with its split."""
        found: list[tuple[Split | None, str]] = [(None, path) for path in self.unsplit]
        return found + [(split, path) for split, paths in self.splits.items() for path in paths]


def layout_of(paths: Sequence[str], config: str | None, where: str) -> Layout:
    """Sort files into splits.

    Args:
        paths: of the files, relative, with `/` between folders.
        config: the configuration that is asked for; None: there must be one only.
        where: the folder, for messages.

    Raises:
        DataError: there are several configurations or not the one that is asked for, shards are
            missing, or a split is there twice.
    """
    shards = sorted((shard_of(path) for path in paths), key=lambda shard: shard.place)
    chosen, notes = _of_config(shards, config, where)
    with_split = [shard for shard in chosen if shard.split is not None]
    if not with_split:
        for _, series in groupby(chosen, key=lambda shard: shard.series):
            notes += _check_numbers(list(series), "the data set", where)
        return Layout({}, [shard.path for shard in chosen], tuple(notes))
    others = [shard.path for shard in chosen if shard.split is None]
    if others:
        notes.append(
            f"{where}: {len(others):,} file(s) whose names say no split are passed over, such as "
            f"{others[0]}."
        )
    splits: dict[Split, list[str]] = {}
    for split in ("train", "val", "test"):
        files = [shard for shard in with_split if shard.split == split]
        if not files:
            continue
        if len({shard.series for shard in files}) > 1 or _has_twice(files):
            shown = ", ".join(sorted(shard.path for shard in files)[:4])
            raise DataError(
                f"{where}: split {split} must be there once, but has files {shown}: take away what "
                "is not meant"
            )
        notes += _check_numbers(files, f"split {split}", where)
        if any(shard.is_partial for shard in files):
            notes.append(
                f"{where}: the hub has converted only a part of split {split} "
                f"({files[0].path}): the original files have all of it."
            )
        splits[split] = [shard.path for shard in files]
    return Layout(splits, [], tuple(notes))


def shard_of(path: str) -> Shard:
    """What the path of one file says.

    The split is said, in the order in which `datasets` believes it, by the name of a shard
    (`train-00000-of-00002`), the nearest folder (`default/train/0000`), the whole name (`train`),
    or the only word of the name that is one (`pets-train-0`).
    """
    pure = PurePosixPath(path)
    folders = [_without_suffix(part) for part in pure.parts[:-1]]
    stem, number, total = _numbers_of(_without_suffix(pure.name))
    of_total = () if total is None else (str(total),)
    in_folder = any(split_of(part.removeprefix(_PARTIAL)) is not None for part in folders)
    if (split := split_of(stem)) is not None and (total is not None or not in_folder):
        config = _config([part for part in folders if split_of(part) != split])
        return Shard(config, split, (*folders, stem, *of_total), number, total, path)
    for index in reversed(range(len(folders))):
        word = folders[index].removeprefix(_PARTIAL)
        if (split := split_of(word)) is not None:
            config = _config(folders[:index] + folders[index + 1 :])
            partial = word != folders[index]
            # In a folder of a split, every file is a part of it, whatever it is called.
            series = [*folders, ""] if total is None else [*folders, stem, str(total)]
            return Shard(config, split, tuple(series), number, total, path, True, partial)
    words = [word for word in _BETWEEN_WORDS.split(stem) if word]
    named = [word for word in words if split_of(word) is not None]
    if len(named) == 1:
        rest = "-".join(word for word in words if word != named[0])
        config = _config([*folders, rest])
        return Shard(config, split_of(named[0]), (*folders, stem, *of_total), number, total, path)
    return Shard(_config(folders), None, (*folders, stem, *of_total), number, total, path)


def _without_suffix(name: str) -> str:
    """Without `.parquet`, also of a folder, as Spark calls it, and with `.snappy` before it."""
    return _SUFFIXES.sub("", name)


def _numbers_of(stem: str) -> tuple[str, int | None, int | None]:
    """Name without numbers, number of the shard, number of shards."""
    if (match := _OF_TOTAL.fullmatch(stem)) is not None:
        return match[1], int(match[2]), int(match[3])
    if (match := _NUMBERED.fullmatch(stem)) is not None:
        return match[1] or "", int(match[2]), None
    match = _WORD_AND_NUMBER.fullmatch(stem)
    if match is not None and split_of(match[1]) is not None:
        return match[1], int(match[2]), None
    return stem, None, None


def _config(parts: Sequence[str]) -> str:
    return "/".join(part for part in parts if part and part != _DATA)


def _of_config(
    shards: list[Shard], config: str | None, where: str
) -> tuple[list[Shard], list[str]]:
    """The files of the one configuration, and what is said of the others."""
    names = sorted({shard.config for shard in shards})
    with_splits = sorted({shard.config for shard in shards if shard.split is not None})
    shown = ", ".join(repr(name) for name in names[:8]) + (" ..." if len(names) > 8 else "")
    if config is not None:
        if config not in names:
            raise DataError(
                f"data.source.config: must be one of {shown}, which {where} has, but got {config!r}"
            )
        chosen = config
    elif len(names) == 1 or "" in with_splits:
        chosen = "" if "" in names else names[0]
    elif len(with_splits) == 1:
        chosen = with_splits[0]
    elif with_splits:
        raise DataError(
            f"{where}: must be one data set, but has {len(with_splits)} configurations: name one, "
            f"such as data.source.config={with_splits[0]} (of {shown})"
        )
    else:
        return shards, []  # files of any names, of which none says a split: one table
    others = [shard.path for shard in shards if shard.config != chosen]
    notes = []
    if others and config is None:
        notes.append(
            f"{where}: {len(others):,} file(s) of other configurations are passed over, such as "
            f"{others[0]}; data.source.config names the one to read (of {shown})."
        )
    return [shard for shard in shards if shard.config == chosen], notes


def _has_twice(files: list[Shard]) -> bool:
    """Whether files whose names say the split have a number twice, or none beside another file."""
    numbers = [shard.number for shard in files if not shard.by_folder or shard.total is not None]
    return len(numbers) > len(set(numbers)) or (len(numbers) > 1 and None in numbers)


def _check_numbers(files: list[Shard], what: str, where: str) -> list[str]:
    """A note on gaps in the numbers of shards that do not say how many there are.

    Raises:
        DataError: of the number that they say, one is missing or beyond it.
    """
    numbers = sorted(shard.number for shard in files if shard.number is not None)
    total = files[0].total
    if total is None:
        if len(numbers) < len(files) or len(numbers) > len(set(numbers)):
            return []  # not numbered, but called as one likes
        gaps = sorted(set(range(numbers[0], numbers[-1])) - set(numbers))
        if not gaps:
            return []
        return [
            f"{where}: of the files of {what}, numbers up to {numbers[-1]} are there but not "
            f"{gaps[0]}: {len(gaps):,} file(s) seem to be missing."
        ]
    missing = sorted(set(range(total)) - set(numbers))
    if missing or numbers[-1] >= total:
        wrong = f"{missing[0]:05d} is missing" if missing else f"{numbers[-1]:05d} is there too"
        raise DataError(f"{where}: {what} must have all of its {total} shards, but {wrong}")
    return []
