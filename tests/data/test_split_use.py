"""`data.source.splits`: a split of the files that is used as another."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from craft_ray.config.data import CsvSource, FolderSource, ParquetSource, SplitUse
from craft_ray.data.dataset import Dataset, Item
from craft_ray.data.sources import load_dataset
from craft_ray.data.sources.split_use import with_splits_used
from craft_ray.errors import DataError
from tests.support.images import write_parquet, write_tree


def dataset(*splits: Any) -> Dataset:
    items = {each: [Item(b"", 0, f"{each}")] for each in splits}
    return Dataset("pets", ("cat", "dog"), items)


def used(data: Dataset, **use: Any) -> dict[str, str]:
    found = with_splits_used(data, SplitUse(**use)).splits
    return {split: items[0].name for split, items in found.items()}


def test_without_a_word_nothing_changes() -> None:
    data = dataset("train", "val")
    assert with_splits_used(data, SplitUse()) is data


def test_validation_images_are_the_test_and_choose_nothing_then() -> None:
    assert used(dataset("train", "val"), test="validation") == {"train": "train", "test": "val"}


def test_splits_are_exchanged() -> None:
    data = dataset("train", "val", "test")
    assert used(data, test="validation", validation="test") == {
        "train": "train",
        "val": "test",
        "test": "val",
    }


def test_a_split_that_another_takes_the_place_of_is_told() -> None:
    data = with_splits_used(dataset("train", "val", "test"), SplitUse(test="validation"))
    assert set(data.splits) == {"train", "test"}
    assert data.notes == (
        "the 1 test image(s) are left out: data.source.splits uses validation as test",
    )


def test_a_split_that_is_not_there_is_refused() -> None:
    with pytest.raises(DataError, match=r"splits\.test: .* \(train\), but got validation"):
        with_splits_used(dataset("train"), SplitUse(test="validation"))


def test_names_are_checked() -> None:
    with pytest.raises(ValidationError, match="'train', 'validation' or 'test'"):
        SplitUse.model_validate({"test": "validate"})
    with pytest.raises(ValidationError, match="validation is twice"):
        SplitUse(test="validation", train="validation")


def test_every_reader_with_splits_of_its_own_takes_it(tmp_path: Path) -> None:
    use = {"test": "validation"}
    tree = write_tree(tmp_path / "pets")
    shards = write_parquet(tmp_path / "shards", splits=("train", "validation"))
    lines = [f"{i}.png,{'cat' if i % 2 else 'dog'},{'val' if i > 1 else 'train'}" for i in range(4)]
    for i in range(4):
        (tmp_path / f"{i}.png").write_bytes((tree / "train" / "cat" / "0.png").read_bytes())
    (tmp_path / "t.csv").write_text("\n".join(["path,label,split", *lines]))
    for source in (
        FolderSource.model_validate({"root": str(tree), "splits": use}),
        ParquetSource.model_validate({"root": str(shards), "splits": use}),
        CsvSource.model_validate({"file": str(tmp_path / "t.csv"), "splits": use}),
    ):
        assert set(load_dataset(source).splits) == {"train", "test"}
