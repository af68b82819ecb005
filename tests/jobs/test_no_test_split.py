"""A data set without test images is tuned, and nothing passes for a test score."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

import craft_ray
from craft_ray.classifiers.artifact import Artifact
from craft_ray.commands import runs
from craft_ray.commands.common import print_outcome
from craft_ray.config.data import EmbeddedSource
from craft_ray.config.run import RunConfig
from craft_ray.data.dataset import Item, Split
from craft_ray.data.sources import load_dataset
from craft_ray.jobs.record import describe_result
from craft_ray.metering.planned_bill import plan_driver_bill, plan_test_bill
from craft_ray.metering.planned_spending import plan_driver, plan_feature_probe_test, plan_test
from craft_ray.task.preparation import FewShotData, load_data
from tests.support.asked_endpoint import endpoint
from tests.support.world import SMALL_RUN, world_data

SMALL: dict[str, Any] = {
    "data.shots": 2,
    "data.views": 1,
    "head.names": 5,
    "head.folds": 2,
    "pool.replicas": 1,
    "pool.threads_per_replica": 1,
}


def without_test(data: FewShotData) -> FewShotData:
    splits: dict[Split, Sequence[Item]] = dict(data.dataset.splits)
    del splits["test"]
    return replace(data, dataset=replace(data.dataset, splits=splits))


def write_table(folder: Path, split: str | None = None) -> Path:
    """Four images a class of the embedded data set, all for training, or a fourth of them of
    `split`."""
    dataset, seen = load_dataset(EmbeddedSource()), dict[int, int]()
    items: list[tuple[int, Item]] = []
    for item in dataset.splits["train"]:
        number = seen[item.label] = seen.get(item.label, 0) + 1
        if number <= 4:
            items.append((number, item))
    with (folder / "images.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "label", "split"])
        for place, (number, item) in enumerate(items):
            (folder / f"{place}.png").write_bytes(item.read())
            of = split if split and number == 4 else "train"
            writer.writerow([f"{place}.png", dataset.class_names[item.label], of])
    return folder / "images.csv"


def test_nothing_is_planned_for_a_test_and_it_is_said() -> None:
    data = without_test(world_data())
    assert data.size.num_test == 0
    assert data.describe().endswith(" validation and no test images")
    assert plan_test(SMALL_RUN, data.size).image_predictions == 0
    assert plan_test(SMALL_RUN, data.size).images_sent == 0
    assert plan_feature_probe_test(data.size).image_predictions == 0
    whole = plan_driver(SMALL_RUN, world_data().size).image_predictions
    spent = plan_driver(SMALL_RUN, data.size).image_predictions
    assert spent == whole - plan_test(SMALL_RUN, world_data().size).image_predictions


@pytest.mark.parametrize("dialect", ["infinity", "hf_zero_shot", "craft_ray"])
@pytest.mark.parametrize("kind", ["probes", "residual_mlp"])
def test_nothing_is_billed_for_a_test(dialect: str, kind: str) -> None:
    data = world_data()
    head = {"kind": kind, "names": 3} if kind == "probes" else {"kind": kind}
    oracle = endpoint("http://host.test", dialect, image_size=8)
    document = {**SMALL_RUN.model_dump(mode="json"), "method": "head", "head": head}
    config = RunConfig.model_validate({**document, "oracle": oracle})
    none = plan_test_bill(config, without_test(data).size)
    assert (none.requests, none.images, none.texts, none.pairs) == (0, 0, 0, 0)
    with_test = plan_driver_bill(config, data.size)
    beside = plan_driver_bill(config, without_test(data).size)
    assert beside.requests <= with_test.requests
    assert beside.images <= with_test.images
    assert beside.pairs <= with_test.pairs


def test_training_images_alone_validate_on_those_that_were_not_chosen(tmp_path: Path) -> None:
    table = write_table(tmp_path)
    data = load_data(RunConfig.model_validate(settings_of(table)))
    assert set(data.dataset.splits) == {"train"}
    assert (len(data.train), len(data.validation)) == (20, 20)
    assert not {item.name for item in data.train} & {item.name for item in data.validation}
    assert list(data.test) == []


def settings_of(table: Path) -> dict[str, Any]:
    return {"data": {"source": {"kind": "csv", "file": str(table)}, "shots": 2}}


SCORE = {"accuracy": 0.8, "loss": 0.5, "calibration_error": 0.1}


def test_the_last_lines_tell_validation_and_how_to_measure(tmp_path: Path) -> None:
    text = io.StringIO()
    summary = {
        "name": "mine",
        "zero_shot": {"validation": {**SCORE, "accuracy": 0.7}, "test": None},
        "tuned": {"validation": SCORE, "test": None},
        "data": {
            "name": "pets",
            "num_classes": 2,
            "num_train": 4,
            "num_validation": 40,
            "num_test": 0,
        },
        "ledger": {"candidate_queries": 1, "image_predictions": 80, "cached_predictions": 0},
        "cost": None,
        "bill": None,
        "seconds": 3.0,
    }
    console = Console(file=text, width=200)
    print_outcome(console, summary, summary["tuned"], "The result", tmp_path, None)  # type: ignore[arg-type]
    said = text.getvalue()
    assert "validation accuracy 80.0%" in said
    assert "zero-shot 70.0%" in said
    assert "There are no test images" in said
    assert f"craft-ray evaluate {tmp_path}" in said
    assert "test accuracy" not in said
    note = describe_result(summary, None, "", RunConfig())
    assert "No test images" in note
    assert "and no test images" in note


@pytest.mark.slow
def test_a_training_and_a_search_without_test_images(
    on_shared_ray: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.chdir(tmp_path)
    source = {"data.source.kind": "csv", "data.source.file": str(write_table(tmp_path))}
    trained = craft_ray.train(None, {**SMALL, **source, "name": "one"}, progress=False)
    summary = json.loads((tmp_path / "runs" / "one" / "summary.json").read_text())
    check_result(trained, summary, summary["tuned"])
    assert summary["ledger"]["images_sent"] == 2 * 20 + 20, "plain images, a view, validation"
    recorded = metrics_in(tmp_path)
    assert any("accuracy/val" in names for names in recorded)
    assert not any(name.endswith("/test") for names in recorded for name in names)
    assert runs.main(["show", "one"]) == 0
    assert "no test images, so no test accuracy" in capsys.readouterr().out

    space = {
        "base": {"method": "head", "head": {"kind": "probes"}, "max_queries": 10},
        "parameters": {"head.contexts": {"kind": "choice", "values": [1, 2]}},
        "trials": 2,
        "sampler": {"kind": "random"},
        "scheduler": {"kind": "none"},
    }
    more = {"mlflow.enabled": False, "name": "two"}
    searched = craft_ray.tune(space, {**SMALL, **source, **more}, progress=False)
    summary = json.loads((tmp_path / "runs" / "two" / "summary.json").read_text())
    check_result(searched, summary, summary["best"])
    shutil.rmtree(tmp_path / "runs" / "two" / "best")
    (tmp_path / "runs" / "two" / "summary.json").unlink()
    again = craft_ray.tune(space, {**SMALL, **source, **more}, progress=False, resume=True)
    assert again.validation == searched.validation


def check_result(result: Any, summary: dict[str, Any], found: dict[str, Any]) -> None:
    assert result.test is None
    assert result.zero_shot is None
    assert result.gain is None
    assert result.validation.images == 20
    assert (summary["zero_shot"]["test"], found["test"]) == (None, None)
    assert summary["data"]["num_test"] == 0
    assert not (result.folder / "test_predictions.parquet").exists()
    page = (result.folder / "report.html").read_text()
    assert "There are no test images" in page
    assert "craft-ray evaluate" in page
    card = (result.classifier_folder / "README.md").read_text()
    assert "It was not tested on images that nothing was chosen on" in card
    assert "zero-shot, test" not in card
    assert Artifact.load(result.classifier_folder).about.test is None  # type: ignore[union-attr]


def metrics_in(folder: Path) -> list[list[str]]:
    """Names of the metrics of each run that MLflow has."""
    import mlflow

    address = f"sqlite:///{folder / 'runs' / 'mlflow.db'}"
    client = mlflow.MlflowClient(address)
    experiments = [each.experiment_id for each in client.search_experiments()]
    return [list(run.data.metrics) for run in client.search_runs(experiments)]
