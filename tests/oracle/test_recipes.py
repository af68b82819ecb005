"""Image sets that an oracle makes itself, and several in a row."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from craft_ray.config.oracle import OracleConfig
from craft_ray.data.crops import draw_crops, sizes_of
from craft_ray.data.dataset import Item
from craft_ray.data.recipe import Recipe, Sources
from craft_ray.errors import OracleError
from craft_ray.oracle.clip import DECODED_AT_A_TIME, ClipOracle
from craft_ray.oracle.contract import ClassificationTask, ImageHandle
from craft_ray.oracle.contract_laws import check_images
from tests.support.fake_oracle import FakeOracle
from tests.support.images import encoded, noise

NUM_IMAGES = DECODED_AT_A_TIME + 10
ITEMS = [Item(encoded(noise(40, 50, seed)), 0, f"image {seed}") for seed in range(NUM_IMAGES)]


@pytest.fixture(scope="module")
def oracle() -> ClipOracle:
    return ClipOracle.load(OracleConfig())


def recipes(oracle: ClipOracle) -> list[Recipe]:
    sources = Sources.of(ITEMS)
    crops_N5 = draw_crops(sizes_of(ITEMS), 0.3, 1)
    how = oracle.describe().transform
    return [Recipe.of(sources, how, None), Recipe.of(sources, how, crops_N5)]


def test_answers_are_those_about_the_pixels(oracle: ClipOracle) -> None:
    task = oracle.register_task(ClassificationTask(("cat", "dog")))
    contexts = task.initial_context[None]
    for recipe in recipes(oracle):
        named, sent = oracle.register_images(recipe), oracle.register_images(recipe.pixels())
        assert named.digest == recipe.digest != sent.digest
        expected = oracle.predict(task, sent, contexts)
        np.testing.assert_array_equal(oracle.predict(task, named, contexts), expected)


def test_a_row_of_sets_is_answered_as_each_of_them(oracle: ClipOracle) -> None:
    task = oracle.register_task(ClassificationTask(("cat", "dog")))
    contexts = np.stack([task.initial_context, task.initial_context + 0.1])
    handles = [oracle.register_images(recipe) for recipe in recipes(oracle)]
    row = ImageHandle.in_a_row(handles)
    assert row.num_images == 2 * NUM_IMAGES
    apart = [oracle.predict(task, handle, contexts) for handle in handles]
    together = oracle.predict(task, row, contexts)
    np.testing.assert_array_equal(together, np.concatenate(apart, axis=1))
    rows = [NUM_IMAGES + 3, 2]
    part = oracle.predict(task, row.part(rows), contexts)
    np.testing.assert_allclose(part, together[:, rows], atol=1e-4)


def test_a_row_of_one_is_that_set_and_the_order_matters() -> None:
    first, second = ImageHandle("a", 2), ImageHandle("b", 3)
    assert ImageHandle.in_a_row([first]) == first
    row = ImageHandle.in_a_row([first, second])
    assert row.content != ImageHandle.in_a_row([second, first]).content
    assert row.registered == ("a", "b")
    assert row.part([1]).registered == ("a", "b")
    assert row.part([1]).content not in (row.content, row.part([2]).content)


def test_who_makes_no_pixels_refuses_a_recipe(oracle: ClipOracle) -> None:
    (recipe, _) = recipes(oracle)
    with pytest.raises(OracleError, match="must not be a recipe"):
        check_images(recipe, FakeOracle().describe())
    other = replace(
        recipe, plan=replace(recipe.plan, transform=replace(recipe.plan.transform, size=9))
    )
    with pytest.raises(OracleError, match="pixels a side, but the recipe is for 9"):
        oracle.register_images(other)
