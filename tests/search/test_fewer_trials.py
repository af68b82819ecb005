"""A search that ends with fewer trials than it may have says why, and what gives it more."""

from __future__ import annotations

import pytest

from craft_ray.classifiers.score import Score
from craft_ray.config.loading import load_space_config
from craft_ray.config.shipped import DEFAULT_SPACE
from craft_ray.metering.planned_spending import DataSize
from craft_ray.search.fewer_trials import why_fewer_trials
from craft_ray.search.results import TrialResult
from tests.support.tuned import tuned

SIZE = DataSize(num_train=160, num_validation=120, num_test=180, num_classes=10)


def trials(*queries: int, last: str = "finished") -> list[TrialResult]:
    """The first is of probes, the others of the paper's method."""
    found = [
        TrialResult(
            number,
            "finished",
            {"variant": "probes" if number == 1 else "craft"},
            tuned(Score(0.5, 1.0, 0.1), queries=asked),
        )
        for number, asked in enumerate(queries, 1)
    ]
    failed = TrialResult(len(queries), last, found[-1].params, found[-1].tuned)
    return [*found[:-1], failed]


def why(results: list[TrialResult], *words: str) -> str | None:
    return why_fewer_trials(load_space_config(DEFAULT_SPACE, words), SIZE, results, "first")


def test_the_default_search_that_has_spent_its_queries_says_so() -> None:
    assert why(trials(1, 600, 600, 600, 600)) == (
        "5 of at most 6 trials: 99 of 2,500 queries are left, and the next may need 600; for more: "
        "the same command with name=first max_total_queries=... --resume"
    )


def test_a_failed_trial_keeps_what_it_may_ask() -> None:
    assert why(trials(1, 600, 600, 600, 99)) is None
    said = why(trials(1, 600, 600, 600, 99, last="failed"))
    assert said is not None
    assert "99 of 2,500 queries are left" in said


@pytest.mark.parametrize("words", [[], ["max_total_queries=null"]])
def test_nothing_is_said_where_nothing_is_missing(words: list[str]) -> None:
    assert why(trials(1, 600, 600, 600, 600, 99), *words) is None
    assert why(trials(1, 600), "max_total_queries=null") is None


def test_other_limits_are_named() -> None:
    assert why(trials(1, 600), "base.time_limit_s=60") == (
        "2 of at most 6 trials: what is left of time_limit_s=60 is not enough for the next; for "
        "more: the same command with name=first time_limit_s=... --resume"
    )
    said = why(trials(1), "max_cost=5", "price_per_thousand_predictions=1", "time_limit_s=60")
    assert said is not None
    assert "what is left of max_cost=5.00 or time_limit_s=60 is" in said
    assert "name=first max_cost=... time_limit_s=... --resume" in said
