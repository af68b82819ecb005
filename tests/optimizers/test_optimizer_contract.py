"""What a training loop may rely on, whatever optimizer is configured."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from craft_ray.optimizers.base import FloatArray64
from tests.optimizers.contract import (
    ALL,
    BY_RANKS,
    FLOOR,
    SEARCHING,
    Case,
    Objective,
    ellipsoid,
    rosenbrock,
    run,
    sphere,
)
from tests.support.examples import few


def only_one_kept(losses_P: FloatArray64, kept: int, others: float) -> FloatArray64:
    """All losses replaced but one."""
    replaced = np.full_like(losses_P, others)
    replaced[kept] = losses_P[kept]
    return replaced


@ALL
def test_the_search_starts_at_zero_with_spread_sigma(case: Case) -> None:
    optimizer = case.make(dim=400, population=100)
    np.testing.assert_array_equal(optimizer.mean, np.zeros(400))
    np.testing.assert_array_equal(optimizer.best, np.zeros(400))
    candidates = optimizer.ask()
    assert candidates.shape == (optimizer.population, 400) == (100, 400)
    assert candidates.dtype == np.float64
    assert candidates.std() == pytest.approx(case.first_spread, rel=0.1)


@cache
def best_at_random(objective: Objective, seed: int) -> float:
    floor = FLOOR.make(dim=10, seed=seed, sigma=0.2)
    run(floor, objective, generations=60)
    return float(objective(floor.best[None])[0])


@SEARCHING
@pytest.mark.parametrize("objective", [sphere, ellipsoid, rosenbrock])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_it_beats_random_search_at_equal_evaluations(
    case: Case, objective: Objective, seed: int
) -> None:
    optimizer = case.make(dim=10, seed=seed, sigma=0.2)
    run(optimizer, objective, generations=60)
    best_of_random_search = best_at_random(objective, seed)
    assert objective(optimizer.mean[None])[0] < 0.2 * best_of_random_search
    assert objective(optimizer.best[None])[0] < 0.2 * best_of_random_search


@ALL
def test_every_ask_is_one_population_of_new_candidates(case: Case) -> None:
    optimizer = case.make(dim=40)
    asked = run(optimizer, sphere, 12)
    assert asked.shape == (12, optimizer.population, 40)
    assert len(np.unique(asked.reshape(-1, 40), axis=0)) == 12 * optimizer.population


@SEARCHING
def test_it_finds_the_best_point_within_bounds(case: Case) -> None:
    optimizer = case.make(dim=4, bound=0.5, population=24)
    asked = run(optimizer, sphere, 60)
    assert np.abs(asked).max() <= 0.5
    np.testing.assert_allclose(optimizer.mean, np.full(4, 0.5), atol=0.02)


@ALL
@pytest.mark.parametrize("sigma", [0.01, 1.0, 50.0])
def test_candidates_mean_and_best_stay_within_the_bound(case: Case, sigma: float) -> None:
    optimizer = case.make(bound=0.2, sigma=sigma)
    for _ in range(15):
        candidates = optimizer.ask()
        optimizer.tell(-np.abs(candidates).sum(axis=1))  # pulls outwards
        for points in (candidates, optimizer.mean, optimizer.best):
            assert np.abs(points).max() <= 0.2


@ALL
def test_asking_again_before_tell_gives_the_same_candidates(case: Case) -> None:
    optimizer = case.make()
    first = optimizer.ask()
    np.testing.assert_array_equal(optimizer.ask(), first)
    optimizer.tell(sphere(first))
    assert not np.array_equal(optimizer.ask(), first)


@ALL
def test_what_was_returned_may_be_overwritten(case: Case) -> None:
    careless, careful = case.make(), case.make()
    for _ in range(3):
        losses = sphere(careful.ask())
        candidates = careless.ask()
        candidates[:] = 99.0
        careless.mean[:] = 99.0
        careless.best[:] = 99.0
        careful.tell(losses)
        careless.tell(losses)
        losses[:] = 99.0
    np.testing.assert_array_equal(careless.ask(), careful.ask())
    np.testing.assert_array_equal(careless.best, careful.best)
    expected = careful.state_dict()
    for name, array in careless.state_dict().items():
        np.testing.assert_array_equal(array, expected[name])


@ALL
def test_losses_of_another_shape_are_refused(case: Case) -> None:
    optimizer = case.make()
    candidates = optimizer.ask()
    for shape in ((7,), (9,), (0,), (8, 1), ()):
        with pytest.raises(ValueError, match=r"losses must be \[8\]"):
            optimizer.tell(np.zeros(shape))
    optimizer.tell(sphere(candidates))  # the refusal has spoilt nothing


@ALL
def test_tell_before_ask_is_refused(case: Case) -> None:
    optimizer = case.make()
    with pytest.raises(ValueError, match="ask must be called first"):
        optimizer.tell(np.zeros(8))
    optimizer.tell(sphere(optimizer.ask()))
    with pytest.raises(ValueError, match="ask must be called first"):
        optimizer.tell(np.zeros(8))


@ALL
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_loss_that_is_not_finite_never_becomes_the_best(case: Case, bad: float) -> None:
    optimizer = case.make()
    candidates = optimizer.ask()
    losses = sphere(candidates)
    winner = int(losses.argmin())
    losses[winner] = bad
    optimizer.tell(losses)
    losses[winner] = np.inf
    np.testing.assert_array_equal(optimizer.best, candidates[losses.argmin()])


@BY_RANKS
def test_losses_that_are_not_finite_rank_behind_all_others(case: Case) -> None:
    # One finite loss among seven failures decides the generation as if the others were worse.
    losses = sphere(case.make().ask())

    def mean_after(kept: int, others: float) -> FloatArray64:
        optimizer = case.make()
        optimizer.ask()
        optimizer.tell(only_one_kept(losses, kept, others))
        return optimizer.mean

    for kept in range(8):
        expected = mean_after(kept, losses.max() + 1)
        for bad in (np.nan, np.inf, -np.inf):
            np.testing.assert_allclose(mean_after(kept, bad), expected)


@ALL
def test_a_generation_without_any_finite_loss_is_refused(case: Case) -> None:
    optimizer = case.make()
    candidates = optimizer.ask()
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match="at least one loss must be finite"):
            optimizer.tell(np.full(8, bad))
        np.testing.assert_array_equal(optimizer.ask(), candidates)
    optimizer.tell(sphere(candidates))


@ALL
@pytest.mark.parametrize("level", [-3.5, 1e308, -1e308, 1e-320])
def test_ties_and_extreme_losses_are_no_trouble(case: Case, level: float) -> None:
    optimizer = case.make()
    asked = run(optimizer, lambda points: np.full(len(points), level), 15)
    assert np.isfinite(asked).all()
    assert np.isfinite(optimizer.mean).all()
    np.testing.assert_array_equal(optimizer.best, asked[0, 0])


@ALL
def test_the_largest_number_ranks_before_a_failure(case: Case) -> None:
    optimizer = case.make()
    candidates = optimizer.ask()
    largest = np.finfo(np.float64).max
    optimizer.tell(np.array([np.nan, np.inf, largest, np.nan, np.inf, np.nan, np.nan, np.nan]))
    np.testing.assert_array_equal(optimizer.best, candidates[2])
    assert np.isfinite(optimizer.ask()).all()


numbers = st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, 1e308, -1e308, 5e-324])
generations = st.lists(
    st.lists(numbers | st.floats(width=32), min_size=8, max_size=8), min_size=1, max_size=6
)


@ALL
@few
@given(told=generations, kind=st.sampled_from([np.float64, np.float32, list]))
def test_whatever_it_is_told_the_search_stays_finite_and_the_best_is_the_lowest(
    case: Case, told: list[list[float]], kind: Any
) -> None:
    optimizer = case.make(bound=2.0)
    lowest, best = np.inf, np.zeros(5)
    for values in told:
        candidates = optimizer.ask()
        assert np.isfinite(candidates).all()
        with np.errstate(over="ignore"):
            losses: Any = kind(values) if kind is list else np.array(values, dtype=kind)
        finite = np.where(np.isfinite(losses), np.asarray(losses, dtype=np.float64), np.inf)
        if not np.isfinite(finite).any():
            with pytest.raises(ValueError, match="at least one loss must be finite"):
                optimizer.tell(losses)
            np.testing.assert_array_equal(optimizer.ask(), candidates)
            continue
        optimizer.tell(losses)
        if finite.min() < lowest:
            lowest, best = finite.min(), candidates[finite.argmin()]
        np.testing.assert_array_equal(optimizer.best, best)
        assert np.isfinite(optimizer.mean).all()


NO_NUMBERS: dict[str, Any] = {
    "words": ["1"] * 7 + ["x"],
    "nulls": [None] * 8,
    "complex": [1j] * 8,
    "bytes": np.array([b"x"] * 8),
    "dates": np.array(["2020-01-01"] * 8, dtype="datetime64[D]"),
    "ragged": [[1.0]] * 7 + [[1.0, 2.0]],
    "a word": "12345678",
    "null": None,
}


@ALL
def test_losses_that_are_no_numbers_are_refused_and_spoil_nothing(case: Case) -> None:
    optimizer = case.make()
    candidates = optimizer.ask()
    for wrong in NO_NUMBERS.values():
        with pytest.raises(ValueError, match=r"tell: losses must be \[8\] real numbers"):
            optimizer.tell(wrong)
        np.testing.assert_array_equal(optimizer.ask(), candidates)
    optimizer.tell(sphere(candidates))


@ALL
def test_the_best_is_that_of_all_generations(case: Case) -> None:
    optimizer = case.make()
    first = optimizer.ask()
    optimizer.tell(np.array([5.0, 4, 3, 1, 2, 6, 7, 8]))
    for worse in (2.0, 1.0):  # an equal loss that comes later does not replace it
        optimizer.ask()
        optimizer.tell(np.full(8, worse))
    np.testing.assert_array_equal(optimizer.best, first[3])


@ALL
def test_the_order_of_evaluation_does_not_matter(case: Case) -> None:
    forwards, shuffled = case.make(), case.make()
    generator = np.random.default_rng(0)
    for _ in range(5):
        forwards.tell(sphere(forwards.ask()))
        candidates = shuffled.ask()
        losses = np.empty(8)
        for index in generator.permutation(8):
            losses[index] = sphere(candidates[index][None])[0]
        shuffled.tell(losses)
    np.testing.assert_array_equal(shuffled.ask(), forwards.ask())


@BY_RANKS
def test_only_the_ranks_of_losses_matter(case: Case) -> None:
    plain, stretched = case.make(), case.make()
    run(plain, sphere, 10)
    run(stretched, lambda points: np.exp(sphere(points)) * 1e6 - 7, 10)
    np.testing.assert_allclose(stretched.mean, plain.mean)


@ALL
def test_the_same_seed_gives_the_same_run_and_another_seed_another(case: Case) -> None:
    first = run(case.make(seed=1), sphere, 6)
    np.testing.assert_array_equal(run(case.make(seed=1), sphere, 6), first)
    assert not np.array_equal(run(case.make(seed=2), sphere, 6), first)


@ALL
def test_numpys_global_random_stream_is_neither_used_nor_moved(case: Case) -> None:
    np.random.seed(1)  # noqa: NPY002 (the legacy stream is the point)
    first = run(case.make(), sphere, 3)
    drawn = np.random.random()  # noqa: NPY002
    np.random.seed(1)  # noqa: NPY002
    assert np.random.random() == drawn  # noqa: NPY002
    np.testing.assert_array_equal(run(case.make(), sphere, 3), first)


def test_random_search_keeps_the_best_of_independent_draws() -> None:
    optimizer = FLOOR.make(dim=3)
    asked = run(optimizer, sphere, 30).reshape(-1, 3)
    np.testing.assert_array_equal(optimizer.best, asked[sphere(asked).argmin()])
    np.testing.assert_array_equal(optimizer.mean, optimizer.best)
    other = run(FLOOR.make(dim=3), lambda points: -sphere(points), 30).reshape(-1, 3)
    np.testing.assert_array_equal(other, asked)  # what it is told changes no draw
