"""`CraftClassifier.fit(folder)`: which images are found, without a model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from craft_ray.errors import DataError
from craft_ray.estimator.inputs import items_of, labelled_items
from tests.support.images import encoded, noise, write_tree


def fill(folder: Path) -> None:
    folder.mkdir(parents=True)
    (folder / "1.png").write_bytes(encoded(noise()))


def test_images_below_a_class_are_found_and_others_are_a_warning(tmp_path: Path) -> None:
    for name in ("bus", "bus/camera2", "train"):
        fill(tmp_path / name)
    (tmp_path / "train" / "1.svg").touch()
    (tmp_path / "beside.png").touch()
    with (
        pytest.warns(UserWarning, match=r"1 image\(s\) are passed over \(1 \.svg\)"),
        pytest.warns(UserWarning, match=r"1 image\(s\) lie beside .* such as .*beside\.png"),
    ):
        dataset, classes = labelled_items(tmp_path, None)
    assert classes == ["bus", "train"]
    assert [item.label for item in dataset.splits["train"]] == [0, 0, 1]


def test_a_folder_of_splits_is_refused_with_the_folder_that_fits(tmp_path: Path) -> None:
    root = write_tree(tmp_path / "pets")
    with pytest.raises(DataError, match=r"X: must be a folder of class folders, such as .*/train"):
        labelled_items(root, None)
    assert labelled_items(root / "train", None)[1] == ["cat", "dog"]


@pytest.mark.parametrize(
    "labels",
    [
        ["a", None, "a", "b"],
        np.array(["a", float("nan"), "a", "b"], object),
        [["a", "b"], ["a"], ["b"], ["b"]],
        5,
    ],
    ids=["None", "NaN among words", "ragged", "no list"],
)
def test_what_are_no_labels_is_refused_without_numpys_words_alone(labels: Any) -> None:
    images = np.zeros((3, 8, 8, 3), np.uint8)
    with pytest.raises(DataError, match="y: must be a class for each image, but: "):
        labelled_items(images, labels)


def test_an_array_of_one_thing_is_no_images() -> None:
    with pytest.raises(DataError, match="X: must be images or paths, but is ndarray"):
        items_of(np.array("a.png"))
