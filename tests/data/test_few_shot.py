"""Few-shot samples equal those of CoOp's code, seed for seed."""

from __future__ import annotations

import random
from collections import Counter, defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from craft_ray.data.dataset import Dataset, Item
from craft_ray.data.few_shot import sample_few_shot, verify_decodable
from craft_ray.errors import DataError
from tests.support.images import encoded, noise

NAMES = ("cat", "dog", "horse")
KNOWN = ["image 6", "image 12", "image 4", "image 7", "image 5", "image 11"]


def dataset_of(labels: list[int]) -> Dataset:
    train = [Item(b"", label, f"image {index}") for index, label in enumerate(labels)]
    rest = [Item(b"", 0, "other")]
    return Dataset("pets", NAMES, {"train": train, "val": rest, "test": rest})


def coop_sample(train: list[Item], num_shots: int, seed: int, *, repeat: bool) -> list[Item]:
    """Dassl's `DatasetBase.generate_fewshot_dataset` after CoOp's `set_random_seed`."""
    random.seed(seed)
    tracker = defaultdict(list)
    for item in train:
        tracker[item.label].append(item)
    dataset = []
    for items in tracker.values():
        if len(items) >= num_shots:
            sampled_items = random.sample(items, num_shots)
        else:
            assert repeat
            sampled_items = random.choices(items, k=num_shots)
        dataset.extend(sampled_items)
    return dataset


all_labels = st.lists(st.sampled_from([0, 1, 2]), max_size=20).map(lambda more: [2, 0, 1, *more])


@settings(max_examples=100, deadline=None)
@given(labels=all_labels.flatmap(st.permutations), shots=st.integers(1, 6), seed=st.integers(0, 99))
def test_a_sample_is_that_of_coops_code(labels: list[int], shots: int, seed: int) -> None:
    dataset = dataset_of(labels)
    sample = sample_few_shot(dataset, shots, seed, repeat_small_classes=True).train
    expected = coop_sample(list(dataset.splits["train"]), shots, seed, repeat=True)
    assert [item.name for item in sample] == [item.name for item in expected]
    assert Counter(item.label for item in sample) == {0: shots, 1: shots, 2: shots}


def test_seeds_give_known_samples() -> None:
    # Written down once, so that a seed means the same in every version of craft-ray and Python.
    sample = sample_few_shot(dataset_of([0, 1, 2] * 8), 2, seed=1).train
    assert [item.name for item in sample] == KNOWN


def test_the_global_random_stream_is_neither_used_nor_moved() -> None:
    dataset = dataset_of([0, 1, 2] * 8)
    random.seed(5)
    first = sample_few_shot(dataset, 3, seed=1)
    drawn = random.random()
    random.seed(5)
    assert random.random() == drawn
    assert sample_few_shot(dataset, 3, seed=1) == first
    assert sample_few_shot(dataset, 3, seed=2) != first


def test_no_image_is_drawn_twice_when_there_are_enough() -> None:
    dataset = dataset_of([0, 1, 2] * 8)
    sample = sample_few_shot(dataset, 8, seed=1, repeat_small_classes=True)
    assert len({item.name for item in sample.train}) == 24


def test_a_class_smaller_than_shots_is_refused_by_name() -> None:
    dataset = dataset_of([0, 0, 0, 1, 2, 2, 2])
    message = "shots=3 and class 'dog' has 1 .*data.repeat_small_classes=true"
    with pytest.raises(DataError, match=message):
        sample_few_shot(dataset, 3, seed=1)


def test_a_class_smaller_than_shots_is_repeated_if_that_is_asked() -> None:
    dataset = dataset_of([0, 0, 0, 1, 2, 2, 2])
    sample = sample_few_shot(dataset, 3, seed=1, repeat_small_classes=True).train
    assert [item.name for item in sample if item.label == 1] == ["image 3"] * 3
    assert len({item.name for item in sample if item.label == 0}) == 3


def test_every_image_is_decoded_before_a_run_and_the_first_broken_one_is_named() -> None:
    good = Item(encoded(noise()), 0, "good")
    verify_decodable([good, good])
    broken = [Item(b"broken", 0, name) for name in ("first broken", "second broken")]
    with pytest.raises(DataError, match="first broken: must be a readable image"):
        verify_decodable([good, *broken])
