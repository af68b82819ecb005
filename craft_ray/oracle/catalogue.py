"""What open_clip knows by name: architectures and published weights. Its model code is not loaded,
which takes four seconds of CPU: names are checked before anything is started."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from craft_ray.light_imports import module_alone, package_folders, without

LOCAL_DIR_PREFIX = "local-dir:"
"""Before a folder, where a model's name is meant."""
ARCHITECTURE_KEYS = {"embed_dim", "vision_cfg", "text_cfg"}
"""By which open_clip knows a file of its folder for an architecture."""


@cache
def architectures() -> dict[str, dict[str, Any]]:
    """Names of `open_clip.list_models()` with their `model_cfg`."""
    known = {}
    for folder in package_folders("open_clip"):
        for path in sorted((Path(folder) / "model_configs").glob("*.json")):
            document = json.loads(path.read_text(encoding="utf-8"))
            if document.keys() >= ARCHITECTURE_KEYS:
                known[path.stem] = document
    return known


def architecture_in(folder: Path) -> dict[str, Any]:
    """The `model_cfg` of a checkpoint folder.

    Raises:
        OSError, ValueError, AttributeError: `open_clip_config.json` cannot be read or holds none.
    """
    document = json.loads((folder / "open_clip_config.json").read_text(encoding="utf-8"))
    architecture: dict[str, Any] = document.get("model_cfg", document)
    return architecture


def tags_of(name: str) -> list[str]:
    """Names of the published weights of an architecture."""
    tags: list[str] = _pretrained().list_pretrained_tags_by_model(name)
    return tags


def published_weights(name: str, tag: str) -> dict[str, Any] | None:
    """What open_clip says of the weights that a tag names; None if it names none."""
    return _pretrained().get_pretrained_cfg(name, tag) or None


def all_published_weights() -> Iterator[dict[str, Any]]:
    """What open_clip says of each of them."""
    for name, tag in _pretrained().list_pretrained():
        yield _pretrained().get_pretrained_cfg(name, tag)


def _pretrained() -> ModuleType:
    # It can download weights too, with libraries that are not needed to name them.
    with without("huggingface_hub", "safetensors", "safetensors.torch"):
        return module_alone("open_clip", "pretrained")
