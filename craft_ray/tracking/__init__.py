"""Experiment tracking: loud at set-up, harmless afterwards, and complete in the end."""

from craft_ray.tracking.base import NullTracker, RunStatus, Tracker, tracked
from craft_ray.tracking.mlflow_tracker import MlflowTracker, make_tracker, ui_command
from craft_ray.tracking.places import tracking_folder

__all__ = [
    "MlflowTracker",
    "NullTracker",
    "RunStatus",
    "Tracker",
    "make_tracker",
    "tracked",
    "tracking_folder",
    "ui_command",
]
