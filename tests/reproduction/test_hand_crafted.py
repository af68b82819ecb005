"""Zero-shot with the template that the published number belongs to, and what it costs."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from craft_ray.classifiers.classifier import TemplateClassifier
from craft_ray.config.reproduction import PAPER_DATASETS, ReproductionConfig
from craft_ray.metering.planned_spending import DataSize, plan_zero_shot
from craft_ray.reproduction.grid import Cell, make_cells, settings_of
from craft_ray.reproduction.hand_crafted import templates_beside
from tests.support.world import make_world, metered, register_test_images

SAME = {"caltech101", "stanford_cars", "sun397", "imagenet"}
"""Data sets whose hand-crafted template is the one that the presets tune."""


def beside(dataset: str, **changes: Any) -> str | None:
    config = ReproductionConfig.model_validate({"root": "/data", **changes})
    cell = Cell("RN50", dataset, "craft", 1, 1)
    return templates_beside({cell: settings_of(cell, config)}, config).get(cell)


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
    assert not templates_beside({cell: settings_of(cell, config)}, config)


def test_it_is_asked_once_for_each_backbone_and_data_set() -> None:
    config = ReproductionConfig.model_validate(
        {"root": "/d", "datasets": ["dtd", "eurosat"], "backbones": ["RN50", "RN101"]}
        | {"methods": ["craft", "prompt_only"]}
    )
    settings = {cell: settings_of(cell, config) for cell in make_cells(config)}
    found = templates_beside(settings, config)
    assert len(settings) == 2 * 2 * 2 * 5 * 3
    assert [(cell.backbone, cell.dataset) for cell in found] == [
        ("RN50", "dtd"),
        ("RN50", "eurosat"),
        ("RN101", "dtd"),
        ("RN101", "eurosat"),
    ]


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
