"""The page of a run or of a search."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from pydantic import ValidationError

from craft_ray.classifiers.confusion import (
    bin_sums,
    class_evaluations,
    confidence_bins,
    confusion_of,
)
from craft_ray.classifiers.interval import accuracy_interval
from craft_ray.classifiers.predictions import IndexArray, Predictions, Said
from craft_ray.config.method_names import method_name
from craft_ray.config.money import money, run_cost
from craft_ray.config.run import RunConfig
from craft_ray.metering.ledger import has_needed_answers
from craft_ray.oracle.gate.bill import Bill
from craft_ray.reports.charts import Curve, Estimate, curves, estimates
from craft_ray.reports.measured import CHOSEN_ON, measured_on
from craft_ray.reports.origin import commands, settings_and_versions
from craft_ray.reports.page import card, dim, page, points, seconds, section, share
from craft_ray.reports.sections import Examined, Picture, results_on_images
from craft_ray.reports.trials import (
    colours_of,
    importances,
    legend,
    trial_table,
    tried_parameters,
)

Summary = Mapping[str, Any]
"""Of a run, as its `summary.json` has it."""
TWO_SIDED_95 = 1.96
FIRST = 5
IMAGES = {"test": "test images", **CHOSEN_ON}
NO_RESULT = "No trial has a result: there is zero-shot only."
NOT_MEASURED = (
    "No image measured it: there are no test images and no validation images, and no training "
    "image was held out. craft-ray evaluate measures it on labelled images."
)
MANY_CLASSES = 20
"""From so many on, it says something that the true class is among the first five."""


@dataclass(frozen=True)
class RunPageFacts:
    """What a page is made from; nothing of it has to be asked for.

    Attributes:
        summary: what the run has stored.
        curves: number of a trial (1 for a run without a search) -> queries and validation accuracy
            of its working state.
        class_names: of the task.
        folder: of the run, as a user types it.
        is_address: whether that is an address on an object store.
        predictions: what was said of the test images; None if there are none or they are lost.
        mistakes: of the tuned classifier among them, the surest first.
    """

    summary: Summary
    curves: Mapping[int, Sequence[tuple[float, float]]]
    class_names: Sequence[str]
    folder: str
    is_address: bool
    predictions: Predictions | None
    mistakes: Sequence[Picture]

    @property
    def kind(self) -> str:
        """The command that made it: `tune` or `train`."""
        return "tune" if "trials" in self.summary else "train"

    @property
    def result(self) -> Summary | None:
        """Of the classifier that is returned; None if no trial has one."""
        key = "best" if self.kind == "tune" else "tuned"
        result: Summary | None = self.summary[key]
        return result

    @property
    def settings(self) -> Summary:
        """Of the run, or of the base of a search."""
        settings: Summary = self.summary["settings"]
        return settings["base"] if self.kind == "tune" else settings

    @property
    def price(self) -> float | None:
        """Of a thousand predictions."""
        price: float | None = self.settings.get("price_per_thousand_predictions")
        return price


def run_page(facts: RunPageFacts) -> str:
    """The whole document; of the same facts always the same."""
    return page(str(facts.summary["name"]), _body(facts))


def _body(facts: RunPageFacts) -> Iterator[str]:
    yield from _headline(facts)
    yield from _cost(facts)
    yield from _curves(facts)
    if facts.kind == "tune":
        yield from trial_table(facts.summary, facts.price)
        yield from tried_parameters(facts.summary)
        yield from importances(facts.summary)
    if facts.predictions is not None:
        yield from _on_test_images(facts, facts.predictions)
    has_result, other_seed = facts.result is not None, int(facts.settings.get("seed", 1)) + 1
    shots = facts.settings.get("data", {}).get("shots")
    draws = shots not in (0, "all")  # else every seed has the same training images
    yield from commands(
        facts.kind, facts.folder, facts.is_address, has_result, other_seed if draws else None
    )
    yield from settings_and_versions(facts.kind, facts.summary)


def _headline(facts: RunPageFacts) -> Iterator[str]:
    summary, data = facts.summary, facts.summary["data"]
    what = f"Run of {_method(facts.settings)}"
    if facts.kind == "tune":
        num_trials = len(summary["trials"])
        what = f"Search of {num_trials:,} {'trial' if num_trials == 1 else 'trials'}"
    model = facts.settings.get("oracle", {}).get("model", "")
    yield f"<h1>{escape(str(summary['name']))}</h1>"
    words = (
        f"{what} for {data['name']}: {data['num_classes']:,} classes, {data['num_train']:,} "
        f"training images, model {model}"
    )
    yield f'<p class="dim">{escape(words)}</p>'
    split, num_images = measured_on(summary, facts.result)
    if split is None:
        yield f"<p>{escape(NOT_MEASURED if facts.result else NO_RESULT)}</p>"
        yield from _verdict(facts)
        return
    before, after = _score(summary["zero_shot"], split), _score(facts.result, split)
    assert before is not None
    if after is None:
        yield f"<p>{escape(NO_RESULT)}</p>"
        yield estimates([_estimate("zero-shot", before, num_images, is_main=False)])
        return
    low, high = accuracy_interval(after, num_images)
    yield '<div class="hero"><div>'
    yield f'<div class="big">{share(after)}</div>'
    yield (
        f"<p>accuracy on {num_images:,} {IMAGES[split]} (95 %: {share(low)} to {share(high)}), "
        f'<span class="{"up" if after > before else "down" if after < before else "dim"}">'
        f"{points(after - before)}</span> over zero-shot.</p>"
    )
    if split != "test":
        yield dim(
            f"There are no test images. The result was chosen on the {IMAGES[split]}, so that it "
            "is somewhat worse than this on others: craft-ray evaluate measures it on labelled "
            "images."
        )
    yield from _verdict(facts)
    if template := (facts.result or {}).get("template"):
        yield f"<p>The prompt that was found: <b>{escape(str(template))}</b></p>"
    yield from _changes(facts)
    yield "</div>"
    yield estimates(
        [
            _estimate("zero-shot", before, num_images, is_main=False),
            _estimate("tuned", after, num_images, is_main=True),
        ]
    )
    yield "</div>"


def _verdict(facts: RunPageFacts) -> Iterator[str]:
    """What decided, where validation images did not; and what fitting the head found out."""
    result = facts.result or {}
    if words := result.get("verdict"):
        yield dim(str(words))
    for sentence in (result.get("head") or {}).get("sentences", ()):
        yield dim(str(sentence))


def _method(settings: Summary) -> str:
    try:
        return method_name(RunConfig.model_validate(settings))
    except ValidationError:  # settings of another version
        return str(settings.get("method", "a method"))


def _score(scores: Summary | None, split: str) -> float | None:
    found = (scores or {}).get(split)
    return None if found is None else float(found["accuracy"])


def _estimate(name: str, accuracy: float, num_images: int, *, is_main: bool) -> Estimate:
    return Estimate(name, accuracy, accuracy_interval(accuracy, num_images), is_main)


def _changes(facts: RunPageFacts) -> Iterator[str]:
    """Which images the tuning has changed, where that is known."""
    predictions = facts.predictions
    if predictions is None or predictions.tuned is None:
        return
    tuned, zero_shot = predictions.tuned, predictions.zero_shot
    if (tuned.said_N == zero_shot.said_N).all() and (tuned.sure_N == zero_shot.sure_N).all():
        by = (facts.result or {}).get("judged_by", "validation")
        if by == "validation":
            yield dim(
                "This is zero-shot itself: on validation nothing that was tuned was better, and so "
                "it is what is returned."
            )
        return  # without validation images the verdict says it
    is_right_N = tuned.said_N == predictions.labels_N
    was_right_N = zero_shot.said_N == predictions.labels_N
    wins, losses = int((is_right_N & ~was_right_N).sum()), int((was_right_N & ~is_right_N).sum())
    low, high = interval_of_gain(wins, losses, len(is_right_N))
    yield dim(
        f"Images that were wrong and are right: {wins:,}; that were right and are wrong: "
        f"{losses:,}. The gain is {100 * low:+.1f} to {points(high)} with 95 % confidence."
    )
    if len(facts.class_names) >= MANY_CLASSES:
        words = [share(float((said.rank_N <= FIRST).mean())) for said in (tuned, zero_shot)]
        yield dim(
            f"The true class is among the first {FIRST} for {words[0]} of the images; for "
            f"{words[1]} with zero-shot."
        )


def interval_of_gain(wins: int, losses: int, num_images: int) -> tuple[float, float]:
    """Of the difference of two accuracies on the same images, from those that only one has right:
    the normal approximation with half an image added to each of the four cases (Agresti and Min,
    2005). Without that no change, or changes of one kind only, would be beyond doubt."""
    wins_, losses_, total = wins + 0.5, losses + 0.5, num_images + 2
    gain = (wins_ - losses_) / total
    reach = TWO_SIDED_95 * math.sqrt((wins_ + losses_ - total * gain**2) / total**2)
    return max(gain - reach, -1.0), min(gain + reach, 1.0)


def _cost(facts: RunPageFacts) -> Iterator[str]:
    ledger, result = facts.summary["ledger"], facts.result or {}
    yield section("What it cost")
    yield '<div class="cards">'
    queries = ledger["candidate_queries"]
    yield card(f"{queries:,}", "candidate query" if queries == 1 else "candidate queries")
    tests = ", tests included" if facts.summary["data"].get("num_test", 1) else ""
    yield card(f"{ledger['image_predictions']:,}", f"image predictions{tests}")
    bill = facts.summary.get("bill")
    if facts.summary["cost"] is not None:
        by = "by the price of a prediction" if bill is None else "at the prices of the endpoint"
        currency = "" if bill is None else bill["currency"]
        yield card(run_cost(facts.summary["cost"], currency), f"cost, {by}")
    yield card(seconds(facts.summary["seconds"]), "from start to end")
    if ledger["cached_predictions"]:
        yield card(f"{ledger['cached_predictions']:,}", "predictions answered before, for nothing")
    objectives = result.get("objectives") or result
    if (predictions := objectives.get("predictions_per_image")) is not None:
        an_image = "prediction" if predictions == 1 else "predictions"
        about = f"{an_image} for a new image"
        yield card(f"{predictions:.0f}", about)
        if facts.price is not None:
            yield card(money(predictions * facts.price), "cost of 1,000 new images")
    yield "</div>"
    yield dim(
        "A candidate query asks about one prompt on all training images; a prediction is one "
        "answer about one image."
    )
    if bill is not None:
        yield dim(Bill.from_dict(bill).sentence(is_needed=has_needed_answers(ledger)))


def _curves(facts: RunPageFacts) -> Iterator[str]:
    has_validation = facts.summary["zero_shot"].get("validation") is not None
    on = "validation" if has_validation else "held_out"
    zero_shot = _score(facts.summary["zero_shot"], on)
    start = [] if zero_shot is None else [(0.0, zero_shot)]
    lines: list[Curve] = []
    if facts.kind == "train":
        lines = [
            Curve("run", [*start, *points], 0, is_best=True) for points in facts.curves.values()
        ]
    else:
        colours = colours_of(facts.summary["trials"])
        best = facts.result and facts.result["number"]
        for trial in facts.summary["trials"]:
            if found := facts.curves.get(trial["number"]):
                method = str(trial["method"])
                name = f"trial {trial['number']}: {method}"
                is_best = trial["number"] == best
                lines.append(Curve(name, [*start, *found], colours[method], is_best))
    lines = [line for line in lines if len(line.points) > 1]
    if sum(len(line.points) for line in lines) <= 2:  # from zero-shot to the result, in one step
        return
    yield section(
        "Accuracy for queries",
        f"{'Validation accuracy' if has_validation else 'Held-out accuracy'} of the working state, "
        "from zero-shot on; the best so far is what is kept.",
    )
    if facts.kind == "tune":
        yield legend(colours_of(facts.summary["trials"]))
    yield curves(lines, zero_shot)


def _on_test_images(facts: RunPageFacts, predictions: Predictions) -> Iterator[str]:
    zero_shot = _examined(
        "zero-shot", facts.class_names, predictions.labels_N, predictions.zero_shot
    )
    if predictions.tuned is None:
        yield from results_on_images(zero_shot, None, facts.mistakes)
        return
    tuned = _examined("tuned", facts.class_names, predictions.labels_N, predictions.tuned)
    yield from results_on_images(tuned, zero_shot, facts.mistakes)


def _examined(name: str, class_names: Sequence[str], labels_N: IndexArray, said: Said) -> Examined:
    confusion_CC = confusion_of(labels_N, said.said_N, len(class_names))
    sums_3B = bin_sums(said.sure_N, said.said_N == labels_N)
    return Examined(
        name,
        class_evaluations(class_names, confusion_CC),
        confusion_CC,
        confidence_bins(sums_3B),
    )
