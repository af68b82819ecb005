"""Packed items are what a list of items is, in a few bytes each."""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from craft_ray.data.dataset import Dataset, Item, labels_of
from craft_ray.data.decoding import AS_STORED
from craft_ray.data.few_shot import Shots, Validation, sample_few_shot
from craft_ray.data.lazy_sequence import Chosen, Joined
from craft_ray.data.packed_items import (
    PackedItems,
    all_decoded_as,
    chosen_items,
    packed_files,
    places_of_labels,
    relabelled,
)
from craft_ray.data.packed_places import (
    ArrowRows,
    PackedPaths,
    PackedTexts,
    ParquetRows,
    RowNames,
    TarMembers,
)
from craft_ray.data.rows import ArrowRow, ParquetRow, TarMember
from craft_ray.errors import DataError

# Linux allows names that are no UTF-8: Python has them as lone surrogates.
words = st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=6).filter(
    lambda word: word not in (".", "..")
)
paths = st.lists(words, min_size=1, max_size=3).flatmap(
    lambda parts: st.sampled_from([Path(*parts), Path("/", *parts), Path("..", *parts)])
)


def files_of(labels: Sequence[int]) -> tuple[PackedItems, list[Item]]:
    """The same items, packed and as a list."""
    places = [Path(f"/data/{label}/{n}.png") for n, label in enumerate(labels)]
    packed = packed_files((label, [path]) for label, path in zip(labels, places, strict=True))
    return packed, [Item(p, label, str(p)) for p, label in zip(places, labels, strict=True)]


@given(st.lists(paths))
def test_paths_come_back_as_they_were(given_paths: list[Path]) -> None:
    assert PackedPaths(given_paths) == given_paths
    assert [str(path) for path in PackedPaths(given_paths)] == [str(path) for path in given_paths]


@given(st.lists(st.text()))
def test_texts_come_back_as_they_were(texts: list[str]) -> None:
    assert PackedTexts(texts) == texts


@given(
    labels=st.lists(st.integers(0, 5), max_size=12),
    start=st.integers(-14, 14),
    stop=st.none() | st.integers(-14, 14),
    step=st.integers(-3, 3).filter(bool),
)
def test_items_are_those_of_a_list(
    labels: list[int], start: int, stop: int | None, step: int
) -> None:
    packed, listed = files_of(labels)
    assert packed == listed
    assert listed == packed
    assert len(packed) == len(listed)
    assert [packed[place] for place in range(-len(listed), len(listed))] == [*listed, *listed]
    part = packed[start:stop:step]
    assert isinstance(part, PackedItems)
    assert part == listed[start:stop:step]
    assert part[::2] == listed[start:stop:step][::2], "a slice of a slice"
    assert labels_of(packed).tolist() == labels


def test_what_is_not_there_is_an_error_as_of_a_list() -> None:
    packed, _ = files_of([0, 1])
    for place in (2, -3):
        with pytest.raises(IndexError):
            packed[place]


def test_items_that_differ_in_anything_are_not_equal() -> None:
    packed, listed = files_of([0, 1, 1])
    assert packed != listed[:2]
    assert packed != [*listed[:2], replace(listed[2], label=0)]
    assert packed.decoded_as(AS_STORED) != packed
    assert PackedTexts(["a", "b"]) != "ab"


@given(labels=st.lists(st.integers(0, 5), min_size=1, max_size=12), data=st.data())
def test_what_is_done_with_packed_items_is_what_is_done_with_a_list(
    labels: list[int], data: st.DataObject
) -> None:
    packed, listed = files_of(labels)
    places = data.draw(st.lists(st.integers(0, len(labels) - 1)))
    for items in (packed, packed[:], listed):
        chosen = chosen_items(items, places)
        assert chosen == tuple(listed[place] for place in places)
        new = relabelled(chosen, np.arange(len(places)))
        assert [item.label for item in new] == list(range(len(places)))
        assert [item.name for item in new] == [item.name for item in chosen]
        stored = all_decoded_as(chosen, AS_STORED)
        assert [item.decoding for item in stored] == [AS_STORED] * len(places)


@given(st.lists(st.integers(-1, 5), max_size=30), st.data())
def test_places_of_labels_are_in_the_order_of_the_places(
    labels: list[int], data: st.DataObject
) -> None:
    asked = data.draw(st.lists(st.sampled_from(range(len(labels))))) if labels else []
    expected: dict[int, list[int]] = {}
    for place in asked:
        expected.setdefault(labels[place], []).append(place)
    found = places_of_labels(np.array(labels, dtype=np.int64), np.array(asked, dtype=np.int64))
    assert {label: places.tolist() for label, places in found.items()} == expected
    assert list(found) == list(expected), "labels in the order in which they first appear"


@given(
    labels=st.lists(st.integers(0, 2), max_size=20).map(lambda more: [2, 0, 1, *more]),
    shots=st.sampled_from([1, 2, 5, "all"]),
    validation=st.sampled_from(["full", "few_shot", "none"]),
    has_validation=st.booleans(),
    seed=st.integers(0, 99),
)
def test_a_sample_of_packed_items_is_that_of_a_list(
    labels: list[int], shots: Shots, validation: Validation, has_validation: bool, seed: int
) -> None:
    samples: list[object] = []
    for items in files_of(labels):
        splits = {"train": items, "val": items[:7]} if has_validation else {"train": items}
        dataset = Dataset("pets", ("a", "b", "c"), splits)  # type: ignore[arg-type]
        try:
            sample = sample_few_shot(
                dataset, shots, seed, validation=validation, repeat_small_classes=True
            )
        except DataError as error:
            samples.append(str(error))
        else:
            samples.append((list(sample.train), list(sample.validation), list(sample.rest)))
    assert samples[0] == samples[1]


def test_a_label_outside_the_classes_is_named_by_its_image() -> None:
    packed, _ = files_of([0, 3, 1])
    with pytest.raises(DataError, match=r"/data/3/1\.png: 0 <= label < 2 must hold, but got 3"):
        Dataset("pets", ("cat", "dog"), {"train": packed})


def test_rows_of_files_are_the_references_that_they_stand_for() -> None:
    beside = {2: Path("beside.png")}
    rows = ParquetRows("a.parquet", "image", [0, 2, 2, 5], beside)
    assert rows == [
        ParquetRow("a.parquet", "image", 0, 0),
        ParquetRow("a.parquet", "image", 0, 1),
        Path("beside.png"),
        ParquetRow("a.parquet", "image", 2, 1),
        ParquetRow("a.parquet", "image", 2, 2),
    ]
    assert ArrowRows("a.arrow", "image", 3, beside) == [
        ArrowRow("a.arrow", "image", 0),
        ArrowRow("a.arrow", "image", 1),
        Path("beside.png"),
    ]
    assert TarMembers("a.tar", [(512, 3), (2**40, 2**33)]) == [
        TarMember("a.tar", 512, 3),
        TarMember("a.tar", 2**40, 2**33),
    ]
    names = Joined([RowNames("a", 2), RowNames("b", 0), RowNames("c", 1)])
    assert names == ["a row 0", "a row 1", "c row 0"]
    assert Chosen(names, [2, 0]) == ["c row 0", "a row 0"]


def test_packed_items_reach_another_process() -> None:
    packed, listed = files_of([0, 1, 1])
    assert pickle.loads(pickle.dumps(packed[1:])) == listed[1:]


def test_an_item_takes_less_than_a_hundred_bytes_and_views_share_the_paths() -> None:
    """Of names as ImageNet has them; a pickle has all that is held, each once."""
    packed = packed_files(
        (label, [Path(f"/data/n{label:08}/n{label:08}_{n:05}.JPEG") for n in range(1000)])
        for label in range(20)
    )
    views = [packed[::2], packed.decoded_as(AS_STORED), packed.relabelled(labels_of(packed))]
    alone = len(pickle.dumps(packed))
    assert alone < 50 * len(packed)
    assert len(pickle.dumps([packed, *views])) - alone < 15 * len(packed)
