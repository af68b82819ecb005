"""`data.source.kind: auto`: what a place is, is found out."""

from __future__ import annotations

from pathlib import Path

import pytest

from craft_ray.config.data import AutoSource
from craft_ray.data.sources import load_dataset
from craft_ray.data.sources.detect import detect_auto
from craft_ray.errors import DataError
from tests.support.coop_trees import write_coop
from tests.support.images import encoded, noise, write_parquet, write_tree


def auto(root: Path | str, **settings: object) -> AutoSource:
    return AutoSource.model_validate({"root": str(root), **settings})


def test_each_kind_is_recognised(tmp_path: Path) -> None:
    write_tree(tmp_path / "pets")
    write_parquet(tmp_path / "shards")
    write_coop(tmp_path / "all", "dtd")
    (tmp_path / "t.CSV").write_text("path,label\n")
    (tmp_path / "t.jsonl").write_text("{}\n")
    kinds = {
        "pets": "folder",
        "shards": "parquet",
        "all/dtd": "coop",
        "t.CSV": "csv",
        "t.jsonl": "csv",
    }
    for name, kind in kinds.items():
        assert detect_auto(auto(tmp_path / name)).kind == kind
    assert detect_auto(auto("s3://bucket/pets")).kind == "parquet"
    with pytest.raises(DataError, match="absent: must be a tree of class folders"):
        detect_auto(auto(tmp_path / "absent"))


def test_it_is_read_with_its_settings_as_if_its_kind_were_given(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for index in range(10):
            (tmp_path / name / f"{index}.png").write_bytes(encoded(noise(seed=index)))
    dataset = load_dataset(auto(tmp_path, val_share=0, splits={"validation": "test"}))
    assert {split: len(items) for split, items in dataset.splits.items()} == {
        "train": 10,
        "val": 10,
    }


def test_what_the_found_kind_does_not_have_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "eurosat" / "split_zhou_EuroSAT.json"
    file.parent.mkdir()
    file.write_text("{}")
    with pytest.raises(DataError, match=r"split_seed: must not be given for .* kind is coop"):
        load_dataset(auto(file.parent, split_seed=5))


def test_what_is_on_record_is_read_again(tmp_path: Path) -> None:
    root = write_parquet(tmp_path)
    recorded = AutoSource.model_validate(auto(root).model_dump())
    assert set(load_dataset(recorded).splits) == {"train", "val", "test"}
