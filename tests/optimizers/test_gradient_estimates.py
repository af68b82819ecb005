"""Optimizers that learn from pairs, against the equations of their papers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from craft_ray.config.optimizers import ZipConfig, ZoAdamConfig
from craft_ray.optimizers import ZerothOrderOptimizer, make_optimizer
from craft_ray.optimizers.base import FloatArray64
from craft_ray.optimizers.zo_adam import orthogonal_directions
from tests.optimizers.contract import BY_PAIRS, CASES, PAIRED, Case, run, sphere

NAMED = {case.name: case for case in CASES}
IN_Z = [case for case in PAIRED if case.name != "zip"]
"""Whose pairs lie on both sides of the mean; those of ZIP lie on both sides of its factors."""


def halves(candidates_PD: FloatArray64) -> tuple[FloatArray64, FloatArray64]:
    plus, minus = np.split(candidates_PD, 2)
    return plus, minus


@pytest.mark.parametrize("case", IN_Z, ids=[case.name for case in IN_Z])
def test_candidates_lie_on_both_sides_of_the_mean(case: Case) -> None:
    optimizer = case.make()
    for _ in range(5):
        candidates = optimizer.ask()
        plus, minus = halves(candidates)
        np.testing.assert_allclose((plus + minus) / 2, np.tile(optimizer.mean, (4, 1)))
        optimizer.tell(sphere(candidates))


@BY_PAIRS
@pytest.mark.parametrize("failed", [0, 3, 4, 7])  # of either side
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_pair_with_a_failure_teaches_nothing(case: Case, failed: int, bad: float) -> None:
    one, other = case.make(), case.make()
    losses = sphere(one.ask())
    losses[failed] = bad
    one.tell(losses)
    other.ask()
    losses[(failed + 4) % 8] = 1e6  # its partner
    other.tell(losses)
    np.testing.assert_array_equal(one.mean, other.mean)
    assert np.any(one.mean != 0), "the other pairs do teach"


@BY_PAIRS
def test_a_generation_without_a_whole_pair_changes_nothing(case: Case) -> None:
    optimizer, twin = case.make(), case.make()
    for one in (optimizer, twin):
        run(one, sphere, 2)
    before = optimizer.mean
    losses = sphere(optimizer.ask())
    losses[:4] = np.nan
    optimizer.tell(losses)
    np.testing.assert_array_equal(optimizer.mean, before)
    twin.ask()
    twin.tell(np.where(np.arange(8) == 0, 1.0, np.nan))
    np.testing.assert_array_equal(optimizer.ask(), twin.ask())


@BY_PAIRS
def test_the_level_of_losses_does_not_matter(case: Case) -> None:
    plain, raised = case.make(), case.make()
    run(plain, sphere, 10)
    run(raised, lambda points: sphere(points) + 1000, 10)
    np.testing.assert_allclose(raised.mean, plain.mean, atol=1e-6)


def slopes(plus: FloatArray64, minus: FloatArray64, spread: float) -> FloatArray64:
    """(f(x + c d) - f(x - c d)) / (2 c), one for each pair."""
    difference: FloatArray64 = sphere(plus) - sphere(minus)
    return difference / (2 * spread)


def step_of(optimizer: ZerothOrderOptimizer) -> tuple[FloatArray64, FloatArray64, FloatArray64]:
    """One generation: its candidates on either side, and how far the mean moved."""
    before = optimizer.mean
    candidates = optimizer.ask()
    optimizer.tell(sphere(candidates))
    return *halves(candidates), optimizer.mean - before


def test_spsa_takes_spalls_steps() -> None:
    optimizer = NAMED["spsa"].make(dim=40)
    for k in range(4):
        c_k, a_k = 0.5 / (k + 1) ** 0.101, 0.5 / (5 + k + 1) ** 0.602
        plus, minus, moved = step_of(optimizer)
        directions = (plus - minus) / (2 * c_k)
        np.testing.assert_allclose(np.abs(directions), 1.0)
        estimates = slopes(plus, minus, c_k)[:, None] / directions
        np.testing.assert_allclose(moved, -a_k * estimates.mean(axis=0))


def test_spsa_gc_takes_nesterovs_steps() -> None:
    # BlackVIP's equation: m <- b m - a g(x + b m), x <- x + m; its code follows x + b m.
    optimizer = NAMED["spsa_gc"].make(dim=40, learning_rate_decay=0.0)
    position, momentum = np.zeros(40), np.zeros(40)
    for k in range(6):
        c_k = 0.5 / (k + 1) ** 0.1
        np.testing.assert_allclose(optimizer.mean, position + 0.9 * momentum, atol=1e-12)
        plus, minus, _ = step_of(optimizer)
        directions = (plus - minus) / (2 * c_k)
        assert np.all((np.abs(directions) >= 0.5 - 1e-9) & (np.abs(directions) <= 1 + 1e-9))
        estimate = (slopes(plus, minus, c_k)[:, None] / directions).mean(axis=0)
        momentum = 0.9 * momentum - 0.05 * estimate
        position = position + momentum


def test_zo_adam_is_adam_on_the_mean_of_the_estimates() -> None:
    optimizer = NAMED["zo_adam gaussian"].make(dim=40)
    point = torch.nn.Parameter(torch.zeros(40, dtype=torch.float64))
    adam = torch.optim.Adam([point], lr=0.1, betas=(0.9, 0.99))
    for _ in range(6):
        plus, minus, _ = step_of(optimizer)
        directions = (plus - minus) / (2 * 0.5)
        estimate = (slopes(plus, minus, 0.5)[:, None] * directions).mean(axis=0)
        point.grad = torch.from_numpy(estimate)
        adam.step()
        np.testing.assert_allclose(optimizer.mean, point.detach().numpy(), atol=1e-9)


@pytest.mark.parametrize(("num", "dim"), [(4, 40), (8, 3), (6, 6), (1, 1)])
def test_orthogonal_directions(num: int, dim: int) -> None:
    directions = orthogonal_directions(np.random.default_rng(1), num, dim)
    assert directions.shape == (num, dim)
    for start in range(0, num, dim):
        group = directions[start : start + dim]
        products = group @ group.T
        np.testing.assert_allclose(products, np.diag(np.diag(products)), atol=1e-9)


def test_orthogonal_directions_are_gaussian_one_by_one() -> None:
    generator = np.random.default_rng(1)
    drawn = np.concatenate([orthogonal_directions(generator, 5, 10) for _ in range(4000)])
    np.testing.assert_allclose(drawn.mean(axis=0), 0, atol=0.03)
    np.testing.assert_allclose(np.cov(drawn.T), np.eye(10), atol=0.05)
    np.testing.assert_allclose((drawn**4).mean(axis=0), 3, rtol=0.1)  # of a Gaussian


def test_orthogonal_directions_estimate_better_than_independent_ones() -> None:
    def error(directions: str, seed: int) -> float:
        config = ZoAdamConfig.model_validate(
            {"directions": directions, "population": 20, "bound": None, "beta1": 0.0}
        )
        candidates = make_optimizer(config, 12, seed).ask()
        plus, minus = halves(candidates)
        unit = (plus - minus) / (2 * config.sigma)
        estimate = (slopes(plus, minus, config.sigma)[:, None] * unit).mean(axis=0)
        return float(np.linalg.norm(estimate - (-2.0)))  # the slope of `sphere` at zero

    errors = {
        directions: np.mean([error(directions, seed) for seed in range(20)])
        for directions in ("gaussian", "orthogonal")
    }
    assert errors["orthogonal"] < 0.8 * errors["gaussian"]


def zip_of(dim: int = 12, **changes: Any) -> ZerothOrderOptimizer:
    settings = {"population": 8, "bound": None, "blocks": 4, "rank": 2, **changes}
    return make_optimizer(ZipConfig.model_validate(settings), dim, seed=1)


def test_zip_searches_low_rank_rows_that_share_one() -> None:
    optimizer = zip_of(dim=40)
    run(optimizer, sphere, 5)
    for point in (*optimizer.ask(), optimizer.mean):
        rows = point.reshape(4, 10)
        without_the_shared_row = rows - rows[0]
        assert np.linalg.matrix_rank(without_the_shared_row) == 2
        assert np.linalg.matrix_rank(rows) == 3


@pytest.mark.parametrize("dim", [4, 5, 6, 7, 8, 9])
def test_zip_takes_any_dimension(dim: int) -> None:
    optimizer = zip_of(dim=dim, learning_rate=0.2, sigma=0.5)
    assert run(optimizer, sphere, 60).shape == (60, 8, dim)
    assert sphere(optimizer.mean[None])[0] < 0.1 * dim


def test_zip_clips_the_norm_of_its_estimate_to_the_root_of_its_number_of_factors() -> None:
    # A generation moves by at most a_k sqrt(M), and by exactly that where losses are steep.
    num_factors = 4 * 2 + 2 + 3 * 2 + 3

    def moved(steepness: float) -> FloatArray64:
        optimizer = zip_of(learning_rate=1e-6, learning_rate_decay=0.0)
        run(optimizer, lambda points: steepness * sphere(points), 1)
        return optimizer.mean

    np.testing.assert_allclose(moved(1e12), moved(1e6))
    gentle = moved(1e-6)
    np.testing.assert_allclose(moved(1e-7) * 10, gentle, rtol=1e-3)
    # The factors that move z at first order are U and u: at most sqrt(M) of the norm, times V.
    length = np.linalg.norm(moved(1e6))
    assert 0 < length <= 1e-6 * np.sqrt(num_factors) * 10
