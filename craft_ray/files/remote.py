"""Files on an object store, under the names that `pathlib` has for what is done with files.

A `Place` is either. What writes to one knows of neither: an object store's PUT is whole by nature,
and `craft_ray.files.whole_files` makes the writes of a local disk so.

A path knows its address only. Each process opens the store itself, with the credentials of its own
environment: none travels, and none is stored.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from pyarrow import ArrowException, Buffer, py_buffer
from pyarrow.fs import (
    AwsStandardS3RetryStrategy,
    FileInfo,
    FileSelector,
    FileSystem,
    FileType,
    S3FileSystem,
    resolve_s3_region,
)

from craft_ray.config.places import is_address
from craft_ray.errors import StorageError
from craft_ray.interrupts import uninterrupted

CONNECT_TIMEOUT_S = 5.0
REQUEST_TIMEOUT_S = 30.0
"""Without an answer or progress for so long, a request is tried again."""
MAX_ATTEMPTS = 8
"""With the pauses between them, about half a minute: a run outlasts a short outage."""
GCS_RETRY_LIMIT_S = 30
FIRST_ATTEMPTS = 3
"""Of the first request of a command, so that a mistyped endpoint is said soon."""


class Stat(NamedTuple):
    """What `os.stat_result` calls so."""

    st_size: int
    st_mtime: float


class RemotePath:
    """A folder or file on an object store; the part of `pathlib.Path` that the product uses.

    Args:
        root: address, such as `s3://bucket/prefix?region=eu-central-1`.
        parts: names below it.
    """

    __slots__ = ("_parts", "_root")

    def __init__(self, root: str, parts: tuple[str, ...] = ()) -> None:
        self._root = root
        self._parts = parts

    def __str__(self) -> str:
        """The address, which `locate` reads."""
        address, mark, query = self._root.partition("?")
        return "/".join([address.rstrip("/"), *map(quote, self._parts)]) + mark + query

    def __repr__(self) -> str:
        return f"RemotePath({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, RemotePath) and str(self) == str(other)

    def __hash__(self) -> int:
        return hash(str(self))

    def __lt__(self, other: RemotePath) -> bool:
        return str(self) < str(other)

    def __truediv__(self, name: str) -> RemotePath:
        return RemotePath(self._root, (*self._parts, *PurePosixPath(name).parts))

    def __reduce__(self) -> tuple[type[RemotePath], tuple[str, tuple[str, ...]]]:
        return (RemotePath, (self._root, self._parts))

    @property
    def root(self) -> str:
        """The address that this path was reached from."""
        return self._root

    @property
    def name(self) -> str:
        """The last name."""
        if self._parts:
            return self._parts[-1]
        parts = urlsplit(self._root)
        return unquote(PurePosixPath(parts.path).name) or parts.netloc

    @property
    def parent(self) -> RemotePath:
        """The folder that it is in; of a root, itself."""
        return RemotePath(self._root, self._parts[:-1])

    def resolve(self) -> RemotePath:
        """An address is absolute."""
        return self

    @property
    def store_path(self) -> str:
        """What the file system of the store calls it."""
        return "/".join([_open(self._root)[1], *self._parts])

    def at(self, store_path: str) -> RemotePath:
        """Of the same store, what its file system calls `store_path`; below the root."""
        relative = PurePosixPath(store_path).relative_to(_open(self._root)[1])
        return RemotePath(self._root, relative.parts)

    def exists(self) -> bool:
        """Whether there is an object of this name, or one below it."""
        return bool(self._info().type != FileType.NotFound)

    def is_file(self) -> bool:
        """Whether there is an object of this name."""
        return bool(self._info().type == FileType.File)

    def stat(self) -> Stat:
        """Size, and time of the last write.

        Raises:
            FileNotFoundError: it is no file.
        """
        info = self._info()
        if info.type != FileType.File:
            raise FileNotFoundError(f"{self}: does not exist")
        modified: datetime = info.mtime or datetime.fromtimestamp(0, UTC)
        return Stat(int(info.size), modified.timestamp())

    def iterdir(self) -> Iterator[RemotePath]:
        """What is in the folder; nothing if there is none."""
        for info in self._list(recursive=False):
            yield self / info.base_name

    def files_below(self) -> list[RemotePath]:
        """All files of the folder and of those in it."""
        found = self._list(recursive=True)
        return [self.at(info.path) for info in found if info.type == FileType.File]

    def read_bytes(self) -> bytes:
        """The whole file.

        Raises:
            FileNotFoundError: there is none.
            StorageError: the store does not give it.
        """
        try:
            with _told(self), self._store.open_input_file(self.store_path) as file:
                content: bytes = file.read()
                return content
        except StorageError as error:
            if self.exists():
                raise
            # Removed between the question about its size and the one about its content.
            raise FileNotFoundError(f"{self}: does not exist") from error

    def read_text(self, encoding: str = "utf-8") -> str:
        """The whole file as text."""
        return self.read_bytes().decode(encoding)

    def write_bytes(self, content: bytes) -> int:
        """Put the whole file in its place, or nothing.

        Closing a stream puts what it was given, and it cannot be given up: what Ctrl-C cut off
        before the content was written would be an empty object in place of a good one. So that
        is done in a thread, which no signal reaches, and waited for.
        """
        with _told(self):
            buffer, store, path = py_buffer(content), self._store, self.store_path
            uninterrupted(lambda: _put(store, path, buffer))
        return len(content)

    def unlink(self, missing_ok: bool = False) -> None:
        """Remove the file."""
        try:
            with _told(self):
                self._store.delete_file(self.store_path)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def mkdir(self, parents: bool = False, exist_ok: bool = False) -> None:
        """Folders are not made: they are there when something is in them.

        Raises:
            FileExistsError: something is in it.
        """
        if not exist_ok and self.exists():
            raise FileExistsError(f"{self}: exists")

    def remove_all(self) -> None:
        """Remove the folder and all that is in it, if there is one."""
        try:
            with _told(self):
                self._store.delete_dir(self.store_path)
        except FileNotFoundError:
            pass

    @property
    def _store(self) -> FileSystem:
        return _open(self._root)[0]

    def _info(self) -> FileInfo:
        with _told(self):
            return self._store.get_file_info(self.store_path)

    def _list(self, *, recursive: bool) -> list[FileInfo]:
        selector = FileSelector(self.store_path, allow_not_found=True, recursive=recursive)
        with _told(self):
            return list(self._store.get_file_info(selector))


Place = Path | RemotePath
"""A folder or file, wherever it is."""


def locate(text: str) -> Place:
    """What a setting names."""
    return RemotePath(text) if is_address(text) else Path(text)


def entries(folder: Place) -> Iterator[Place]:
    """What is in a folder; nothing if there is none."""
    if isinstance(folder, RemotePath) or folder.exists():
        yield from folder.iterdir()


def open_store(root: str) -> FileSystem:
    """The file system of an address.

    Raises:
        OSError, ValueError: the store does not answer, or pyarrow cannot read the address.
    """
    return _open(root)[0]


def check_answers(root: RemotePath, name: str) -> None:
    """Write, read and remove a file below `root`, without patience.

    Raises:
        StorageError: says what the store has refused.
    """
    with _told(root):
        store, path = _connect(root.root, FIRST_ATTEMPTS)
        place = "/".join([path, name])
        with store.open_output_stream(place) as stream:
            stream.write(b"craft-ray")
        with store.open_input_file(place) as file:
            file.read()
        store.get_file_info(FileSelector(path, recursive=False))
        store.delete_file(place)


@cache
def _open(root: str) -> tuple[FileSystem, str]:
    return _connect(root, MAX_ATTEMPTS)


def _connect(root: str, max_attempts: int) -> tuple[FileSystem, str]:
    """A file system, and what it calls the root."""
    parts = urlsplit(root)
    if parts.scheme != "s3":
        if parts.scheme in ("gs", "gcs") and "retry_limit_seconds" not in parts.query:
            # Else it tries for many minutes.
            root += f"{'&' if parts.query else '?'}retry_limit_seconds={GCS_RETRY_LIMIT_S}"
        store, path = FileSystem.from_uri(root)
        return store, path.rstrip("/")
    options: dict[str, Any] = dict(parse_qsl(parts.query))
    # As pyarrow's `from_uri` does, which knows no time limits.
    if "region" not in options and not _has_own_endpoint(options):
        options["region"] = resolve_s3_region(parts.netloc)
    store = S3FileSystem(
        **options,
        connect_timeout=CONNECT_TIMEOUT_S,
        request_timeout=REQUEST_TIMEOUT_S,
        retry_strategy=AwsStandardS3RetryStrategy(max_attempts=max_attempts),
        # A small file is one request, not three.
        allow_delayed_open=True,
    )
    return store, (parts.netloc + unquote(parts.path)).rstrip("/")


def _has_own_endpoint(options: dict[str, Any]) -> bool:
    """Not Amazon's, which would have to be asked where a bucket is."""
    variables = ("AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3")
    return "endpoint_override" in options or any(os.environ.get(name) for name in variables)


def _put(store: FileSystem, path: str, content: Buffer) -> None:
    with store.open_output_stream(path) as stream:
        stream.write(content)


@contextmanager
def _told(path: RemotePath) -> Iterator[None]:
    """What the store refuses, with the address; that a file is not there stays what it is."""
    try:
        yield
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{path}: does not exist") from error
    except (OSError, ArrowException) as error:
        raise StorageError(f"{path}: {' '.join(str(error).split())}") from error
