"""A search starts from what earlier ones have found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.distributions import BaseDistribution
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from craft_ray.config.loading import load_space_config
from craft_ray.config.shipped import SPACES
from craft_ray.config.space import SpaceConfig
from craft_ray.errors import ConfigError
from craft_ray.metering.planned_spending import DataSize
from craft_ray.search.optuna_search import make_search
from craft_ray.search.warm_start import earlier_trials

SIZE = DataSize(num_train=8, num_validation=4, num_test=6, num_classes=2)

PROBES = SPACES / "probes.yaml"
GOOD = {"head.names": 500, "head.contexts": 2, "head.context_std": 1.0}
OUTSIDE = {**GOOD, "head.context_std": 100.0}
UNLISTED = {**GOOD, "head.names": 7}
OTHER = {"optimizer.sigma": 0.1}
TWO_OBJECTIVES = ("objectives=[accuracy, queries]", "scheduler={kind: none}")


def space(source: dict[str, Any], *words: str) -> SpaceConfig:
    return load_space_config(PROBES, [f"warm_start={json.dumps([source])}", *words])


def write_search(folder: Path, *points: dict[str, Any], status: str = "finished") -> dict[str, Any]:
    trials = [
        {
            "status": status,
            "params": point,
            "objectives": {"accuracy": 0.7 + 0.01 * index, "queries": 17.0},
        }
        for index, point in enumerate(points)
    ]
    (folder / "summary.json").write_text(json.dumps({"trials": trials}))
    return {"kind": "search", "path": str(folder)}


def fill_study(storage: Any, *points: dict[str, Any]) -> None:
    study = optuna.create_study(storage=storage, study_name="mine", direction="maximize")
    for index, point in enumerate(points):
        distributions: dict[str, BaseDistribution] = {
            path: (
                optuna.distributions.IntDistribution(0, 1000)
                if isinstance(value, int)
                else optuna.distributions.FloatDistribution(0.0, 1000.0)
            )
            for path, value in point.items()
        }
        study.add_trial(
            optuna.trial.create_trial(params=point, distributions=distributions, value=0.7 + index)
        )
    study.ask()  # one that is still running


def test_the_finished_trials_of_a_search_that_lie_in_the_space_are_known(tmp_path: Path) -> None:
    source = write_search(tmp_path, OUTSIDE, GOOD, UNLISTED, OTHER)
    (trial,) = earlier_trials(space(source))
    assert trial.params == GOOD
    assert trial.values == [0.71]
    (pair,) = earlier_trials(space(source, *TWO_OBJECTIVES))
    assert pair.values == [0.71, 17.0]


@pytest.mark.parametrize("kind", ["sqlite file", "sqlite url", "journal"])
def test_the_completed_trials_of_a_study_are_known(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "study"
    url = f"sqlite:///{path}"
    fill_study(
        JournalStorage(JournalFileBackend(str(path))) if kind == "journal" else url,
        OUTSIDE,
        GOOD,
    )
    storage = url if kind == "sqlite url" else str(path)
    source = {"kind": "study", "storage": storage, "study": "mine"}
    (trial,) = earlier_trials(space(source))
    assert (trial.params, trial.values) == (GOOD, [1.7])
    with pytest.raises(ConfigError, match="must maximize and minimize, as accuracy, queries do"):
        earlier_trials(space(source, *TWO_OBJECTIVES))


def test_the_sampler_starts_from_them_and_nobody_runs_them(tmp_path: Path) -> None:
    points = [{**GOOD, "head.context_std": 0.3 + 0.1 * index} for index in range(10)]
    settings = space(write_search(tmp_path, *points), "first_trials=[]")
    earlier = earlier_trials(settings)
    knowing = make_search(settings, SIZE, tmp_path, earlier=earlier)
    point = knowing.suggest("a")
    assert point != make_search(settings, SIZE, tmp_path).suggest("a")
    assert point == make_search(settings, SIZE, tmp_path, earlier=earlier).suggest("a")


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"kind": "search", "path": "{}/absent"}, "summary.json: cannot be read"),
        ({"kind": "search", "path": "{}/empty"}, "must be a search's folder, but: KeyError"),
        ({"kind": "search", "path": "{}/other"}, "must have a trial with these parameters within"),
        ({"kind": "search", "path": "{}/running"}, "must have a trial with these parameters"),
        ({"kind": "study", "storage": "{}/absent.db", "study": "s"}, "must hold the study s, but"),
        ({"kind": "study", "storage": "{}/study.db", "study": "no"}, "must hold the study no, but"),
        ({"kind": "study", "storage": "{}/text", "study": "s"}, "must hold the study s, but"),
        ({"kind": "study", "storage": "nodb://x/y", "study": "s"}, "must hold the study s, but"),
    ],
)
def test_what_cannot_be_started_from_is_refused_and_nothing_is_made(
    tmp_path: Path, source: dict[str, str], message: str
) -> None:
    for name in ("empty", "other", "running"):
        (tmp_path / name).mkdir()
    (tmp_path / "empty" / "summary.json").write_text("{}")
    write_search(tmp_path / "other", OTHER)
    write_search(tmp_path / "running", GOOD, status="stopped early")
    fill_study(f"sqlite:///{tmp_path / 'study.db'}", GOOD)
    (tmp_path / "text").write_text("no study\n")
    before = sorted(tmp_path.rglob("*"))
    filled = {key: value.replace("{}", str(tmp_path)) for key, value in source.items()}
    with pytest.raises(ConfigError, match=rf"warm_start\.0: .*{message}"):
        earlier_trials(space(filled))
    assert sorted(tmp_path.rglob("*")) == before
