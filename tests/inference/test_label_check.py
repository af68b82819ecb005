"""Which labels of a data set look wrong."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from craft_ray.config.data import EmbeddedSource
from craft_ray.config.oracle import OracleConfig
from craft_ray.data.dataset import Dataset, Item, Split
from craft_ray.data.label_check import LabelCheck
from craft_ray.data.sources import load_dataset
from craft_ray.errors import DataError
from craft_ray.inference.label_check import (
    MOST_A_CLASS,
    MOST_IMAGES,
    ChosenImages,
    as_check,
    ask,
    choose_images,
    default_per_class,
    find_wrong,
    names_asked,
)
from craft_ray.metering.ledger import QueryLedger
from craft_ray.metering.metered_oracle import MeteredOracle
from craft_ray.oracle.contract import ClassificationTask
from craft_ray.oracle.loaded import load_here
from tests.support.fake_oracle import FakeOracle
from tests.support.images import encoded, noise
from tests.support.world import run_config, world_data

CONFIG = run_config(method="head", head={"kind": "probes", "names": 12})
WORLD = world_data(shots=12, num_validation=6, num_test=12).dataset


def metered(oracle: Any) -> MeteredOracle:
    return MeteredOracle(oracle, QueryLedger(0))


def check(oracle: Any, dataset: Dataset, chosen: ChosenImages) -> LabelCheck:
    task = ClassificationTask(names_asked(CONFIG, dataset, chosen))
    return as_check(find_wrong(ask(metered(oracle), task, chosen), chosen, 5, 1), dataset, chosen)


def test_of_many_images_all_are_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a head to be deployed is judged by one part of them."""
    monkeypatch.setattr("craft_ray.method.heads.fit.MOST_HELD_OUT", 40)
    chosen = choose_images(WORLD, per_class=30, seed=1)
    assert len(chosen.images) > 40
    assert check(FakeOracle(), WORLD, chosen).num_asked == len(chosen.images)


def pictures(*labels: int) -> list[Item]:
    """All different."""
    return [Item(encoded(noise(seed=n)), label, f"{n}") for n, label in enumerate(labels)]


def test_a_tenth_of_the_labels_is_flipped_and_most_of_them_are_found() -> None:
    """The figures of docs/data.md are those of `python -m benchmarks.wrong_labels`."""
    chosen = choose_images(load_dataset(EmbeddedSource()), per_class=30, seed=1)
    rng = np.random.default_rng(1)
    is_flipped = rng.random(len(chosen.images)) < 0.1
    flipped = replace(
        chosen,
        images=tuple(
            (split, replace(item, label=(item.label + int(rng.integers(1, 10))) % 10))
            if is_wrong
            else (split, item)
            for is_wrong, (split, item) in zip(is_flipped, chosen.images, strict=True)
        ),
    )
    dataset = load_dataset(EmbeddedSource())
    config = run_config(method="head", head={"kind": "probes"})  # 500 names
    task = ClassificationTask(names_asked(config, dataset, flipped))
    logits_NF = ask(metered(load_here(OracleConfig(), Path("unused"))), task, flipped)
    issues = find_wrong(logits_NF, flipped, folds=5, seed=1)
    wrong = {each[1].name for each, bad in zip(flipped.images, is_flipped, strict=True) if bad}
    found = [issue.image[1].name for issue in issues]
    assert len(set(found) & wrong) > 0.6 * len(wrong), "recall"
    assert len(set(found) & wrong) > 0.3 * len(found), "precision; a tenth is wrong"
    assert len(set(found[:10]) & wrong) >= 6, "the surest come first"


def test_an_image_is_asked_about_once_and_without_views(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    predict = FakeOracle.predict

    def counted(self: FakeOracle, task: Any, images: Any, contexts_KLE: Any, *more: Any) -> Any:
        asked.append(images.num_images * len(contexts_KLE))
        return predict(self, task, images, contexts_KLE, *more)

    monkeypatch.setattr(FakeOracle, "predict", counted)
    monkeypatch.setattr("craft_ray.inference.asked_once.IMAGES_AT_A_TIME", 50)
    chosen = choose_images(WORLD, per_class=100, seed=1)
    told = check(FakeOracle(), WORLD, chosen)
    assert asked == [50, 50, 20]
    assert (told.num_asked, told.num_images, told.left_out) == (120, 120, ())


def test_a_flipped_label_is_told_with_its_split_and_what_the_image_looks_like() -> None:
    first = WORLD.splits["test"][0]
    splits: dict[Split, list[Item]] = {name: list(own) for name, own in WORLD.splits.items()}
    splits["test"][0] = replace(first, label=1)
    dataset = replace(WORLD, splits=splits)
    told = check(FakeOracle(), dataset, choose_images(dataset, 100, 1))
    (wrong,) = [each for each in told.wrong if each.image == first.name]
    assert (wrong.split, wrong.label, wrong.looks_like) == ("test", "dog", "cat")
    assert wrong.confidence > wrong.confidence_in_label


def test_no_more_images_of_a_class_are_drawn_than_asked_for() -> None:
    chosen = choose_images(WORLD, per_class=5, seed=1)
    assert Counter(item.label for _, item in chosen.images) == dict.fromkeys(range(4), 5)
    assert {split for split, _ in chosen.images} == {"train", "val", "test"}
    assert chosen.left_out == ("100 image(s) beyond 5 of a class (--images-a-class)",)
    assert choose_images(WORLD, per_class=5, seed=1) == chosen
    assert choose_images(WORLD, per_class=5, seed=2) != chosen


def test_broken_and_repeated_images_and_small_classes_are_left_out_and_told() -> None:
    items = pictures(0, 0, 0, 0, 1, 1, 1, 2, 2)
    broken, twice = Item(b"no image", 0, "broken"), replace(items[0], name="twice")
    dataset = Dataset("pets", ("cat", "dog", "owl", "yak"), {"train": [*items, broken, twice]})
    chosen = choose_images(dataset, 100, 1)
    assert [item.name for _, item in chosen.images] == list("0123456")
    assert chosen.classes == (0, 1)
    assert chosen.left_out == (
        "2 image(s) that are broken or there twice",
        "1 class(es) with fewer than 3 images (owl)",
    )


def test_labels_are_places_among_the_classes_that_are_left() -> None:
    dataset = Dataset("pets", ("cat", "dog", "owl"), {"train": pictures(2, 2, 2, 0, 0, 0, 1)})
    chosen = choose_images(dataset, 100, 1)
    assert chosen.places.tolist() == [1, 1, 1, 0, 0, 0]
    names = names_asked(CONFIG, dataset, chosen)
    assert names[:2] == ("cat", "owl")
    assert len(names) == 2 + 12


def test_one_class_has_no_other_to_look_like() -> None:
    dataset = Dataset("pets", ("cat", "dog"), {"train": pictures(0, 0, 0, 1)})
    with pytest.raises(DataError, match="--labels needs at least two classes with 3 or more"):
        choose_images(dataset, 100, 1)


@pytest.mark.parametrize("num_classes", [2, 50, 100, 1000, 20_000])
def test_nobody_is_asked_thousands_of_times_unasked(num_classes: int) -> None:
    per_class = default_per_class(num_classes)
    assert 3 <= per_class <= MOST_A_CLASS
    assert per_class == 3 or per_class * num_classes <= MOST_IMAGES
