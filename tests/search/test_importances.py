"""Which parameter made the difference."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from craft_ray.classifiers.score import Score
from craft_ray.config.loading import load_space_config
from craft_ray.config.shipped import SPACES
from craft_ray.search.importances import (
    MIN_TRIALS,
    parameter_importances,
    resolved_difference,
)
from craft_ray.search.results import TrialResult
from tests.support.tuned import tuned

PROBES = SPACES / "probes.yaml"
NUM_VALIDATION = 200
NAMES = (100, 200, 500, 900)
CONTEXTS = (2, 5, 0)
PARAMETERS = {
    "head.names": {"kind": "choice", "values": NAMES},
    "head.contexts": {"kind": "choice", "values": CONTEXTS},
    "head.context_std": {
        "kind": "uniform",
        "low": 0.3,
        "high": 2.3,
        "when": {"head.contexts": [2, 5]},
    },
}
SPACE = load_space_config(PROBES, [f"parameters={json.dumps(PARAMETERS)}", "first_trials=[]"])


def trial(number: int, accuracy: float, status: str = "finished", contexts: int = 2) -> TrialResult:
    params: dict[str, float] = {"head.names": NAMES[number % 4], "head.contexts": contexts}
    if contexts:
        params["head.context_std"] = 0.3 + 0.1 * number
    return TrialResult(
        number=number,
        status=status,
        params=params,
        tuned=tuned(Score(accuracy, 1.0, 0.1)),
    )


def test_the_parameter_that_decides_is_the_most_important() -> None:
    trials = [
        trial(i, accuracy=0.5 + 0.1 * (i % 4), contexts=2 + 3 * (i % 2)) for i in range(1, 17)
    ]
    trials += [trial(i, accuracy=0.1, contexts=0) for i in range(17, 20)]
    found = parameter_importances(SPACE, trials, NUM_VALIDATION)
    assert found is not None
    assert found.shares is not None
    assert next(iter(found.shares)) == "head.names"
    assert found.shares["head.names"] > 0.8
    assert sum(found.shares.values()) == pytest.approx(1)
    assert found.num_trials == 16, "fANOVA needs trials with the same parameters"
    assert found == parameter_importances(SPACE, trials, NUM_VALIDATION)


def test_a_share_has_an_error_that_tells_how_much_hangs_on_the_trials() -> None:
    sure = [trial(i, accuracy=0.5 + 0.1 * (i % 4), contexts=2 + 3 * (i % 2)) for i in range(1, 19)]
    accuracies = np.random.default_rng(1).uniform(0.3, 0.9, size=8)
    unsure = [trial(i, float(accuracy)) for i, accuracy in enumerate(accuracies, 1)]
    errors = []
    for trials in (sure, unsure):
        found = parameter_importances(SPACE, trials, NUM_VALIDATION)
        assert found is not None
        assert found.errors is not None
        assert found.shares is not None
        assert found.errors.keys() == found.shares.keys()
        errors.append(found.errors["head.names"])
    assert 0 < errors[0] < 0.1 < errors[1]
    one_differs = [trial(i, 0.9 if i == 1 else 0.3) for i in range(1, 6)]
    found = parameter_importances(SPACE, one_differs, NUM_VALIDATION)
    assert found is not None
    assert found.shares is not None
    assert found.errors is None, "without the one there is nothing to share"


def test_too_few_trials_say_nothing() -> None:
    different = [trial(i, 0.1 * i) for i in range(1, MIN_TRIALS)]
    assert parameter_importances(SPACE, different, NUM_VALIDATION) is None
    lost = [trial(9, 0.9, "stopped early")]
    assert parameter_importances(SPACE, different + lost, NUM_VALIDATION) is None
    assert parameter_importances(SPACE, [], NUM_VALIDATION) is None


def test_what_the_validation_images_do_not_resolve_is_no_finding() -> None:
    equal = [trial(i, 0.5) for i in range(1, 9)]
    noise = [trial(i, 0.75 + 0.005 * i) for i in range(1, 7)]
    for trials in (equal, noise):
        found = parameter_importances(SPACE, trials, NUM_VALIDATION)
        assert found is not None
        assert found.shares is None
        assert found.spread < found.resolved
    many = parameter_importances(SPACE, noise, 100 * NUM_VALIDATION)
    assert many is not None
    assert many.shares is not None


@settings(max_examples=5, deadline=None)
@given(accuracy=st.floats(0.3, 0.9), num_trials=st.integers(4, 16), seed=st.integers(0, 99))
def test_trials_that_are_equally_good_rarely_pass_for_different_ones(
    accuracy: float, num_trials: int, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    draws = generator.binomial(NUM_VALIDATION, accuracy, (2000, num_trials)) / NUM_VALIDATION
    resolved = resolved_difference(accuracy, NUM_VALIDATION, num_trials)
    assert np.mean(np.ptp(draws, axis=1) > resolved) < 0.07
