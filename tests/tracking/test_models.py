"""A logged classifier as a model of MLflow: in this process, and in MLflow's own command."""

from __future__ import annotations

import base64
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
from mlflow.tracking import MlflowClient
from PIL import Image

from craft_ray.classifiers.artifact import DESCRIPTION_FILE
from craft_ray.config.sections import MlflowConfig
from craft_ray.estimator.classifier import CraftClassifier
from craft_ray.tracking import DataInput, LoggedModel, make_tracker
from craft_ray.tracking.base import RefusedError
from craft_ray.tracking.models import log_model
from tests.support.mlflow_server import runs_of

pytestmark = pytest.mark.slow

NAME = "flowers"
COLORS = ("red", "green")


def a_picture(color: str) -> Image.Image:
    return Image.new("RGB", (28, 28), color)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A classifier of the embedded oracle."""
    folder = tmp_path_factory.mktemp("fitted") / "best"
    images = [a_picture(color) for color in COLORS for _ in range(4)]
    labels = [color for color in COLORS for _ in range(4)]
    settings = {"head.names": 0, "data.views": 1}
    CraftClassifier(settings=settings).fit(images, labels).save(folder)
    return folder


@pytest.fixture(scope="module")
def logged(fitted: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder that had been elsewhere when runs were logged, of which b is best; of two there were
    no validation images."""
    before = tmp_path_factory.mktemp("before") / "runs"
    tracker = make_tracker(MlflowConfig(), before)
    runs = {"first": None, "a": 0.5, "b": 0.75, "c": 0.75, "last": None}
    for run, accuracy in runs.items():
        tags = {"classifier": run}
        tracker.open(run, run, {"seed": 1}, tags={"model": "embedded"})
        data = DataInput("pictures", "training", "0" * 64, "here", 8, 2)
        for _ in range(2):  # what is told again is there once
            tracker.log_inputs(run, [data])
            metrics = {} if accuracy is None else {"accuracy/val": accuracy}
            model = LoggedModel(COLORS, metrics, tags, NAME)
            tracker.log_model(run, fitted, model)
        tracker.tag(run, {"mlflow.note.content": "after [it]({run:first})"})
        tracker.close(run, "FINISHED")
    tracker.shutdown()
    after = before.parent / "moved" / "here"
    shutil.copytree(before, after)
    shutil.rmtree(before)
    make_tracker(MlflowConfig(), after).shutdown()
    mlflow.set_tracking_uri(f"sqlite:///{after / 'mlflow.db'}")
    yield after
    mlflow.set_tracking_uri("")
    os.environ.pop("MLFLOW_TRACKING_URI", None)  # MLflow sets it, also to the default


def test_the_champion_is_the_best_on_validation_and_none_is_there_twice(logged: Path) -> None:
    uri = f"sqlite:///{logged / 'mlflow.db'}"
    client = MlflowClient(tracking_uri=uri)
    runs = {run.info.run_id: run for run in runs_of(uri)}
    versions = client.search_model_versions(f"name = '{NAME}'")
    assert sorted(runs[str(each.run_id)].info.run_name for each in versions) == [
        *"abc",
        "first",
        "last",
    ]
    champion = client.get_model_version_by_alias(NAME, "champion")
    assert runs[str(champion.run_id)].info.run_name == "b"
    assert float(champion.tags["accuracy/val"]) == 0.75
    for run in runs.values():
        assert run.inputs is not None
        (data,) = run.inputs.dataset_inputs
        assert (data.dataset.name, data.tags[0].value) == ("pictures", "training")
        assert json.loads(data.dataset.profile or "")["manifest"] == "0" * 64
        (first,) = [run_id for run_id, each in runs.items() if each.info.run_name == "first"]
        assert f"/runs/{first}?" in run.data.tags["mlflow.note.content"]


def test_a_model_of_a_folder_that_was_moved_predicts_paths_bytes_and_arrays(
    logged: Path, fitted: Path, tmp_path: Path
) -> None:
    model = mlflow.pyfunc.load_model(f"models:/{NAME}@champion")
    path = tmp_path / "red.png"
    a_picture("red").save(path)
    content = path.read_bytes()
    text = base64.b64encode(content).decode()
    array = np.asarray(a_picture("red"))
    probabilities_C = CraftClassifier.load(fitted).predict_proba([path])[0]
    for given in (
        [str(path)],
        [content],
        [text],
        {"image": array[None]},
        pd.DataFrame({"image": [str(path)]}),
    ):
        (row,) = model.predict(given).to_dict("records")
        assert row["label"] == sorted(COLORS)[int(probabilities_C.argmax())]
        assert row["probability"] == probabilities_C.max()
        assert [row[f"probability_{name}"] for name in sorted(COLORS)] == list(probabilities_C)
    with pytest.raises(Exception, match=r"X\[0\]: must be uint8 \[H, W, 3\]"):
        model.predict({"image": np.zeros((1, 4, 4, 1))})


def test_a_model_has_no_weights_of_the_oracle(logged: Path) -> None:
    files = [path for path in logged.rglob("models/*/artifacts/**/*") if path.is_file()]
    assert DESCRIPTION_FILE in {path.name for path in files}
    assert sum(path.stat().st_size for path in files) < 3 * 100_000


def test_mlflows_own_command_predicts(logged: Path, tmp_path: Path) -> None:
    stream = io.BytesIO()
    a_picture("green").save(stream, "PNG")
    text = base64.b64encode(stream.getvalue()).decode()
    asked = {"dataframe_split": {"columns": ["image"], "data": [[text]]}}
    (tmp_path / "asked.json").write_text(json.dumps(asked))
    words = ["-m", f"models:/{NAME}@champion", "-i", "asked.json", "-o", "told.json"]
    done = subprocess.run(
        [sys.executable, "-m", "mlflow", "models", "predict", *words, "--env-manager", "local"],
        cwd=tmp_path,
        env={**os.environ, "MLFLOW_TRACKING_URI": mlflow.get_tracking_uri()},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    (row,) = json.loads((tmp_path / "told.json").read_text())["predictions"]
    assert row["label"] in COLORS
    assert row["probability_red"] + row["probability_green"] == pytest.approx(1)


def test_a_model_that_was_cut_off_is_there_once_and_one_that_cannot_be_written_stops_no_other(
    fitted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = MlflowClient(tracking_uri=f"sqlite:///{tmp_path / 'mlflow.db'}")
    experiment = client.create_experiment("e", artifact_location=(tmp_path / "there").as_uri())
    run_id = client.create_run(experiment).info.run_id
    model = LoggedModel(COLORS, {"accuracy/val": 0.5}, {"classifier": "a"}, NAME)

    def fail(*_: object) -> None:
        raise RuntimeError("no such module")

    with monkeypatch.context() as patch:
        patch.setattr(MlflowClient, "log_model_artifacts", fail)
        for _ in range(2):
            with pytest.raises(RuntimeError):
                log_model(client, run_id, fitted, model)
    with monkeypatch.context() as patch:
        patch.setattr("craft_ray.tracking.models.write_model", fail)
        # Tried again and again, it would keep back all that comes after it.
        with pytest.raises(RefusedError, match="the model cannot be written: no such module"):
            log_model(client, run_id, fitted, model)
    for _ in range(2):
        log_model(client, run_id, fitted, model)
    (one,) = client.search_logged_models([experiment])
    assert one.status == "READY"
    (version,) = client.search_model_versions(f"name = '{NAME}'")
    assert version.tags["craft_ray.model_id"] == one.model_id
