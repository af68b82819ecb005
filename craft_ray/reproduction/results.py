"""From the results of cells to rows: mean and spread over seeds, beside the published number."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from craft_ray.oracle.catalogue import published_weights
from craft_ray.reproduction.published import Beside, published_beside
from craft_ray.reproduction.zero_shot import hand_crafted_template

ZERO_SHOT = "zero_shot"
"""With the template that is tuned."""
HAND_CRAFTED = "zero_shot_hand_crafted"
"""With the data set's own template, to which the published numbers belong."""
UNTUNED = (ZERO_SHOT, HAND_CRAFTED)


@dataclass(frozen=True)
class Row:
    """One entry of the table. Accuracies are test accuracies in percent."""

    backbone: str
    dataset: str
    """For a shifted set its own name: the classifier was tuned on ImageNet."""
    method: str
    shots: int
    """0 for zero-shot."""
    seeds: int
    mean: float
    template: str
    """That the number was asked with, or that its fine-tuning started from."""
    std: float | None
    """Over seeds, sample standard deviation; None for a single seed."""
    beside: Beside | None
    """The published number that this one is compared with."""
    queries: float
    """Candidate queries of one fine-tuning, mean over seeds; as the two below."""
    image_predictions: float
    seconds: float
    """From the sample to the test, the start of its worker included."""

    @property
    def published(self) -> float | None:
        """The published number."""
        return None if self.beside is None else self.beside.accuracy

    @property
    def difference(self) -> float | None:
        """Ours minus the published number, in points."""
        return None if self.beside is None else self.mean - self.beside.accuracy

    def as_dict(self) -> dict[str, Any]:
        """For files."""
        own = {name: value for name, value in vars(self).items() if name != "beside"}
        method = None if self.beside is None else self.beside.method
        found = {"published": self.published, "published_method": method}
        return {**own, **found, "difference": self.difference}


def summarise(results: Sequence[Mapping[str, Any]]) -> list[Row]:
    """A row for every backbone, data set, method and number of shots, in the order of `results`.

    Zero-shot does not depend on seed, shots or method, so one cell measures it. A
    published zero-shot stands beside what was asked with the same template, and nowhere else.
    """
    rows: dict[tuple[str, str, str, int], Row] = {}
    theirs = comparable(results)
    for backbone, dataset, method, template, accuracy in _zero_shots(results):
        key = (backbone, dataset, method, 0)
        if key not in rows:
            is_theirs = template == hand_crafted_template(dataset) and key[:2] in theirs
            beside = published_beside(backbone, dataset, ZERO_SHOT, 0) if is_theirs else None
            rows[key] = Row(*key, 1, 100 * accuracy, template, None, beside, 0.0, 0.0, 0.0)
    groups: dict[tuple[str, str, str, int], list[tuple[float, Mapping[str, Any]]]] = {}
    for dataset, accuracy, result in _tuned(results):
        key = (result["backbone"], dataset, result["method"], result["shots"])
        groups.setdefault(key, []).append((100 * accuracy, result))
    for key, entries in groups.items():
        accuracies = [accuracy for accuracy, _ in entries]
        rows[key] = Row(
            *key,
            seeds=len(entries),
            mean=statistics.mean(accuracies),
            template=_tuned_template(entries[0][1]),
            std=statistics.stdev(accuracies) if len(entries) > 1 else None,
            beside=published_beside(*key, entries[0][1]["settings"]["max_queries"])
            if key[:2] in theirs
            else None,
            queries=_mean(r["ledger"]["candidate_queries"] for _, r in entries),
            image_predictions=_mean(r["ledger"]["image_predictions"] for _, r in entries),
            seconds=_mean(r["seconds"] for _, r in entries),
        )
    return list(rows.values())


def comparable(results: Sequence[Mapping[str, Any]]) -> set[tuple[str, str]]:
    """Backbones and data sets, as published numbers are of them: all classes, OpenAI's weights."""
    places = list(_places(results))
    return {place for place, _ in places} - {
        place for place, result in places if not _is_as_published(result)
    }


def _zero_shots(
    results: Sequence[Mapping[str, Any]],
) -> Iterator[tuple[str, str, str, str, float]]:
    """Backbone, data set, method, template, accuracy."""
    for result in results:
        if result["zero_shot"] is None:  # another cell has measured it
            continue
        backbone, tuned_template = result["backbone"], _tuned_template(result)
        by_hand = result["zero_shot"].get("hand_crafted")
        own = {"zero_shot": result["zero_shot"]["test"]}
        if by_hand is not None:
            own["hand_crafted"] = by_hand["test"]
        for name, scores in {result["dataset"]: own, **result["shifted"]}.items():
            plain = scores["zero_shot"]["accuracy"]
            yield backbone, name, ZERO_SHOT, tuned_template, plain
            if tuned_template == hand_crafted_template(name):
                yield backbone, name, HAND_CRAFTED, tuned_template, plain
            elif by_hand is not None:
                accuracy = scores["hand_crafted"]["accuracy"]
                yield backbone, name, HAND_CRAFTED, by_hand["template"], accuracy


def _places(
    results: Sequence[Mapping[str, Any]],
) -> Iterator[tuple[tuple[str, str], Mapping[str, Any]]]:
    """Backbone and data set, the shifted ones too, with the cell's result."""
    for result in results:
        for name in (result["dataset"], *result["shifted"]):
            yield (result["backbone"], name), result


def _is_as_published(result: Mapping[str, Any]) -> bool:
    """Of all classes, and of OpenAI's weights unless a file says what only its owner knows."""
    settings = result["settings"]
    oracle = settings["oracle"]
    tag = str(oracle["pretrained"]).lower()
    is_theirs = tag == "openai" or published_weights(oracle["model"], tag) is None
    return is_theirs and bool(settings["data"].get("classes", "all") == "all")


def _tuned_template(result: Mapping[str, Any]) -> str:
    return str(result["settings"]["data"]["template"])


def _tuned(
    results: Sequence[Mapping[str, Any]],
) -> Iterator[tuple[str, float, Mapping[str, Any]]]:
    for result in results:
        yield result["dataset"], result["tuned"]["test"]["accuracy"], result
        for name, scores in result["shifted"].items():
            yield name, scores["tuned"]["accuracy"], result


def _mean(values: Iterator[float]) -> float:
    return float(statistics.mean(values))
