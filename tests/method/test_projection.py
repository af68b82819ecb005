"""Prompt generation: context = p0 + A z."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from craft_ray.method.projection import PromptProjection

START = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)


def projection(dim: int = 5, std: float = 0.5, seed: int = 1) -> PromptProjection:
    return PromptProjection(START, dim, std, seed)


@settings(max_examples=20, deadline=None)
@given(
    population=st.integers(1, 7),
    length=st.integers(1, 5),
    width=st.integers(1, 6),
    dim=st.integers(1, 9),
)
def test_contexts_are_float32_of_population_length_and_width(
    population: int, length: int, width: int, dim: int
) -> None:
    start = np.ones((length, width), np.float32)
    points = np.random.default_rng(0).normal(size=(population, dim))
    contexts = PromptProjection(start, dim, 1.0, 1).contexts(points)
    assert contexts.shape == (population, length, width)
    assert contexts.dtype == np.float32


def test_zero_gives_the_start_exactly() -> None:
    np.testing.assert_array_equal(projection().contexts(np.zeros((2, 5))), [START, START])


def test_the_map_is_affine() -> None:
    one = projection()
    x, y = np.random.default_rng(1).normal(size=(2, 3, 5))
    shift_x, shift_y = one.contexts(x) - START, one.contexts(y) - START
    np.testing.assert_allclose(one.contexts(2 * x - y) - START, 2 * shift_x - shift_y, atol=1e-5)


def test_a_point_is_mapped_alike_in_every_population() -> None:
    points = np.random.default_rng(1).normal(size=(6, 5))
    together = projection().contexts(points)
    alone = [projection().contexts(point[None])[0] for point in points]
    np.testing.assert_allclose(together, alone, rtol=1e-6, atol=1e-6)


def test_the_matrix_is_gaussian_with_the_given_standard_deviation() -> None:
    start = np.zeros((20, 50), np.float32)
    matrix = PromptProjection(start, 200, 0.3, seed=1).contexts(np.eye(200)).reshape(200, -1)
    assert matrix.std() == pytest.approx(0.3, rel=0.01)
    assert matrix.mean() == pytest.approx(0, abs=0.01)
    within_one_std = (np.abs(matrix) < 0.3).mean()
    assert within_one_std == pytest.approx(0.6827, abs=0.01)


def test_the_matrix_is_frozen_by_its_seed() -> None:
    points = np.random.default_rng(1).normal(size=(3, 5))
    first = projection(seed=1).contexts(points)
    np.random.seed(7)  # noqa: NPY002 (the legacy stream must not matter)
    np.testing.assert_array_equal(projection(seed=1).contexts(points), first)
    assert not np.array_equal(projection(seed=2).contexts(points), first)


def test_the_standard_deviation_only_scales_the_shift() -> None:
    points = np.random.default_rng(1).normal(size=(3, 5))
    narrow = projection(std=0.5).contexts(points) - START
    wide = projection(std=1.0).contexts(points) - START
    np.testing.assert_allclose(wide, 2 * narrow, rtol=1e-4, atol=1e-5)
