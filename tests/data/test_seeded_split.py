"""Data without a split: the seed splits each class by itself."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from craft_ray.config.data import FolderSource, SeededSplit
from craft_ray.data.dataset import SPLITS, Item
from craft_ray.data.sources import load_dataset
from craft_ray.data.sources.seeded_split import split_by_seed
from craft_ray.errors import DataError
from tests.support.images import encoded, noise

shares = st.tuples(st.floats(0.01, 0.9), st.floats(0, 0.9)).filter(lambda pair: sum(pair) < 0.99)


@given(sizes=st.lists(st.integers(3, 40), min_size=1, max_size=4), pair=shares, seed=st.integers(0))
def test_each_class_is_split_at_the_shares_with_an_image_everywhere(
    sizes: list[int], pair: tuple[float, float], seed: int
) -> None:
    config = SeededSplit(split_seed=seed, train_share=pair[0], val_share=pair[1])
    items = [Item(b"", label, f"{label} {n}") for label, n in enumerate(sizes) for n in range(n)]
    names = [f"class {label}" for label in range(len(sizes))]
    splits = split_by_seed(items, names, config)
    together = [item for items in splits.values() for item in items]
    assert sorted(item.name for item in together) == sorted(item.name for item in items)
    assert set(splits) == (set(SPLITS) if pair[1] else {"train", "test"})
    for split in splits.values():
        assert list(split) == sorted(split, key=items.index), "the order is that of the items"
        assert set(Counter(item.label for item in split)) == set(range(len(sizes)))
    for label, size in enumerate(sizes):
        count = sum(item.label == label for item in splits["train"])
        assert abs(count - size * pair[0]) <= 2.5
    assert split_by_seed(items, names, config) == splits


def test_the_default_shares_are_coops() -> None:
    items = [Item(b"", 0, str(number)) for number in range(10)]
    sizes = {s: len(i) for s, i in split_by_seed(items, ["x"], SeededSplit()).items()}
    assert sizes == {"train": 5, "val": 2, "test": 3}


def test_class_folders_under_the_root_are_split(tmp_path: Path) -> None:
    for name in ("Siberian husky", "cat", ".git"):
        (tmp_path / name).mkdir()
        for index in range(4):
            (tmp_path / name / f"{index}.JPG").write_bytes(encoded(noise(seed=index), "JPEG"))
        (tmp_path / name / "._0.JPG").write_bytes(b"what macOS leaves beside an image")
    dataset = load_dataset(FolderSource(root=str(tmp_path)))
    assert dataset.class_names == ("Siberian husky", "cat")
    assert {split: len(items) for split, items in dataset.splits.items()} == {
        "train": 4,
        "val": 2,
        "test": 2,
    }
    other = load_dataset(FolderSource(root=str(tmp_path), split_seed=5, val_share=0))
    assert set(other.splits) == {"train", "test"}
    assert other.splits["train"] != dataset.splits["train"]


@pytest.mark.parametrize(("val_share", "needed"), [(0.2, 3), (0.0, 2)])
def test_a_class_too_small_to_be_split_is_named(val_share: float, needed: int) -> None:
    items = [Item(b"", 0, str(number)) for number in range(needed - 1)]
    with pytest.raises(DataError, match=f"class 'x': at least {needed} images .* got {needed - 1}"):
        split_by_seed(items, ["x"], SeededSplit(val_share=val_share))


@pytest.mark.parametrize(
    "values", [{"train_share": 0.8, "val_share": 0.2}, {"train_share": 0}, {"val_share": -0.1}]
)
def test_shares_that_leave_nothing_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="_share"):
        SeededSplit.model_validate(values)
