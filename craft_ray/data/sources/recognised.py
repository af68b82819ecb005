"""Which kind of files a folder holds its images in, if not as image files. Looks at names only."""

from __future__ import annotations

from pathlib import Path

from craft_ray.config.data import ArrowSource, ParquetSource, WebdatasetSource

Kind = type[ArrowSource] | type[ParquetSource] | type[WebdatasetSource]

PATTERNS = ("*{}", "*/*{}", "*/*/*{}")
"""How deep files are looked for: `<config>/<split>/0000.parquet`."""


def recognised(path: Path) -> Kind | None:
    """The source that reads a folder or one file; None where it is none of these."""
    if is_arrow(path):
        return ArrowSource
    if is_parquet(path):
        return ParquetSource
    if is_webdataset(path):
        return WebdatasetSource
    return None


def is_arrow(path: Path) -> bool:
    """A folder of `save_to_disk`, or one with Arrow files."""
    if not path.is_dir():
        return False
    if (path / "dataset_dict.json").is_file() or (path / "state.json").is_file():
        return True
    return _has(path, ".arrow", PATTERNS[:1])


def is_parquet(path: Path) -> bool:
    """A Parquet file, or a folder of such, as deep as the hub puts them."""
    if path.is_file():
        return path.suffix.lower() == ".parquet"
    return _has(path, ".parquet", PATTERNS)


def is_webdataset(path: Path) -> bool:
    """A tar file, or a folder of such (packed ones too: the reader refuses them with the remedy),
    and no folders of images beside them."""
    if path.is_file():
        return path.name.lower().endswith((".tar", ".tar.gz", ".tgz"))
    return _has(path, ".tar", PATTERNS[:2]) or _has(path, ".tar.gz", PATTERNS[:2])


def _has(path: Path, suffix: str, patterns: tuple[str, ...]) -> bool:
    return path.is_dir() and any(
        not found.name.startswith((".", "_"))
        for pattern in patterns
        for found in path.glob(pattern.format(suffix))
    )
