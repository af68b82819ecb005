"""Which reader a path gets that names no kind."""

from __future__ import annotations

from pathlib import Path

import pytest

from craft_ray.config.data import ParquetSource
from craft_ray.data.sources.detect import detect_source
from craft_ray.data.sources.recognised import recognised


@pytest.mark.parametrize(
    ("files", "kind"),
    [
        (["train.parquet"], "parquet"),
        (["data/train-00000-of-00001.parquet", "README.md"], "parquet"),
        (["default/train/0000.parquet"], "parquet"),
        (["train.parquet/part-0.snappy.parquet"], "parquet"),
        (["refs/main", "blobs/0a", "snapshots/0a/data/train-00000-of-00001.parquet"], "parquet"),
        (["dataset_dict.json", "train/state.json", "train/data-0.arrow"], "arrow"),
        (["state.json", "data-0.arrow"], "arrow"),
        (["pets-train.arrow", "dataset_info.json"], "arrow"),
        (["train-000000.tar"], "webdataset"),
        (["test/0.tar", "test/nshards.txt", "classnames.txt"], "webdataset"),
        (["train-000000.tar.gz"], "webdataset"),
        (["cat/0.jpg", "dog/0.jpg"], "folder"),
        (["cat/0.jpg", "dog/0.jpg", ".cache/x.parquet"], "folder"),
        (["train/cat/0.jpg", "val/cat/0.jpg", "ILSVRC2012_img_train.tar"], "folder"),
        (["CUB/images/cat/0.jpg", "CUB.tgz"], "folder"),
    ],
)
def test_a_folder_is_recognised_by_its_files(tmp_path: Path, files: list[str], kind: str) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert detect_source(tmp_path).kind == kind


@pytest.mark.parametrize(
    ("name", "kind"),
    [("a.parquet", "parquet"), ("a.tar", "webdataset"), ("a.arrow", "arrow"), ("a.csv", "csv")],
)
def test_a_file_is_recognised_by_its_name(tmp_path: Path, name: str, kind: str) -> None:
    (tmp_path / name).touch()
    assert detect_source(tmp_path / name).kind == kind


def test_a_link_to_itself_hides_nothing(tmp_path: Path) -> None:
    for name in ("a", "z"):  # before and after the file, in whatever order they are listed
        (tmp_path / name).symlink_to(name)
    assert recognised(tmp_path) is None
    (tmp_path / "train.parquet").touch()
    assert recognised(tmp_path) is ParquetSource
