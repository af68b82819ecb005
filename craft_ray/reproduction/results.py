"""From the results of cells to rows: mean and spread over seeds, beside the published number."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from craft_ray.reproduction.published import published_accuracy

ZERO_SHOT = "zero_shot"


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
    std: float | None
    """Over seeds, sample standard deviation; None for a single seed."""
    published: float | None
    queries: float
    """Candidate queries of one fine-tuning, mean over seeds; as the two below."""
    image_predictions: float
    seconds: float
    """From the sample to the test, the start of its worker included."""

    @property
    def difference(self) -> float | None:
        """Ours minus the published number, in points."""
        return None if self.published is None else self.mean - self.published

    def as_dict(self) -> dict[str, Any]:
        """For files."""
        return {**vars(self), "difference": self.difference}


def summarise(results: Sequence[Mapping[str, Any]]) -> list[Row]:
    """A row for every backbone, data set, method and number of shots, in the order of `results`.

    Zero-shot does not depend on seed, shots or method, so its row is that of the first cell.
    """
    rows: dict[tuple[str, str, str, int], Row] = {}
    for backbone, dataset, zero_shot in _zero_shots(results):
        key = (backbone, dataset, ZERO_SHOT, 0)
        if key not in rows:
            published = published_accuracy(backbone, dataset, ZERO_SHOT, 0)
            rows[key] = Row(*key, 1, 100 * zero_shot, None, published, 0.0, 0.0, 0.0)
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
            std=statistics.stdev(accuracies) if len(entries) > 1 else None,
            published=published_accuracy(*key),
            queries=_mean(r["ledger"]["candidate_queries"] for _, r in entries),
            image_predictions=_mean(r["ledger"]["image_predictions"] for _, r in entries),
            seconds=_mean(r["seconds"] for _, r in entries),
        )
    return list(rows.values())


def _zero_shots(results: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, str, float]]:
    for result in results:
        yield result["backbone"], result["dataset"], result["zero_shot"]["test"]["accuracy"]
        for name, scores in result["shifted"].items():
            yield result["backbone"], name, scores["zero_shot"]["accuracy"]


def _tuned(
    results: Sequence[Mapping[str, Any]],
) -> Iterator[tuple[str, float, Mapping[str, Any]]]:
    for result in results:
        yield result["dataset"], result["tuned"]["test"]["accuracy"], result
        for name, scores in result["shifted"].items():
            yield name, scores["tuned"]["accuracy"], result


def _mean(values: Iterator[float]) -> float:
    return float(statistics.mean(values))
