"""Prompt generation: context = p0 + A z, whatever the structure of A."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.linalg import hadamard as hadamard_matrix

from craft_ray.config.prompts import ProjectionKind, PromptConfig
from craft_ray.errors import ConfigError
from craft_ray.method.projection import FloatArray, PromptProjection, hadamard

START = np.random.default_rng(0).normal(size=(4, 6)).astype(np.float32)
KINDS: tuple[ProjectionKind, ...] = get_args(ProjectionKind)
every_kind = pytest.mark.parametrize("kind", KINDS)


def projection(
    kind: ProjectionKind = "gaussian",
    dim: int = 9,
    std: float = 0.5,
    seed: int = 1,
    start: FloatArray = START,
) -> PromptProjection:
    config = PromptConfig(intrinsic_dim=dim, projection=kind, projection_std=std)
    return PromptProjection(start, config, seed)


def matrix_of(
    kind: ProjectionKind, dim: int, shape: tuple[int, int], std: float = 1.0
) -> FloatArray:
    """A, [D, L, E]."""
    start = np.zeros(shape, np.float32)
    return projection(kind, dim, std, start=start).contexts(np.eye(dim))


@given(
    kind=st.sampled_from(KINDS),
    population=st.integers(1, 7),
    length=st.integers(1, 5),
    width=st.integers(1, 6),
    dim=st.integers(2, 9),
)
def test_contexts_are_float32_of_population_length_and_width(
    kind: ProjectionKind, population: int, length: int, width: int, dim: int
) -> None:
    start = np.ones((length, width), np.float32)
    dim = max(dim, length)  # a token has a coordinate of its own
    points = np.random.default_rng(0).normal(size=(population, dim))
    contexts = projection(kind, dim, start=start).contexts(points)
    assert contexts.shape == (population, length, width)
    assert contexts.dtype == np.float32


@every_kind
def test_zero_gives_the_start_exactly(kind: ProjectionKind) -> None:
    np.testing.assert_array_equal(projection(kind).contexts(np.zeros((2, 9))), [START, START])


@every_kind
def test_the_map_is_affine(kind: ProjectionKind) -> None:
    one = projection(kind)
    x, y = np.random.default_rng(1).normal(size=(2, 3, 9))
    shift_x, shift_y = one.contexts(x) - START, one.contexts(y) - START
    np.testing.assert_allclose(one.contexts(2 * x - y) - START, 2 * shift_x - shift_y, atol=1e-5)


@every_kind
def test_a_point_is_mapped_alike_in_every_population(kind: ProjectionKind) -> None:
    points = np.random.default_rng(1).normal(size=(6, 9))
    together = projection(kind).contexts(points)
    alone = [projection(kind).contexts(point[None])[0] for point in points]
    np.testing.assert_allclose(together, alone, rtol=1e-6, atol=1e-6)


def test_the_matrix_is_gaussian_with_the_given_standard_deviation() -> None:
    matrix = matrix_of("gaussian", 200, (20, 50), std=0.3)
    assert matrix.std() == pytest.approx(0.3, rel=0.01)
    assert matrix.mean() == pytest.approx(0, abs=0.01)
    within_one_std = (np.abs(matrix) < 0.3).mean()
    assert within_one_std == pytest.approx(0.6827, abs=0.01)


@every_kind
@pytest.mark.parametrize("dim", [64, 130])
def test_a_point_moves_every_value_by_its_length_whatever_the_structure(
    kind: ProjectionKind, dim: int
) -> None:
    points = np.random.default_rng(3).normal(size=(200, dim))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    start = np.zeros((8, 32), np.float32)
    shifts = projection(kind, dim, std=0.3, start=start).contexts(points)
    assert shifts.std() == pytest.approx(0.3, rel=0.1)
    # No token and no direction of the embedding is left out.
    assert shifts.std(axis=(0, 2)) == pytest.approx(0.3, rel=0.25)
    assert (shifts.std(axis=(0, 1)) > 0.1).all()


def test_tokens_have_coordinates_and_directions_of_their_own() -> None:
    matrix = matrix_of("per_token", 8, (4, 6))
    for token in range(4):
        moving = np.abs(matrix[:, token]).max(axis=1) > 0
        assert moving.tolist() == [index // 2 == token for index in range(8)]
    assert not np.allclose(matrix[0, 0], matrix[2, 1])


def test_in_low_rank_all_tokens_move_in_the_same_few_directions() -> None:
    contexts = projection("low_rank", 8, start=np.zeros((4, 6), np.float32))
    shift = contexts.contexts(np.random.default_rng(5).normal(size=(1, 8)))[0]
    assert np.linalg.matrix_rank(shift) == 2
    free = projection("per_token", 8, start=np.zeros((4, 6), np.float32))
    other = free.contexts(np.random.default_rng(5).normal(size=(1, 8)))[0]
    assert np.linalg.matrix_rank(other) == 4


@pytest.mark.parametrize("width", [1, 2, 8, 64])
def test_the_fast_transform_is_hadamards(width: int) -> None:
    values = np.random.default_rng(0).normal(size=(3, width)).astype(np.float32)
    expected = values @ hadamard_matrix(width).astype(np.float32)
    np.testing.assert_allclose(hadamard(values), expected, rtol=1e-4, atol=1e-4)


def test_fastfood_has_entries_as_a_gaussian_has() -> None:
    matrix = matrix_of("fastfood", 200, (20, 50), std=0.3)
    assert matrix.std() == pytest.approx(0.3, rel=0.05)
    assert (np.abs(matrix) < 0.3).mean() == pytest.approx(0.6827, abs=0.02)


@every_kind
def test_the_matrix_is_frozen_by_its_seed(kind: ProjectionKind) -> None:
    points = np.random.default_rng(1).normal(size=(3, 9))
    first = projection(kind, seed=1).contexts(points)
    np.random.seed(7)  # noqa: NPY002 (the legacy stream must not matter)
    np.testing.assert_array_equal(projection(kind, seed=1).contexts(points), first)
    assert not np.array_equal(projection(kind, seed=2).contexts(points), first)


@every_kind
def test_the_standard_deviation_only_scales_the_shift(kind: ProjectionKind) -> None:
    points = np.random.default_rng(1).normal(size=(3, 9))
    narrow = projection(kind, std=0.5).contexts(points) - START
    wide = projection(kind, std=1.0).contexts(points) - START
    np.testing.assert_allclose(wide, 2 * narrow, rtol=1e-4, atol=1e-5)


def test_in_units_of_the_embedding_neither_model_nor_dimension_matters() -> None:
    points = np.random.default_rng(1).normal(size=(50, 64))
    for factor in (1.0, 10.0):
        start = (factor * np.random.default_rng(0).normal(size=(8, 32))).astype(np.float32)
        for dim in (16, 64):
            config = PromptConfig(
                intrinsic_dim=dim, projection_std=0.2, projection_unit="embedding"
            )
            shifts = PromptProjection(start, config, 1).contexts(points[:, :dim]) - start
            assert shifts.std() == pytest.approx(0.2 * start.std(), rel=0.1)


@pytest.mark.parametrize("kind", ["per_token", "low_rank"])
def test_fewer_coordinates_than_tokens_are_refused(kind: ProjectionKind) -> None:
    """Else the tokens without one would never move: 872 of 1,000 classes with four tokens each."""
    per_class = np.zeros((3, 4, 6), np.float32)
    assert projection(kind, dim=12, start=per_class).contexts(np.ones((1, 12))).all()
    with pytest.raises(ConfigError, match=r"intrinsic_dim: must be at least .* 12, .* got 11"):
        projection(kind, dim=11, start=per_class)


@pytest.mark.parametrize("kind", ["gaussian", "fastfood"])
def test_other_projections_move_all_tokens_with_few_coordinates(kind: ProjectionKind) -> None:
    per_class = np.zeros((3, 4, 6), np.float32)
    assert projection(kind, dim=3, start=per_class).contexts(np.ones((1, 3))).all()
