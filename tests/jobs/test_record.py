"""What a tracker is told of a run."""

from __future__ import annotations

from typing import Any

from craft_ray.config.run import RunConfig
from craft_ray.jobs.record import data_inputs, describe_result
from craft_ray.oracle.gate.bill import Bill
from tests.support.world import world_data


def test_the_source_of_images_is_the_table_or_the_folder_that_is_named() -> None:
    data = world_data()
    for source, place in (
        ({"kind": "csv", "file": "/x/pets.csv"}, "/x/pets.csv"),
        ({"kind": "csv", "file": "/x/pets.csv", "root": "/images"}, "/x/pets.csv"),
        ({"kind": "folder", "root": "/x/pets"}, "/x/pets"),
        ({"kind": "embedded"}, "embedded"),
    ):
        config = RunConfig.model_validate({"data": {"source": source}})
        assert data_inputs(config, data, "training").source == place


SUMMARY: dict[str, Any] = {
    "name": "mine",
    "zero_shot": {"validation": None, "test": None},
    "data": {
        "name": "pets",
        "num_classes": 2,
        "num_train": 4,
        "num_validation": 0,
        "num_test": 0,
    },
    "ledger": {"candidate_queries": 1, "image_predictions": 80, "cached_predictions": 0},
    "cost": None,
    "bill": None,
    "seconds": 3.0,
}


def test_the_page_of_a_run_has_what_the_head_found_out() -> None:
    found = ["1 class has no labelled image and keeps zero-shot: hen.", "The answers vary."]
    result = {"test": None, "judged_by": "held_out", "head": {"sentences": found}}
    note = describe_result(SUMMARY, result, "", RunConfig())
    assert all(f"\n\n{sentence}" in note for sentence in found)
    assert "Spent: 1 query, 80 image predictions, 3 s" in note
    assert "pets, 2 classes, 4 training, no validation and no test images" in note
    assert describe_result(SUMMARY, {"test": None, "head": None}, "", RunConfig())


def test_the_page_of_zero_shot_tells_of_no_training() -> None:
    spent = {"candidate_queries": 0, "image_predictions": 0, "cached_predictions": 0}
    data = {**SUMMARY["data"], "num_train": 0}
    summary = {**SUMMARY, "data": data, "ledger": spent, "bill": Bill().as_dict()}
    note = describe_result(summary, {"test": None, "judged_by": None}, "", RunConfig())
    assert "training" not in note
    assert "Spent: 0 queries, 0 image predictions, 3 s" in note
    assert "The endpoint was asked for nothing: no answer was needed." in note
    spent = {**spent, "cached_predictions": 40}
    note = describe_result({**summary, "ledger": spent}, None, "", RunConfig())
    assert "The endpoint was asked for nothing: all answers were there." in note
