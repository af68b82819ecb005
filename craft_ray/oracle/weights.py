"""Checkpoint files as people have them: what their weights were trained with, and OpenAI's own.

OpenAI published CLIP as TorchScript archives with three numbers among the weights; both are
recognised without unpickling anything. A model whose activation is not that of its weights loads
without complaint and answers worse, so it has to be noticed here.
"""

from __future__ import annotations

import hashlib
import zipfile
from functools import cache, lru_cache
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlparse

from safetensors import SafetensorError, safe_open

from craft_ray.oracle.catalogue import all_published_weights
from craft_ray.oracle.checkpoint_names import OPENAI_KEYS


def trained_with_quick_gelu(path: Path) -> bool | None:
    """Whether the weights of a file were trained with QuickGELU; None where nobody can tell.

    Known are OpenAI's files, by their keys, and releases of open_clip, by the SHA-256 that stands
    in their address.
    """
    if is_openai(path):
        return True
    release = release_of(path)
    return None if release is None else bool(release.get("quick_gelu"))


def release_of(path: Path) -> dict[str, Any] | None:
    """What open_clip says of published weights that this file is a copy of; None if it is none of
    those whose SHA-256 stands in their address."""
    try:
        state = path.stat()
        digest = _sha256(path, state.st_size, state.st_mtime_ns)
    except OSError:
        return None
    return next((of for start, of in _releases().items() if digest.startswith(start)), None)


def is_file(path: Path) -> bool:
    """As `Path.is_file`, which raises an OSError of a name that is too long."""
    try:
        return path.is_file()
    except OSError:
        return False


def is_openai(path: Path) -> bool:
    keys = _names_within(path)
    return all(key.encode() in keys for key in OPENAI_KEYS)


def _names_within(path: Path) -> bytes:
    """The part of a checkpoint that holds the names of its tensors; empty if it is none."""
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "np") as file:
                return "\n".join(file.keys()).encode()
        with zipfile.ZipFile(path) as archive:
            (index,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
            return archive.read(index)
    except (OSError, ValueError, RuntimeError, zipfile.BadZipFile, SafetensorError):
        return b""  # ValueError: none or several; RuntimeError: encrypted


@lru_cache(maxsize=64)
def _sha256(path: Path, size: int, changed_ns: int) -> str:
    """Of a file as it was at that time: a large one takes seconds."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def _releases() -> dict[str, dict[str, Any]]:
    """Start of a file's SHA-256 -> what is said of it, of all releases whose address tells it."""
    releases = {}
    for settings in all_published_weights():
        address = urlparse(settings.get("url") or "")
        path = PurePosixPath(address.path)
        if address.netloc.startswith("openaipublic"):
            start = path.parent.name
        elif path.is_relative_to("/mlfoundations"):
            start = path.stem.rpartition("-")[2]
        else:
            continue
        releases[start] = settings
    return releases
