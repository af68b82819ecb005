"""The two stages of SharpZO, and what is pruned between them."""

from __future__ import annotations

import numpy as np
import pytest

from craft_ray.config.optimizers import CmaEsConfig
from craft_ray.optimizers import make_optimizer
from craft_ray.optimizers.base import FloatArray64
from tests.optimizers.contract import STAGED, run, sphere

DIM = 20


def cma_es(generations: int) -> tuple[FloatArray64, FloatArray64]:
    """What CMA-ES of the same settings asks, and its mean."""
    optimizer = make_optimizer(CmaEsConfig(population=8, sigma=0.5, bound=None), DIM, seed=1)
    return run(optimizer, sphere, generations), optimizer.mean


def test_without_a_radius_the_warm_start_is_cma_es() -> None:
    optimizer = STAGED.make(dim=DIM, sharpness_radius=0.0)
    asked, mean = cma_es(3)
    np.testing.assert_array_equal(run(optimizer, sphere, 3), asked)
    np.testing.assert_array_equal(optimizer.mean, mean)


def test_losses_are_asked_for_beside_the_candidates_where_they_are_worse() -> None:
    optimizer = STAGED.make(dim=DIM, sharpness_radius=0.25, warm_up_generations=9)
    plain = make_optimizer(CmaEsConfig(population=8, sigma=0.5, bound=None), DIM, seed=1)
    first = optimizer.ask()
    np.testing.assert_array_equal(first, plain.ask())
    losses = sphere(first)
    for one in (optimizer, plain):
        one.tell(losses)
    shift_PD = optimizer.ask() - plain.ask()
    np.testing.assert_allclose(shift_PD, np.tile(shift_PD[0], (8, 1)), atol=1e-12)
    assert np.linalg.norm(shift_PD[0]) == pytest.approx(0.25)
    assert np.corrcoef(first @ shift_PD[0], losses)[0, 1] > 0.5  # losses rise that way
    # What CMA-ES learns from is the candidate, not where its loss was asked for.
    losses = sphere(optimizer.ask())
    for one in (optimizer, plain):
        one.tell(losses)
    np.testing.assert_array_equal(optimizer.mean, plain.mean)


def test_ties_and_failures_leave_the_candidates_where_they_are() -> None:
    for losses in (np.full(8, 2.0), np.array([2.0, *[np.nan] * 7])):
        optimizer = STAGED.make(dim=DIM, sharpness_radius=0.25)
        plain = make_optimizer(CmaEsConfig(population=8, sigma=0.5, bound=None), DIM, seed=1)
        for one in (optimizer, plain):
            one.ask()
            one.tell(losses)
        np.testing.assert_array_equal(optimizer.ask(), plain.ask())


def test_the_descent_begins_at_the_mean_of_the_warm_start() -> None:
    optimizer = STAGED.make(dim=DIM)
    run(optimizer, sphere, 3)
    plus, minus = np.split(optimizer.ask(), 2)
    np.testing.assert_allclose((plus + minus) / 2, np.tile(optimizer.mean, (4, 1)))
    assert np.any(optimizer.mean != 0)


def test_pruned_coordinates_are_left_alone_between_two_measurements() -> None:
    optimizer = STAGED.make(dim=DIM)  # prunes a fifth, measures every fourth generation
    run(optimizer, sphere, 3)
    pruned = set()
    for generation in range(12):
        before = optimizer.mean
        candidates = optimizer.ask()
        asked_D = np.ptp(candidates, axis=0) > 0
        optimizer.tell(sphere(candidates))
        np.testing.assert_array_equal(optimizer.mean != before, asked_D)
        assert asked_D.sum() == (DIM if generation % 4 == 0 else 16)
        if generation % 4 == 1:
            pruned.add(tuple(np.flatnonzero(~asked_D)))
    assert len(pruned) > 1, "chosen anew"


def test_pruned_are_large_coordinates_of_small_slope() -> None:
    slope_D = np.ones(DIM)
    slope_D[:10] = 0.01

    def sloped(points_PD: FloatArray64) -> FloatArray64:
        losses: FloatArray64 = points_PD @ slope_D
        return losses

    optimizer = STAGED.make(dim=DIM, population=4000, warm_up_generations=1)
    run(optimizer, sloped, 1)
    start_D = optimizer.mean
    run(optimizer, sloped, 1)
    pruned_D = np.ptp(optimizer.ask(), axis=0) == 0
    assert not pruned_D[10:].any()
    moved_D = start_D - 0.1 * slope_D
    largest_D = np.argsort(-np.abs(moved_D[:10]))[:4]
    assert set(np.flatnonzero(pruned_D)) == set(largest_D)
