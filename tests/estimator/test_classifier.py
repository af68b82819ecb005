"""craft-ray as a scikit-learn classifier."""

from __future__ import annotations

import io
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from craft_ray import CraftClassifier
from craft_ray.data.dataset import Item
from craft_ray.errors import ArtifactError, ConfigError, DataError
from tests.support.fake_oracle import FakeOracle
from tests.support.world import CLASS_NAMES, world_data

DATASET = world_data(shots=12, num_validation=1, num_test=6).dataset
SMALL = {"head.names": 5, "data.views": 1, "head.folds": 2}


def pictures(items: Any) -> list[Image.Image]:
    return [Image.open(io.BytesIO(item.read())).convert("RGB") for item in items]


def names(items: Any) -> list[str]:
    return [CLASS_NAMES[item.label] for item in items]


TRAIN: list[Item] = list(DATASET.splits["train"])
TEST: list[Item] = list(DATASET.splits["test"])


def fitted(**options: Any) -> CraftClassifier:
    classifier = CraftClassifier(oracle=FakeOracle(), settings=SMALL, **options)
    return classifier.fit(pictures(TRAIN), names(TRAIN))


@pytest.fixture(scope="module")
def classifier() -> CraftClassifier:
    return fitted()


def test_it_learns_and_keeps_to_the_conventions(classifier: CraftClassifier) -> None:
    assert classifier.classes_.tolist() == sorted(CLASS_NAMES)
    images, labels = pictures(TEST), names(TEST)
    probabilities = classifier.predict_proba(images)
    assert probabilities.shape == (len(images), len(CLASS_NAMES))
    np.testing.assert_allclose(probabilities.sum(axis=1), 1.0)
    predicted = classifier.predict(images)
    assert (classifier.classes_[probabilities.argmax(axis=1)] == predicted).all()
    assert classifier.score(images, labels) > classifier.zero_shot_score_
    assert classifier.validation_score_ >= classifier.zero_shot_score_
    assert classifier.spent_.candidate_queries == 1
    again = clone(classifier)
    assert again.get_params()["settings"] == SMALL
    with pytest.raises(NotFittedError):
        again.predict(images)


def test_whatever_images_are_given_as_they_are_the_same(
    classifier: CraftClassifier, tmp_path: Path
) -> None:
    paths = []
    for number, item in enumerate(TEST):
        path = tmp_path / f"{number:03}.png"
        path.write_bytes(item.read())
        paths.append(path)
    array = np.stack([np.asarray(image) for image in pictures(TEST)])
    expected = classifier.predict_proba(pictures(TEST))
    for images in (array, paths, [str(path) for path in paths], tmp_path, str(tmp_path)):
        np.testing.assert_allclose(classifier.predict_proba(images), expected, atol=1e-6)


def test_a_folder_of_class_folders_needs_no_labels(
    classifier: CraftClassifier, tmp_path: Path
) -> None:
    for number, item in enumerate(sorted(TRAIN, key=lambda each: CLASS_NAMES[each.label])):
        path = tmp_path / CLASS_NAMES[item.label] / f"{number:03}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(item.read())
    other = CraftClassifier(oracle=FakeOracle(), settings=SMALL).fit(tmp_path)
    np.testing.assert_allclose(
        other.predict_proba(pictures(TEST)), classifier.predict_proba(pictures(TEST)), atol=1e-5
    )


def test_labels_may_be_numbers_and_a_seed_fixes_the_fit() -> None:
    labels = np.array([item.label for item in TRAIN])
    fits = [
        CraftClassifier(oracle=FakeOracle(), settings=SMALL, seed=seed).fit(pictures(TRAIN), labels)
        for seed in (1, 1, 2)
    ]
    first, same, other = (fit.predict_proba(pictures(TEST)) for fit in fits)
    assert fits[0].predict(pictures(TEST)).dtype == labels.dtype
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)


def test_what_was_saved_predicts_the_same(classifier: CraftClassifier, tmp_path: Path) -> None:
    classifier.save(tmp_path / "best")
    loaded = CraftClassifier.load(tmp_path / "best", oracle=FakeOracle())
    np.testing.assert_allclose(
        loaded.predict_proba(pictures(TEST)), classifier.predict_proba(pictures(TEST)), atol=1e-6
    )
    with pytest.raises(ArtifactError, match="oracle_id"):
        CraftClassifier.load(tmp_path / "best", oracle=FakeOracle(seed=1))
    with pytest.raises(ConfigError, match=r"oracle\.model"):  # an object has no name to load it by
        CraftClassifier.load(tmp_path / "best")


def test_mistakes_are_named(tmp_path: Path) -> None:
    images, labels = pictures(TRAIN), names(TRAIN)
    for X, y, message in (
        (images, labels[:-1], "y: must have a label an image"),
        (images, None, "y: must be given"),
        (images, ["cat"] * len(images), "at least 2 classes"),
        (np.zeros((4, 8, 8), np.uint8), labels[:4], r"X: must be uint8 \[N, H, W, 3\]"),
        (np.zeros((4, 8, 8, 3)), labels[:4], "but got float64"),
        ([1, 2], ["cat", "dog"], r"X\[0\]: must be a path or an image"),
        ([], [], "at least one image"),
        ([*images[:3]], ["cat", "cat", "dog"], "each class must have at least two images"),
    ):
        with pytest.raises(DataError, match=message):
            CraftClassifier(oracle=FakeOracle(), settings=SMALL).fit(X, y)
    for options, message in (
        ({"validation_share": 1.0}, "validation_share: 0 < share < 1"),
        ({"settings": {"head.nmes": 3}}, "did you mean names"),
    ):
        with pytest.raises(ConfigError, match=message):
            CraftClassifier(oracle=FakeOracle(), **options).fit(images, labels)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"broken\.png"):
        fitted().predict([broken])


def test_importing_the_package_loads_nothing() -> None:
    code = "import sys, craft_ray; print('torch' in sys.modules, 'sklearn' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.stdout == "False False\n"
