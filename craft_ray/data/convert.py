"""Any readable data set -> sharded Parquet files in the Hugging Face layout.

The images are stored as they are, not encoded again. The result appears under its name when it is
complete and on the disk, or not at all.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from craft_ray.data.dataset import Dataset, Item, Split
from craft_ray.data.parquet_layout import IMAGE_COLUMN, LABEL_COLUMN, WRITTEN_SPLITS, schema_of
from craft_ray.data.threads import map_in_threads
from craft_ray.errors import DataError

ROWS_PER_GROUP = 100
"""What is read to get at one image, and what of the images is in memory while they are written."""

LOCK_FILE = "lock"

Progress = Callable[[Split, int], None]
"""Is told of each split and how many images of it were written since the last time."""


@dataclass(frozen=True)
class Converted:
    """What was written."""

    files: tuple[str, ...]
    num_images: dict[Split, int]
    skipped: tuple[str, ...]
    """Why each image that was left out was."""


def convert(
    dataset: Dataset,
    destination: Path,
    *,
    shard_bytes: int,
    skip_broken: bool = False,
    progress: Progress = lambda split, count: None,
) -> Converted:
    """Write `{split}-00000-of-0000N.parquet` into the new folder `destination`.

    It is written into a hidden folder beside `destination`, synchronised and then renamed. What a
    killed conversion leaves has another name, and goes when the next one begins.

    Args:
        dataset: what is written, in its order.
        destination: must not exist.
        shard_bytes: a file is ended when it is as large.
        skip_broken: leave out images that cannot be decoded, instead of giving up.
        progress: called after each row group.

    Raises:
        DataError: `destination` exists or cannot be written, an image cannot be decoded, or a
            split has no image left.
    """
    if os.path.lexists(destination):
        raise DataError(f"{destination}: must not exist yet, but does")
    skipped: list[str] = []
    num_images: dict[Split, int] = {}
    files: list[str] = []
    try:
        with _folder_in_the_making(destination) as folder:
            for split, items in dataset.splits.items():
                rows = _checked(items, skipped if skip_broken else None)
                writer = _ShardWriter(folder, WRITTEN_SPLITS[split], dataset, shard_bytes)
                num_images[split] = 0
                for count in writer.write(rows):
                    num_images[split] += count
                    progress(split, count)
                if not num_images[split]:
                    raise DataError(f"{dataset.name}: split {split} has no readable image")
                files += writer.finish()
    except OSError as error:
        raise DataError(f"{destination}: cannot be written: {error}") from error
    return Converted(tuple(files), num_images, tuple(skipped))


def _checked(items: Sequence[Item], skipped: list[str] | None) -> Iterator[Item]:
    """The same items with their bytes, each of which was decoded once.

    Raises:
        DataError: an image cannot be decoded, and there is no list to note that in.
    """
    for outcome in map_in_threads(_read_and_decode, items):
        if isinstance(outcome, Item):
            yield outcome
        elif skipped is None:
            raise outcome
        else:
            skipped.append(str(outcome))


def _read_and_decode(item: Item) -> Item | DataError:
    try:
        held = replace(item, encoded=item.read())
        held.decode()
    except DataError as error:
        return error
    # The name of the file is kept; its folder is of no use elsewhere.
    name = item.encoded.name if isinstance(item.encoded, Path) else ""
    name = name.encode(errors="backslashreplace").decode()  # Linux allows bytes that are no text
    return replace(held, name=name)


class _ShardWriter:
    """The files of one split. How many there are is known, and named, at the end."""

    def __init__(self, folder: Path, key: str, dataset: Dataset, shard_bytes: int) -> None:
        self._folder = folder
        self._key = key
        self._schema = schema_of(dataset)
        self._shard_bytes = shard_bytes
        self._shards: list[Path] = []

    def write(self, items: Iterable[Item]) -> Iterator[int]:
        """Write all items; yields the number of rows of each row group that was written."""
        remaining = iter(items)
        group = list(islice(remaining, ROWS_PER_GROUP))
        while group:
            path = self._folder / f"{self._key}-{len(self._shards):05d}.parquet"
            self._shards.append(path)
            # Images are compressed and differ: a second pass would cost time and save nothing.
            with pq.ParquetWriter(
                path, self._schema, compression="none", use_dictionary=False
            ) as writer:
                num_bytes = 0
                while group and num_bytes < self._shard_bytes:
                    writer.write_table(self._table(group), row_group_size=ROWS_PER_GROUP)
                    num_bytes += sum(len(item.read()) for item in group)
                    yield len(group)
                    group = list(islice(remaining, ROWS_PER_GROUP))
            _synchronise(path)

    def finish(self) -> list[str]:
        """Give the shards their names, and return these."""
        total = len(self._shards)
        names = [f"{self._key}-{index:05d}-of-{total:05d}.parquet" for index in range(total)]
        for shard, name in zip(self._shards, names, strict=True):
            shard.rename(self._folder / name)
        return names

    def _table(self, items: Sequence[Item]) -> pa.Table:
        columns: dict[str, list[Any]] = {
            IMAGE_COLUMN: [{"bytes": item.read(), "path": item.name or None} for item in items],
            LABEL_COLUMN: [item.label for item in items],
        }
        return pa.table(columns, schema=self._schema)


@contextmanager
def _folder_in_the_making(destination: Path) -> Iterator[Path]:
    """A hidden folder that becomes `destination` if the block ends well, and else is removed.

    A process that is killed cannot remove it, so its folder is removed by the next one. The lock,
    which the system releases with the process, tells a dead process from a busy one.
    """
    parent = destination.parent
    parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{destination.name}.part-"
    _remove_leftovers(parent, prefix)
    folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    try:
        with (folder / LOCK_FILE).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield folder
            (folder / LOCK_FILE).unlink()
            folder.chmod(0o777 & ~_umask())  # mkdtemp's folders are for their owner only
            _synchronise(folder)
            os.rename(folder, destination)
            _synchronise(parent)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _remove_leftovers(parent: Path, prefix: str) -> None:
    for folder in parent.iterdir():
        if not folder.name.startswith(prefix):
            continue
        try:
            with (folder / LOCK_FILE).open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
        except OSError:  # busy, or made a moment ago and not locked yet
            continue


def _synchronise(path: Path) -> None:
    """Wait until a file or folder is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
