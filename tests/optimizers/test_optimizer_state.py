"""dump -> load -> the same asks, wherever the state was taken."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from craft_ray.files.whole_files import read_arrays, write_arrays
from craft_ray.optimizers import ZerothOrderOptimizer, cma_es
from tests.optimizers.contract import (
    ALL,
    BY_PAIRS,
    CASES,
    RANKED,
    STAGED,
    Case,
    ellipsoid,
    run,
    sphere,
)
from tests.support.examples import few

CSA = CASES[0]


def assert_same_future(first: ZerothOrderOptimizer, second: ZerothOrderOptimizer) -> None:
    np.testing.assert_array_equal(first.mean, second.mean)
    np.testing.assert_array_equal(first.best, second.best)
    np.testing.assert_array_equal(run(first, sphere, 4), run(second, sphere, 4))
    np.testing.assert_array_equal(first.mean, second.mean)


finite = st.floats(-1e300, 1e300)
generation_losses = arrays(np.float64, 8, elements=finite | st.sampled_from([np.nan, np.inf]))
told_generations = st.lists(
    generation_losses.filter(lambda losses: bool(np.isfinite(losses).any())), max_size=6
)


@ALL
@few
@given(told=told_generations, bound=st.sampled_from([None, 0.3]), asked=st.booleans())
def test_a_loaded_optimizer_continues_identically(
    case: Case,
    told: list[np.ndarray[tuple[int], np.dtype[np.float64]]],
    bound: float | None,
    asked: bool,
) -> None:
    original, loaded = case.make(bound=bound), case.make(bound=bound)
    for losses in told:
        original.ask()
        original.tell(losses)
    if asked:  # between ask and tell
        original.ask()
    loaded.load_state_dict(original.state_dict())
    assert_same_future(original, loaded)


@few
@given(resampled=st.lists(st.booleans(), min_size=1, max_size=6))
def test_resampled_populations_are_part_of_the_state(resampled: list[bool]) -> None:
    original, loaded = CSA.make(), CSA.make()
    for resamples in resampled:
        original.tell(sphere(original.ask()))
        if resamples:
            original.resampled_mean()
    loaded.load_state_dict(original.state_dict())
    assert_same_future(original, loaded)


@ALL
def test_a_state_replaces_what_was_done_before(case: Case) -> None:
    original, other = case.make(), case.make()
    run(original, sphere, 3)
    run(other, lambda points: -sphere(points), 5)
    other.load_state_dict(original.state_dict())
    assert_same_future(original, other)


@ALL
def test_a_state_survives_a_file(case: Case, tmp_path: Path) -> None:
    original, loaded = case.make(), case.make()
    run(original, sphere, 3)
    write_arrays(tmp_path / "state.safetensors", dict(original.state_dict()))
    loaded.load_state_dict(read_arrays(tmp_path / "state.safetensors"))
    assert_same_future(original, loaded)


@ALL
def test_taking_a_state_changes_nothing_and_shares_nothing(case: Case) -> None:
    watched, alone = case.make(), case.make()
    for _ in range(3):
        for array in watched.state_dict().values():
            array.setflags(write=True)
            array[...] = 0
        watched.tell(sphere(watched.ask()))
        alone.tell(sphere(alone.ask()))
    assert_same_future(watched, alone)


OTHERS: list[dict[str, Any]] = [
    {"seed": 2},
    {"sigma": 0.4},
    {"bound": 0.1},
    {"dim": 6},
    {"population": 10},
]


@ALL
def test_the_state_of_other_settings_is_refused(case: Case) -> None:
    original = case.make()
    run(original, sphere, 2)
    for other in OTHERS:
        with pytest.raises(ValueError, match="state: "):
            case.make(**other).load_state_dict(original.state_dict())


def test_the_state_of_another_step_size_rule_is_refused() -> None:
    csa, tpa = (case.make() for case in RANKED[:2])
    run(csa, sphere, 3)
    with pytest.raises(ValueError, match="state: "):
        tpa.load_state_dict(csa.state_dict())


@pytest.mark.parametrize("case", [CSA, STAGED], ids=["cma_es", "sharp_zo"])
def test_the_state_of_another_version_of_the_library_is_refused(
    case: Case, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = case.make()
    run(original, sphere, 2)
    with monkeypatch.context() as patch:
        patch.setitem(cma_es.LIBRARY, "pycma", "99.0")
        later = case.make()
    with pytest.raises(ValueError, match=r"state: pycma must be '99\.0' .* a run with "):
        later.load_state_dict(original.state_dict())


@BY_PAIRS
def test_the_state_of_another_learning_rate_is_refused(case: Case) -> None:
    original = case.make()
    run(original, sphere, 2)
    with pytest.raises(ValueError, match="state: "):
        case.make(learning_rate=0.01).load_state_dict(original.state_dict())


@pytest.mark.parametrize("generations", range(1, 9))
def test_a_state_of_either_stage_continues_identically(generations: int) -> None:
    original, loaded = STAGED.make(), STAGED.make()
    run(original, sphere, generations)
    loaded.load_state_dict(original.state_dict())
    assert_same_future(original, loaded)


def test_the_resampled_mean_is_the_mean_of_a_population_never_told() -> None:
    optimizer, twin = CSA.make(), CSA.make()
    for one in (optimizer, twin):
        one.tell(sphere(one.ask()))
    expected = twin.ask().mean(axis=0)  # what would have been asked next
    np.testing.assert_allclose(optimizer.resampled_mean(), expected)
    assert not np.array_equal(optimizer.ask(), twin.ask()), "the random stream must have moved on"


def test_the_resampled_mean_is_allowed_once_between_tell_and_ask() -> None:
    optimizer = CSA.make()
    with pytest.raises(ValueError, match="resampled_mean: allowed once"):
        optimizer.resampled_mean()
    candidates = optimizer.ask()
    with pytest.raises(ValueError, match="resampled_mean: allowed once"):
        optimizer.resampled_mean()
    optimizer.tell(sphere(candidates))
    optimizer.resampled_mean()
    with pytest.raises(ValueError, match="resampled_mean: allowed once"):
        optimizer.resampled_mean()
    optimizer.tell(sphere(optimizer.ask()))
    optimizer.resampled_mean()


def test_resampling_does_not_stop_the_search_from_converging() -> None:
    optimizer = CSA.make(dim=5)
    for _ in range(60):
        optimizer.tell(sphere(optimizer.ask()))
        deployed = optimizer.resampled_mean()
    assert sphere(deployed[None])[0] < 0.01


@ALL
def test_loading_repeats_no_generation(case: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    original, loaded = case.make(), case.make()
    run(original, sphere, 5)
    state = original.state_dict()

    def repeat(*_: object) -> None:
        raise AssertionError("a generation was repeated")

    with monkeypatch.context() as patch:
        patch.setattr(type(loaded), "_draw", repeat)
        patch.setattr(type(loaded), "_learn", repeat)
        loaded.load_state_dict(state)
    assert_same_future(original, loaded)


@few
@given(wide=st.sampled_from(RANKED), generations=st.integers(1, 12))
def test_states_of_many_dimensions_continue_identically(wide: Case, generations: int) -> None:
    # Matrices that BLAS multiplies, and factors that are older than the covariance.
    original, loaded = wide.make(dim=48), wide.make(dim=48)
    run(original, sphere, generations)
    # Rows first, as files have them.
    stored = {name: np.array(a, order="C") for name, a in original.state_dict().items()}
    loaded.load_state_dict(stored)
    again = loaded.state_dict()
    for name, array in original.state_dict().items():
        np.testing.assert_array_equal(array, again.pop(name), err_msg=name, strict=True)
    assert not again
    assert_same_future(original, loaded)


SEARCH = """
import sys
from pathlib import Path
from craft_ray.files.whole_files import write_arrays
from tests.optimizers.contract import CASES, run, ellipsoid
case = next(case for case in CASES if case.name == sys.argv[1])
optimizer = case.make(dim=64)
run(optimizer, ellipsoid, 20)
write_arrays(Path(sys.argv[2]), dict(optimizer.state_dict()))
"""


@pytest.mark.parametrize("case", [CSA, STAGED], ids=["cma_es", "sharp_zo"])
def test_a_state_of_another_family_of_cpus_is_taken_up(case: Case, tmp_path: Path) -> None:
    path = tmp_path / "state.safetensors"
    # The kernels of the oldest CPUs that OpenBLAS knows, in another process.
    environment = {**os.environ, "OPENBLAS_CORETYPE": "Prescott"}
    subprocess.run(
        [sys.executable, "-c", SEARCH, case.name, str(path)], env=environment, check=True
    )
    loaded, here = case.make(dim=64), case.make(dim=64)
    loaded.load_state_dict(read_arrays(path))
    run(here, ellipsoid, 20)
    # Here the same losses would have led elsewhere, in the last bits.
    np.testing.assert_allclose(loaded.mean, here.mean, rtol=1e-3, atol=1e-3)
    before = ellipsoid(loaded.mean[None])[0]
    run(loaded, ellipsoid, 40)
    assert ellipsoid(loaded.mean[None])[0] < before
