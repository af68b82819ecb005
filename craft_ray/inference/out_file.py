"""Whether a file that is asked for can be written. Light: known before any library is loaded."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from craft_ray.errors import ConfigError

LABEL_KINDS = (".csv", ".parquet")


def check_file(option: str, path: Path, kinds: Sequence[str]) -> None:
    """Refuse a file that could not be written in the end.

    Args:
        option: that named it, for the message.
        path: of the file.
        kinds: its suffix must be one of these.

    Raises:
        ConfigError: it has another suffix, its folder is missing or read-only, or it is a folder.
    """
    if path.suffix.lower() not in kinds:
        raise ConfigError(option, [f"must end on {' or '.join(kinds)}, but got {path}"])
    if not path.parent.is_dir():
        problem = f"{path} cannot be written: {path.parent} must be a folder, but is missing"
        raise ConfigError(option, [problem])
    if not os.access(path.parent, os.W_OK):
        folder = path.parent.absolute()
        problem = f"{path} must be in a folder that you may write to, but {folder} is not one"
        raise ConfigError(option, [problem])
    if path.is_dir():
        raise ConfigError(option, [f"{path} must be a file, but is a folder"])
