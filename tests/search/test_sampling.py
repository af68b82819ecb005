"""Optuna sees conditional parameters, is told finished trials, and no invalid one is run."""

from __future__ import annotations

from typing import Any

import optuna
import pytest
from optuna.trial import TrialState

from craft_ray.config.loading import load_space_config
from craft_ray.config.shipped import SPACES
from craft_ray.config.space import SpaceConfig
from craft_ray.errors import ConfigError
from craft_ray.search import sampling
from craft_ray.search.sampling import ask, frozen_trial, make_sampler, suggest

SAMPLERS = (
    "{kind: tpe}",
    "{kind: tpe, multivariate: true}",
    "{kind: gp}",
    "{kind: cma_es}",
    "{kind: nsga3, population: 4}",
    "{kind: random}",
)
QUICKSTART = SPACES / "quickstart.yaml"


def study_of(space: SpaceConfig) -> optuna.Study:
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna.create_study(sampler=make_sampler(space, 1), direction="maximize")


def value_of(params: dict[str, Any]) -> float:
    return 0.7 - abs(float(params.get("optimizer.sigma", 0.2)) - 0.1)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_trial_has_the_parameters_that_apply_and_is_told_back_as_it_was(
    sampler: str, capsys: pytest.CaptureFixture[str]
) -> None:
    space = load_space_config(QUICKSTART, [f"sampler={sampler}"])
    study, copy = study_of(space), study_of(space)
    points: list[dict[str, Any]] = []
    for _ in range(9):
        trial = ask(study, space)
        assert space.is_valid(trial.params)
        assert trial.params not in points
        points.append(trial.params)
        study.tell(trial, value_of(trial.params))
        told = frozen_trial(space, trial.params, [value_of(trial.params)])
        assert told.distributions == trial.distributions
        copy.add_trial(told)
    assert len({tuple(point) for point in points}) > 1, "not all have the same parameters"
    assert space.is_valid(ask(copy, space).params)
    assert "warn" not in capsys.readouterr().err.lower(), "no sampler complains"


def test_a_trial_without_an_end_of_its_own_can_be_told() -> None:
    space = load_space_config(QUICKSTART)
    trial = frozen_trial(
        space, {"variant": "probes"}, None, TrialState.PRUNED, intermediate_values={1: 0.5}
    )
    study = study_of(space)
    study.add_trial(trial)
    assert study.trials[0].intermediate_values == {1: 0.5}
    with pytest.raises(ValueError, match=r"misses .*'optimizer.sigma'"):
        frozen_trial(space, {"variant": "craft"}, [0.5])
    with pytest.raises(ValueError, match=r"variant: must be one of probes, craft, .*'absent'"):
        frozen_trial(space, {"variant": "absent"}, [0.5])


def space_with_a_hidden_law(monkeypatch: pytest.MonkeyPatch, share: float) -> SpaceConfig:
    """As if a law between settings had escaped the check of the space."""
    space = load_space_config(SPACES / "optimizers" / "cma_es.yaml", ["first_trials=[]"])
    law = "optimizer.sigma: must be small"

    def problem_of(self: SpaceConfig, values: dict[str, Any]) -> str | None:
        return law if values["optimizer.sigma"] > share else None

    monkeypatch.setattr(SpaceConfig, "problem_of", problem_of)
    return space


def test_an_invalid_combination_is_told_to_the_sampler_and_another_is_drawn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    space = space_with_a_hidden_law(monkeypatch, 0.05)
    study = study_of(space)
    for _ in range(12):
        trial = ask(study, space)
        assert trial.params["optimizer.sigma"] <= 0.05
        study.tell(trial, 0.5)
    states = {trial.state for trial in study.trials}
    assert states == {TrialState.COMPLETE, TrialState.PRUNED}


def test_a_space_without_a_valid_combination_is_an_error_and_no_endless_loop(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    space = space_with_a_hidden_law(monkeypatch, 0.0)
    study = study_of(space)
    with pytest.raises(ConfigError, match=r"cma_es.*the last one: optimizer.sigma: must be small"):
        ask(study, space)
    assert len(study.trials) == sampling.MAX_DRAWS


def test_what_was_tried_is_not_run_again_unless_there_is_nothing_else() -> None:
    parameters = {"head.hidden": {"kind": "choice", "values": [8, 16, 32]}}
    space = SpaceConfig.model_validate({"name": "s", "parameters": parameters})
    study = study_of(space)
    points = []
    for _ in range(4):
        trial = ask(study, space)
        points.append(trial.params["head.hidden"])
        study.tell(trial, 0.5)
    assert sorted(points[:3]) == [8, 16, 32]
    earlier = study_of(space)
    earlier.add_trial(frozen_trial(space, {"head.hidden": 8}, [0.9], is_earlier=True))
    earlier.enqueue_trial({"head.hidden": 8})
    assert ask(earlier, space).params == {"head.hidden": 8}, "another search has run it, not this"


def test_a_range_that_its_steps_do_not_fill_has_no_value_beyond_the_last_step() -> None:
    parameters = {"head.hidden": {"kind": "int_uniform", "low": 8, "high": 30, "step": 8}}
    space = SpaceConfig.model_validate({"name": "s", "parameters": parameters})
    study = study_of(space)
    sampled = {suggest(space, study.ask())["head.hidden"] for _ in range(30)}
    assert sampled == {8, 16, 24}
