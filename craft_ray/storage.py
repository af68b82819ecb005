"""Where Ray Tune and Ray Train keep what they need for a resume: whole files only.

Both write their state over the old one. A disk that fills up in that moment, or the end of the
process, would leave half a file in the place of a good one, and nothing to resume from.
"""

from __future__ import annotations

import uuid
from pathlib import Path
from typing import Any

from pyarrow import NativeFile, PythonFile
from pyarrow.fs import (
    FileInfo,
    FileSelector,
    FileSystemHandler,
    LocalFileSystem,
    PyFileSystem,
)

from craft_ray.files import move_into_place

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


class WholeFiles(FileSystemHandler):  # type: ignore[misc]
    """The local file system, but for how files are written."""

    def __init__(self) -> None:
        self._local = LocalFileSystem()

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WholeFiles)

    def __hash__(self) -> int:
        return hash(WholeFiles)

    def __reduce__(self) -> tuple[type[WholeFiles], tuple[()]]:
        return (WholeFiles, ())

    def open_output_stream(self, path: str, metadata: Any) -> NativeFile:
        """A file that appears when it is closed."""
        return PythonFile(WholeFile(Path(path)), mode="w")

    def get_type_name(self) -> str:
        return "whole-files"

    def normalize_path(self, path: str) -> str:
        return str(self._local.normalize_path(path))

    def get_file_info(self, paths: list[str]) -> list[FileInfo]:
        return list(self._local.get_file_info(paths))

    def get_file_info_selector(self, selector: FileSelector) -> list[FileInfo]:
        found = self._local.get_file_info(selector)
        return [info for info in found if not info.path.endswith(PART_SUFFIX)]

    def create_dir(self, path: str, recursive: bool) -> None:
        self._local.create_dir(path, recursive=recursive)

    def delete_dir(self, path: str) -> None:
        self._local.delete_dir(path)

    def delete_dir_contents(self, path: str, missing_dir_ok: bool) -> None:
        self._local.delete_dir_contents(path, missing_dir_ok=missing_dir_ok)

    def delete_root_dir_contents(self) -> None:
        raise NotImplementedError("nobody deletes everything")

    def delete_file(self, path: str) -> None:
        self._local.delete_file(path)

    def move(self, src: str, dest: str) -> None:
        self._local.move(src, dest)

    def copy_file(self, src: str, dest: str) -> None:
        self._local.copy_file(src, dest)

    def open_input_stream(self, path: str) -> NativeFile:
        return self._local.open_input_stream(path)

    def open_input_file(self, path: str) -> NativeFile:
        return self._local.open_input_file(path)

    def open_append_stream(self, path: str, metadata: Any) -> NativeFile:
        return self._local.open_append_stream(path, metadata=metadata)


def whole_files() -> PyFileSystem:
    """For `storage_filesystem` of Ray's run configurations."""
    return PyFileSystem(WholeFiles())
