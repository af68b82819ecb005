"""The files of a data set with one suffix, below a folder or an address on an object store."""

from __future__ import annotations

import os
from pathlib import Path, PurePosixPath

from craft_ray.data.sources.shard_names import MAX_DEPTH
from craft_ray.errors import DataError, StorageError
from craft_ray.files.remote import Place, RemotePath


def shard_paths(root: Place, suffixes: tuple[str, ...]) -> list[str]:
    """Paths below `root`, sorted, with `/` between folders; hidden folders and files, those that
    begin with `_` (Spark's marks), and what lies too deep are passed over.

    Raises:
        DataError: the object store does not answer, or a folder may not be listed.
    """
    try:
        found = _remote(root) if isinstance(root, RemotePath) else _local(root)
    except (OSError, StorageError) as error:
        raise DataError(f"data.source.root: must be readable, but: {error}") from error
    return sorted(
        path
        for path in found
        if path.lower().endswith(suffixes)
        and not any(part.startswith((".", "_")) for part in PurePosixPath(path).parts)
        and len(PurePosixPath(path).parts) <= MAX_DEPTH + 1
    )


def _local(root: Path) -> list[str]:
    def refuse(error: OSError) -> None:
        if os.path.isdir(root):
            raise error

    found = []
    for parent, folders, files in os.walk(root, onerror=refuse, followlinks=True):
        below = Path(parent).relative_to(root)
        if len(below.parts) >= MAX_DEPTH:
            folders.clear()
        folders[:] = [
            name
            for name in folders
            if not name.startswith((".", "_")) and not _leads_back(Path(parent, name))
        ]
        found += [(below / name).as_posix() for name in files]
    return found


def _leads_back(folder: Path) -> bool:
    """Whether it is a link to a folder that holds it: what is there would be found twice."""
    return folder.is_symlink() and folder.resolve() in (folder.parent.resolve() / "_").parents


def _remote(root: RemotePath) -> list[str]:
    start = root.store_path
    return [
        PurePosixPath(path.store_path).relative_to(start).as_posix() for path in root.files_below()
    ]
