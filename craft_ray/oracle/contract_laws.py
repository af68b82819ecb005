"""What holds of all that an oracle is asked, whoever answers it; and content addresses."""

from __future__ import annotations

import hashlib
import json
from typing import cast

import numpy as np

from craft_ray.data.recipe import Recipe
from craft_ray.errors import OracleError
from craft_ray.method.reduction import Reduction
from craft_ray.oracle.contract import (
    ClassificationTask,
    FloatArray,
    ImageHandle,
    Images,
    Oracle,
    OracleDescription,
    PixelArray,
    RecipeOracle,
    TaskHandle,
)


def digest_of_images(images: Images) -> str:
    """Content address of an image set: shape and bytes, or what a recipe makes them of."""
    if isinstance(images, Recipe):
        return images.digest
    if isinstance(images, tuple):
        files = [hashlib.sha256(file).hexdigest() for file in images]
        return hashlib.sha256(json.dumps(files).encode()).hexdigest()
    pixels_NSS = images
    digest = hashlib.sha256(repr(pixels_NSS.shape).encode())
    digest.update(np.ascontiguousarray(pixels_NSS).data)
    return digest.hexdigest()


def recipe_oracle(oracle: Oracle) -> RecipeOracle | None:
    """The oracle itself, if it takes recipes."""
    return cast(RecipeOracle, oracle) if oracle.describe().takes_recipes else None


def forget(oracle: Oracle, images: ImageHandle) -> None:
    """Tell an oracle that keeps sets that were not to be kept (`RecipeOracle`) that nothing more is
    asked about one."""
    if (recipes := recipe_oracle(oracle)) is not None:
        recipes.forget(images)


def check_images(images: Images, description: OracleDescription) -> None:
    """Raise OracleError unless these are images as the oracle takes them, at least one."""
    if isinstance(images, Recipe):
        check_recipe(images, description)
    elif not description.takes_files:
        check_pixels(images, description.image_size)
    elif not isinstance(images, tuple) or not images or not all(images):
        raise OracleError("images: must be files, at least one and none of them empty")


def check_recipe(recipe: Recipe, description: OracleDescription) -> None:
    """Raise OracleError unless it makes at least one image, as the model takes them."""
    if not description.takes_recipes:
        raise OracleError("images: must not be a recipe, as the oracle makes no pixels")
    if recipe.plan.transform.size != description.image_size:
        raise OracleError(
            f"images: must have {description.image_size} pixels a side, but the recipe is for "
            f"{recipe.plan.transform.size}"
        )
    if len(recipe) == 0:
        raise OracleError("images: must have at least one image, but got 0")


def check_pixels(images: Images, image_size: int) -> PixelArray:
    """The images, if they are uint8 [N >= 1, 3, S, S]; else raise OracleError."""
    if isinstance(images, Recipe):
        raise OracleError("images: must be pixels, uint8 [N, 3, S, S], but got a recipe")
    if isinstance(images, tuple):
        raise OracleError("images: must be pixels, uint8 [N, 3, S, S], but got files")
    pixels_NSS = images
    expected = (3, image_size, image_size)
    if pixels_NSS.dtype != np.uint8 or pixels_NSS.ndim != 4 or pixels_NSS.shape[1:] != expected:
        raise OracleError(
            f"images: must be uint8 [N, 3, {image_size}, {image_size}], but got "
            f"{pixels_NSS.dtype} {list(pixels_NSS.shape)}"
        )
    if len(pixels_NSS) == 0:
        raise OracleError("images: must have at least one image, but got 0")
    return pixels_NSS


def rows_of(images: ImageHandle, num_registered: int) -> list[int]:
    """Where the images of a handle are in the registered set; raise OracleError if it has them
    not."""
    rows = range(num_registered) if images.rows is None else images.rows
    if not rows or min(rows) < 0 or max(rows) >= num_registered:
        raise OracleError(
            f"images: rows must be of 0 to {num_registered - 1}, but got {list(rows)[:10]}"
        )
    return list(rows)


def check_contexts(contexts_KLE: FloatArray, embed_dim: int, num_classes: int) -> None:
    """Raise OracleError unless the array is finite float32 [K >= 1, L, E], or has a context for
    each class, [K >= 1, C, L, E]. L = 0 asks about the class names alone."""
    shape = contexts_KLE.shape
    fits = len(shape) == 3 or (len(shape) == 4 and shape[1] == num_classes)
    if contexts_KLE.dtype != np.float32 or not fits or shape[-1] != embed_dim or shape[0] == 0:
        raise OracleError(
            f"contexts: must be float32 [K >= 1, L, {embed_dim}] or [K >= 1, {num_classes}, "
            f"L, {embed_dim}], but got {contexts_KLE.dtype} {list(shape)}"
        )
    if not np.isfinite(contexts_KLE).all():
        raise OracleError("contexts: must be finite, but got NaN or infinity")


def check_white_box(description: OracleDescription) -> None:
    """Raise OracleError unless the owner gives gradients."""
    if not description.white_box:
        raise OracleError(
            "oracle.white_box: must be true for gradients, but the oracle is a black box"
        )


def check_features(description: OracleDescription) -> None:
    """Raise OracleError unless the owner gives features of images and of texts."""
    if not description.serves_features:
        answers = ", ".join(sorted(description.capabilities.answers))
        raise OracleError(
            "oracle.features: must be true for features of images and texts, but the oracle "
            f"answers with {answers} only"
        )


def prompts_of(task: ClassificationTask) -> tuple[str, ...]:
    """The prompt of each class as a text, and the whole prompts behind them, for an oracle that
    takes no soft ones."""
    before, _, after = task.template.partition("{}")
    of_classes = (f"{before}{words_of(name)}{after}" for name in task.class_names)
    return (*of_classes, *task.prompts)


def words_of(class_name: str) -> str:
    """Folder names and CoOp's class names separate words by underscores."""
    return " ".join(class_name.replace("_", " ").split())


def check_finite(answers_NA: FloatArray, reader: str) -> None:
    """Raise OracleError unless all answers about N images are finite.

    Args:
        answers_NA: logits or features.
        reader: what cannot read others, in words.
    """
    others = np.flatnonzero(~np.isfinite(answers_NA).all(axis=1))
    if len(others):
        raise OracleError(
            f"answers: must be finite for {reader}, but those about "
            f"{len(others):,} of {len(answers_NA):,} images have NaN or infinity: "
            "the model overflows; one in fp32 may not"
        )


def check_reduction(reduction: Reduction, images: ImageHandle, task: TaskHandle) -> None:
    """Raise OracleError unless a reduction fits the predictions that it is asked for."""
    try:
        reduction.check(images.num_images, task.num_classes)
    except (ValueError, KeyError) as error:
        raise OracleError(f"reduction: {error}") from error
