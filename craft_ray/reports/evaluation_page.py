"""The page of an evaluation."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from craft_ray.reports.charts import Estimate, estimates
from craft_ray.reports.page import card, code, page, section, share
from craft_ray.reports.sections import Examined, Picture, results_on_images


@dataclass(frozen=True)
class EvaluationFacts:
    """What the page says beside its sections.

    Attributes:
        run: what was evaluated.
        labelled: where the images are.
        images: how many.
        accuracy: on them.
        interval: of it, 95 %.
        loss: mean cross-entropy.
        calibration_error: see `Score`.
        model: name of the model that was asked.
        method: that found the classifier, as the run calls it.
        predictions_per_image: that it asks for.
        command: does it again.
    """

    run: str
    labelled: str
    images: int
    accuracy: float
    interval: tuple[float, float]
    loss: float
    calibration_error: float
    model: str
    method: str
    predictions_per_image: int
    command: Sequence[str]


def evaluation_page(facts: EvaluationFacts, examined: Examined, mistakes: Sequence[Picture]) -> str:
    """The whole document.

    Args:
        facts: the numbers.
        examined: what was said of the images.
        mistakes: the surest ones first.
    """
    title = f"{facts.run} on {facts.labelled}"
    return page(title, _body(title, facts, examined, mistakes))


def _body(
    title: str, facts: EvaluationFacts, examined: Examined, mistakes: Sequence[Picture]
) -> Iterator[str]:
    low, high = facts.interval
    yield f"<h1>{escape(title)}</h1>"
    yield f'<p class="dim">Evaluation of {escape(facts.method)} on {escape(facts.model)}</p>'
    yield f'<div class="hero"><div><div class="big">{share(facts.accuracy)}</div>'
    yield f"<p>of {facts.images:,} images are labelled rightly. With 95 % confidence the true "
    yield f"share is {share(low)} to {share(high)}.</p></div>"
    yield estimates([Estimate("accuracy", facts.accuracy, facts.interval, is_main=True)])
    yield "</div>"
    asked = facts.images * facts.predictions_per_image
    yield '<div class="cards">'
    yield card(f"{len(examined.classes):,}", "classes")
    yield card(f"{asked:,}", f"image predictions, {facts.predictions_per_image:,} an image")
    yield card(f"{facts.calibration_error:.3f}", "calibration error; 0 is best")
    yield card(f"{facts.loss:.3f}", "mean cross-entropy; 0 is best")
    yield "</div>"
    yield from results_on_images(examined, None, mistakes)
    yield section("The same again")
    yield code(shlex.join(facts.command))
