"""What a run meets when it begins to record: others that begin too, deleted experiments, and
folders with any name."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from craft_ray.config.sections import MlflowConfig
from craft_ray.errors import TrackingError
from craft_ray.tracking import make_tracker
from craft_ray.tracking.mlflow_tracker import tracking_uri
from craft_ray.tracking.spool import SPOOL_FOLDER
from tests.support.mlflow_server import runs_of

pytestmark = pytest.mark.slow

RUN = """
import sys
from pathlib import Path
from craft_ray.config.sections import MlflowConfig
from craft_ray.tracking import make_tracker
tracker = make_tracker(MlflowConfig(), Path(sys.argv[1]))
tracker.open(sys.argv[2], sys.argv[2], {})
tracker.close(sys.argv[2], "FINISHED")
tracker.shutdown()
"""


def record(folder: Path, name: str) -> None:
    tracker = make_tracker(MlflowConfig(), folder)
    tracker.open(name, name, {})
    tracker.close(name, "FINISHED")
    tracker.shutdown()


def names_in(folder: Path) -> set[str]:
    return {str(run.info.run_name) for run in runs_of(tracking_uri(MlflowConfig(), folder))}


def test_runs_that_start_at_once_in_a_new_folder(tmp_path: Path) -> None:
    """Two sets of tables in one database: `duplicate column name`."""
    folder = tmp_path / "new"
    started = [
        subprocess.Popen([sys.executable, "-c", RUN, str(folder), name], stderr=subprocess.PIPE)
        for name in ("one", "two")
    ]
    for process in started:
        _, words = process.communicate(timeout=300)
        assert process.returncode == 0, words.decode()
    assert names_in(folder) == {"one", "two"}
    assert [path.name for path in folder.iterdir()] == ["mlflow.db"]


def test_a_deleted_experiment_is_found_at_the_start_and_the_printed_line_restores_it(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "a folder; it's"
    record(folder, "before")
    client = MlflowClient(tracking_uri=tracking_uri(MlflowConfig(), folder))
    client.delete_experiment(id_of(client))
    with pytest.raises(TrackingError) as caught:
        make_tracker(MlflowConfig(), folder)
    words = str(caught.value)
    assert words.startswith("mlflow.experiment: 'craft-ray' must not be deleted in MLflow, but is")
    assert "another name: mlflow.experiment=NAME" in words
    assert not (folder / SPOOL_FOLDER).exists()

    line = words.split("`")[1].replace(" mlflow ", f" {sys.executable} -m mlflow ", 1)
    subprocess.run(line, shell=True, check=True, capture_output=True)
    record(folder, "after")
    assert names_in(folder) == {"before", "after"}


def test_an_experiment_that_is_deleted_meanwhile_loses_nothing_when_it_is_restored(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    said: list[str] = []
    tracker = make_tracker(MlflowConfig(), tmp_path, said.append)
    tracker.open("run", "run", {})
    uri = tracking_uri(MlflowConfig(), tmp_path)
    until(lambda: bool(runs_of(uri)))
    client = MlflowClient(tracking_uri=uri)
    experiment = id_of(client)
    client.delete_experiment(experiment)
    tracker.log("run", [{"step": 1, "fitness_best": 0.5}])
    tracker.close("run", "FINISHED")
    tracker.shutdown()
    assert "mlflow experiments restore" in caplog.text
    assert "MLflow has not taken 2 entries" in said[0]

    # What waits for it keeps nothing of a run with another name waiting.
    other = make_tracker(MlflowConfig(experiment="other"), tmp_path)
    other.open("other", "other", {})
    other.shutdown()
    assert [run.info.run_name for run in runs_of(uri, "other")] == ["other"]

    client.restore_experiment(experiment)
    record(tmp_path, "later")
    (run,) = (run for run in runs_of(uri) if run.info.run_name == "run")
    assert run.data.metrics["fitness_best"] == 0.5
    assert run.info.status == "FINISHED"


@pytest.mark.parametrize("name", ["a b", "100%20 #1", "why?"])
def test_a_folder_may_have_any_name(name: str, tmp_path: Path) -> None:
    folder = tmp_path / name
    folder.mkdir()
    record(folder, "run")
    assert names_in(folder) == {"run"}


def id_of(client: MlflowClient) -> str:
    found = client.get_experiment_by_name("craft-ray")
    assert found is not None
    return str(found.experiment_id)


def until(holds: Callable[[], bool], within_s: float = 60.0) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.1)
