"""Labels of many images, kept part by part: who is cut short goes on where the last part ends.

A part is a Parquet file beside the file that is asked for, with its rows, and in its metadata how
many images it is about and which. The file itself is put together when all parts are there.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import time
import weakref
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from craft_ray.data.dataset import Item
from craft_ray.errors import ConfigError
from craft_ray.files.whole_files import read_json, write_json, written_whole
from craft_ray.inference.output import open_table, schema_of

IMAGES_OF_A_PART, SECONDS_OF_A_PART = 4096, 20.0
"""A part is written when it has so many, or when so long has gone by."""
REQUEST_FILE, LOCK_FILE = "request.json", "lock"
OWN_KEY = b"craft_ray"

Row = list[Any]


@dataclass(frozen=True)
class _Part:
    """What is known of a stored one.

    Attributes:
        images: that it is about, readable or not.
        digest: of their names, in order.
        unreadable: why some could not be read.
    """

    path: Path
    images: int
    digest: str
    unreadable: Sequence[str]


class Parts:
    """The parts of one file of labels.

    Args:
        out: the file that is asked for, `.csv` or `.parquet`.
        request: what the labels depend on besides the images; the parts of another one are refused.
        columns: of the rows.
        resume: go on from the parts that are there.

    Raises:
        ConfigError: another call is making the file; parts of an earlier call are there and it was
            not said to go on from them; or they are of another request; or the folder cannot be
            written.
    """

    def __init__(
        self, out: Path, request: dict[str, Any], columns: Sequence[str], *, resume: bool
    ) -> None:
        self._out = out
        self._columns = columns
        self._folder = folder_of_parts(out)
        self._rows: list[Row] = []
        self._names: list[str] = []
        self._unreadable: list[str] = []
        self._began_s = time.monotonic()
        self._take()
        try:
            self._known = self._read()
            self._begin(request, resume=resume)
        except BaseException:
            self._release()
            raise

    def _take(self) -> None:
        """Keep others out, until this ends: two that write the same parts would remove each
        other's."""
        try:
            self._folder.mkdir(exist_ok=True)
            lock = os.open(self._folder / LOCK_FILE, os.O_RDWR | os.O_CREAT, 0o644)
        except OSError as error:
            raise ConfigError("--out", [f"{self._out} cannot be written: {error}"]) from error
        self._release = weakref.finalize(self, os.close, lock)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError) as error:
            self._release()
            raise ConfigError(
                "--out",
                [f"{self._out} is being made by another call: wait for it, or name another file"],
            ) from error
        except OSError:  # a file system without locks
            pass

    def _begin(self, request: dict[str, Any], *, resume: bool) -> None:
        """Go on from what is known, or refuse it."""
        out = self._out
        if self._known and not resume:
            raise ConfigError(
                "--out",
                [
                    f"{out} was begun by an earlier call, which was cut short after "
                    f"{self.num_images:,} images: --resume goes on from there, or remove "
                    f"{self._folder}"
                ],
            )
        if self._known and read_json(self._folder / REQUEST_FILE) != request:
            raise ConfigError(
                "--resume",
                [
                    f"{out} must be asked for as it was begun, but the classifier, --top, the "
                    "model's settings or a Parquet file of images are others; remove "
                    f"{self._folder} to begin anew"
                ],
            )
        try:
            write_json(self._folder / REQUEST_FILE, request)
        except OSError as error:
            raise ConfigError("--out", [f"{out} cannot be written: {error}"]) from error

    @property
    def num_images(self) -> int:
        """That the stored parts are about."""
        return sum(part.images for part in self._known)

    @property
    def unreadable(self) -> list[str]:
        """Why images could not be read, of the stored parts."""
        return [reason for part in self._known for reason in part.unreadable]

    def left(self, items: Iterable[Item]) -> Iterator[Item]:
        """The items that no part is about.

        Raises:
            ConfigError: the first ones are not those that the parts are about.
        """
        iterator = iter(items)
        for part in self._known:
            names = (item.name for item in islice(iterator, part.images))
            if _digest(names) != part.digest:
                raise ConfigError(
                    "--resume",
                    [
                        f"IMAGES must be those that {self._out} was begun with, in their order, "
                        f"but are others; remove {self._folder} to begin anew"
                    ],
                )
        yield from iterator

    def add(self, items: Sequence[Item], rows: Sequence[Row], unreadable: Sequence[str]) -> None:
        """Some more of them.

        Args:
            items: all that were asked for, in order.
            rows: of those that could be read.
            unreadable: why the others could not.
        """
        self._names += [item.name for item in items]
        self._rows += rows
        self._unreadable += unreadable
        is_late = time.monotonic() - self._began_s > SECONDS_OF_A_PART
        if len(self._names) >= IMAGES_OF_A_PART or is_late:
            self._write()

    def finish(self) -> None:
        """Put the file together; the parts are then removed.

        Raises:
            ConfigError: the file cannot be written.
        """
        if self._names:
            self._write()
        with open_table(self._out) as table:
            for part in self._known:
                columns = pq.read_table(part.path).to_pydict().values()
                table.write(self._columns, [list(row) for row in zip(*columns, strict=True)])
        shutil.rmtree(self._folder)
        self._release()

    def keep(self) -> None:
        """Store what is not stored yet: the call is cut short. A disk that takes nothing more
        changes nothing about that."""
        if self._names:
            with suppress(ConfigError):
                self._write()
        self._release()

    def discard(self) -> None:
        """Remove all parts."""
        self._known, self._names, self._rows, self._unreadable = [], [], [], []

    def abandon_if_empty(self) -> None:
        """Leave nothing behind where nothing was asked."""
        if not self._known:
            shutil.rmtree(self._folder, ignore_errors=True)
        self._release()

    def _write(self) -> None:
        path = self._folder / f"part-{self.num_images:012d}.parquet"
        part = _Part(path, len(self._names), _digest(self._names), tuple(self._unreadable))
        about = {"images": part.images, "digest": part.digest, "unreadable": part.unreadable}
        schema = schema_of(self._columns).with_metadata({OWN_KEY: json.dumps(about).encode()})
        values = [list(column) for column in zip(*self._rows, strict=True)]
        values = values or [[] for _ in self._columns]
        try:
            with written_whole(path) as partial:
                pq.write_table(pa.table(values, schema=schema), partial)
        except OSError as error:
            raise ConfigError("--out", [f"{path} cannot be written: {error}"]) from error
        self._known.append(part)
        self._rows, self._names, self._unreadable = [], [], []
        self._began_s = time.monotonic()

    def _read(self) -> list[_Part]:
        """Those that are there, without a gap."""
        found: list[_Part] = []
        start = 0
        while (path := self._folder / f"part-{start:012d}.parquet").is_file():
            try:
                about = json.loads(pq.read_schema(path).metadata[OWN_KEY])
                part = _Part(path, about["images"], about["digest"], about["unreadable"])
            except (OSError, pa.ArrowException, KeyError, TypeError, ValueError) as error:
                raise ConfigError(
                    "--out", [f"{path} must be as it was written, but: {error!r}; remove it"]
                ) from error
            found.append(part)
            start += part.images
        return found


def folder_of_parts(out: Path) -> Path:
    """Where the parts of a file lie until it is whole."""
    return out.with_name(f".{out.name}.parts")


def _digest(names: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for name in names:
        digest.update(name.encode("utf-8", "surrogateescape") + b"\0")
    return digest.hexdigest()
