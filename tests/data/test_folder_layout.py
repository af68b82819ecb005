"""Folders called train, val or test: splits, or classes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from craft_ray.config.data import FolderSource
from craft_ray.data.dataset import Dataset
from craft_ray.data.sources import load_dataset
from craft_ray.errors import DataError
from tests.support.images import encoded, noise

PICTURE = encoded(noise())


def load(root: Path, **settings: Any) -> Dataset:
    return load_dataset(FolderSource(root=str(root), **settings))


def tree(root: Path, folders: Sequence[str], images: int = 4) -> Path:
    for folder in folders:
        (root / folder).mkdir(parents=True)
        for index in range(images):
            (root / folder / f"{index}.png").write_bytes(PICTURE)
    return root


def splits(*names: str) -> list[str]:
    return [f"{name}/{animal}" for name in names for animal in ("cat", "dog")]


@pytest.mark.parametrize(
    "classes",
    [
        ("bus", "car", "train"),
        ("bus", "test"),
        ("Test", "exam", "quiz"),
        ("car", "testing", "training", "val"),
        ("bus", "train", "train/camera2"),  # images in a folder below a class of this name
    ],
)
def test_a_class_may_be_called_as_a_split(tmp_path: Path, classes: tuple[str, ...]) -> None:
    dataset = load(tree(tmp_path, classes))
    assert dataset.class_names == tuple(name for name in classes if "/" not in name)
    assert set(dataset.splits) == {"train", "val", "test"}
    assert dataset.notes == ()


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("Train", "Test"), {"train", "test"}),
        (("training", "testing"), {"train", "test"}),
        (("TRAIN", "valid", "TEST"), {"train", "val", "test"}),
        (("train", "dev"), {"train", "val"}),
        (("train", "val"), {"train", "val"}),
        (("train",), {"train"}),
    ],
)
def test_splits_have_many_names(tmp_path: Path, names: tuple[str, ...], expected: set[str]) -> None:
    dataset = load(tree(tmp_path, splits(*names)))
    assert set(dataset.splits) == expected
    assert dataset.class_names == ("cat", "dog")


@pytest.mark.parametrize("pair", [("val", "valid"), ("Train", "training"), ("test", "testing")])
def test_two_folders_of_one_split_are_refused(tmp_path: Path, pair: tuple[str, str]) -> None:
    tree(tmp_path, splits("train", *pair) if "Train" not in pair else splits(*pair))
    with pytest.raises(DataError, match=f"{pair[1]}: must not be there beside {pair[0]}"):
        load(tmp_path)


def test_a_folder_beside_splits_is_told_and_is_no_class(tmp_path: Path) -> None:
    root = tree(tmp_path, [*splits("train", "test"), "unlabeled", "__MACOSX/train", ".git"])
    dataset = load(root)
    assert dataset.class_names == ("cat", "dog")
    assert dataset.notes == (
        f"unlabeled in {root} is no split and is passed over, with 4 image(s)",
    )


def test_a_folder_without_images_beside_a_split_is_told(tmp_path: Path) -> None:
    root = tree(tmp_path, splits("train"))
    (root / "annotations").mkdir()
    (root / "annotations" / "boxes.xml").touch()
    assert load(root).notes == (
        f"annotations in {root} is no split and is passed over, with 0 image(s)",
    )


def test_what_may_be_either_is_refused_with_the_setting_that_tells(tmp_path: Path) -> None:
    root = tree(tmp_path, ["bus", "car", *splits("train")])
    with pytest.raises(DataError, match=r"train has folders of images, .* bus beside it is no spl"):
        load(root)
    assert load(root, layout="classes").class_names == ("bus", "car", "train")
    dataset = load(root, layout="splits")
    assert (dataset.class_names, set(dataset.splits)) == (("cat", "dog"), {"train"})
    assert "bus, car in" in dataset.notes[0]


def test_a_mistyped_split_beside_another_is_not_taken_for_a_class(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"test has folders of images, .* trian beside it"):
        load(tree(tmp_path, splits("test", "trian")))


def test_images_right_in_a_split_are_refused_with_what_to_do(tmp_path: Path) -> None:
    root = tree(tmp_path, [*splits("train"), "test"])
    with pytest.raises(DataError, match=r"test: must be a folder of class folders, but has 4 imag"):
        load(root)
    both = tree(tmp_path / "both", ["train", "test"])
    with pytest.raises(DataError, match=r"say data\.source\.layout=classes, if it is itself"):
        load(both)
    assert load(both, layout="classes").class_names == ("test", "train")


def test_a_stray_image_in_splits_does_not_make_classes_of_them(tmp_path: Path) -> None:
    root = tree(tmp_path, [*splits("train", "test"), "unlabeled"])
    for split in ("train", "test"):
        (root / split / "stray.png").write_bytes(PICTURE)
    dataset = load(root)
    assert dataset.class_names == ("cat", "dog")
    assert "unlabeled" in dataset.notes[0]
    assert "2 image(s) lie beside the folders of classes" in dataset.notes[1]


def test_a_single_class_called_train_with_folders_below_is_no_split(tmp_path: Path) -> None:
    root = tree(tmp_path, ["train", "train/camera2", "test", "test/camera2"])
    with pytest.raises(DataError, match=r"test: must be a folder of class folders, but has 4 imag"):
        load(root)
    assert load(root, layout="classes").class_names == ("test", "train")
    with pytest.raises(DataError, match="at least 2 classes are needed"):
        load(root, layout="splits")


def test_images_beside_the_classes_of_a_split_are_told(tmp_path: Path) -> None:
    root = tree(tmp_path, splits("train", "test"))
    (root / "train" / "stray.png").write_bytes(PICTURE)
    assert f"such as {root}/train/stray.png" in load(root).notes[0]


def test_splits_must_be_there_where_they_are_said_to_be(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"must have a folder train, val or test for data\.source"):
        load(tree(tmp_path, ["cat", "dog"]), layout="splits")


def test_the_folder_around_the_classes_is_refused_with_the_one_to_name(tmp_path: Path) -> None:
    tree(tmp_path, ["pets/cat", "pets/dog", "__MACOSX/pets"])
    with pytest.raises(DataError, match=r"has one, pets, with folders in it: name .*/pets, if"):
        load(tmp_path)
    assert load(tmp_path / "pets").class_names == ("cat", "dog")


def test_parts_that_hold_the_classes_are_told(tmp_path: Path) -> None:
    root = tree(tmp_path, ["part1/cat", "part1/dog", "part2/cat", "part2/dog"])
    dataset = load(root)  # as torchvision reads it
    assert dataset.class_names == ("part1", "part2")
    assert "all images lie in folders below part1, part2, such as " in dataset.notes[0]
