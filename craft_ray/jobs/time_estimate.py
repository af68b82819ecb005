"""How long a run may take, from one that has ended."""

from __future__ import annotations

from pathlib import Path

from craft_ray.config.oracle import AnyOracleConfig
from craft_ray.errors import ArtifactError
from craft_ray.files.whole_files import read_json
from craft_ray.jobs.run_folder import SUMMARY_FILE
from craft_ray.jobs.run_list import Kind, runs_in
from craft_ray.metering.ledger import Spending

NOT_KNOWN = "not known before a first run of this model here"
OF_THE_MODEL = ("model", "pretrained", "precision", "url", "dialect")


def time_in_words(output_dir: Path, kind: Kind, oracle: AnyOracleConfig, planned: Spending) -> str:
    """At most how long a run takes: as long as the newest one of its kind with the same model to
    start, and what came after that in proportion to the image predictions. It may have been on
    another machine.

    Args:
        output_dir: where runs are.
        kind: the command.
        oracle: the model.
        planned: what is spent at most.
    """
    model = {key: getattr(oracle, key, None) for key in OF_THE_MODEL}
    for facts in runs_in(output_dir):
        if facts.kind != kind or facts.state != "finished":
            continue
        try:
            summary = read_json(output_dir / facts.name / SUMMARY_FILE)
            settings = summary["settings"]
            asked = settings.get("base", settings)["oracle"]
            seconds = float(summary["seconds"])
            startup = float(summary.get("startup_seconds", 0.0))  # not of earlier versions
            predictions = int(summary["ledger"]["image_predictions"])
        except (ArtifactError, KeyError, TypeError, ValueError):
            continue
        if predictions and {key: asked.get(key) for key in OF_THE_MODEL} == model:
            rate = max(seconds - startup, 0.0) / predictions
            most = startup + rate * planned.image_predictions
            return (
                f"about {in_words(most)} at most: {facts.name} took {in_words(seconds)} for "
                f"{predictions:,} predictions"
            )
    return NOT_KNOWN


def in_words(seconds: float) -> str:
    """`42 s`, `3 min`, `1 h 20 min`."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    hours, rest = divmod(minutes, 60)
    return f"{hours:,} h {rest} min" if hours else f"{minutes} min"
