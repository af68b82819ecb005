"""Which kind of files a folder holds its images in, if not as image files. Looks at names only."""

from __future__ import annotations

import os
from itertools import islice
from pathlib import Path

from craft_ray.config.data import ArrowSource, ParquetSource, WebdatasetSource
from craft_ray.data.sources.listing import IMAGE_EXTENSIONS, is_folder
from craft_ray.data.sources.shard_names import MAX_DEPTH
from craft_ray.data.sources.webdataset import COMPRESSED, SUFFIXES

Kind = type[ArrowSource] | type[ParquetSource] | type[WebdatasetSource]

TARS = (*SUFFIXES, *COMPRESSED)
LOOKED_AT = 200
"""Entries of a folder: what is not among the first of them, the folder is not about. So a tree of
a million images is not gone through."""


def recognised(path: Path) -> Kind | None:
    """The source that reads a folder or one file; None where it is none of these."""
    if is_arrow(path):
        return ArrowSource
    if is_parquet(path):
        return ParquetSource
    if is_webdataset(path):
        return WebdatasetSource
    return None


def is_arrow(path: Path) -> bool:
    """A folder of `save_to_disk`, or one with Arrow files, or such a file."""
    if path.is_file():
        return path.suffix.lower() == ".arrow"
    if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
        return True
    return _has(path, (".arrow",), deep=0)


def is_parquet(path: Path) -> bool:
    """A Parquet file, or a folder of such, as deep as the reader looks: the hub's cache has them in
    `snapshots/<revision>/data`."""
    if path.is_file():
        return path.suffix.lower() == ".parquet"
    return _has(path, (".parquet",), deep=MAX_DEPTH)


def is_webdataset(path: Path) -> bool:
    """A tar file, or a folder of such (packed ones too: the reader refuses them with the remedy)
    without image files: archives often lie beside what was unpacked from them."""
    if path.is_file():
        return path.name.lower().endswith(TARS)
    return _has(path, TARS, deep=1) and not _has(path, IMAGE_EXTENSIONS, deep=3)


def _has(folder: Path, suffixes: tuple[str, ...], *, deep: int) -> bool:
    """Whether a folder, or one so deep below it, has a file with one of the suffixes."""
    folders = []
    try:
        with os.scandir(folder) as entries:
            for entry in islice(entries, LOOKED_AT):
                if entry.name.startswith((".", "_")):
                    continue
                if is_folder(entry):
                    folders.append(Path(entry.path))
                elif entry.name.lower().endswith(suffixes):
                    return True
    except OSError:  # what may not be read has its message from the reader
        return False
    return deep > 0 and any(_has(inner, suffixes, deep=deep - 1) for inner in sorted(folders))
