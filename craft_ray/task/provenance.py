"""What decides a result besides its settings: versions and the chosen images."""

from __future__ import annotations

import hashlib
import platform
import subprocess
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from craft_ray import __version__
from craft_ray.data.dataset import Item
from craft_ray.task.preparation import FewShotData

RECORDED_VERSIONS = ("torch", "open_clip_torch", "ray", "optuna", "cma", "mlflow")

GIT_TIMEOUT_S = 10


def versions() -> dict[str, str]:
    """Versions that decide a result."""
    return {
        "python": platform.python_version(),
        "craft_ray": __version__,
        **{package: version(package) for package in RECORDED_VERSIONS},
    }


def commit() -> str | None:
    """The git commit that craft-ray runs from, with `-dirty` if its files differ from it; None if
    it is installed and no checkout, or there is no git."""
    package = Path(__file__).resolve().parents[1]
    if not (package.parent / ".git").exists():
        return None
    try:
        found = _git(package, "rev-parse", "HEAD")
        changed = _git(package, "status", "--porcelain", "--untracked-files=no", "--", ".")
    except (OSError, subprocess.SubprocessError):
        return None
    return f"{found}-dirty" if changed else found


def _git(folder: Path, *words: str) -> str:
    command, seconds = ["git", *words], GIT_TIMEOUT_S
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, check=True, timeout=seconds
    )
    return done.stdout.strip()


def manifest(items: Sequence[Item]) -> str:
    """Content address of chosen images: SHA-256 of the SHA-256 of each image file as it is stored
    and its label, in order. Equal samples have equal manifests, wherever the files lie: in folders,
    or in Parquet files that they were converted to.

    Raises:
        DataError: a file cannot be read.
    """
    digest = hashlib.sha256()
    for item in items:
        digest.update(hashlib.sha256(item.read()).digest() + str(item.label).encode())
    return digest.hexdigest()


def data_summary(data: FewShotData) -> dict[str, Any]:
    """Sizes, and manifests of the images that the fine-tuning looked at, for a summary."""
    return {
        "name": data.dataset.name,
        **asdict(data.size),
        "few_shot_manifest": manifest(data.train),
        "validation_manifest": manifest(data.validation) if data.validation else None,
    }
