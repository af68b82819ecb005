"""Image sets are encoded once and forgotten by a byte limit, the least recently asked for first."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
import pytest
import torch

from craft_ray.data.recipe import Plan, Recipe
from craft_ray.data.transform import ImageTransform
from craft_ray.errors import DataError, OracleError
from craft_ray.oracle.contract import ImageHandle, PixelArray
from craft_ray.oracle.images import MADE_AHEAD, ImageStore, Source

WIDTH = 8
BYTES_A_SET = 2 * WIDTH * 4


def pixels_of(value: int) -> PixelArray:
    return np.full((2, 3, 4, 4), value, dtype=np.uint8)


def handle_of(value: int) -> ImageHandle:
    return ImageHandle(f"set {value}", 2)


def store_of(num_sets: float) -> ImageStore:
    def encode(pixels_NSS: Source) -> list[torch.Tensor]:
        assert not isinstance(pixels_NSS, Recipe)
        return [torch.full((1, WIDTH), float(pixels[0, 0, 0])) for pixels in pixels_NSS]

    return ImageStore(encode, int(num_sets * BYTES_A_SET))


def ask(store: ImageStore, value: int) -> float:
    return float(store.features(handle_of(value))[0, 0])


def test_a_set_is_encoded_when_it_is_first_asked_for_and_once() -> None:
    store = store_of(10)
    store.add(handle_of(3), pixels_of(3))
    assert store.num_encoded == 0
    assert [ask(store, 3), ask(store, 3)] == [3.0, 3.0]
    store.add(handle_of(3), pixels_of(3))
    assert ask(store, 3) == 3.0
    assert store.num_encoded == 2


def test_the_set_asked_for_longest_ago_goes_first_and_may_come_back() -> None:
    store = store_of(2)
    for value in (0, 1):
        store.add(handle_of(value), pixels_of(value))
        ask(store, value)
    ask(store, 0)
    store.add(handle_of(2), pixels_of(2))
    ask(store, 2)
    assert [handle_of(value).digest in store for value in range(3)] == [True, False, True]
    with pytest.raises(OracleError, match="images: set 1 must be registered first"):
        ask(store, 1)
    store.add(handle_of(1), pixels_of(1))
    assert ask(store, 1) == 1.0
    assert store.num_encoded == 2 * 4


def test_the_set_in_use_stays_however_large_it_is() -> None:
    store = store_of(0.5)
    store.add(handle_of(5), pixels_of(5))
    assert [ask(store, 5), ask(store, 5)] == [5.0, 5.0]
    assert store.num_encoded == 2


def test_of_a_row_of_sets_all_stay_and_others_go() -> None:
    store = store_of(2)
    for value in range(4):
        store.add(handle_of(value), pixels_of(value))
    ask(store, 0)
    row = ImageHandle.in_a_row([handle_of(value) for value in (3, 1, 2)])
    assert store.features(row)[:, 0].tolist() == [3.0, 3.0, 1.0, 1.0, 2.0, 2.0]
    assert [handle_of(value).digest in store for value in range(4)] == [False, True, True, True]
    assert store.features(row.part([5, 0]))[:, 0].tolist() == [2.0, 3.0]


def test_what_is_prepared_is_made_once_and_not_more_than_a_few_sets() -> None:
    made: list[str] = []

    class Made(Recipe):
        def pixels(self) -> PixelArray:
            made.append(self.digest)
            return pixels_of(len(made))

    encoded: list[object] = []

    def encode(source: Source) -> list[torch.Tensor]:
        encoded.append(type(source))
        return [torch.zeros(len(source), WIDTH)]

    store = ImageStore(encode, 10 * BYTES_A_SET)
    recipes = [Made((), Plan(f"files {n}", ImageTransform(4), None)) for n in range(MADE_AHEAD + 1)]
    handles = [ImageHandle(recipe.digest, 2) for recipe in recipes]
    for recipe in recipes:
        store.prepare(recipe)
        store.prepare(recipe)
    assert not any(handle.digest in store for handle in handles), "nothing is registered by it"
    for handle, recipe in zip(handles, recipes, strict=True):
        store.add(handle, recipe)
        store.features(handle)
    assert encoded == [Made, *[np.ndarray] * MADE_AHEAD], "the first was dropped"
    assert all(made.count(recipe.digest) <= 1 for recipe in recipes)


def test_what_is_at_work_or_encoded_is_not_prepared() -> None:
    made: list[str] = []

    class Made(Recipe):
        def pixels(self) -> PixelArray:
            made.append(self.digest)
            return pixels_of(1)

    first, second = (Made((), Plan(name, ImageTransform(4), None)) for name in ("a", "b"))

    def encode(source: Source) -> list[torch.Tensor]:
        assert isinstance(source, Recipe)
        assert source.digest in store
        store.prepare(source)
        return [torch.zeros(2, WIDTH)]

    store = ImageStore(encode, 10 * BYTES_A_SET)
    for recipe in (first, second):
        store.add(ImageHandle(recipe.digest, 2), recipe)
        store.features(ImageHandle(recipe.digest, 2))
        store.prepare(recipe)
    store._maker.shutdown()
    assert made == []


def test_a_set_that_is_taken_to_be_encoded_is_known_all_the_while() -> None:
    """Other threads ask at any moment, also in the one when it waits no more."""
    handle, known = handle_of(1), list[bool]()

    class Watched(OrderedDict[str, Source]):
        def pop(self, key: str, default: Any = None) -> Any:
            value = super().pop(key, default)
            known.append(key in store)
            return value

    store = ImageStore(lambda source: [torch.zeros(2, WIDTH)], BYTES_A_SET)
    store._sources = Watched()
    store.add(handle, pixels_of(1))
    store.features(handle)
    assert known
    assert all(known)


def test_a_set_that_cannot_be_made_is_forgotten_and_others_may_be_tried_again() -> None:
    errors: list[Exception] = [DataError("a.jpg: is broken"), RuntimeError("out of memory")]

    def encode(source: Source) -> list[torch.Tensor]:
        raise errors.pop(0)

    store = ImageStore(encode, BYTES_A_SET)
    for stays in (False, True):
        store.add(handle_of(1), pixels_of(1))
        with pytest.raises(type(errors[0])):
            store.features(handle_of(1))
        assert (handle_of(1).digest in store) is stays


def test_of_a_row_with_a_broken_set_no_file_stays() -> None:
    def encode(pixels_NSS: Source) -> list[torch.Tensor]:
        raise DataError("broken")

    store = ImageStore(encode, 10 * BYTES_A_SET)
    handles = [handle_of(value) for value in range(3)]
    for handle, value in zip(handles, range(3), strict=True):
        store.add(handle, pixels_of(value))
    with pytest.raises(DataError):
        store.features(ImageHandle.in_a_row(handles))
    assert [handle.digest in store for handle in handles] == [False] * 3
