"""From what a user types to the folder of a classifier."""

from __future__ import annotations

from pathlib import Path

from craft_ray.classifiers.artifact import RESULT_FOLDER, description_in
from craft_ray.config.suggestions import did_you_mean
from craft_ray.errors import ConfigError
from craft_ray.files.remote import Place, entries, locate

MLFLOW_SCHEMES = ("runs:/", "models:/")
CLASSIFIER_FOLDERS = ("", RESULT_FOLDER)
"""Where a classifier may be, seen from what was named: there, or in the folder of its run."""
LATEST = "latest"
NAMED_AT_MOST = 8


def find_classifier(run: str, output_dir: Place) -> Place:
    """The folder of a tuned classifier.

    Args:
        run: name of a run in `output_dir`, the folder or address of one or of a classifier itself,
            an address in MLflow such as `models:/NAME@champion`, or `latest`: the newest run that
            has one.
        output_dir: where runs are.

    Raises:
        ConfigError: there is none.
    """
    if run.startswith(MLFLOW_SCHEMES):
        from craft_ray.inference.mlflow_models import fetch_classifier
        from craft_ray.tracking.places import tracking_folder

        return fetch_classifier(run, tracking_folder(output_dir))
    runs = _runs_with_a_classifier(output_dir)
    if run == LATEST and runs:
        return max(runs, key=_written_s)
    for place in (output_dir / run, locate(run)):
        if (found := _classifier_of(place)) is not None:
            return found
    names = [(each.parent if each.name == RESULT_FOLDER else each).name for each in runs]
    known = ", ".join(names[-NAMED_AT_MOST:]) or "none"
    raise ConfigError(
        "RUN",
        [
            f"must be the name of a finished run in {output_dir} (there: {known}), a folder or "
            f"address of one, or {LATEST}, but got {run!r}{did_you_mean(run, names)}"
        ],
    )


def _runs_with_a_classifier(output_dir: Place) -> list[Place]:
    """Classifiers of all runs, by name."""
    if isinstance(output_dir, Path) and not output_dir.is_dir():
        return []
    found = [_classifier_of(folder) for folder in entries(output_dir)]
    return sorted((each for each in found if each is not None), key=str)


def _classifier_of(place: Place) -> Place | None:
    for name in CLASSIFIER_FOLDERS:
        folder = place / name if name else place
        if description_in(folder) is not None:
            return folder
    return None


def _written_s(folder: Place) -> float:
    """When a classifier was stored; 0 of one that is gone meanwhile."""
    path = description_in(folder)
    return 0.0 if path is None else path.stat().st_mtime
