"""A classifier that MLflow keeps is found by MLflow's own addresses."""

from __future__ import annotations

from pathlib import Path

import mlflow
import pytest

from craft_ray.classifiers.artifact import Artifact
from craft_ray.errors import ConfigError
from craft_ray.inference.runs import find_classifier
from tests.classifiers.test_artifact import trained

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder of runs with MLflow's database, and the number of a run there."""
    folder = tmp_path_factory.mktemp("runs")
    trained().save(folder / "one" / "best")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    client = mlflow.MlflowClient(tracking_uri=uri)
    experiment = client.create_experiment("craft-ray", (folder / "artefacts").as_uri())
    run = client.create_run(experiment)
    client.log_artifacts(run.info.run_id, str(folder / "one" / "best"), "model/artifacts/best")
    client.create_registered_model("pets")
    source = f"{run.info.artifact_uri}/model"
    version = client.create_model_version("pets", source, run.info.run_id)
    client.set_registered_model_alias("pets", "champion", version.version)
    return folder, run.info.run_id


def test_by_run_by_alias_and_by_version(runs: tuple[Path, str]) -> None:
    folder, run_id = runs
    for address in (
        f"runs:/{run_id}",
        f"runs:/{run_id}/model",
        "models:/pets@champion",
        "models:/pets/1",
    ):
        found = find_classifier(address, folder)
        assert Artifact.load(found).content_id == trained().content_id
        assert folder not in Path(str(found)).parents, "a copy, wherever MLflow keeps it"


def test_what_mlflow_does_not_have_is_said(runs: tuple[Path, str], tmp_path: Path) -> None:
    folder, run_id = runs
    for address, message in (
        ("runs:/0123", "'runs:/0123' must be in MLflow at sqlite:.*not found"),
        ("models:/nothing@champion", "must be in MLflow at .*not found"),
        (f"runs:/{run_id}/elsewhere", "must be in MLflow at|must hold a classifier"),
    ):
        with pytest.raises(ConfigError, match=message):
            find_classifier(address, folder)
    with pytest.raises(ConfigError, match=r"needs MLflow's database, but .* has none"):
        find_classifier("models:/pets@champion", tmp_path)
    assert not list(tmp_path.iterdir()), "no database was made"
