"""Image sets that have a name before their pixels exist."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import ExifTags, Image

from craft_ray.data.crops import draw_crops, sizes_of
from craft_ray.data.dataset import Item
from craft_ray.data.decoding import AS_SEEN, AS_STORED
from craft_ray.data.pixels import augmented_pixels, plain_pixels
from craft_ray.data.recipe import Recipe, Sources
from craft_ray.data.transform import ImageTransform
from craft_ray.errors import DataError
from tests.support.examples import few
from tests.support.images import encoded, noise

SIZE = 12
HOW = ImageTransform(SIZE)
KINDS = ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP")


def turned(kind: str, orientation: int) -> bytes:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    options: dict[str, Any] = {} if kind in ("GIF", "BMP") else {"exif": exif}
    return encoded(noise(7, 11), kind, **options)


def items_of(count: int) -> list[Item]:
    kinds = [KINDS[place % len(KINDS)] for place in range(count)]
    return [
        Item(encoded(noise(9 + place, 14, place), kind), place, f"image {place}")
        for place, kind in enumerate(kinds)
    ]


def recipe_of(items: list[Item], *, seed: int | None = None) -> Recipe:
    crops_N5 = None if seed is None else draw_crops(sizes_of(items), 0.3, seed)
    return Recipe.of(Sources.of(items), HOW, crops_N5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("decoding", [AS_SEEN, AS_STORED])
def test_the_size_of_an_image_is_that_of_its_pixels(
    kind: str, orientation: int, decoding: Any
) -> None:
    item = Item(turned(kind, orientation), 0, "image", decoding)
    assert sizes_of([item]).tolist() == [list(item.decode().size)]


@few
@given(count=st.integers(1, 9), size=st.integers(1, 10), seed=st.integers(0, 99))
def test_a_recipe_makes_the_pixels_that_are_made_at_once(count: int, size: int, seed: int) -> None:
    items = items_of(count)
    for recipe, expected in (
        (recipe_of(items), plain_pixels(items, HOW)),
        (recipe_of(items, seed=seed), augmented_pixels(items, HOW, 0.3, seed)),
    ):
        np.testing.assert_array_equal(recipe.pixels(), expected)
        parts = list(recipe.parts(size))
        assert [len(part) for part in parts[:-1]] == [size] * (len(parts) - 1)
        np.testing.assert_array_equal(np.concatenate(parts), expected)
        files = pickle.loads(pickle.dumps(recipe.pack()))
        np.testing.assert_array_equal(Recipe(files.items(), recipe.plan).pixels(), expected)


def test_what_decides_the_pixels_decides_the_name() -> None:
    items = items_of(3)
    recipes = [
        recipe_of(items),
        recipe_of(items[::-1]),
        recipe_of([replace(item, decoding=AS_STORED) for item in items]),
        recipe_of(items, seed=1),
        recipe_of(items, seed=2),
        *(Recipe.of(Sources.of(items), ImageTransform(SIZE, mode), None) for mode in ("squash",)),
        Recipe.of(Sources.of(items), ImageTransform(SIZE + 1), None),
    ]
    recipes.append(replace(recipes[0], plan=replace(recipes[0].plan, decoder="Pillow 1.0")))
    assert len({recipe.digest for recipe in recipes}) == len(recipes)


def test_names_of_files_and_labels_do_not() -> None:
    items = items_of(3)
    renamed = [replace(item, name="other", label=0) for item in items]
    assert recipe_of(renamed, seed=1).digest == recipe_of(items, seed=1).digest


def test_a_file_that_has_changed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_bytes(encoded(noise(9, 9, 1)))
    recipe = recipe_of([Item(path, 0, str(path))])
    recipe.pack()
    path.write_bytes(encoded(noise(9, 9, 2)))
    with pytest.raises(DataError, match=r"a\.png: must stay as they are"):
        recipe.pack()


def test_another_version_of_pillow_is_refused() -> None:
    recipe = recipe_of(items_of(1))
    elsewhere = replace(recipe, plan=replace(recipe.plan, decoder="Pillow 1.0"))
    with pytest.raises(DataError, match=r"with Pillow 1\.0, .*install the same version"):
        elsewhere.pixels()


def test_a_broken_image_is_named_as_its_owner_calls_it() -> None:
    items = [*items_of(1), Item(encoded(noise(), "JPEG")[:150], 0, "the broken one")]
    files = recipe_of(items).pack()
    with pytest.raises(DataError, match="the broken one"):
        Recipe(files.items(), recipe_of(items).plan).pixels()
