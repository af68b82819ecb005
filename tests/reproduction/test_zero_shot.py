"""Zero-shot with the template that the published number belongs to, and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from craft_ray.classifiers.classifier import TemplateClassifier
from craft_ray.config.data import ShiftedName
from craft_ray.config.reproduction import PAPER_DATASETS, ReproductionConfig
from craft_ray.metering.planned_spending import DataSize, plan_zero_shot
from craft_ray.reproduction.grid import Cell, make_cells, settings_of
from craft_ray.reproduction.zero_shot import ZeroShotTurns, template_beside
from tests.support.world import make_world, metered, register_test_images

SAME = {"caltech101", "stanford_cars", "sun397", "imagenet"}
"""Data sets whose hand-crafted template is the one that the presets tune."""


def beside(dataset: str, **changes: Any) -> str | None:
    config = ReproductionConfig.model_validate({"root": "/data", **changes})
    cell = Cell("RN50", dataset, "craft", 1, 1)
    return template_beside(cell, settings_of(cell, config), config)


@pytest.mark.parametrize("dataset", PAPER_DATASETS)
def test_a_second_template_is_asked_where_it_is_another(dataset: str) -> None:
    assert (beside(dataset) is None) == (dataset in SAME)
    assert beside(dataset, hand_crafted_zero_shot=False) is None


def test_the_template_is_the_data_sets_own() -> None:
    assert beside("eurosat") == "a centered satellite photo of {}."
    assert beside("dtd") == "{} texture."
    assert beside("eurosat", run={"data.template": "a centered satellite photo of {}."}) is None
    assert beside("sun397", run={"data.template": "a view of a {}."}) == "a photo of a {}."


def test_nothing_is_published_for_what_ships() -> None:
    config = ReproductionConfig(datasets=("embedded",))
    cell = Cell("embedded", "embedded", "craft", 1, 1)
    assert template_beside(cell, settings_of(cell, config), config) is None


def test_it_is_measured_once_for_each_backbone_and_data_set() -> None:
    config = ReproductionConfig.model_validate(
        {"root": "/d", "datasets": ["dtd", "eurosat"], "backbones": ["RN50", "RN101"]}
        | {"methods": ["craft", "prompt_only"]}
    )
    settings = {cell: settings_of(cell, config) for cell in make_cells(config)}
    turns = ZeroShotTurns(settings, config, ())
    found = {cell: turn for cell in settings if (turn := turns.take(cell)) is not None}
    assert len(settings) == 2 * 2 * 2 * 5 * 3
    assert {(cell.backbone, cell.dataset): turn.hand_crafted for cell, turn in found.items()} == {
        ("RN50", "dtd"): "{} texture.",
        ("RN50", "eurosat"): "a centered satellite photo of {}.",
        ("RN101", "dtd"): "{} texture.",
        ("RN101", "eurosat"): "a centered satellite photo of {}.",
    }


def three_cells(
    dataset: str = "dtd", shifted: Sequence[ShiftedName] = ()
) -> tuple[ZeroShotTurns, list[Cell]]:
    config = ReproductionConfig.model_validate(
        {"root": "/d", "datasets": [dataset], "backbones": ["RN50"], "methods": ["craft"]}
        | {"shots": [1], "seeds": [1, 2, 3], "imagenet_seeds": [1, 2, 3]}
    )
    settings = {cell: settings_of(cell, config) for cell in make_cells(config)}
    return ZeroShotTurns(settings, config, shifted), list(settings)


def result(accuracy: float, *shifted: ShiftedName) -> dict[str, Any]:
    return {
        "zero_shot": {"test": {"accuracy": accuracy}, "hand_crafted": None},
        "shifted": {name: {} for name in shifted},
    }


def test_if_the_cell_that_measures_it_fails_the_next_one_that_starts_does() -> None:
    turns, (first, second, third) = three_cells()
    assert turns.take(first) == turns.take(first), "also where it is started again"
    assert turns.take(second) is None
    turns.end(first, None)
    assert turns.take(third) is not None
    turns.end(second, {"zero_shot": None})
    assert turns.take(first) is None, "the third one is at it"
    assert turns.score(second) is None
    turns.end(third, result(0.5))
    assert turns.take(first) is None
    assert [turns.score(cell) for cell in (first, second)] == [{"accuracy": 0.5}] * 2


def test_what_an_earlier_part_has_measured_is_not_measured_again() -> None:
    turns, (first, second, third) = three_cells()
    turns.end(second, result(0.25))
    assert turns.take(first) is None
    assert turns.take(third) is None
    assert turns.score(first) == {"accuracy": 0.25}


def test_a_shifted_set_that_was_put_there_since_is_measured_by_the_next_cell() -> None:
    turns, (first, second, third) = three_cells("imagenet", ["imagenetv2", "imagenet_a"])
    turns.end(first, result(0.5, "imagenetv2"))
    assert turns.score(second) == {"accuracy": 0.5}, "of ImageNet itself it is known"
    assert turns.take(second) is not None
    assert turns.take(third) is None, "one cell is enough"
    turns.end(second, result(0.5, "imagenetv2", "imagenet_a"))
    assert turns.take(third) is None


@pytest.mark.parametrize(
    ("dataset", "there"),
    [("imagenet", ["imagenetv2"]), ("imagenet", []), ("dtd", ["imagenetv2", "imagenet_a"])],
)
def test_what_an_earlier_part_has_of_all_sets_is_not_measured_again(
    dataset: str, there: Sequence[ShiftedName]
) -> None:
    turns, (first, second, _) = three_cells(dataset, there)
    of_imagenet: Sequence[ShiftedName] = ["imagenetv2"] if dataset == "imagenet" else []
    turns.end(first, result(0.5, *of_imagenet))
    assert turns.take(second) is None


@pytest.mark.parametrize(
    ("changes", "is_another"),
    [
        ({"data.template": "a view of a {}."}, True),
        ({"data.classes": "base"}, True),
        ({"data.validation": "few_shot"}, False),
        ({}, False),
    ],
)
def test_it_is_another_question_with_another_template_or_other_classes(
    changes: dict[str, Any], is_another: bool
) -> None:
    config = ReproductionConfig.model_validate({"root": "/d", "datasets": ["dtd"]})
    changed = ReproductionConfig.model_validate({"root": "/d", "datasets": ["dtd"], "run": changes})
    one, other = Cell("RN50", "dtd", "craft", 1, 1), Cell("RN50", "dtd", "probes", 4, 2)
    settings = {one: settings_of(one, config), other: settings_of(other, changed)}
    turns = ZeroShotTurns(settings, config, ())
    assert turns.take(one) is not None
    assert (turns.take(other) is not None) == is_another


@pytest.mark.parametrize("template", ["{} texture.", "a centered satellite photo of {}."])
def test_it_costs_a_prediction_of_each_image_and_no_query(template: str) -> None:
    world = make_world()
    images = register_test_images(world.data, world.oracle)
    oracle = metered(world.oracle)
    task = world.prepared.classes
    logits_NC = TemplateClassifier(template).predict(oracle, task, images.handle)
    num_images, num_classes = len(images.labels_N), len(task.class_names)
    assert logits_NC.shape == (num_images, num_classes)
    assert np.isfinite(logits_NC).all()
    planned = plan_zero_shot(DataSize(1, 1, num_images, num_classes))
    assert oracle.ledger.spent == planned
    assert planned.candidate_queries == 0
