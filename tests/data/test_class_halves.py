"""Base and new classes are CoOp's halves."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from craft_ray.config.data import ClassHalf
from craft_ray.config.run import RunConfig
from craft_ray.data.class_halves import dataset_of_half, items_of_half, labels_of_half
from craft_ray.data.dataset import Dataset, Item
from craft_ray.errors import DataError
from craft_ray.task.preparation import load_data
from tests.support.images import write_parquet


def coop_halves(labels_N: list[int], subsample: str) -> list[tuple[int, int]]:
    """`subsample_classes` of CoOp's datasets/oxford_pets.py in short: place and new label of what
    is left."""
    labels = sorted(set(labels_N))
    middle = math.ceil(len(labels) / 2)
    selected = labels[:middle] if subsample == "base" else labels[middle:]
    new_label = {old: new for new, old in enumerate(selected)}
    return [(n, new_label[label]) for n, label in enumerate(labels_N) if label in new_label]


@given(num_classes=st.integers(2, 9), data=st.data())
def test_halves_are_those_of_coop(num_classes: int, data: st.DataObject) -> None:
    more = data.draw(st.lists(st.integers(0, num_classes - 1), max_size=20))
    labels_N = data.draw(st.permutations([*range(num_classes), *more]))
    items = [Item(b"", label, str(place)) for place, label in enumerate(labels_N)]
    halves: tuple[ClassHalf, ...] = ("base", "new")
    for half in halves:
        taken = items_of_half(items, labels_of_half(num_classes, half))
        assert [(int(item.name), item.label) for item in taken] == coop_halves(labels_N, half)


def test_all_of_a_data_set_is_that_data_set_and_its_halves_have_their_own_names_and_ids() -> None:
    items = [Item(b"", label, f"{label}") for label in range(5)]
    whole = Dataset("x", tuple("abcde"), {"test": items}, None, tuple("vwxyz"))
    assert dataset_of_half(whole, "all") is whole
    scored = Dataset("x", tuple("abcde"), {"test": [items[1], items[4]]}, (1, 4), tuple("vwxyz"))
    base, new = dataset_of_half(scored, "base"), dataset_of_half(scored, "new")
    assert (base.class_names, new.class_names) == (("a", "b", "c"), ("d", "e"))
    assert (base.class_ids, new.class_ids) == (("v", "w", "x"), ("y", "z"))
    assert (base.scored_classes, new.scored_classes) == ((1,), (1,))
    assert [item.label for item in new.splits["test"]] == [1]


def test_a_half_of_one_class_is_refused() -> None:
    dataset = Dataset("x", ("a", "b", "c"), {"test": [Item(b"", 2, "c")]})
    with pytest.raises(DataError, match=r"data\.classes: new must have at least 2 classes"):
        dataset_of_half(dataset, "new")


def test_a_run_sees_one_half_of_the_sample_that_all_classes_have(tmp_path: Path) -> None:
    write_parquet(tmp_path, labels=[0, 3, 1, 2] * 6, class_names=("a", "b", "c", "d"))

    def seen(classes: str) -> tuple[tuple[str, ...], list[tuple[bytes, int]], set[int], set[int]]:
        source = {"kind": "parquet", "root": str(tmp_path)}
        settings = {"source": source, "shots": 2, "classes": classes}
        found = load_data(RunConfig.model_validate({"seed": 3, "data": settings}))
        train = [(item.read(), item.label) for item in found.train]
        test = {item.label for item in found.dataset.splits["test"]}
        return found.dataset.class_names, train, {i.label for i in found.validation}, test

    names, every, _, _ = seen("all")
    base, new = seen("base"), seen("new")
    assert (base[0], new[0]) == (names[:2], names[2:])
    assert base[1] == [(image, label) for image, label in every if label < 2]
    assert new[1] == [(image, label - 2) for image, label in every if label >= 2]
    assert base[2] == base[3] == new[2] == new[3] == {0, 1}
