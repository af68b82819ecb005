"""A run that starts from what an earlier one tuned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from craft_ray.classifiers.artifact import Artifact
from craft_ray.errors import ArtifactError
from craft_ray.metering.planned_spending import plan_run
from craft_ray.task.preparation import classification_task
from craft_ray.tuners.base import Trainer
from tests.support.classifiers import as_prompt
from tests.support.fake_oracle import FakeOracle
from tests.support.known import known
from tests.support.world import BOTH_ANSWERS, World, make_world, run_config, world_data

DATA = world_data(shots=4, num_validation=10)
METHODS: dict[str, dict[str, Any]] = {
    "both": {},
    "prompt": {"method": "prompt"},
    "head": {"method": "head"},
    "searched for a linear head": {"head": {"kind": "linear", "folds": 2}},
    "probes": {
        "method": "head",
        "head": {"kind": "probes", "names": 0, "contexts": 2, "folds": 2},
    },
}


def finished(world: World) -> Trainer:
    trainer, _ = world.trainer()
    while not trainer.finished:
        trainer.run_generation()
    return trainer


def stored(folder: Path, world: World, trainer: Trainer) -> Path:
    task = classification_task(world.config, world.data)
    Artifact(trainer.selected.classifier, task, world.prepared.oracle_id).save(folder)
    return folder


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    world = make_world(run_config(method="prompt", max_queries=240), data=DATA)
    return stored(tmp_path / "best", world, finished(world))


def starting(place: Path, **settings: Any) -> World:
    return make_world(run_config(prompt={"start": str(place)}, **settings), data=DATA)


@pytest.mark.parametrize("method", METHODS)
def test_it_is_never_worse_than_what_it_starts_from(method: str, earlier: Path) -> None:
    world = starting(earlier, **METHODS[method])
    trainer, ledger = world.trainer()
    start = trainer.selected
    tuned = as_prompt(Artifact.load(earlier).classifier).context_LE
    np.testing.assert_array_equal(as_prompt(start.classifier).context_LE, tuned)
    while not trainer.finished:
        trainer.run_generation()
    assert not known(start.validation).is_better_than(known(trainer.selected.validation))
    assert ledger.spent == plan_run(world.config, DATA.size)


def test_candidates_lie_around_the_earlier_prompt(earlier: Path) -> None:
    world = starting(earlier, method="prompt", optimizer={"sigma": 1e-6}, fidelity="reference")
    tuned = as_prompt(Artifact.load(earlier).classifier).context_LE
    found = as_prompt(finished(world).selected.classifier).context_LE
    np.testing.assert_allclose(found, tuned, atol=1e-3)
    assert np.abs(tuned - world.prepared.task.initial_context).max() > 0.1


def test_zero_shot_stays_what_the_template_says(earlier: Path) -> None:
    world, fresh = starting(earlier), make_world(data=DATA)
    np.testing.assert_array_equal(
        world.prepared.task.initial_context, fresh.prepared.task.initial_context
    )


def test_a_prompt_of_another_oracle_is_refused(earlier: Path) -> None:
    config = run_config(prompt={"start": str(earlier)})
    with pytest.raises(ArtifactError, match=r"prompt\.start: must have been tuned for this oracle"):
        make_world(config, FakeOracle(seed=1, answers=BOTH_ANSWERS), DATA)


def test_several_prompts_are_refused(tmp_path: Path) -> None:
    world = make_world(run_config(**METHODS["probes"]), data=DATA)
    place = stored(tmp_path / "probes", world, finished(world))
    with pytest.raises(ArtifactError, match=r"prompt\.start: must have one prompt, .* about 3"):
        starting(place)


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="nowhere"):
        starting(tmp_path / "nowhere")


def test_a_place_is_known_from_everywhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_config(prompt={"start": "best"}).prompt.start == str(tmp_path / "best")
    address = "s3://bucket/run/best"
    assert run_config(prompt={"start": address}).prompt.start == address
