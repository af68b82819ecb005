"""Folders on a disk or on an object store, alike."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from craft_ray.files.remote import Place, RemotePath


def remove_folder(folder: Place) -> None:
    """With all that is in it, if it is there; what a local disk refuses to remove stays."""
    if isinstance(folder, RemotePath):
        folder.remove_all()
    else:
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def on_this_disk(folder: Place) -> Iterator[Path]:
    """The folder, or a copy of it for as long as the block lasts."""
    if not isinstance(folder, RemotePath):
        yield folder
        return
    with tempfile.TemporaryDirectory() as temporary:
        for file in folder.files_below():
            copy = Path(temporary) / PurePosixPath(file.store_path).relative_to(folder.store_path)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.write_bytes(file.read_bytes())
        yield Path(temporary)
