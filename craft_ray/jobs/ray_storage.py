"""Where Ray Tune and Ray Train keep what they need for a resume: whole files only, on a local disk
or on an object store.

Both write their state over the old one. A disk that fills up in that moment, or the end of the
process, would leave half a file in the place of a good one, and nothing to resume from.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any, TypedDict

from pyarrow import NativeFile, PythonFile
from pyarrow.fs import (
    FileInfo,
    FileSelector,
    FileSystem,
    FileSystemHandler,
    LocalFileSystem,
    PyFileSystem,
)

from craft_ray.files.remote import Place, RemotePath, open_store
from craft_ray.files.whole_files import move_into_place

PART_SUFFIX = ".part"


class WholeFile:
    """A file that is in its place when it is closed, and not at all if a write has failed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        # Two writers of one file must not share a part.
        self._part = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}{PART_SUFFIX}")
        self._file = self._part.open("wb", buffering=0)

    @property
    def closed(self) -> bool:
        """Whether it is."""
        return self._file.closed

    def write(self, data: bytes) -> int:
        """All of `data`."""
        left = memoryview(data)
        try:
            while left:
                left = left[self._file.write(left) :]
        except OSError:
            self._discard()  # at once: whoever copies files does not close what has failed
            raise
        return len(data)

    def tell(self) -> int:
        """Bytes so far."""
        return self._file.tell()

    def flush(self) -> None:
        """Nothing is buffered."""

    def close(self) -> None:
        """Put it in its place."""
        if self.closed:
            return
        self._file.close()
        try:
            move_into_place(self._part, self._path)
        except OSError:
            self._discard()
            raise

    def _discard(self) -> None:
        self._file.close()
        self._part.unlink(missing_ok=True)


class _Handler(FileSystemHandler):  # type: ignore[misc]
    """Passes everything on to another file system.

    Args:
        inner: that file system.
        arguments: of the class, to make it again in another process.
    """

    def __init__(self, inner: FileSystem, *arguments: str) -> None:
        self._inner = inner
        self._arguments = arguments

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and other._arguments == self._arguments

    def __hash__(self) -> int:
        return hash((type(self), self._arguments))

    def __reduce__(self) -> tuple[type[_Handler], tuple[str, ...]]:
        return (type(self), self._arguments)

    def get_type_name(self) -> str:
        return "craft-ray"

    def open_output_stream(self, path: str, metadata: Any) -> NativeFile:
        return self._inner.open_output_stream(path, metadata=metadata)

    def get_file_info_selector(self, selector: FileSelector) -> list[FileInfo]:
        return list(self._inner.get_file_info(selector))

    def normalize_path(self, path: str) -> str:
        return str(self._inner.normalize_path(path))

    def get_file_info(self, paths: list[str]) -> list[FileInfo]:
        return list(self._inner.get_file_info(paths))

    def create_dir(self, path: str, recursive: bool) -> None:
        self._inner.create_dir(path, recursive=recursive)

    def delete_dir(self, path: str) -> None:
        self._inner.delete_dir(path)

    def delete_dir_contents(self, path: str, missing_dir_ok: bool) -> None:
        self._inner.delete_dir_contents(path, missing_dir_ok=missing_dir_ok)

    def delete_root_dir_contents(self) -> None:
        raise NotImplementedError("nobody deletes everything")

    def delete_file(self, path: str) -> None:
        self._inner.delete_file(path)

    def move(self, src: str, dest: str) -> None:
        self._inner.move(src, dest)

    def copy_file(self, src: str, dest: str) -> None:
        self._inner.copy_file(src, dest)

    def open_input_stream(self, path: str) -> NativeFile:
        return self._inner.open_input_stream(path)

    def open_input_file(self, path: str) -> NativeFile:
        return self._inner.open_input_file(path)

    def open_append_stream(self, path: str, metadata: Any) -> NativeFile:
        return self._inner.open_append_stream(path, metadata=metadata)


class WholeFiles(_Handler):
    """The local file system, but for how files are written."""

    def __init__(self) -> None:
        super().__init__(LocalFileSystem())

    def open_output_stream(self, path: str, metadata: Any) -> NativeFile:
        """A file that appears when it is closed."""
        return PythonFile(WholeFile(Path(path)), mode="w")

    def get_file_info_selector(self, selector: FileSelector) -> list[FileInfo]:
        found = super().get_file_info_selector(selector)
        return [info for info in found if not info.path.endswith(PART_SUFFIX)]


class RemoteFiles(_Handler):
    """An object store, whose files are whole by nature. Ray pickles it, and pyarrow would forget
    the limits of its retries: what travels is the address, and each process opens it."""

    def __init__(self, root: str) -> None:
        super().__init__(open_store(root), root)


def whole_files() -> PyFileSystem:
    """The local file system for `storage_filesystem` of Ray's run configurations."""
    return PyFileSystem(WholeFiles())


class RayStorage(TypedDict):
    """Where Ray keeps a run, in the words of its run configurations."""

    storage_path: str
    storage_filesystem: PyFileSystem


def ray_storage(folder: Place) -> RayStorage:
    """For Ray Tune and Ray Train."""
    if isinstance(folder, RemotePath):
        files = PyFileSystem(RemoteFiles(folder.root))
        return {"storage_path": folder.store_path, "storage_filesystem": files}
    return {"storage_path": str(folder), "storage_filesystem": whole_files()}
