"""Classifiers that MLflow keeps: `runs:/ID`, `models:/NAME@champion`, `models:/NAME/3`."""

from __future__ import annotations

import os
import tempfile
from atexit import register
from pathlib import Path
from shutil import rmtree

from craft_ray.classifiers.artifact import DESCRIPTION_FILE
from craft_ray.errors import ConfigError

SCHEMES = ("runs:/", "models:/")


def is_mlflow_address(run: str) -> bool:
    """Whether a run is named in MLflow's way."""
    return run.startswith(SCHEMES)


def fetch_classifier(address: str, database_folder: Path) -> Path:
    """The folder of a classifier that MLflow keeps; a copy, which this process removes at its end.

    Args:
        address: `runs:/ID`, with or without a path below it, or `models:/NAME@ALIAS` and what else
            MLflow knows.
        database_folder: where MLflow's database is, unless MLFLOW_TRACKING_URI names a server.

    Raises:
        ConfigError: MLflow does not have it, does not answer, or there is no classifier in it.
    """
    # Here: it takes seconds, and other runs are found without it.
    import mlflow
    from mlflow.exceptions import MlflowException

    if not os.environ.get("MLFLOW_TRACKING_URI"):
        mlflow.set_tracking_uri(f"sqlite:///{(database_folder / 'mlflow.db').resolve()}")
    copy = Path(tempfile.mkdtemp(prefix="craft-ray-model-"))
    register(rmtree, copy, ignore_errors=True)
    whole = f"{address.rstrip('/')}/" if address.count("/") == 1 else address
    try:
        fetched = Path(mlflow.artifacts.download_artifacts(artifact_uri=whole, dst_path=str(copy)))
    except (MlflowException, OSError, ValueError) as error:
        where = os.environ.get("MLFLOW_TRACKING_URI") or str(database_folder / "mlflow.db")
        problem = f"{address!r} must be in MLflow at {where}, but: {' '.join(str(error).split())}"
        raise ConfigError("RUN", [problem]) from error
    found = sorted(path.parent for path in fetched.rglob(DESCRIPTION_FILE))
    if not found:
        raise ConfigError("RUN", [f"{address!r} must hold a classifier of craft-ray, but does not"])
    return found[0]
