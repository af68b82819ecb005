"""Experiment tracking: loud at set-up, harmless afterwards, and complete in the end."""

import os

# Before MLflow is imported, which sends what it is used for otherwise.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from craft_ray.tracking.base import (
    DataInput,
    LoggedModel,
    NullTracker,
    RunStatus,
    Tracker,
    tracked,
)
from craft_ray.tracking.mlflow_tracker import (
    MlflowTracker,
    make_tracker,
    ui_command,
)
from craft_ray.tracking.places import tracking_folder

__all__ = [
    "DataInput",
    "LoggedModel",
    "MlflowTracker",
    "NullTracker",
    "RunStatus",
    "Tracker",
    "make_tracker",
    "tracked",
    "tracking_folder",
    "ui_command",
]
