"""What is on disk is reproduced, what is missing is named by its path."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

import pytest

from craft_ray.config.data import CoopName
from craft_ray.config.reproduction import ReproductionConfig
from craft_ray.data.sources.coop_table import COOP_TABLE
from craft_ray.reproduction.presence import find_missing
from tests.support.coop_trees import write_coop

ALL: tuple[CoopName, ...] = get_args(CoopName)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trees")
    for name in ALL:
        write_coop(folder, name)
    return folder


@contextmanager
def moved(path: Path, elsewhere: Path | None = None) -> Iterator[Path]:
    """Away while the block runs."""
    away = elsewhere or path.with_name("away")
    path.rename(away)
    try:
        yield path
    finally:
        away.rename(path)


def everything(root: Path) -> ReproductionConfig:
    shifted = [name for name in ALL if COOP_TABLE[name].is_test_only]
    return ReproductionConfig.model_validate({"root": str(root), "shifted": shifted})


def test_nothing_is_missing_of_whole_trees(root: Path) -> None:
    assert find_missing(everything(root)) == {}


@pytest.mark.parametrize("name", ALL)
def test_a_missing_folder_is_named(root: Path, name: CoopName) -> None:
    with moved(root / COOP_TABLE[name].folder) as folder:
        assert find_missing(everything(root)) == {name: str(folder)}


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("dtd", "dtd/split_zhou_DescribableTextures.json"),
        ("dtd", "dtd/images"),
        ("fgvc_aircraft", "fgvc_aircraft/variants.txt"),
        ("fgvc_aircraft", "fgvc_aircraft/images_variant_val.txt"),
        ("imagenet", "imagenet/classnames.txt"),
        ("imagenet", "imagenet/images/val"),
        ("imagenetv2", "imagenetv2/imagenetv2-matched-frequency-format-val"),
        ("imagenet_sketch", "imagenet-sketch/images"),
        ("imagenet_r", "imagenet-rendition/imagenet-r"),
    ],
)
def test_a_missing_part_is_named(root: Path, name: str, path: str) -> None:
    with moved(root / path) as gone:
        assert find_missing(everything(root)) == {name: str(gone)}


def test_the_other_place_of_sketch_counts(root: Path) -> None:
    folder = root / "imagenet-sketch"
    with moved(folder / "images", folder / "sketch"):
        assert find_missing(everything(root)) == {}


def test_only_what_is_asked_for_is_looked_at(tmp_path: Path) -> None:
    write_coop(tmp_path, "dtd")
    settings = {"root": str(tmp_path), "datasets": ["dtd"], "shifted": ["imagenetv2"]}
    assert find_missing(ReproductionConfig.model_validate(settings)) == {}
    assert find_missing(ReproductionConfig.model_validate({"datasets": ["embedded"]})) == {}
