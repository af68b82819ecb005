"""Which parameter made the difference."""

from __future__ import annotations

import json

import pytest

from craft_ray.classifiers.score import Score
from craft_ray.commands.tune import DEFAULT_SPACE
from craft_ray.config.loading import load_space_config
from craft_ray.search.importances import MIN_TRIALS, parameter_importances
from craft_ray.search.results import TrialResult
from tests.support.tuned import tuned

NAMES = (100, 200, 500, 900)
CONTEXTS = (0, 2, 5)
PARAMETERS = {
    "head.names": {"kind": "choice", "values": NAMES},
    "head.contexts": {"kind": "choice", "values": CONTEXTS},
    "head.context_std": {"kind": "uniform", "low": 0.3, "high": 2.3},
}
SPACE = load_space_config(
    DEFAULT_SPACE, [f"parameters={json.dumps(PARAMETERS)}", "first_trials=[]"]
)


def trial(number: int, accuracy: float, status: str = "finished") -> TrialResult:
    return TrialResult(
        number=number,
        status=status,
        params={
            "head.names": NAMES[number % 4],
            "head.contexts": CONTEXTS[number % 3],
            "head.context_std": 0.3 + 0.1 * number,
        },
        tuned=tuned(Score(accuracy, 1.0, 0.1)),
    )


def test_the_parameter_that_decides_is_the_most_important() -> None:
    trials = [trial(i, accuracy=0.5 + 0.1 * (i % 4)) for i in range(1, 17)]
    shares = parameter_importances(SPACE, trials)
    assert shares is not None
    assert next(iter(shares)) == "head.names"
    assert shares["head.names"] > 0.8
    assert sum(shares.values()) == pytest.approx(1)
    assert shares == parameter_importances(SPACE, trials)


def test_too_few_or_equal_trials_say_nothing() -> None:
    different = [trial(i, 0.1 * i) for i in range(1, MIN_TRIALS)]
    assert parameter_importances(SPACE, different) is None
    lost = [trial(9, 0.9, "stopped early")]
    assert parameter_importances(SPACE, different + lost) is None
    assert parameter_importances(SPACE, [trial(i, 0.5) for i in range(1, 9)]) is None
