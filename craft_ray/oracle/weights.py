"""Checkpoint files as people have them: what their weights were trained with, and OpenAI's own.

OpenAI published CLIP as TorchScript archives with three numbers among the weights; both are
recognised without unpickling anything. A model whose activation is not that of its weights loads
without complaint and answers worse, so it has to be noticed here.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from functools import cache, lru_cache
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlparse

from safetensors import SafetensorError, safe_open

from craft_ray.oracle.catalogue import all_published_weights, architectures
from craft_ray.oracle.checkpoint_names import OPENAI_KEYS, CheckpointError

PREFERRED = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth",
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "pytorch_model.pth",
    "model.pth",
)
"""Names of weights in a folder: of the first that is there."""
SUFFIXES = (".safetensors", ".bin", ".pth", ".pt")


def trained_with_quick_gelu(path: Path) -> bool | None:
    """Whether the weights of a file were trained with QuickGELU; None where nobody can tell.

    Known are OpenAI's files, by their keys, and releases of open_clip, by the SHA-256 that stands
    in their address.
    """
    if is_openai(path):
        return True
    release = release_of(path)
    return None if release is None else bool(release.get("quick_gelu"))


def description_beside(model: str, path: Path) -> dict[str, Any] | None:
    """The `open_clip_config.json` that stands beside a file of weights, if it is of this model: of
    the same image tower and width."""
    try:
        text = (path.parent / "open_clip_config.json").read_text(encoding="utf-8")
        document: dict[str, Any] = json.loads(text)
        towers = [
            (each["embed_dim"], {**each["vision_cfg"], "image_size": None})
            for each in (document["model_cfg"], architectures()[model])
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return document if towers[0] == towers[1] else None


def release_of(path: Path) -> dict[str, Any] | None:
    """What open_clip says of published weights that this file is a copy of; None if it is none of
    those whose SHA-256 stands in their address."""
    try:
        state = path.stat()
        digest = _sha256(path, state.st_size, state.st_mtime_ns)
    except OSError:
        return None
    return next((of for start, of in _releases().items() if digest.startswith(start)), None)


def weights_in(folder: Path) -> Path:
    """The file of weights in a folder.

    Raises:
        CheckpointError: there is none, or several without a name that tells.
    """
    for name in PREFERRED:
        if (folder / name).is_file():
            return folder / name
    found = sorted(path for path in folder.iterdir() if path.suffix in SUFFIXES)
    if len(found) == 1:
        return found[0]
    names = ", ".join(path.name for path in found) or "none"
    raise CheckpointError(
        f"{folder} must have one file of weights, or one called {PREFERRED[0]}, but has {names}"
    )


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
