"""Tracking is loud at set-up and can never hurt a run later; against real stores and servers."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from craft_ray.config.sections import MlflowConfig
from craft_ray.errors import TrackingError
from craft_ray.tracking import MlflowTracker, NullTracker, make_tracker, ui_command
from tests.support.mlflow_server import mlflow_server, runs_of

pytestmark = pytest.mark.slow


def test_runs_parents_params_and_metrics_arrive(tmp_path: Path) -> None:
    tracker = make_tracker(MlflowConfig(), tmp_path)
    many = {f"p{index}": "x" * 7000 for index in range(120)}  # over MLflow's limits
    tracker.open("search", "a search", many, tags={"classes": "café/crème, C++, 50 %" * 500})
    tracker.open("search/1", "trial 1", {"head.learning_rate": 1e-3}, parent="search")
    tracker.log("search/1", [{"step": g, "fitness_best": float(g)} for g in range(1, 1501)])
    tracker.close("search/1", "FINISHED")
    tracker.close("search", "FINISHED")
    tracker.shutdown()

    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    runs = {run.info.run_name: run for run in runs_of(uri)}
    assert len(runs["a search"].data.params) == 120
    assert len(runs["a search"].data.tags["classes"]) == 8000
    child = runs["trial 1"]
    assert child.data.tags["mlflow.parentRunId"] == runs["a search"].info.run_id
    history = MlflowClient(tracking_uri=uri).get_metric_history(child.info.run_id, "fitness_best")
    assert sorted(metric.step for metric in history) == list(range(1, 1501))


def test_a_point_that_comes_again_is_the_same(tmp_path: Path) -> None:
    point = {"step": 1, "time_ms": 1_700_000_000_000, "fitness_best": 0.5}
    for later in ([], [{**point, "step": 2, "time_ms": 1_700_000_001_000}]):
        tracker = make_tracker(MlflowConfig(), tmp_path)
        tracker.open("search", "a search", {})
        tracker.log("search", [point, *later])
        tracker.shutdown()
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    (run,) = runs_of(uri)
    history = MlflowClient(tracking_uri=uri).get_metric_history(run.info.run_id, "fitness_best")
    assert [(metric.step, metric.timestamp) for metric in history] == [
        (1, 1_700_000_000_000),
        (2, 1_700_000_001_000),
    ]
    assert "time_ms" not in run.data.metrics


def test_a_resumed_run_goes_on_in_the_same_mlflow_run(tmp_path: Path) -> None:
    for status in ("KILLED", "FINISHED"):
        tracker = make_tracker(MlflowConfig(), tmp_path)
        tracker.open("search", "a search", {"seed": 1})
        tracker.close("search", status)
        tracker.shutdown()
    (run,) = runs_of(f"sqlite:///{tmp_path / 'mlflow.db'}")
    assert run.info.status == "FINISHED"


def test_a_server_that_dies_later_costs_one_warning_and_no_time(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with mlflow_server(tmp_path) as server:
        tracker = MlflowTracker(server.uri, "craft-ray", tmp_path)
        tracker.open("search", "a search", {"seed": 1})
        tracker.shutdown()
        tracker = MlflowTracker(server.uri, "craft-ray", tmp_path)
        tracker.open("search", "a search", {"seed": 1})
        server.kill()
        with caplog.at_level(logging.WARNING, logger="craft_ray"):
            for generation in range(1, 4):
                tracker.log("search", [{"step": generation, "fitness_best": 1.0}])
            tracker.close("search", "FINISHED")
            tracker.shutdown()
    warnings = [record for record in caplog.records if record.name.startswith("craft_ray")]
    assert len(warnings) == 1
    assert "the search goes on without it" in warnings[0].message


@pytest.mark.parametrize("uri", ["http://127.0.0.1:9", "sqlite:///{file}/x.db", "gopher://x"])
def test_a_store_that_does_not_answer_is_an_error_at_the_start(uri: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    uri = uri.format(file=tmp_path / "file")
    with pytest.raises(TrackingError, match=r"mlflow.tracking_uri: .* must answer"):
        make_tracker(MlflowConfig(tracking_uri=uri), tmp_path)


def test_tracking_can_be_declined(tmp_path: Path) -> None:
    config = MlflowConfig(enabled=False)
    assert isinstance(make_tracker(config, tmp_path), NullTracker)
    assert ui_command(config, tmp_path) is None
    assert not list(tmp_path.iterdir())


def test_no_ui_command_is_given_for_a_server_that_already_runs(tmp_path: Path) -> None:
    config = MlflowConfig(tracking_uri="http://127.0.0.1:5000")
    assert ui_command(config, tmp_path) is None
