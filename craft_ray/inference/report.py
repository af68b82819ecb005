"""An evaluation as a page, see `craft_ray.reports`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from craft_ray.config.secrets import mask
from craft_ray.errors import ConfigError
from craft_ray.files.whole_files import write_whole
from craft_ray.inference.evaluation import EvaluationCount
from craft_ray.inference.out_file import check_file
from craft_ray.inference.predictor import Predictor
from craft_ray.reports.evaluation_page import EvaluationFacts, evaluation_page
from craft_ray.reports.sections import Examined, Picture
from craft_ray.reports.thumbnails import thumbnail

PAGE_KINDS = (".html", ".htm")


def check_report(path: Path) -> None:
    """That a page can be written there, before anything is asked for it.

    Raises:
        ConfigError: it cannot.
    """
    check_file("--report", path, PAGE_KINDS)


def write_report(
    path: Path,
    run: str,
    labelled: Path,
    predictor: Predictor,
    count: EvaluationCount,
    command: Sequence[str],
) -> None:
    """Write the page; it appears under its name when it is complete.

    Args:
        path: of the page.
        run: name of the classifier's run.
        labelled: where the images are.
        predictor: was asked.
        count: of what it said.
        command: words that do it again.

    Raises:
        ConfigError: it cannot be written.
    """
    evaluation, artifact, names = count.evaluation, predictor.artifact, predictor.class_names
    score = evaluation.score
    facts = EvaluationFacts(
        run=run,
        labelled=str(labelled),
        images=evaluation.images,
        accuracy=score.accuracy,
        interval=evaluation.interval,
        loss=score.loss,
        calibration_error=score.calibration_error,
        model=artifact.oracle.model if artifact.oracle else artifact.oracle_id[:12],
        method=(artifact.about and artifact.about.method) or artifact.classifier.kind,
        predictions_per_image=predictor.predictions_per_image,
        command=[mask(word) for word in command],
    )
    mistakes = [
        Picture(
            thumbnail(each.item),
            each.item.name,
            names[each.predicted],
            each.probability,
            names[each.item.label],
        )
        for each in count.mistakes
    ]
    examined = Examined(run, evaluation.classes, count.confusion, count.confidence_bins)
    try:
        write_whole(path, evaluation_page(facts, examined, mistakes).encode("utf-8", "replace"))
    except OSError as error:
        raise ConfigError("--report", [f"{path} cannot be written: {error}"]) from error
