"""Which split a file belongs to, in layouts of the hub, `datasets`, webdataset and Spark."""

from __future__ import annotations

from pathlib import Path

import pytest

from craft_ray.data.sources.shard_files import shard_paths
from craft_ray.data.sources.shard_names import layout_of
from craft_ray.errors import DataError

HUB = {
    "one file a split": {"train": ["train.parquet"], "test": ["test.parquet"]},
    "valid": {
        "train": ["data/train-00000-of-00001.parquet"],
        "val": ["data/valid-00000-of-00001.parquet"],
        "test": ["data/test-00000-of-00001.parquet"],
    },
    "dev, in capitals": {"train": ["Train.PARQUET"], "val": ["DEV.parquet"]},
    "a folder and a name": {
        "train": ["train/train-00000-of-00001.parquet"],
        "test": ["test/test-00000-of-00001.parquet"],
    },
    "a hash": {"train": ["data/train-00000-of-00001-5b1d4e7d3a2f0c11.parquet"]},
    "the hub's own conversion": {
        "train": ["default/train/0000.parquet", "default/train/0001.parquet"],
        "test": ["default/test/0000.parquet"],
    },
    "a configuration": {
        "train": ["plain_text/train-00000-of-00001.parquet"],
        "test": ["plain_text/test-00000-of-00001.parquet"],
    },
    "folders": {"train": ["train/a.parquet", "train/b.parquet"], "test": ["test/a.parquet"]},
    "more than nine": {"train": [f"train/{number}.tar" for number in range(12)]},
    "webdataset": {"train": ["train-000000.tar", "train-000001.tar"], "test": ["test-000000.tar"]},
    "CLIP benchmark": {"train": ["train/0.tar", "train/1.tar"], "test": ["test/0.tar"]},
    "timm": {
        "train": ["imagenet1k-train-0000.tar", "imagenet1k-train-0001.tar"],
        "val": ["imagenet1k-validation-00.tar"],
    },
    "the cache of datasets": {"train": ["cifar10-train.arrow"], "test": ["cifar10-test.arrow"]},
    "folders go before names": {
        "train": ["train/test_0.parquet", "train/val_0.parquet"],
        "val": ["validation/val_234.parquet"],
    },
    "but not before those of shards": {
        "train": ["dev/train-00000-of-00001.parquet"],
        "test": ["dev/test-00000-of-00001.parquet"],
    },
    "the older CLIP benchmark": {"test": ["wds_cifar10_test.tar"]},
    "Spark": {
        "train": [
            "train.parquet/part-00000-3f-c000.snappy.parquet",
            "train.parquet/part-00001-3f-c000.snappy.parquet",
        ],
        "test": ["test.parquet/part-00000-9a-c000.snappy.parquet"],
    },
}


@pytest.mark.parametrize("layout", HUB)
def test_splits_and_the_order_of_files(layout: str) -> None:
    expected = HUB[layout]
    paths = sorted(path for files in expected.values() for path in files)
    found = layout_of(paths, None, "root")
    assert (found.splits, found.unsplit, found.notes) == (expected, [], ())


@pytest.mark.parametrize(
    "paths",
    [
        ["name.parquet"],
        ["cifar10.parquet", "cifar100.parquet"],
        [f"part-{number}.parquet" for number in range(12)],
        ["data/shard-00000-of-00002.parquet", "data/shard-00001-of-00002.parquet"],
        ["pets-000000.tar", "pets-000001.tar"],
        ["a/0.parquet", "b/0.parquet"],
        ["data/part.0.parquet", "data/part.1.parquet"],  # as Dask writes them
        ["latest.parquet", "www_farodevigo.parquet"],
        [f"{number}.tar" for number in range(12)],
    ],
)
def test_files_without_a_word_of_a_split_are_one_table(paths: list[str]) -> None:
    found = layout_of(sorted(paths), None, "root")
    assert (found.splits, found.unsplit, found.notes) == ({}, paths, ())


CIFAR = [
    f"{config}/{split}/0.parquet" for config in ("fine", "coarse") for split in ("train", "test")
]


def test_several_configurations_are_refused_with_their_names_until_one_is_named() -> None:
    message = r"has 2 conf.*such as data\.source\.config=coarse \(of 'coarse', 'fine'\)"
    with pytest.raises(DataError, match=message):
        layout_of(CIFAR, None, "root")
    found = layout_of(CIFAR, "fine", "root")
    assert found.splits == {"train": ["fine/train/0.parquet"], "test": ["fine/test/0.parquet"]}
    assert found.notes == ()
    with pytest.raises(DataError, match=r"data\.source\.config: must be one of 'coarse', 'fine'"):
        layout_of(CIFAR, "fines", "root")


def test_what_lies_beside_is_passed_over_and_said() -> None:
    found = layout_of(["old/train.parquet", "train.parquet"], None, "root")
    assert found.splits == {"train": ["train.parquet"]}
    assert "1 file(s) of other configurations are passed over, such as old/train" in found.notes[0]
    found = layout_of(["extra.parquet", "train.parquet", "test.parquet"], None, "root")
    assert found.splits == {"train": ["train.parquet"], "test": ["test.parquet"]}
    assert (
        "1 file(s) whose names say no split are passed over, such as extra.parq" in found.notes[0]
    )


def test_a_part_that_the_hub_has_converted_is_said() -> None:
    found = layout_of(["default/partial-train/0000.parquet"], None, "root")
    assert found.splits == {"train": ["default/partial-train/0000.parquet"]}
    assert "converted only a part of split train" in found.notes[0]


def test_gaps_in_numbers_are_an_error_or_a_note() -> None:
    with pytest.raises(DataError, match="the data set must have all of its 3 shards, but 00001 is"):
        layout_of(["x-00000-of-00003.parquet", "x-00002-of-00003.parquet"], None, "root")
    found = layout_of(["train-000000.tar", "train-000003.tar"], None, "root")
    assert "of split train, numbers up to 3 are there but not 1: 2 file(s) seem" in found.notes[0]


@pytest.mark.parametrize(
    "paths",
    [
        ["train.parquet", "train-0.parquet"],
        ["train-0.parquet", "train-00.parquet"],
        ["train.parquet", "training.parquet"],
        ["train.parquet", "data/train.parquet"],
        ["train.parquet", "train/0.parquet"],
        ["train-00000-of-00001.parquet", "train-00000-of-00001-0123abcd.parquet"],
        ["valid/0.parquet", "validation/0.parquet"],
    ],
)
def test_a_split_that_is_there_twice_is_refused(paths: list[str]) -> None:
    with pytest.raises(DataError, match=r"split (train|val) must be there once, but has files"):
        layout_of(paths, None, "root")


def test_hidden_files_marks_of_spark_and_what_lies_too_deep_are_not_listed(tmp_path: Path) -> None:
    names = [
        "a/b/c/x.parquet",
        "train.PARQUET",
        "a/b/c/d/y.parquet",
        ".cache/z.parquet",
        "_tmp.parquet",
    ]
    for name in (*names, "a/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert shard_paths(tmp_path, (".parquet",)) == ["a/b/c/x.parquet", "train.PARQUET"]
    assert shard_paths(tmp_path / "nowhere", (".parquet",)) == []
