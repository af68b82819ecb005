"""Few-shot samples equal those of CoOp's code, seed for seed."""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from craft_ray.config.data import ParquetSource
from craft_ray.data.dataset import Dataset, Item, Split
from craft_ray.data.few_shot import hold_in_memory, sample_few_shot, verify_decodable
from craft_ray.data.sources import load_dataset
from craft_ray.errors import DataError
from tests.support.images import encoded, noise, write_parquet

NAMES = ("cat", "dog", "horse")
KNOWN = ["image 6", "image 12", "image 4", "image 7", "image 5", "image 11"]


def dataset_of(labels: list[int], val_labels: list[int] | None = None) -> Dataset:
    """A data set of nameless bytes; without `val_labels` there is no validation split."""
    splits: dict[Split, list[Item]] = {
        "train": [Item(b"", label, f"image {index}") for index, label in enumerate(labels)],
        "test": [Item(b"", 0, "test image")],
    }
    if val_labels is not None:
        splits["val"] = [Item(b"", label, f"val {n}") for n, label in enumerate(val_labels)]
    return Dataset("pets", NAMES, splits)


def coop_sample(items: list[Item], num_shots: int, *, repeat: bool = False) -> list[Item]:
    """Dassl's `DatasetBase.generate_fewshot_dataset`, which draws from the global stream."""
    tracker = defaultdict(list)
    for item in items:
        tracker[item.label].append(item)
    dataset = []
    for items_of_class in tracker.values():
        if len(items_of_class) >= num_shots:
            sampled_items = random.sample(items_of_class, num_shots)
        elif repeat:
            sampled_items = random.choices(items_of_class, k=num_shots)
        else:
            sampled_items = items_of_class
        dataset.extend(sampled_items)
    return dataset


all_labels = st.lists(st.sampled_from([0, 1, 2]), max_size=20).map(lambda more: [2, 0, 1, *more])


@given(labels=all_labels.flatmap(st.permutations), shots=st.integers(1, 6), seed=st.integers(0, 99))
def test_a_sample_is_that_of_coops_code(labels: list[int], shots: int, seed: int) -> None:
    dataset = dataset_of(labels, [0])
    sample = sample_few_shot(dataset, shots, seed, repeat_small_classes=True).train
    random.seed(seed)  # CoOp's `set_random_seed`
    expected = coop_sample(list(dataset.splits["train"]), shots, repeat=True)
    assert [item.name for item in sample] == [item.name for item in expected]
    assert Counter(item.label for item in sample) == {0: shots, 1: shots, 2: shots}


@given(
    labels=all_labels.flatmap(st.permutations),
    val_labels=st.lists(st.sampled_from([0, 1, 2]), min_size=1, max_size=20),
    shots=st.integers(1, 6),
    seed=st.integers(0, 99),
)
def test_a_few_shot_validation_is_that_of_coops_code(
    labels: list[int], val_labels: list[int], shots: int, seed: int
) -> None:
    dataset = dataset_of(labels, val_labels)
    sample = sample_few_shot(dataset, shots, seed, validation="few_shot", repeat_small_classes=True)
    random.seed(seed)
    train = coop_sample(list(dataset.splits["train"]), shots, repeat=True)
    validation = coop_sample(list(dataset.splits["val"]), min(shots, 4))
    assert sample.train == tuple(train)
    assert sample.validation == tuple(validation)
    full = sample_few_shot(dataset, shots, seed, repeat_small_classes=True)
    assert full.train == sample.train, "validation does not decide the training images"
    assert full.validation == tuple(dataset.splits["val"])


@given(
    labels=all_labels.flatmap(st.permutations),
    shots=st.integers(1, 6),
    seed=st.integers(0, 99),
    validation=st.sampled_from(["full", "few_shot"]),
)
def test_without_a_validation_split_unchosen_training_images_validate(
    labels: list[int], shots: int, seed: int, validation: Any
) -> None:
    dataset = dataset_of(labels)
    random.seed(seed)
    train = coop_sample(list(dataset.splits["train"]), shots, repeat=True)
    left = [item for item in dataset.splits["train"] if item not in train]
    if not left:
        with pytest.raises(DataError, match=f"data.shots={shots} takes all {len(labels)}"):
            sample_few_shot(dataset, shots, seed, repeat_small_classes=True)
        return
    sample = sample_few_shot(dataset, shots, seed, validation=validation, repeat_small_classes=True)
    assert sample.train == tuple(train)
    assert sample.validation == tuple(coop_sample(left, min(shots, 4)))


def test_seeds_give_known_samples() -> None:
    # Written down once, so that a seed means the same in every version of craft-ray and Python.
    sample = sample_few_shot(dataset_of([0, 1, 2] * 8, [0]), 2, seed=1).train
    assert [item.name for item in sample] == KNOWN


def test_the_global_random_stream_is_neither_used_nor_moved() -> None:
    dataset = dataset_of([0, 1, 2] * 8, [0])
    random.seed(5)
    first = sample_few_shot(dataset, 3, seed=1)
    drawn = random.random()
    random.seed(5)
    assert random.random() == drawn
    assert sample_few_shot(dataset, 3, seed=1) == first
    assert sample_few_shot(dataset, 3, seed=2) != first


def test_no_image_is_drawn_twice_when_there_are_enough() -> None:
    dataset = dataset_of([0, 1, 2] * 8, [0])
    sample = sample_few_shot(dataset, 8, seed=1, repeat_small_classes=True)
    assert len({item.name for item in sample.train}) == 24


def test_a_class_smaller_than_shots_is_refused_by_name() -> None:
    dataset = dataset_of([0, 0, 1, 2, 2, 2], [0])  # the smallest, not the first that is too small
    message = (
        "shots=3 and class 'dog' has 1 .*say data.shots=1; data.shots=all, .*"
        "data.repeat_small_classes=true"
    )
    with pytest.raises(DataError, match=message):
        sample_few_shot(dataset, 3, seed=1)


def test_a_class_smaller_than_shots_is_repeated_if_that_is_asked() -> None:
    dataset = dataset_of([0, 0, 0, 1, 2, 2, 2], [0])
    sample = sample_few_shot(dataset, 3, seed=1, repeat_small_classes=True).train
    assert [item.name for item in sample if item.label == 1] == ["image 3"] * 3
    assert len({item.name for item in sample if item.label == 0}) == 3


def test_every_image_is_decoded_before_a_run_and_the_first_broken_one_is_named() -> None:
    good = Item(encoded(noise()), 0, "good")
    verify_decodable([good, good])
    broken = [Item(b"broken", 0, f"broken {number}") for number in range(40)]
    for _ in range(5):  # whichever thread is faster
        with pytest.raises(DataError, match="broken 0: must be a readable image"):
            verify_decodable([*[good] * 30, *broken])


def test_drawn_rows_are_read_once_and_then_need_no_file(tmp_path: Path) -> None:
    root = write_parquet(tmp_path, (0, 1, 0, 1))
    items = list(load_dataset(ParquetSource(root=str(root))).splits["train"])
    in_file = Item(root / "an image.png", 1, "a file")
    drawn = [items[3], items[0], in_file, items[3]]
    held = hold_in_memory(drawn)
    for path in root.glob("*.parquet"):
        path.unlink()
    assert held[2] is in_file
    assert [(item.label, item.name) for item in held] == [(i.label, i.name) for i in drawn]
    assert held[0].encoded == held[3].encoded == encoded(noise(seed=3))
    assert held[1].encoded == encoded(noise(seed=0))


@pytest.mark.parametrize("has_split", [True, False])
def test_without_validation_the_same_training_images_are_drawn_and_no_other(
    has_split: bool,
) -> None:
    dataset = dataset_of([0, 1, 2] * 5, [0, 1, 2] if has_split else None)
    sample = sample_few_shot(dataset, 3, 1, validation="none")
    assert sample.validation == ()
    assert sample.train == sample_few_shot(dataset, 3, 1).train
    assert len(sample.rest) == 15 - 9
    everything = sample_few_shot(dataset, 5, 1, validation="none")
    assert len(everything.train) == 15, "none is kept back"
    nothing = sample_few_shot(dataset, 0, 1, validation="none")
    assert (nothing.train, nothing.validation, len(nothing.rest)) == ((), (), 15)


def test_who_has_no_image_left_for_validation_is_told_to_do_without() -> None:
    with pytest.raises(DataError, match=r"data\.validation=none, which does without"):
        sample_few_shot(dataset_of([0, 1, 2]), 1, 1)


def test_without_shots_no_training_image_needs_to_be_there() -> None:
    dataset = Dataset("pets", NAMES, {"test": [Item(b"", 0, "test image")]})
    sample = sample_few_shot(dataset, 0, 1, validation="none")
    assert (sample.train, sample.validation, sample.rest) == ((), (), ())
