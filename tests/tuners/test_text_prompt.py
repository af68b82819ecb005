"""A template is searched for by asking in words, and is what is deployed."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from craft_ray.classifiers.artifact import DESCRIPTION_FILE, Artifact
from craft_ray.classifiers.kinds import TextClassifier
from craft_ray.classifiers.selection import Selected
from craft_ray.config.prompt_words import FRAMES
from craft_ray.errors import ArtifactError, OracleError
from craft_ray.metering.ledger import QueryLedger
from craft_ray.metering.planned_spending import plan_run
from craft_ray.oracle.contract import ClassificationTask, TaskHandle
from craft_ray.task.preparation import prepare
from craft_ray.tuners.base import GenerationReport, Trainer
from craft_ray.tuners.state import load_state, save_state
from tests.support.fake_oracle import FakeOracle
from tests.support.known import known
from tests.support.world import (
    World,
    make_world,
    metered,
    register_test_images,
    run_config,
    world_data,
)

DATA = world_data(shots=4, num_validation=10)


class TextOnlyOracle(FakeOracle):
    """Remembers the templates that it was told of; takes no contexts but those of a template."""

    def __init__(self) -> None:
        super().__init__()
        self.templates: list[str] = []
        self._contexts: dict[str, bytes] = {}

    def register_task(self, task: ClassificationTask) -> TaskHandle:
        handle = super().register_task(task)
        self.templates.append(task.template)
        self._contexts[task.digest] = handle.initial_context.tobytes()
        return handle

    def predict(self, task: Any, images: Any, contexts_KLE: Any, answer: Any = "logits") -> Any:
        assert contexts_KLE.tobytes() == self._contexts[task.digest], "only words may be asked"
        return super().predict(task, images, contexts_KLE, answer)


def text_world(oracle: FakeOracle | None = None, **optimizer: Any) -> World:
    document = run_config(method="prompt", max_queries=48).model_dump(mode="json")
    # The world's images are around the default template, and the task begins at another.
    document["data"]["template"] = "some dull view of {}."
    frames = [*FRAMES, "a photo of a {}.", "a {w} photo of a {}."]
    document["optimizer"] = {"kind": "text", "population": 8, "frames": frames, **optimizer}
    config = type(run_config()).model_validate(document)
    return make_world(config, oracle or FakeOracle(), DATA)


def train(world: World) -> tuple[Trainer, list[GenerationReport], QueryLedger]:
    trainer, ledger = world.trainer()
    reports = []
    while not trainer.finished:
        reports.append(trainer.run_generation())
    return trainer, reports, ledger


def text_of(selected: Selected) -> TextClassifier:
    assert isinstance(selected.classifier, TextClassifier)
    return selected.classifier


def test_only_words_are_asked_each_template_once_and_what_was_planned_is_spent() -> None:
    oracle = TextOnlyOracle()
    world = text_world(oracle)
    oracle.templates.clear()
    trainer, reports, ledger = train(world)
    assert ledger.spent == plan_run(world.config, world.data.size)
    assert ledger.spent.candidate_queries == 48
    asked = oracle.templates
    # Each once as a candidate; those that were validated once more.
    assert len(asked) == 48 + sum(report.validation is not None for report in reports)
    assert len(set(asked)) == 48
    assert trainer.finished


def test_equal_templates_are_asked_once_and_cost_once() -> None:
    oracle = TextOnlyOracle()
    world = text_world(oracle, words=["old", "red"], frames=["a {w} {}"])
    # Four templates in all: of two frames, the task's own among them, with two words each.
    _, reports, ledger = train(world)
    assert len(reports) == 6
    assert ledger.spent.candidate_queries == 4
    assert plan_run(world.config, world.data.size).candidate_queries == 48


def test_a_better_template_is_found_chosen_by_validation_and_deployed(tmp_path: Path) -> None:
    world = text_world()
    trainer, reports, _ = train(world)
    zero_shot, _ = world.trainer()
    before = zero_shot.selected.validation
    found = text_of(trainer.selected)
    assert known(trainer.selected.validation).loss < known(before).loss
    losses = [report.fitness_best for report in reports if report.fitness_best is not None]
    assert min(losses) < losses[0]

    task = ClassificationTask(world.prepared.class_names, world.prepared.template)
    Artifact(found, task, world.prepared.oracle_id).save(tmp_path)
    description = json.loads((tmp_path / DESCRIPTION_FILE).read_text())
    assert description["kind"] == "text_prompt"
    assert description["template"] == found.template
    assert f"template: {found.template}" in (tmp_path / "README.md").read_text().replace("\\", "")
    images = register_test_images(DATA, world.oracle).handle
    loaded = Artifact.load(tmp_path)
    np.testing.assert_array_equal(
        loaded.predict(world.oracle, images),
        found.predict(metered(world.oracle), task, images),
    )
    loaded.export(tmp_path / "exported")
    assert Artifact.load(tmp_path / "exported").content_id == loaded.content_id


def test_validation_chooses_among_the_best_few_and_asks_no_template_twice() -> None:
    trainer, reports, _ = train(text_world())
    told = json.loads(trainer.state_dict().arrays["text"].tobytes())
    validated, losses = told["validated"], dict(told["losses"])
    assert len(validated) == len(set(validated)) == sum(r.validation is not None for r in reports)
    assert min(losses, key=losses.__getitem__) in validated


@pytest.mark.parametrize("stop", [0, 1, 2, 3, 5])
def test_a_stopped_search_ends_as_an_undisturbed_one(stop: int) -> None:
    whole, reports, spent = train(text_world())
    trainer, ledger = text_world().trainer()
    again = [trainer.run_generation() for _ in range(stop)]
    with tempfile.TemporaryDirectory() as folder:
        save_state(trainer.state_dict(), Path(folder))
        state = load_state(Path(folder))
    trainer, ledger = text_world().trainer()
    trainer.load_state_dict(state)
    while not trainer.finished:
        again.append(trainer.run_generation())
    assert again == reports
    assert ledger.spent == spent.spent
    assert text_of(trainer.selected) == text_of(whole.selected)
    assert trainer.state_dict().values == whole.state_dict().values


def test_a_state_of_other_words_is_refused() -> None:
    trainer, _ = text_world().trainer()
    trainer.run_generation()
    other, _ = text_world(words=["old", "red"]).trainer()
    with pytest.raises(ArtifactError, match="words must be"):
        other.load_state_dict(trainer.state_dict())


def test_a_template_that_is_too_long_is_passed_over() -> None:
    long = "very " * 14 + "old"
    trainer, _, ledger = train(text_world(words=[long, "red", "tiny", "grey"]))
    losses = dict(json.loads(trainer.state_dict().arrays["text"].tobytes())["losses"])
    too_long = {template for template, loss in losses.items() if loss == np.inf}
    assert too_long == {template for template in losses if long in template} != set()
    assert ledger.spent.candidate_queries == len(losses) - len(too_long)
    trainer, _ = text_world(words=[long], frames=["a {w} {}"]).trainer()
    with pytest.raises(OracleError, match="its prompt must have at most 16 tokens"):
        trainer.run_generation()


def test_what_does_not_fit_is_neither_validated_nor_the_end_of_a_search() -> None:
    """Few templates fit: all are validated soon, and later populations have none that does."""
    long = [f"{'very ' * 14}old{number}" for number in range(40)]
    world = text_world(words=[*long, "red"], frames=["a {w} {}"], population=4)
    trainer, reports, _ = train(world)
    assert len(reports) == world.config.num_generations == 12
    told = json.loads(trainer.state_dict().arrays["text"].tobytes())
    assert all(dict(told["losses"])[template] < np.inf for template in told["validated"])
    assert sum(report.validation is not None for report in reports) > len(set(told["validated"]))


def test_a_soft_search_cannot_start_from_words(tmp_path: Path) -> None:
    world = text_world()
    task = ClassificationTask(world.prepared.class_names, world.prepared.template)
    Artifact(TextClassifier("an old {}"), task, world.prepared.oracle_id).save(tmp_path)
    config = run_config(method="prompt", prompt={"start": str(tmp_path)})
    with pytest.raises(ArtifactError, match=r"data\.template='an old {}'"):
        make_world(config, world.oracle, DATA)


def test_nothing_of_z_is_checked() -> None:
    world = text_world()
    config = world.config.model_copy(
        update={"prompt": world.config.prompt.model_copy(update={"projection": "per_token"})}
    )
    prepare(config, DATA, metered(world.oracle))
