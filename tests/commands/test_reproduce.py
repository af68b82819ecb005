"""`python -m craft_ray.reproduce` as a researcher runs it, on small trees of the real layout."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from mlflow.tracking import MlflowClient

from craft_ray.config.data import CoopName
from tests.commands.test_commands import run, start, summary_of, wait_for
from tests.support.checkpoints import tiny_clip_dir
from tests.support.coop_trees import write_coop
from tests.support.shared_ray import call

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

METHODS = ("craft", "random_search", "white_box", "linear_probe", "probes")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with data sets under `data` and a model under `model`."""
    folder = tmp_path_factory.mktemp("reproduce")
    names: tuple[CoopName, ...] = ("dtd", "imagenet", "imagenetv2", "imagenet_a")
    for name in names:
        write_coop(folder / "data", name)
    tiny_clip_dir(folder / "model")
    return folder


def words(place: Path, *more: str) -> list[str]:
    return [
        f"root={place / 'data'}",
        f"backbones=['local-dir:{place / 'model'}']",
        "datasets=[dtd,eurosat,imagenet]",
        "shots=[1]",
        "seeds=[1]",
        "max_queries=80",
        "white_box.steps=4",
        "evaluate_every_generations=1",
        "ray.object_store_mb=200",
        # The shared Ray has other CPUs than one of its own, and other sums with them.
        "pool.threads_per_replica=1",
        *more,
    ]


@pytest.fixture(scope="module")
def reproduced(shared_ray: str, place: Path) -> tuple[Path, str]:
    """A finished reproduction and what it printed."""
    methods = ",".join([*METHODS, "probes_unlabelled"])
    grid = [f"methods=[{methods}]", "shifted=[imagenetv2,imagenet_a,imagenet_r]"]
    result = call(shared_ray, place, "reproduce", *words(place, *grid), "name=whole")
    assert result.returncode == 0, result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    return place, result.stdout


def test_what_is_there_is_run_and_what_is_missing_is_named(reproduced: tuple[Path, str]) -> None:
    place, output = reproduced
    assert f"Missing, and left out: eurosat: {place / 'data' / 'eurosat'}" in output
    assert f"imagenet_r: {place / 'data' / 'imagenet-rendition'}" in output
    summary = summary_of(place, "whole")
    assert set(summary["missing"]) == {"eurosat", "imagenet_r"}
    rows = {(row["dataset"], row["method"]) for row in summary["rows"]}
    assert {(name, method) for name in ("dtd", "imagenet") for method in METHODS} <= rows
    assert ("dtd", "zero_shot") in rows


def test_cells_with_too_few_unlabelled_images_are_left_out_and_named(
    reproduced: tuple[Path, str],
) -> None:
    place, output = reproduced
    named = "Cannot run: dtd, 1 shot, probes_unlabelled: data.unlabelled: must have at least 10"
    assert output.count(named) == 2, "at the start and at the end"
    (left_out,) = summary_of(place, "whole")["left_out"]
    assert (left_out["dataset"], left_out["method"]) == ("dtd", "probes_unlabelled")


def test_shifted_sets_are_rows_of_the_classifiers_of_imagenet(
    reproduced: tuple[Path, str],
) -> None:
    place, _ = reproduced
    rows = summary_of(place, "whole")["rows"]
    for name in ("imagenetv2", "imagenet_a"):
        methods = {row["method"] for row in rows if row["dataset"] == name}
        assert methods == {"zero_shot", "zero_shot_hand_crafted", *METHODS}


def test_zero_shot_is_asked_with_the_published_template_as_well(
    reproduced: tuple[Path, str],
) -> None:
    place, _ = reproduced
    dtd, imagenet = (result_of(place, "whole", "craft", name) for name in ("dtd", "imagenet"))
    assert dtd["zero_shot"]["hand_crafted"]["template"] == "{} texture."
    assert dtd["zero_shot"]["hand_crafted"]["test"] != dtd["zero_shot"]["test"]
    assert imagenet["zero_shot"]["hand_crafted"] is None, "it is the one that is tuned"


def test_tables_and_plots_are_beside_the_summary(reproduced: tuple[Path, str]) -> None:
    place, output = reproduced
    folder = place / "runs" / "whole"
    assert (folder / "table.md").read_text() in output
    table = pq.read_table(folder / "results.parquet").to_pylist()
    assert table == summary_of(place, "whole")["rows"]
    for name in ("results.csv", "accuracy_by_shots.png", "accuracy_by_queries.png"):
        assert (folder / name).stat().st_size > 100


def result_of(place: Path, name: str, method: str, dataset: str = "dtd") -> dict[str, Any]:
    (path,) = (place / "runs" / name / "cells").glob(f"*-{dataset}-{method}-*/result.json")
    document: dict[str, Any] = json.loads(path.read_text())
    return document


def test_a_cell_tells_its_sample_its_spending_and_its_curve(reproduced: tuple[Path, str]) -> None:
    place, _ = reproduced
    craft = result_of(place, "whole", "craft")
    assert craft["ledger"]["candidate_queries"] == 80
    assert [queries for queries, _ in craft["curve"]] == [40, 80]
    assert len(craft["data"]["few_shot_manifest"]) == 64
    assert craft["settings"]["fidelity"]["preset"] == "reference"
    gradients = result_of(place, "whole", "white_box")
    assert gradients["ledger"]["candidate_queries"] == 0
    assert gradients["ledger"]["white_box_predictions"] == 4 * 3
    assert result_of(place, "whole", "random_search")["ledger"]["candidate_queries"] == 80
    ours = result_of(place, "whole", "probes")
    assert ours["ledger"]["candidate_queries"] == 1
    assert ours["tuned"]["validation"] is None
    assert (ours["data"]["num_train"], ours["data"]["num_validation"]) == (3, 0)
    same = {result_of(place, "whole", m)["data"]["few_shot_manifest"] for m in METHODS}
    assert len(same) == 1, "methods are compared on the same images"


def test_checkpoints_are_gone_and_classifiers_are_kept(reproduced: tuple[Path, str]) -> None:
    place, _ = reproduced
    cells = place / "runs" / "whole" / "cells"
    assert len(list(cells.iterdir())) == 10
    assert not list(cells.glob("*/worker"))
    assert len(list(cells.glob("*/classifier/classifier.json"))) == 8  # not of linear probes


def test_mlflow_has_a_run_for_each_cell_below_one(reproduced: tuple[Path, str]) -> None:
    place, _ = reproduced
    client = MlflowClient(tracking_uri=f"sqlite:///{place / 'runs' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("craft-ray")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], filter_string="")
    names = {entry.info.run_name for entry in runs}
    assert "whole" in names
    children = [entry for entry in runs if "mlflow.parentRunId" in entry.data.tags]
    assert len(children) == 10
    assert {entry.info.status for entry in runs} == {"FINISHED"}
    assert all("accuracy/test" in entry.data.metrics for entry in children)


def test_a_stopped_reproduction_continues_and_gives_the_same(
    reproduced: tuple[Path, str],
) -> None:
    place, _ = reproduced
    grid = words(place, "methods=[craft,random_search]")
    process = start(place, "reproduce", *grid, "name=stopped")
    cells = place / "runs" / "stopped" / "cells"
    wait_for(process, cells, "*/result.json")
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    assert "name=stopped --resume" in errors
    done = {path: path.stat().st_mtime_ns for path in cells.glob("*/result.json")}
    assert 1 <= len(done) < 4
    resumed = run(place, "reproduce", *grid, "name=stopped", "--resume")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    for path, written in done.items():
        assert path.stat().st_mtime_ns == written, "a finished cell is not run again"
    for dataset in ("dtd", "imagenet"):
        for method in ("craft", "random_search"):
            whole, stopped = (result_of(place, n, method, dataset) for n in ("whole", "stopped"))
            for key in ("tuned", "zero_shot", "curve", "data"):
                assert stopped[key] == whole[key], (dataset, method, key)


def test_a_cell_that_cannot_run_is_told_and_the_others_go_on(
    shared_ray: str, place: Path, tmp_path: Path
) -> None:
    write_coop(tmp_path / "data", "dtd")
    write_coop(tmp_path / "data", "ucf101")
    broken = next((tmp_path / "data" / "ucf101" / "UCF-101-midframes").rglob("*.jpg"))
    broken.write_bytes(b"no image")
    grid = [
        f"root={tmp_path / 'data'}",
        f"backbones=['local-dir:{place / 'model'}']",
        "datasets=[dtd,ucf101]",
        *("shots=[16]", "seeds=[1]", "max_queries=40", "methods=[head_only]"),
    ]
    result = call(shared_ray, tmp_path, "reproduce", *grid, "name=partly", "mlflow.enabled=false")
    assert result.returncode == 1, result.stdout + result.stderr
    assert f"{broken}: must be a readable image" in result.stdout
    assert "Traceback" not in result.stdout + result.stderr
    assert "| dtd " in (tmp_path / "runs" / "partly" / "table.md").read_text()
    assert not (tmp_path / "runs" / "partly" / "summary.json").exists()
