"""Classifiers that MLflow keeps: `runs:/ID`, `models:/NAME@champion`, `models:/NAME/3`."""

from __future__ import annotations

import logging
import os
import tempfile
from atexit import register
from pathlib import Path
from shutil import rmtree

from craft_ray.classifiers.artifact import DESCRIPTION_FILE
from craft_ray.config.secrets import mask
from craft_ray.config.sections import MlflowConfig
from craft_ray.errors import ConfigError
from craft_ray.tracking.mlflow_tracker import tracking_uri
from craft_ray.tracking.places import DATABASE_FILE


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

    named = os.environ.get("MLFLOW_TRACKING_URI")
    where = named or _database(address, database_folder)
    logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    copy = Path(tempfile.mkdtemp(prefix="craft-ray-model-"))
    register(rmtree, copy, ignore_errors=True)
    of_a_run = address.startswith("runs:/") and address.count("/") == 1
    whole = f"{address}/" if of_a_run else address
    try:
        mlflow.set_tracking_uri(where)  # also of the registry, which has no argument of its own
        fetched = Path(mlflow.artifacts.download_artifacts(artifact_uri=whole, dst_path=str(copy)))
    except (MlflowException, OSError, ValueError) as error:
        reason = " ".join(str(error).split())
        problem = f"{address!r} must be in MLflow at {mask(where)}, but: {reason}"
        raise ConfigError("RUN", [problem]) from error
    finally:
        mlflow.set_tracking_uri(named or "")
    found = sorted(path.parent for path in fetched.rglob(DESCRIPTION_FILE))
    if not found:
        raise ConfigError("RUN", [f"{address!r} must hold a classifier of craft-ray, but does not"])
    return found[0]


def _database(address: str, folder: Path) -> str:
    """Of the runs in a folder. It is not made: an empty one would know no run.

    Raises:
        ConfigError: there is none.
    """
    uri = tracking_uri(MlflowConfig(), folder)
    if not (folder / DATABASE_FILE).is_file():
        raise ConfigError(
            "RUN",
            [
                f"{address!r} needs MLflow's database, but {folder} has none: MLFLOW_TRACKING_URI "
                "names a server, --output-dir another folder"
            ],
        )
    return uri
