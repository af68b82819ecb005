"""Whether a file of labels can be written. Light: known before any library is loaded."""

from __future__ import annotations

from pathlib import Path

from craft_ray.errors import ConfigError

KINDS = (".csv", ".parquet")


def check_out(path: Path) -> None:
    """Refuse a file that could not be written in the end.

    Raises:
        ConfigError: it is neither `.csv` nor `.parquet`, or its folder is missing.
    """
    if path.suffix.lower() not in KINDS:
        raise ConfigError("--out", [f"must end on {' or '.join(KINDS)}, but got {path}"])
    if not path.parent.is_dir():
        raise ConfigError("--out", [f"{path} cannot be written: {path.parent} is no folder"])
    if path.is_dir():
        raise ConfigError("--out", [f"{path} must be a file, but is a folder"])
